#include "agent/sandbox/command_measurer.h"

#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "agent/device/cores.h"
#include "agent/device/interference.h"
#include "agent/measure/meter_options.h"
#include "agent/measure/statistics.h"
#include "common/files.h"
#include "common/statistics.h"
#include "common/status_macros.h"

namespace hwnas::agent {
namespace {

// A program on a core of its own is hardly ever interrupted; beside another one
// it is at each slice of some milliseconds.
constexpr double kNoisyPreemptionsPerSecond = 50;
constexpr double kNoisyStealShare = 0.02;
constexpr size_t kMaxBlocks = 100'000;
constexpr size_t kLeastSamplesForP99 = 300;

// TensorFlow Lite files have this identifier behind their first offset.
bool IsTflite(absl::string_view model) {
  return model.size() > 8 && model.substr(4, 4) == "TFL3";
}

absl::StatusOr<std::string> MakeFolder() {
  std::error_code error;
  const std::filesystem::path parent =
      std::filesystem::temp_directory_path(error);
  std::string path =
      (error ? "/tmp" : parent.string()) + "/hwnas-command.XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    return absl::ErrnoToStatus(errno, absl::StrCat("no folder ", path));
  }
  return path;
}

bool Uses(const std::vector<std::string>& command, absl::string_view what) {
  return std::any_of(
      command.begin(), command.end(),
      [&](const std::string& word) { return absl::StrContains(word, what); });
}

}  // namespace

CommandMeasurer::CommandMeasurer(CommandRuntime runtime,
                                 SandboxedMeasurerOptions options)
    : runtime_(std::move(runtime)),
      options_(std::move(options)),
      preparer_(options_),
      host_(options_.measurer.root) {}

ConfinedCommandOptions CommandMeasurer::Confinement(
    const v1::MeasureTask& task, const LatencyHooks& hooks,
    const std::string& folder) const {
  ConfinedCommandOptions options;
  options.launcher = options_.program;
  options.folder = folder;
  options.reads = runtime_.reads;
  options.time_limit = options_.time_limit;
  options.max_memory_bytes = MemoryLimitBytes(options_);
  options.cores = std::max(task.measure().threads(),
                           static_cast<int>(AllowedCores().size()));
  options.cancelled = hooks.cancelled;
  return options;
}

absl::StatusOr<std::string> CommandMeasurer::WriteModel(
    const v1::MeasureTask& task, const LatencyHooks& hooks,
    const std::string& folder) {
  const std::string onnx = folder + "/model.onnx";
  const std::string tflite = folder + "/model.tflite";
  const bool is_tflite = task.has_onnx() && IsTflite(task.onnx());
  if (is_tflite && runtime_.reads_tflite) {
    HWNAS_RETURN_IF_ERROR(WriteFileAtomically(tflite, task.onnx()));
    return tflite;
  }
  if (is_tflite) {
    return absl::FailedPreconditionError(absl::StrCat(
        runtime_.name, " reads ONNX files, and this is a TensorFlow Lite one"));
  }
  if (!runtime_.takes_onnx()) {
    return absl::FailedPreconditionError(absl::StrCat(
        runtime_.name,
        " reads TensorFlow Lite files, and nothing here converts an ONNX file: "
        "name a converter in --runtimes_file (\"preset\": \"",
        runtime_.name, "\", \"convert\": [...]); see docs/runtimes.md"));
  }
  const bool quantize =
      runtime_.quantize && task.measure().precision() == "int8";
  HWNAS_ASSIGN_OR_RETURN(const std::string prepared,
                         preparer_.Prepare(task, quantize, hooks));
  HWNAS_RETURN_IF_ERROR(WriteFileAtomically(onnx, prepared));
  if (runtime_.convert.empty()) return onnx;
  hooks.progress("converting the model");
  const std::string model = runtime_.reads_tflite ? tflite : folder + "/model";
  HWNAS_RETURN_IF_ERROR(
      RunConfinedCommand(
          FillIn(
              runtime_.convert,
              {{"onnx", onnx},
               {"model", model},
               {"folder", folder},
               {"precision", task.measure().precision()},
               {"batch", absl::StrCat(std::max(1, task.measure().batch()))}}),
          Confinement(task, hooks, folder))
          .status());
  std::error_code error;
  if (!std::filesystem::exists(model, error)) {
    return absl::InternalError(
        absl::StrCat(runtime_.convert[0], " ended well but wrote no {model}"));
  }
  return model;
}

