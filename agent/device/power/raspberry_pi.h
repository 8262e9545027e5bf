// What the firmware of a Raspberry Pi tells through vcgencmd.
//
//   vcgencmd pmic_read_adc        (Raspberry Pi 5: its power management chip)
//      3V7_WL_SW_A current(0)=0.00195186A
//       VDD_CORE_A current(7)=0.56259000A
//      3V7_WL_SW_V volt(8)=3.70720000V
//       VDD_CORE_V volt(15)=0.76798460V
//          EXT5V_V volt(24)=5.09066000V
//   or, without kind and number, "VDD_CORE_A=0.56259000A"
//
//   vcgencmd get_throttled        (all)
//   throttled=0x50005
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/device/power/power_source.h"
#include "agent/measure/steady_clock.h"
#include "common/command_runner.h"

namespace hwnas::agent {

// Watts: the sum over rails with a current and a voltage of that name. Rails
// with only one of them (EXT5V, the input) give no power.
absl::StatusOr<double> ParsePmicWatts(absl::string_view text);

// NOT_FOUND if this is no Raspberry Pi or its chip has no such readings.
// `commands` and `clock` must outlive the source.
absl::StatusOr<std::unique_ptr<PowerSource>> FindRaspberryPiPmic(
    const std::string& root, CommandRunner* commands, SteadyClock* clock);

// Bits 0 to 3 say what is the case now, bits 16 to 19 what has been since the
// board was started: too low a voltage, a cap on the frequency, throttling, the
// soft limit of temperature.
absl::StatusOr<uint32_t> ParseThrottled(absl::string_view text);

// What slowed the machine down between two readings of these bits, for people:
// "under-voltage, throttled". Empty if nothing did, or if nothing can be known
// because it had been so before and is not now.
std::string ThrottledBetween(uint32_t before, uint32_t after);

// Asks for these bits. Thread-compatible.
class ThrottleSensor {
 public:
  // Null if this is no Raspberry Pi or it does not answer. `commands` must
  // outlive the sensor.
  static std::unique_ptr<ThrottleSensor> Find(const std::string& root,
                                              CommandRunner* commands);
  // Unset if the firmware does not answer.
  std::optional<uint32_t> Read() const;

 private:
  explicit ThrottleSensor(CommandRunner* commands) : commands_(commands) {}
  CommandRunner* const commands_;
};

}  // namespace hwnas::agent
