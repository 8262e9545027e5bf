// Something that tells how much power this machine, or a part of it, takes.
//
//   HWNAS_ASSIGN_OR_RETURN(const PowerReading reading, source->Read());
//
// docs/power.md lists the sources. They are found by probing (probe.h).
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace hwnas::agent {

// One look at a source: a power or a counter of energy, never both.
struct PowerReading {
  // The moment that the value is of, on the clock that times inferences.
  absl::Duration time;
  // At that moment, in watts.
  std::optional<double> power_w = {};
  // Since some moment in the past, in joules; never less than before.
  std::optional<double> energy_j = {};
  // What was counted between the reading before and this one is not known:
  // the counter began anew, or may have wrapped around more than once.
  bool broken = false;
};

struct PowerSourceInfo {
  // "rapl": as in the flag --power.
  std::string name;
  // What is in the readings, for people: "processor packages 0 and 1". What is
  // not named is not in them.
  std::string includes;
  // Time between readings.
  absl::Duration interval;
  // A reading is a mean over so long before its time.
  absl::Duration averaging = absl::ZeroDuration();
  // Read() waits for the source's next value, so nobody else needs to wait.
  bool paces_itself = false;
};

// Used by one thread at a time.
class PowerSource {
 public:
  virtual ~PowerSource() = default;
  virtual const PowerSourceInfo& info() const = 0;
  // Returns soon, or after the few intervals that a source with a pace of its
  // own needs. An error stands for one reading; the next may succeed.
  virtual absl::StatusOr<PowerReading> Read() = 0;
};

// Readings outside of this are taken for a fault of the sensor: no machine that
// one agent measures takes more.
inline constexpr double kMaxPlausibleWatts = 100'000;

}  // namespace hwnas::agent
