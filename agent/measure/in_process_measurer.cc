#include "agent/measure/in_process_measurer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/device/cores.h"
#include "agent/device/interference.h"
#include "agent/device/power/raspberry_pi.h"
#include "agent/device/process_memory.h"
#include "agent/measure/energy_meter.h"
#include "agent/measure/meter_options.h"
#include "common/statistics.h"
#include "common/status_macros.h"
#include "proto/convert/convert.h"

namespace hwnas::agent {

v1::PowerSource PowerSourceProto(const PowerSourceInfo& info) {
  v1::PowerSource power;
  power.set_name(info.name);
  power.set_includes(info.includes);
  *power.mutable_interval() = ToProto(info.interval);
  return power;
}

InProcessMeasurer::InProcessMeasurer(InProcessMeasurerOptions options,
                                     Runtime* runtime,
                                     GraphExporter export_graph,
                                     SteadyClock* clock)
    : options_(std::move(options)),
      runtime_(runtime),
      export_graph_(std::move(export_graph)),
      clock_(clock),
      host_(options_.root) {}

absl::Status InProcessMeasurer::Measure(const v1::MeasureTask& task,
                                        const LatencyHooks& hooks,
                                        v1::TaskResult& result) {
  const v1::MeasureSpec& spec = task.measure();
  HWNAS_ASSIGN_OR_RETURN(const LatencyMeterOptions meter_options,
                         MeterOptions(spec));
  SessionOptions session_options;
  session_options.threads = std::max(1, spec.threads());
  session_options.batch = spec.batch();

  hooks.progress("preparing the model");
  std::string exported;
  absl::string_view model = task.onnx();
  if (task.has_graph()) {
    HWNAS_ASSIGN_OR_RETURN(
        exported, export_graph_(task.graph(), std::max(1, spec.batch())));
    model = exported;
  } else if (!task.has_onnx()) {
    return absl::InvalidArgumentError(
        "the task names no model: expected a graph or an ONNX file");
  }

  // Threads of the session inherit it.
  const ScopedPinning pinning(
      MeasuringCores({spec.cores().begin(), spec.cores().end()},
                     session_options.threads, options_.root));
  if (!spec.cores().empty() && pinning.cores().empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the system refuses to pin to the cores ",
                     absl::StrJoin(spec.cores(), ", ")));
  }
  const int core = pinning.cores().empty() ? 0 : pinning.cores().front();
  v1::Environment& environment = *result.mutable_environment();
  environment = host_.Read(core);
  environment.set_threads(session_options.threads);
  environment.set_runtime(runtime_->description());
  environment.mutable_pinned_cores()->Assign(pinning.cores().begin(),
                                             pinning.cores().end());

  const auto throttled = [&]() -> std::optional<uint32_t> {
    return options_.throttled ? options_.throttled() : std::nullopt;
  };
  const std::optional<uint32_t> throttled_before = throttled();
  const absl::Duration before_load = clock_->Now();
  HWNAS_ASSIGN_OR_RETURN(std::unique_ptr<Session> session,
                         runtime_->Load(model, session_options));
  const double load_ms =
      absl::ToDoubleMilliseconds(clock_->Now() - before_load);
  HostInterference host_interference({.cores = pinning.cores(),
                                      .threads = session_options.threads,
                                      .throttled = options_.throttled,
                                      .root = options_.root},
                                     clock_);
  HWNAS_ASSIGN_OR_RETURN(
      const LatencyReport report,
      MeasureLatency(*session, meter_options, *clock_,
                     options_.interference != nullptr ? options_.interference
                                                      : &host_interference,
                     hooks));

  // As they were under load.
  const v1::Environment after = host_.ReadState(core);
  if (after.has_cpu_frequency_mhz()) {
    environment.set_cpu_frequency_mhz(after.cpu_frequency_mhz());
  }
  if (after.has_temperature_c()) {
    environment.set_temperature_c(after.temperature_c());
  }

  const std::string& device_class = task.device_class();
  AddLatency(report, load_ms, device_class, result);
  v1::LatencySamples& samples = *result.mutable_latency_samples();
  samples.mutable_block_latency_ms()->Assign(report.block_ms.begin(),
                                             report.block_ms.end());
  samples.mutable_pass_begins()->Assign(report.pass_begins.begin(),
                                        report.pass_begins.end());
  samples.set_inferences_per_block(report.inferences_per_block);
  samples.set_first_ms(report.first_ms);
  samples.set_load_ms(load_ms);
  samples.mutable_warmup_block_latency_ms()->Assign(
      report.warmup_block_ms.begin(), report.warmup_block_ms.end());
  samples.set_warmup_inferences(report.warmup_inferences);
  *samples.mutable_total_time() = ToProto(report.total_time);

  if (task.energy()) {
    HWNAS_RETURN_IF_ERROR(MeasureEnergyOf(*session, report.inferences_per_block,
                                          core, hooks, device_class, result));
  }
  session.reset();
  const std::optional<uint32_t> throttled_after = throttled();
  if (throttled_before && throttled_after) {
    const std::string why =
        ThrottledBetween(*throttled_before, *throttled_after);
    for (v1::Measurement& measurement : *result.mutable_measurements()) {
      if (!why.empty()) measurement.add_flags("THROTTLED: " + why);
    }
  }

  hooks.progress("measuring memory");
  MeasureMemory(model, session_options, device_class, result);
  return absl::OkStatus();
}

