// Several measurements in hand at once, so that all devices have work.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "hwnas/v1/device_service.pb.h"

namespace hwnas::cli {

// Calls `job` with 0 to `count` - 1, beginning in that order, on up to
// `threads` threads. After an error nothing more begins; returns the first one.
absl::Status RunInParallel(size_t count, int threads,
                           const std::function<absl::Status(size_t)>& job);

// How many measurements the connected devices of any of `classes` take at once.
int SlotsOf(absl::Span<const v1::Device> devices,
            absl::Span<const std::string> classes);

}  // namespace hwnas::cli
