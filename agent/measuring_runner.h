// Does an agent's tasks: takes a network, measures it on this machine, and says
// how far the numbers can be trusted.
//
//   task -> alone on the cores -> ONNX file -> session -> latency -> energy, if
//   asked for -> memory
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/agent_metrics.h"
#include "agent/device/power/power_sampler.h"
#include "agent/measure/latency_meter.h"
#include "agent/measure/steady_clock.h"
#include "agent/runtime/runtime.h"
#include "common/host_cores_lock.h"
#include "common/log.h"
#include "fleet/fleet_client.h"
#include "fleet/host_environment.h"
#include "hwnas/v1/model_graph.pb.h"

namespace hwnas::agent {

struct MeasuringRunnerOptions {
  // Resource name of the device: "devices/{executor_id}".
  std::string device;
  // What it measures for; others are refused. Empty: anything.
  std::vector<std::string> device_classes;
  // Most threads that a task may ask for; 0: the number of cores.
  int max_threads = 0;
  std::string cores_lock = HostCoresLock::DefaultPath();
  // Where /proc and /sys are looked for.
  std::string root = "/";
  // Records the power; must outlive the runner. Null if nothing can, for
  // `why_no_power`.
  PowerRecorder* power = nullptr;
  std::string why_no_power;
  // What a Raspberry Pi says of its throttling (ParseThrottled). Null
  // elsewhere.
  std::function<std::optional<uint32_t>()> throttled;
};

// An ONNX file of the graph with some weights. INVALID_ARGUMENT if the graph is
// wrong.
using GraphExporter = std::function<absl::StatusOr<std::string>(
    const v1::ModelGraph& graph, int batch)>;

// As Hello announces it.
v1::PowerSource PowerSourceProto(const PowerSourceInfo& info);

// Thread-safe; measures one task at a time.
class MeasuringRunner final : public fleet::TaskRunner {
 public:
  // `runtime`, `clock`, `metrics` must outlive it.
  MeasuringRunner(MeasuringRunnerOptions options, Runtime* runtime,
                  GraphExporter export_graph, SteadyClock* clock,
                  AgentMetrics* metrics, std::shared_ptr<Logger> logger);

  v1::TaskResult Run(const v1::Task& task,
                     fleet::TaskContext& context) override;

 private:
  // Fills `result`, whose flags may be wanted even after an error.
  absl::Status Measure(const v1::MeasureTask& task, fleet::TaskContext& context,
                       v1::TaskResult& result);
  absl::Status CheckRequest(const v1::MeasureTask& task) const;
  // What the sensor does not tell goes to `result`'s missing metrics.
  absl::Status MeasureEnergyOf(Session& session, int inferences_per_block,
                               int core, const LatencyHooks& hooks,
                               const std::string& device_class,
                               v1::TaskResult& result);
  void MeasureMemory(absl::string_view model, const SessionOptions& options,
                     const std::string& device_class, v1::TaskResult& result);
  v1::Measurement& AddMeasurement(v1::TaskResult& result, const char* metric,
                                  double value, const char* unit,
                                  int64_t sample_count,
                                  const std::string& device_class) const;

  const MeasuringRunnerOptions options_;
  Runtime* const runtime_;
  const GraphExporter export_graph_;
  SteadyClock* const clock_;
  AgentMetrics* const metrics_;
  const std::shared_ptr<Logger> logger_;
  const fleet::HostEnvironment host_;
};

}  // namespace hwnas::agent
