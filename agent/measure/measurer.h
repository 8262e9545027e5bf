// What an agent does with one network: the part of a task that touches the
// model.
#pragma once

#include "absl/status/status.h"
#include "agent/measure/latency_meter.h"
#include "hwnas/v1/fleet_service.pb.h"

namespace hwnas::agent {

// Called by one thread at a time.
class Measurer {
 public:
  virtual ~Measurer() = default;
  // Fills measurements, samples, environment, energy and missing metrics of
  // `result`. INVALID_ARGUMENT: no machine could measure this model. CANCELLED
  // soon after `hooks.cancelled` says so. After an error the environment may be
  // filled in nevertheless.
  virtual absl::Status Measure(const v1::MeasureTask& task,
                               const LatencyHooks& hooks,
                               v1::TaskResult& result) = 0;
};

}  // namespace hwnas::agent
