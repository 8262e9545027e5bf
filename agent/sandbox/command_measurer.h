// Measures with a program that does it all by itself, such as trtexec.
//
//   task -> ONNX file (in a child) -> converter, if any -> program -> its
//   report
//
// The program decides how it warms up and how often it repeats; we say how
// long, and take its word. Each time it is confined (confined_command.h).
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/measure/measurer.h"
#include "agent/runtime/command_runtime.h"
#include "agent/sandbox/confined_command.h"
#include "agent/sandbox/sandboxed_measurer.h"
#include "fleet/host_environment.h"

namespace hwnas::agent {

// The calling thread waits for the program.
class CommandMeasurer final : public Measurer {
 public:
  // `runtime` with the paths of its programs (FindPrograms). `options` say
  // where the model is prepared, and with which limits all is done.
  CommandMeasurer(CommandRuntime runtime, SandboxedMeasurerOptions options);

  // FAILED_PRECONDITION if the program cannot read this kind of file.
  absl::Status Measure(const v1::MeasureTask& task, const LatencyHooks& hooks,
                       v1::TaskResult& result) override;

 private:
  // Writes the model where the program will read it; returns its path.
  absl::StatusOr<std::string> WriteModel(const v1::MeasureTask& task,
                                         const LatencyHooks& hooks,
                                         const std::string& folder);
  ConfinedCommandOptions Confinement(const v1::MeasureTask& task,
                                     const LatencyHooks& hooks,
                                     const std::string& folder) const;
  // `report` has a latency; `flags` are about all that was timed.
  void Fill(const CommandReport& report, const v1::MeasureTask& task,
            const LatencyMeterOptions& meter,
            const std::vector<std::string>& flags,
            v1::TaskResult& result) const;
  static void Miss(const char* metric, const std::string& reason,
                   v1::TaskResult& result);

  const CommandRuntime runtime_;
  const SandboxedMeasurerOptions options_;
  SandboxedMeasurer preparer_;
  const fleet::HostEnvironment host_;
};

}  // namespace hwnas::agent