void InProcessMeasurer::AddLatency(const LatencyReport& report, double load_ms,
                                   const std::string& device_class,
                                   v1::TaskResult& result) const {
  const auto add = [&](const char* metric, double value, int64_t count) {
    return &AddMeasurement(result, metric, value, "ms", count, device_class);
  };
  v1::Measurement& latency = *add("latency_ms", report.median_ms,
                                  static_cast<int64_t>(report.block_ms.size()));
  if (report.mad_ms) latency.set_spread(*report.mad_ms);
  if (report.ci_ms) {
    latency.set_ci_low(report.ci_ms->low);
    latency.set_ci_high(report.ci_ms->high);
  }
  add("latency_p90_ms", report.p90_ms, report.inference_count);
  if (report.p99_ms) {
    add("latency_p99_ms", *report.p99_ms, report.inference_count);
  }
  for (v1::Measurement& measurement : *result.mutable_measurements()) {
    measurement.mutable_flags()->Assign(report.flags.begin(),
                                        report.flags.end());
  }
  if (!report.p99_ms) {
    v1::MissingMetric& missing = *result.add_missing_metrics();
    missing.set_metric("latency_p99_ms");
    missing.set_reason(absl::StrCat(
        report.inference_count, " inferences were timed: expected at least ",
        kMinInferencesForP99, "; a longer min_time gives them"));
  }
  v1::Measurement& warmup =
      *add("latency_warmup_ms", Median(report.warmup_block_ms),
           static_cast<int64_t>(report.warmup_block_ms.size()));
  if (report.warmup_block_ms.size() >= 2) {
    warmup.set_spread(MedianAbsoluteDeviation(report.warmup_block_ms));
  }
  add("latency_first_ms", report.first_ms, 1);
  add("load_ms", load_ms, 1);
}

absl::Status InProcessMeasurer::MeasureEnergyOf(Session& session,
                                                int inferences_per_block,
                                                int core,
                                                const LatencyHooks& hooks,
                                                const std::string& device_class,
                                                v1::TaskResult& result) {
  const auto miss = [&](const char* metric, const std::string& reason) {
    v1::MissingMetric& missing = *result.add_missing_metrics();
    missing.set_metric(metric);
    missing.set_reason(reason);
  };
  if (options_.power == nullptr) {
    for (const char* metric : {"energy_mj", "energy_gross_mj", "power_w"}) {
      miss(metric, absl::StrCat("this agent has no power source: ",
                                options_.why_no_power));
    }
    return absl::OkStatus();
  }
  EnergyMeterOptions meter_options;
  meter_options.inferences_per_block = inferences_per_block;
  HWNAS_ASSIGN_OR_RETURN(
      const EnergyReport report,
      MeasureEnergy(session, *options_.power, meter_options, *clock_, hooks,
                    [&]() -> std::optional<double> {
                      const v1::Environment now = host_.ReadState(core);
                      if (!now.has_cpu_frequency_mhz()) return std::nullopt;
                      return now.cpu_frequency_mhz();
                    }));
  const auto add = [&](const char* metric, const std::optional<double>& value,
                       const char* unit) -> v1::Measurement* {
    if (!value) {
      miss(metric, report.why_none);
      return nullptr;
    }
    v1::Measurement& measurement = AddMeasurement(
        result, metric, *value, unit,
        std::max<int64_t>(1, report.reading_count), device_class);
    measurement.mutable_flags()->Assign(report.flags.begin(),
                                        report.flags.end());
    return &measurement;
  };
  v1::Measurement* net = add("energy_mj", report.net_mj, "mJ");
  if (net != nullptr && report.net_mad_mj) net->set_spread(*report.net_mad_mj);
  add("energy_gross_mj", report.gross_mj, "mJ");
  add("power_w", report.power_w, "W");
  v1::EnergyDetails& details = *result.mutable_energy();
  *details.mutable_source() = PowerSourceProto(options_.power->info());
  if (report.idle_before_w) details.set_idle_before_w(*report.idle_before_w);
  if (report.power_w) details.set_active_w(*report.power_w);
  if (report.idle_after_w) details.set_idle_after_w(*report.idle_after_w);
  details.set_coverage(report.coverage);
  details.set_reading_count(report.reading_count);
  details.set_inference_count(report.inference_count);
  *details.mutable_active_time() = ToProto(report.active_time);
  return absl::OkStatus();
}

// Apart from the timing, and after it: by now the runtime's own code and tables
// are resident, so that only the model counts.
void InProcessMeasurer::MeasureMemory(absl::string_view model,
                                      const SessionOptions& options,
                                      const std::string& device_class,
                                      v1::TaskResult& result) {
  const auto measure = [&]() -> absl::StatusOr<double> {
    HWNAS_ASSIGN_OR_RETURN(const int64_t base, ResetPeakResidentBytes());
    HWNAS_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session,
                           runtime_->Load(model, options));
    HWNAS_RETURN_IF_ERROR(session->Run());
    HWNAS_RETURN_IF_ERROR(session->Run());
    HWNAS_ASSIGN_OR_RETURN(const int64_t peak, PeakResidentBytes());
    return static_cast<double>(peak - base) / 1e6;
  };
  const absl::StatusOr<double> megabytes = measure();
  if (!megabytes.ok()) {
    v1::MissingMetric& missing = *result.add_missing_metrics();
    missing.set_metric("peak_memory_mb");
    missing.set_reason(std::string(megabytes.status().message()));
    return;
  }
  AddMeasurement(result, "peak_memory_mb", *megabytes, "MB", 1, device_class);
}

v1::Measurement& InProcessMeasurer::AddMeasurement(
    v1::TaskResult& result, const char* metric, double value, const char* unit,
    int64_t sample_count, const std::string& device_class) const {
  v1::Measurement& measurement = *result.add_measurements();
  measurement.set_metric(metric);
  measurement.set_value(value);
  measurement.set_unit(unit);
  measurement.set_sample_count(sample_count);
  measurement.set_provenance(v1::MEASURED);
  measurement.set_device_class(device_class);
  measurement.set_device(options_.device);
  return measurement;
}

}  // namespace hwnas::agent
