// An external meter that tells one power a line, in watts unless the line ends
// with another unit:
//
//   4.27
//   4.27 W
//   4270 mW
//
// The lines come from a command or from a serial port. Empty lines and those
// that begin with '#' are passed over.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/device/power/power_source.h"
#include "agent/measure/steady_clock.h"

namespace hwnas::agent {

// INVALID_ARGUMENT if the line is anything else.
absl::StatusOr<double> ParseWatts(absl::string_view line);

// `command` is a line for the shell. It may go on printing, or print one value
// and end with exit code 0: then it is started again for the next value, at
// most ten times a second. It is killed when the source is destroyed.
//
// Both read a few lines to learn the meter's pace. UNAVAILABLE if none comes in
// 5 s. `clock` must outlive the source.
absl::StatusOr<std::unique_ptr<PowerSource>> OpenCommandMeter(
    const std::string& command, SteadyClock* clock);

// `port`: "/dev/ttyUSB0", or "/dev/ttyUSB0@9600" for another speed than 115200
// baud; 8 bits, no parity, one stop bit.
absl::StatusOr<std::unique_ptr<PowerSource>> OpenSerialMeter(
    const std::string& port, SteadyClock* clock);

}  // namespace hwnas::agent
