// A power monitor that somebody soldered or plugged in: INA219, INA220, INA226,
// INA230, INA231 or INA260 with the kernel's driver.
//
//   /sys/class/hwmon/hwmon2/name          ina219
//   /sys/class/hwmon/hwmon2/power1_input  3480000   (uW)
//
// The driver computes the power with the resistance of the shunt that it was
// told (shunt_resistor, in microohms); what the chip is wired to, nobody tells.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/device/power/power_source.h"
#include "agent/measure/steady_clock.h"

namespace hwnas::agent {

// `device`: which of several, by the name of its folder in /sys/class/hwmon or
// of its place on the bus ("1-0040"); empty if there is only one. NOT_FOUND
// without any, FAILED_PRECONDITION if it must be named. `clock` must outlive
// the source.
absl::StatusOr<std::unique_ptr<PowerSource>> FindHwmonIna(
    const std::string& root, absl::string_view device, SteadyClock* clock);

}  // namespace hwnas::agent
