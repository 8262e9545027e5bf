// Devices as people and programs read them.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "cli/table.h"
#include "hwnas/v1/device_service.pb.h"

namespace hwnas::cli {

// "connected", "lost", "draining", "quarantined".
std::string ExecutorStateName(v1::Executor::State state);

// One row for each device. `now` only for "3 min ago".
Table DeviceTable(absl::Span<const v1::Device> devices, absl::Time now);

// Everything about one device, for people: what it is and can do, who has it,
// its health, its last anchors and cross-checks.
std::string DeviceText(const v1::Device& device, absl::Time now);

}  // namespace hwnas::cli
