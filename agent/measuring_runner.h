// Does an agent's tasks: checks what is asked for, waits until nothing else
// uses the cores, sets the clock's governor if the profile says so, has the
// network measured, and counts how it went.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "agent/agent_metrics.h"
#include "agent/device/governor.h"
#include "agent/measure/measurer.h"
#include "agent/measure/measuring_turns.h"
#include "agent/measure/preflight.h"
#include "agent/measure/steady_clock.h"
#include "common/host_cores_lock.h"
#include "common/log.h"
#include "fleet/fleet_client.h"

namespace hwnas::agent {

// fp32, and int8 by quantising the file. ONNX Runtime has no fp16 kernels for
// processors.
v1::RuntimeCapability OnnxRuntimeCapability();

struct MeasuringRunnerOptions {
  // What it measures for; others are refused. Empty: anything.
  std::vector<std::string> device_classes;
  // What it measures with; other runtimes and precisions are refused.
  std::vector<v1::RuntimeCapability> capabilities = {OnnxRuntimeCapability()};
  // Most threads that a task may ask for; 0: the number of cores.
  int max_threads = 0;
  // Why times taken here say nothing about a device: each result is marked with
  // it. Empty: they do. See fleet::WhyEmulated.
  std::string why_emulated;
  std::string cores_lock = HostCoresLock::DefaultPath();
  // Before each measurement. A wait in vain halves the next one, so that a
  // machine that is always busy does not cost it each time.
  PreflightOptions preflight;
  // For tasks that name none: "as_shipped" or "pinned".
  std::string profile = "as_shipped";
  // Sets governors for "pinned"; must outlive the runner. Null: cannot, for
  // `why_not_pinned`.
  GovernorControl* governors = nullptr;
  std::string why_not_pinned;
};

// Thread-safe. Of the tasks that run at the same time, one measures at any
// moment: they take turns, a pass each, in random order.
class MeasuringRunner final : public fleet::TaskRunner {
 public:
  // `measurer`, `clock`, `metrics` must outlive it.
  MeasuringRunner(MeasuringRunnerOptions options, Measurer* measurer,
                  SteadyClock* clock, AgentMetrics* metrics,
                  std::shared_ptr<Logger> logger);

  v1::TaskResult Run(const v1::Task& task,
                     fleet::TaskContext& context) override;

 private:
  absl::Status CheckRequest(const v1::MeasureTask& task) const;
  absl::Status CheckRuntime(const v1::MeasureSpec& spec) const;
  absl::Status CheckCores(const v1::MeasureSpec& spec) const;
  std::string ProfileOf(const v1::MeasureSpec& spec) const;
  // Waits for a fit machine. Returns what still speaks against it, as flags.
  absl::StatusOr<std::vector<std::string>> WaitUntilFit(
      const LatencyHooks& hooks);
  // With the cores ours and the clock as the profile says.
  absl::Status Measure(const v1::MeasureTask& task, LatencyHooks hooks,
                       v1::TaskResult& result);

  const MeasuringRunnerOptions options_;
  Measurer* const measurer_;
  SteadyClock* const clock_;
  AgentMetrics* const metrics_;
  const std::shared_ptr<Logger> logger_;
  MeasuringTurns turns_;
  // Of the next measurement. Used by the one whose turn it is.
  absl::Duration preflight_wait_;
};

}  // namespace hwnas::agent
