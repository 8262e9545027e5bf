// From readings of power to the energy of a window of time.
//
// Powers are integrated by the trapezoidal rule, interpolated linearly at the
// ends of the window. Counters are subtracted. Stretches between readings that
// lie too far apart are not covered; if they are few, the covered mean stands
// for them, otherwise there is no value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "agent/device/power/power_source.h"

namespace hwnas::agent {

// Of a window that must be covered for a value.
inline constexpr double kMinCoverage = 0.95;
// Neighbouring readings further apart than so many intervals leave a gap.
inline constexpr double kMaxGapIntervals = 2.5;

struct TimeWindow {
  absl::Duration begin;
  absl::Duration end;

  absl::Duration length() const { return end - begin; }
};

struct WindowEnergy {
  // Unset if there is no value, for `reason`.
  std::optional<double> energy_mj;
  // Mean over the window.
  std::optional<double> power_w;
  // Share of the window that readings cover, 0 to 1.
  double coverage = 0;
  // Readings within the window.
  int64_t reading_count = 0;
  std::string reason;
};

// Readings out of order, not finite or not plausible are left out. `max_gap`:
// the longest time between two readings that still covers what lies between; a
// counter also covers a longer one if it lies inside of the window as a whole.
WindowEnergy IntegrateEnergy(absl::Span<const PowerReading> readings,
                             const TimeWindow& window, absl::Duration max_gap);

}  // namespace hwnas::agent
