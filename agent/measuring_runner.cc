#include "agent/measuring_runner.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/device/cores.h"
#include "agent/measure/meter_options.h"
#include "common/status_macros.h"

namespace hwnas::agent {
namespace {

constexpr int kMaxBatch = 4096;
constexpr char kAsShipped[] = "as_shipped";
constexpr char kPinned[] = "pinned";

// The right to measure: ours among the agent's tasks, and the agent's among all
// that train and measure on this machine.
class Turn {
 public:
  Turn(MeasuringTurns* turns, HostCoresLock* cores,
       std::function<bool()> cancelled)
      : turns_(turns), cores_(cores), cancelled_(std::move(cancelled)) {}
  ~Turn() {
    if (!held_) return;
    cores_->Release();
    turns_->Leave();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  // Waits for it. Without it after an error.
  absl::Status Begin() {
    HWNAS_RETURN_IF_ERROR(turns_->Take(cancelled_));
    return TakeCores();
  }
  // Ends it, and waits for the next one. Without it after an error.
  absl::Status Pass() {
    cores_->Release();
    held_ = false;
    HWNAS_RETURN_IF_ERROR(turns_->Pass(cancelled_));
    return TakeCores();
  }

 private:
  absl::Status TakeCores() {
    const absl::Status status =
        cores_->Acquire(HostCoresLock::kExclusive, cancelled_);
    held_ = status.ok();
    if (!held_) turns_->Leave();
    return status;
  }

  MeasuringTurns* const turns_;
  HostCoresLock* const cores_;
  const std::function<bool()> cancelled_;
  bool held_ = false;
};

}  // namespace

v1::RuntimeCapability OnnxRuntimeCapability() {
  v1::RuntimeCapability capability;
  capability.set_runtime("onnxruntime");
  capability.add_precisions("fp32");
  capability.add_precisions("int8");
  return capability;
}

MeasuringRunner::MeasuringRunner(MeasuringRunnerOptions options,
                                 Measurer* measurer, SteadyClock* clock,
                                 AgentMetrics* metrics,
                                 std::shared_ptr<Logger> logger)
    : options_(std::move(options)),
      measurer_(measurer),
      clock_(clock),
      metrics_(metrics),
      logger_(std::move(logger)),
      turns_(std::random_device()()),
      preflight_wait_(options_.preflight.wait) {}

v1::TaskResult MeasuringRunner::Run(const v1::Task& task,
                                    fleet::TaskContext& context) {
  v1::TaskResult result;
  if (!task.has_measure()) {
    result.set_error("this is an agent: expected a task to measure");
    return result;
  }
  absl::Duration begin = clock_->Now();
  absl::Duration paused;
  const auto run = [&]() -> absl::Status {
    HWNAS_RETURN_IF_ERROR(CheckRequest(task.measure()));
    LatencyHooks hooks;
    hooks.cancelled = [&] { return context.cancelled(); };
    hooks.progress = [&](const std::string& note) { context.ReportNote(note); };
    // One measurement at a time, and never beside a training.
    context.ReportNote("waiting for the cores");
    HWNAS_ASSIGN_OR_RETURN(const std::unique_ptr<HostCoresLock> cores,
                           HostCoresLock::Open(options_.cores_lock));
    Turn turn(&turns_, cores.get(), hooks.cancelled);
    const absl::Status begun = turn.Begin();
    metrics_->ObserveWaitForCores(absl::ToDoubleSeconds(clock_->Now() - begin));
    begin = clock_->Now();
    HWNAS_RETURN_IF_ERROR(begun);
    hooks.pause = [&]() -> absl::StatusOr<bool> {
      if (!turns_.IsWanted()) return false;
      const absl::Duration pause_begin = clock_->Now();
      HWNAS_RETURN_IF_ERROR(turn.Pass());
      paused += clock_->Now() - pause_begin;
      return true;
    };
    return Measure(task.measure(), std::move(hooks), result);
  };
  const absl::Status status = run();
  const double seconds = absl::ToDoubleSeconds(clock_->Now() - begin - paused);
  if (!status.ok()) {
    v1::TaskResult failed;
    failed.set_error(std::string(status.message()));
    // Models are data; what one machine cannot read, none can. But a request
    // that we refuse may suit another agent.
    failed.set_candidate_fault(absl::IsInvalidArgument(status));
    *failed.mutable_environment() = result.environment();
    result = std::move(failed);
  }
  // Our own word, not that of the process that measured: it can see less.
  const bool emulated = !options_.why_emulated.empty();
  if (emulated || result.has_environment()) {
    result.mutable_environment()->set_emulated(emulated);
  }
  if (emulated) {
    for (v1::Measurement& measurement : *result.mutable_measurements()) {
      measurement.add_flags(absl::StrCat("EMULATED: ", options_.why_emulated));
    }
  }
  for (const v1::Measurement& measurement : result.measurements()) {
    if (measurement.metric() != "latency_ms") continue;
    for (const std::string& flag : measurement.flags()) {
      if (absl::StartsWith(flag, "UNCONVERGED")) metrics_->CountUnconverged();
      if (absl::StartsWith(flag, "NOISY")) metrics_->CountNoisy();
    }
  }
  for (const v1::MissingMetric& missing : result.missing_metrics()) {
    logger_->info("event=no_metric metric={} reason=\"{}\"", missing.metric(),
                  missing.reason());
  }
  metrics_->CountMeasurement(status.ok()                 ? "ok"
                             : absl::IsCancelled(status) ? "cancelled"
                                                         : "failed",
                             seconds);
  return result;
}

absl::Status MeasuringRunner::CheckRuntime(const v1::MeasureSpec& spec) const {
  const std::string runtime =
      spec.runtime().empty() ? "onnxruntime" : spec.runtime();
  const std::string precision =
      spec.precision().empty() ? "fp32" : spec.precision();
  std::vector<std::string> there_is;
  for (const v1::RuntimeCapability& capability : options_.capabilities) {
    const auto& precisions = capability.precisions();
    there_is.push_back(absl::StrCat(capability.runtime(), " (",
                                    absl::StrJoin(precisions, ", "), ")"));
    if (capability.runtime() != runtime) continue;
    if (std::find(precisions.begin(), precisions.end(), precision) !=
        precisions.end()) {
      return absl::OkStatus();
    }
    const bool half = runtime == "onnxruntime" && precision == "fp16";
    return absl::FailedPreconditionError(absl::StrCat(
        "precision \"", precision, "\" is not available with ", runtime,
        " here: expected ", absl::StrJoin(precisions, " or "),
        half ? "; on a processor it has no fp16 kernels, but computes in fp32"
             : ""));
  }
  return absl::FailedPreconditionError(
      absl::StrCat("runtime \"", runtime, "\" is not available here: expected ",
                   absl::StrJoin(there_is, ", ")));
}

absl::StatusOr<std::vector<std::string>> MeasuringRunner::WaitUntilFit(
    const LatencyHooks& hooks) {
  PreflightOptions options = options_.preflight;
  options.wait = preflight_wait_;
  HWNAS_ASSIGN_OR_RETURN(std::vector<std::string> flags,
                         Preflight(options, *clock_, hooks));
  preflight_wait_ =
      flags.empty() ? options_.preflight.wait : preflight_wait_ / 2;
  return flags;
}

absl::Status MeasuringRunner::Measure(const v1::MeasureTask& task,
                                      LatencyHooks hooks,
                                      v1::TaskResult& result) {
  const v1::MeasureSpec& spec = task.measure();
  const std::string profile = ProfileOf(spec);
  std::optional<GovernorControl::Pinned> pinned;
  const auto pin = [&]() -> absl::Status {
    if (profile != kPinned) return absl::OkStatus();
    std::vector<int> cores =
        MeasuringCores({spec.cores().begin(), spec.cores().end()},
                       std::max(1, spec.threads()), options_.preflight.root);
    if (cores.empty()) cores = AllowedCores();
    HWNAS_ASSIGN_OR_RETURN(GovernorControl::Pinned set,
                           options_.governors->SetPerformance(cores));
    pinned.emplace(std::move(set));
    return absl::OkStatus();
  };
  const auto unpin = [&] {
    if (!pinned) return;
    if (const absl::Status restored = pinned->Restore(); !restored.ok()) {
      logger_->error("event=governor_not_restored reason=\"{}\"",
                     std::string(restored.message()));
    }
    pinned.reset();
  };
  HWNAS_RETURN_IF_ERROR(pin());
  // Those whose turn it is meanwhile may want the clock otherwise.
  hooks.pause = [&, pause = hooks.pause]() -> absl::StatusOr<bool> {
    if (!turns_.IsWanted()) return false;
    unpin();
    HWNAS_ASSIGN_OR_RETURN(const bool used, pause());
    HWNAS_RETURN_IF_ERROR(pin());
    return used;
  };
  HWNAS_ASSIGN_OR_RETURN(const std::vector<std::string> flags,
                         WaitUntilFit(hooks));
  HWNAS_RETURN_IF_ERROR(measurer_->Measure(task, hooks, result));
  result.mutable_environment()->set_profile(profile);
  for (v1::Measurement& measurement : *result.mutable_measurements()) {
    // Memory and the like do not depend on it.
    if (measurement.unit() == "MB") continue;
    for (const std::string& flag : flags) measurement.add_flags(flag);
  }
  unpin();
  return absl::OkStatus();
}

std::string MeasuringRunner::ProfileOf(const v1::MeasureSpec& spec) const {
  return spec.profile().empty() ? options_.profile : spec.profile();
}

absl::Status MeasuringRunner::CheckCores(const v1::MeasureSpec& spec) const {
  if (spec.cores().empty()) return absl::OkStatus();
  const std::vector<int> allowed = AllowedCores();
  std::set<int> different;
  std::vector<int> refused;
  for (const int core : spec.cores()) {
    if (!different.insert(core).second) {
      return absl::FailedPreconditionError(
          absl::StrCat("core ", core, " is named twice in cores"));
    }
    if (std::find(allowed.begin(), allowed.end(), core) == allowed.end()) {
      refused.push_back(core);
    }
  }
  if (!refused.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("cores ", absl::StrJoin(refused, ", "),
                     " are not available here: expected some of ",
                     absl::StrJoin(allowed, ", ")));
  }
  if (spec.cores_size() < std::max(1, spec.threads())) {
    return absl::FailedPreconditionError(
        absl::StrCat("cores names ", spec.cores_size(), " for ", spec.threads(),
                     " threads: expected at least as many"));
  }
  return absl::OkStatus();
}

absl::Status MeasuringRunner::CheckRequest(const v1::MeasureTask& task) const {
  const v1::MeasureSpec& spec = task.measure();
  const auto refuse = [](auto&&... parts) {
    return absl::FailedPreconditionError(absl::StrCat(parts...));
  };
  if (!options_.device_classes.empty() &&
      std::find(options_.device_classes.begin(), options_.device_classes.end(),
                task.device_class()) == options_.device_classes.end()) {
    return refuse("device class \"", task.device_class(),
                  "\" is not measured here: expected ",
                  absl::StrJoin(options_.device_classes, " or "));
  }
  HWNAS_RETURN_IF_ERROR(CheckRuntime(spec));
  const std::string profile = ProfileOf(spec);
  if (profile != kAsShipped && profile != kPinned) {
    return refuse("profile \"", profile,
                  "\" is not known: expected as_shipped or pinned");
  }
  if (profile == kPinned && options_.governors == nullptr) {
    return refuse("profile \"pinned\" is not available here: ",
                  options_.why_not_pinned);
  }
  HWNAS_RETURN_IF_ERROR(CheckCores(spec));
  const int cores = static_cast<int>(AllowedCores().size());
  const int most =
      options_.max_threads > 0 ? options_.max_threads : std::max(cores, 1);
  if (spec.threads() < 0 || spec.threads() > most) {
    return refuse(spec.threads(),
                  " threads are not available here: expected 1 to ", most);
  }
  if (spec.batch() < 0 || spec.batch() > kMaxBatch) {
    return refuse("batch is ", spec.batch(), ": expected 1 to ", kMaxBatch);
  }
  const auto meter = MeterOptions(spec);
  if (!meter.ok()) return refuse(meter.status().message());
  return absl::OkStatus();
}

}  // namespace hwnas::agent
