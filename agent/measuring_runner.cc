#include "agent/measuring_runner.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/device/cores.h"
#include "agent/measure/meter_options.h"

namespace hwnas::agent {
namespace {

constexpr int kMaxBatch = 4096;

}  // namespace

MeasuringRunner::MeasuringRunner(MeasuringRunnerOptions options,
                                 Measurer* measurer, SteadyClock* clock,
                                 AgentMetrics* metrics,
                                 std::shared_ptr<Logger> logger)
    : options_(std::move(options)),
      measurer_(measurer),
      clock_(clock),
      metrics_(metrics),
      logger_(std::move(logger)) {}

v1::TaskResult MeasuringRunner::Run(const v1::Task& task,
                                    fleet::TaskContext& context) {
  v1::TaskResult result;
  if (!task.has_measure()) {
    result.set_error("this is an agent: expected a task to measure");
    return result;
  }
  absl::Duration begin = clock_->Now();
  absl::Status status = CheckRequest(task.measure());
  if (status.ok()) {
    // One measurement at a time, and never beside a training.
    context.ReportNote("waiting for the cores");
    auto lock = HostCoresLock::Open(options_.cores_lock);
    status = lock.ok() ? (*lock)->Acquire(HostCoresLock::kExclusive,
                                          [&] { return context.cancelled(); })
                       : lock.status();
    metrics_->ObserveWaitForCores(absl::ToDoubleSeconds(clock_->Now() - begin));
    begin = clock_->Now();
    if (status.ok()) {
      LatencyHooks hooks;
      hooks.cancelled = [&] { return context.cancelled(); };
      hooks.progress = [&](const std::string& note) {
        context.ReportNote(note);
      };
      status = measurer_->Measure(task.measure(), hooks, result);
    }
  }
  const double seconds = absl::ToDoubleSeconds(clock_->Now() - begin);
  if (!status.ok()) {
    v1::TaskResult failed;
    failed.set_error(std::string(status.message()));
    // Models are data; what one machine cannot read, none can. But a request
    // that we refuse may suit another agent.
    failed.set_candidate_fault(absl::IsInvalidArgument(status));
    *failed.mutable_environment() = result.environment();
    result = std::move(failed);
  }
  for (const v1::Measurement& measurement : result.measurements()) {
    if (measurement.metric() != "latency_ms") continue;
    for (const std::string& flag : measurement.flags()) {
      if (absl::StartsWith(flag, "UNCONVERGED")) metrics_->CountUnconverged();
      if (absl::StartsWith(flag, "NOISY")) metrics_->CountNoisy();
    }
  }
  for (const v1::MissingMetric& missing : result.missing_metrics()) {
    logger_->warn("event=no_metric metric={} reason=\"{}\"", missing.metric(),
                  missing.reason());
  }
  metrics_->CountMeasurement(status.ok()                 ? "ok"
                             : absl::IsCancelled(status) ? "cancelled"
                                                         : "failed",
                             seconds);
  return result;
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
  if (!spec.runtime().empty() && spec.runtime() != options_.runtime) {
    return refuse("runtime \"", spec.runtime(),
                  "\" is not available here: expected ", options_.runtime);
  }
  if (!spec.precision().empty() && spec.precision() != "fp32") {
    return refuse("precision \"", spec.precision(),
                  "\" is not available here: expected fp32");
  }
  if (!spec.profile().empty() && spec.profile() != "as_shipped") {
    return refuse("profile \"", spec.profile(),
                  "\" is not available here: expected as_shipped");
  }
  if (!spec.cores().empty()) {
    return refuse("cores cannot be chosen here: expected none");
  }
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
