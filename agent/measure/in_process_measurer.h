// Takes a network, measures it in this process, and says how far the numbers
// can be trusted.
//
//   ONNX file -> session -> latency -> energy, if asked for -> memory
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "agent/device/interference.h"
#include "agent/device/power/power_sampler.h"
#include "agent/measure/measurer.h"
#include "agent/measure/steady_clock.h"
#include "agent/runtime/runtime.h"
#include "fleet/host_environment.h"
#include "hwnas/v1/model_graph.pb.h"
#include "hwnas/v1/power.pb.h"

namespace hwnas::agent {

struct InProcessMeasurerOptions {
  // Resource name of the device: "devices/{executor_id}".
  std::string device;
  // Where /proc and /sys are looked for.
  std::string root = "/";
  // Records the power; must outlive the measurer. Null if nothing can, for
  // `why_no_power`.
  PowerRecorder* power = nullptr;
  std::string why_no_power;
  // What a Raspberry Pi says of its throttling (ParseThrottled). Null
  // elsewhere.
  std::function<std::optional<uint32_t>()> throttled;
  // Told from instead of the machine's own counters; must outlive the measurer.
  // Null: those.
  Interference* interference = nullptr;
};

// An ONNX file of the graph with some weights. INVALID_ARGUMENT if the graph is
// wrong.
using GraphExporter = std::function<absl::StatusOr<std::string>(
    const v1::ModelGraph& graph, int batch)>;

// As Hello announces it.
v1::PowerSource PowerSourceProto(const PowerSourceInfo& info);

// The calling thread does the work; it is pinned meanwhile.
class InProcessMeasurer final : public Measurer {
 public:
  // `runtime` and `clock` must outlive it.
  InProcessMeasurer(InProcessMeasurerOptions options, Runtime* runtime,
                    GraphExporter export_graph, SteadyClock* clock);

  absl::Status Measure(const v1::MeasureTask& task, const LatencyHooks& hooks,
                       v1::TaskResult& result) override;

 private:
  void AddLatency(const LatencyReport& report, double load_ms,
                  const std::string& device_class,
                  v1::TaskResult& result) const;
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

  const InProcessMeasurerOptions options_;
  Runtime* const runtime_;
  const GraphExporter export_graph_;
  SteadyClock* const clock_;
  const fleet::HostEnvironment host_;
};

}  // namespace hwnas::agent