absl::Status CommandMeasurer::Measure(const v1::MeasureTask& task,
                                      const LatencyHooks& hooks,
                                      v1::TaskResult& result) {
  const v1::MeasureSpec& spec = task.measure();
  HWNAS_ASSIGN_OR_RETURN(const LatencyMeterOptions meter, MeterOptions(spec));
  const std::string precision =
      spec.precision().empty() ? "fp32" : spec.precision();
  const auto further = runtime_.precisions.find(precision);
  if (further == runtime_.precisions.end()) {
    return absl::FailedPreconditionError(
        absl::StrCat(runtime_.name, " has no precision \"", precision, "\""));
  }
  HWNAS_ASSIGN_OR_RETURN(const std::string folder, MakeFolder());
  absl::Cleanup remove = [&] {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  };
  HWNAS_ASSIGN_OR_RETURN(const std::string model,
                         WriteModel(task, hooks, folder));

  // As for our own runtimes; but a program that is not told how many threads to
  // use knows better where they belong.
  const int threads = std::max(1, spec.threads());
  const bool told = Uses(runtime_.command, "{threads}");
  std::vector<int> chosen = {spec.cores().begin(), spec.cores().end()};
  if (told || !chosen.empty()) {
    chosen = MeasuringCores(chosen, threads, options_.measurer.root);
  }
  const ScopedPinning pinning(chosen);
  const int core = pinning.cores().empty() ? 0 : pinning.cores().front();
  v1::Environment& environment = *result.mutable_environment();
  environment = host_.Read(core);
  if (told) environment.set_threads(threads);
  environment.set_runtime(runtime_.name);
  environment.mutable_pinned_cores()->Assign(pinning.cores().begin(),
                                             pinning.cores().end());

  hooks.progress(absl::StrCat("running ", runtime_.name));
  std::vector<std::string> command = runtime_.command;
  command.insert(command.end(), further->second.begin(), further->second.end());
  ConfinedCommandOptions confinement = Confinement(task, hooks, folder);
  confinement.time_limit += 2 * meter.max_time;
  RealSteadyClock clock;
  HostInterference interference(
      {.cores = pinning.cores(), .root = options_.measurer.root}, &clock);
  const HostCounts before = interference.ReadHost();
  const absl::Duration begin = clock.Now();
  HWNAS_ASSIGN_OR_RETURN(
      const ConfinedCommandResult ran,
      RunConfinedCommand(
          FillIn(command, {{"model", model},
                           {"onnx", folder + "/model.onnx"},
                           {"folder", folder},
                           {"threads", absl::StrCat(threads)},
                           {"batch", absl::StrCat(std::max(1, spec.batch()))},
                           {"precision", precision},
                           {"seconds",
                            absl::StrCat(std::max<int64_t>(
                                1, absl::ToInt64Seconds(absl::Ceil(
                                       meter.max_time, absl::Seconds(1)))))}}),
          confinement));
  const absl::Duration elapsed = clock.Now() - begin;
  const HostCounts after = interference.ReadHost();
  HWNAS_ASSIGN_OR_RETURN(
      const CommandReport report,
      ReadCommandReport(runtime_, absl::StrCat(ran.out, "\n", ran.err),
                        folder));
  if (!report.version.empty()) {
    environment.set_runtime(absl::StrCat(runtime_.name, " ", report.version));
  }
  std::vector<std::string> flags;
  const double preemptions_per_second =
      static_cast<double>(ran.preemptions) /
      std::max(absl::ToDoubleSeconds(ran.cpu_time), 0.1);
  if (preemptions_per_second > kNoisyPreemptionsPerSecond) {
    flags.push_back(absl::StrFormat(
        "NOISY: %s was preempted %d times in %s of processor time",
        runtime_.name, ran.preemptions, absl::FormatDuration(ran.cpu_time)));
  }
  if (before.steal_seconds && after.steal_seconds) {
    const double stolen = (*after.steal_seconds - *before.steal_seconds) /
                          absl::ToDoubleSeconds(elapsed);
    if (stolen > kNoisyStealShare) {
      flags.push_back(absl::StrFormat(
          "NOISY: the hypervisor took %.1f %% of the core", 100 * stolen));
    }
  }
  Fill(report, task, meter, flags, result);
  return absl::OkStatus();
}

