// How long and how exactly to measure, as a task asks for it.
#pragma once

#include "absl/status/statusor.h"
#include "agent/measure/latency_meter.h"
#include "hwnas/v1/study.pb.h"

namespace hwnas::agent {

// INVALID_ARGUMENT names the field that is out of range.
absl::StatusOr<LatencyMeterOptions> MeterOptions(const v1::MeasureSpec& spec);

}  // namespace hwnas::agent
