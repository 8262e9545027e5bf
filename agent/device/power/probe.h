// Finds out what this machine's power can be measured with.
//
//   HWNAS_ASSIGN_OR_RETURN(PowerProbe probe, ChoosePowerSource("auto",
//   options)); if (probe.source == nullptr) log(probe.why_none);
//
// Nothing is assumed from the machine's name: a source counts if it gives a
// reading.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/device/power/nvml.h"
#include "agent/device/power/power_source.h"
#include "agent/measure/steady_clock.h"
#include "common/command_runner.h"

namespace hwnas::agent {

struct PowerProbeOptions {
  // Where /sys and /proc are looked for.
  std::string root = "/";
  // Both must outlive the sources.
  CommandRunner* commands = nullptr;
  SteadyClock* clock = nullptr;
  std::string nvml_library = kNvmlLibrary;
};

struct AbsentPowerSource {
  std::string name;
  absl::Status reason;
};

struct PowerSources {
  // What `auto` takes first comes first: whatever measures the whole board,
  // then the processor. Not the graphics cards, as no runtime computes on them.
  std::vector<std::unique_ptr<PowerSource>> found;
  std::vector<AbsentPowerSource> absent;
};

PowerSources ProbePowerSources(const PowerProbeOptions& options);

struct PowerProbe {
  std::unique_ptr<PowerSource> source;  // May be null.
  std::string why_none;
};

// `choice`: "auto" takes the first that is found, "none" none. One of the
// others must be there: "jetson", "pmic", "hwmon" or
// "hwmon:DEVICE", "rapl", "nvml", "command:LINE", "serial:PORT[@BAUD]".
// INVALID_ARGUMENT for other words, FAILED_PRECONDITION for what is not there.
absl::StatusOr<PowerProbe> ChoosePowerSource(absl::string_view choice,
                                             const PowerProbeOptions& options);

}  // namespace hwnas::agent