void CommandMeasurer::Fill(const CommandReport& report,
                           const v1::MeasureTask& task,
                           const LatencyMeterOptions& meter,
                           const std::vector<std::string>& flags,
                           v1::TaskResult& result) const {
  const std::vector<double>& samples = report.samples_ms;
  const auto add = [&](const char* metric, const char* unit, double value,
                       int64_t count) -> v1::Measurement& {
    v1::Measurement& measurement = *result.add_measurements();
    measurement.set_metric(metric);
    measurement.set_value(value);
    measurement.set_unit(unit);
    measurement.set_sample_count(count);
    measurement.set_provenance(v1::MEASURED);
    measurement.set_device_class(task.device_class());
    measurement.set_device(options_.measurer.device);
    return measurement;
  };
  const int64_t count = std::max<int64_t>(
      1, samples.empty() ? report.count.value_or(1)
                         : static_cast<int64_t>(samples.size()));
  const double value = !samples.empty()   ? Median(samples)
                       : report.median_ms ? *report.median_ms
                                          : *report.mean_ms;
  v1::Measurement& latency = add("latency_ms", "ms", value, count);
  latency.mutable_flags()->Assign(flags.begin(), flags.end());
  if (samples.empty() && !report.median_ms) {
    latency.add_flags(absl::StrCat("MEAN: ", runtime_.name,
                                   " tells the mean latency, not the median"));
  }
  const std::optional<Interval> ci = MedianConfidenceInterval(samples);
  if (samples.size() >= 2) {
    latency.set_spread(MedianAbsoluteDeviation(samples));
  }
  if (ci) {
    latency.set_ci_low(ci->low);
    latency.set_ci_high(ci->high);
    const double half_width =
        std::max(ci->high - value, value - ci->low) / value;
    if (half_width > meter.target_half_width) {
      latency.add_flags(absl::StrFormat(
          "UNCONVERGED: 95 %% interval within %.1f %% of the median over %d "
          "inferences, not %.1f %%",
          100 * half_width, samples.size(), 100 * meter.target_half_width));
    }
  } else {
    latency.add_flags(
        absl::StrCat("UNCONVERGED: ", runtime_.name,
                     " tells too little for a confidence interval"));
  }
  const auto time = [&](const char* metric, const std::optional<double>& ms,
                        int64_t n) {
    if (!ms) {
      Miss(metric,
           samples.empty()
               ? absl::StrCat(runtime_.name, " does not tell it")
               : absl::StrCat(runtime_.name, " tells ", samples.size(),
                              " inferences, too few for it"),
           result);
      return;
    }
    v1::Measurement& measurement = add(metric, "ms", *ms, n);
    measurement.mutable_flags()->Assign(flags.begin(), flags.end());
  };
  const auto quantile = [&](double q, size_t least,
                            const std::optional<double>& told) {
    if (samples.size() < least) return told;
    return std::optional<double>(Quantile(samples, q));
  };
  time("latency_p90_ms", quantile(0.9, 1, report.p90_ms), count);
  time("latency_p99_ms", quantile(0.99, kLeastSamplesForP99, report.p99_ms),
       count);
  // Not every program has them, and nobody asks for them.
  if (report.first_ms) time("latency_first_ms", report.first_ms, 1);
  if (report.load_ms) time("load_ms", report.load_ms, 1);

  v1::LatencySamples& raw = *result.mutable_latency_samples();
  // Evenly thinned, if there are more than anyone wants.
  const size_t stride = samples.size() / kMaxBlocks + 1;
  for (size_t i = 0; i < samples.size(); i += stride) {
    raw.add_block_latency_ms(samples[i]);
  }
  raw.set_inferences_per_block(1);
  if (report.load_ms) raw.set_load_ms(*report.load_ms);
  if (report.first_ms) raw.set_first_ms(*report.first_ms);

  if (report.peak_memory_mb) {
    add("peak_memory_mb", "MB", *report.peak_memory_mb, 1);
  } else {
    Miss("peak_memory_mb",
         absl::StrCat(runtime_.name, " does not tell what the model adds"),
         result);
  }
  if (task.energy()) {
    for (const char* metric : {"energy_mj", "energy_gross_mj", "power_w"}) {
      Miss(metric,
           absl::StrCat("energy is not measured with ", runtime_.name,
                        ": when it infers is not known"),
           result);
    }
  }
}

void CommandMeasurer::Miss(const char* metric, const std::string& reason,
                           v1::TaskResult& result) {
  v1::MissingMetric& missing = *result.add_missing_metrics();
  missing.set_metric(metric);
  missing.set_reason(reason);
}

}  // namespace hwnas::agent
