#include "agent/device/power/energy_integrator.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"

namespace hwnas::agent {
namespace {

// A value that rests on fewer would be a guess.
constexpr int64_t kMinReadings = 2;

// Negative powers are kept: sensors have offsets, and a mean wants both sides.
bool IsPlausible(const PowerReading& reading) {
  if (reading.power_w.has_value() == reading.energy_j.has_value()) return false;
  if (reading.power_w) {
    return std::isfinite(*reading.power_w) &&
           std::abs(*reading.power_w) <= kMaxPlausibleWatts;
  }
  return std::isfinite(*reading.energy_j) && *reading.energy_j >= 0;
}

// Joules of `stretch`, which lies between two neighbouring readings; nothing if
// it is not covered.
std::optional<double> Between(const PowerReading& from, const PowerReading& to,
                              const TimeWindow& stretch,
                              absl::Duration max_gap) {
  const absl::Duration gap = to.time - from.time;
  const double gap_s = absl::ToDoubleSeconds(gap);
  const double stretch_s = absl::ToDoubleSeconds(stretch.length());
  if (from.power_w && to.power_w) {
    if (gap > max_gap) return std::nullopt;
    const double middle_s =
        absl::ToDoubleSeconds(stretch.begin - from.time) + stretch_s / 2;
    const double middle_w =
        *from.power_w + (*to.power_w - *from.power_w) * middle_s / gap_s;
    return middle_w * stretch_s;
  }
  if (from.energy_j && to.energy_j) {
    const double joules = *to.energy_j - *from.energy_j;
    if (to.broken || joules < 0 || joules > kMaxPlausibleWatts * gap_s) {
      return std::nullopt;
    }
    if (stretch.length() == gap) return joules;
    if (gap > max_gap) return std::nullopt;
    return joules * stretch_s / gap_s;
  }
  return std::nullopt;
}

}  // namespace

WindowEnergy IntegrateEnergy(absl::Span<const PowerReading> readings,
                             const TimeWindow& window, absl::Duration max_gap) {
  WindowEnergy result;
  if (window.length() <= absl::ZeroDuration()) {
    result.reason = "there was no time to read the power in";
    return result;
  }
  double joules = 0;
  absl::Duration covered = absl::ZeroDuration();
  const PowerReading* before = nullptr;
  bool lost = false;  // A reading since `before` was left out.
  for (const PowerReading& reading : readings) {
    if (!IsPlausible(reading) ||
        (before != nullptr && reading.time <= before->time)) {
      lost |= reading.broken;
      continue;
    }
    if (reading.time >= window.begin && reading.time <= window.end) {
      ++result.reading_count;
    }
    if (before != nullptr && !lost) {
      const TimeWindow stretch = {std::max(before->time, window.begin),
                                  std::min(reading.time, window.end)};
      if (stretch.length() > absl::ZeroDuration()) {
        if (const auto some = Between(*before, reading, stretch, max_gap)) {
          joules += *some;
          covered += stretch.length();
        }
      }
    }
    before = &reading;
    lost = false;
  }
  result.coverage = absl::FDivDuration(covered, window.length());
  if (result.reading_count < kMinReadings) {
    result.reason = absl::StrFormat(
        "%d power readings in %s: expected %d", result.reading_count,
        absl::FormatDuration(window.length()), kMinReadings);
    return result;
  }
  if (result.coverage < kMinCoverage) {
    result.reason = absl::StrFormat(
        "power readings cover %.1f %% of %s: expected %.0f %%",
        100 * result.coverage, absl::FormatDuration(window.length()),
        100 * kMinCoverage);
    return result;
  }
  result.power_w = joules / absl::ToDoubleSeconds(covered);
  result.energy_mj =
      1000 * *result.power_w * absl::ToDoubleSeconds(window.length());
  return result;
}

}  // namespace hwnas::agent
