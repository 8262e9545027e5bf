// The name of the kind of machine that a latency is about.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace hwnas::agent {

// From the board's name in the device tree below `root`: "raspberrypi5",
// "jetson-orin-nano"; otherwise the processor's architecture: "x86_64",
// "aarch64".
std::string DetectDeviceClass(const std::string& root = "/");

// Whether `name` is 1 to 63 of [a-z0-9_.-].
bool IsDeviceClass(absl::string_view name);

}  // namespace hwnas::agent
