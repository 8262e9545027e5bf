// Measures each network in a confined process of its own, so that a model that
// crashes, hangs or eats memory costs one attempt and never the agent.
//
//   task -> child: confine -> InProcessMeasurer -> outcome
//              | notes, questions to the agent's sensors
//
// The sensors stay with the agent: reading them may need what the child may not
// do. Both processes have the same monotonic clock.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "agent/device/power/power_sampler.h"
#include "agent/measure/in_process_measurer.h"
#include "agent/measure/measurer.h"
#include "fleet/emulation.h"

namespace hwnas::agent {
namespace sandbox {
class ChildTask;
class Outcome;
}  // namespace sandbox

struct SandboxedMeasurerOptions {
  // Resource name of the device, the sensors: `root` is always "/".
  InProcessMeasurerOptions measurer;
  // A command that calls RunMeasuringChild() if kMeasuringChildArgument
  // follows.
  std::vector<std::string> program = fleet::OwnCommand();
  // How long a task may take beside what it asks for (loading, one inference,
  // memory) and the pauses in which others measure; then the child is killed.
  absl::Duration time_limit = absl::Minutes(2);
  // What the child may use. 0: its share of three quarters of what is available
  // when it starts.
  int64_t max_memory_bytes = 0;
  // How many children may live at the same time.
  int at_once = 1;
};

// What they say, or what is available now.
int64_t MemoryLimitBytes(const SandboxedMeasurerOptions& options);

// The calling thread waits for the child.
class SandboxedMeasurer final : public Measurer {
 public:
  explicit SandboxedMeasurer(SandboxedMeasurerOptions options)
      : options_(std::move(options)) {}

  // INTERNAL, with what happened and in which phase: the child crashed;
  // DEADLINE_EXCEEDED: it was killed after its time. Neither blames the
  // candidate: it may have been the machine.
  absl::Status Measure(const v1::MeasureTask& task, const LatencyHooks& hooks,
                       v1::TaskResult& result) override;

  // The task's model as an ONNX file with its batch fixed, for a program that
  // measures by itself; quantised to int8 if `quantize`. Made in a child too:
  // the model is as hostile as ever. Errors as above.
  absl::StatusOr<std::string> Prepare(const v1::MeasureTask& task,
                                      bool quantize, const LatencyHooks& hooks);

 private:
  // Adds the limits to `first`, and returns what the child says at its end.
  absl::StatusOr<sandbox::Outcome> RunChild(sandbox::ChildTask first,
                                            absl::Duration time_limit,
                                            const LatencyHooks& hooks);

  const SandboxedMeasurerOptions options_;
};

}  // namespace hwnas::agent
