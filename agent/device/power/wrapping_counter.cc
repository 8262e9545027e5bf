#include "agent/device/power/wrapping_counter.h"

namespace hwnas::agent {

WrappingCounter::WrappingCounter(double range_j, double max_power_w)
    : range_j_(range_j), max_power_w_(max_power_w) {}

absl::Duration WrappingCounter::longest_gap() const {
  return absl::Seconds(range_j_ / max_power_w_);
}

WrappingCounter::Total WrappingCounter::Add(absl::Duration time, double raw_j) {
  if (!last_j_) {
    last_j_ = raw_j;
    last_time_ = time;
    return {};
  }
  double step_j = raw_j - *last_j_;
  if (step_j < 0) step_j += range_j_;
  const absl::Duration gap = time - last_time_;
  // Counters move in steps of some milliseconds, so a short gap may show more
  // than its share.
  const double possible_j =
      max_power_w_ * absl::ToDoubleSeconds(gap + absl::Milliseconds(20));
  const bool broken = gap >= longest_gap() || step_j < 0 || step_j > possible_j;
  if (!broken) total_j_ += step_j;
  last_j_ = raw_j;
  last_time_ = time;
  return {.energy_j = total_j_, .broken = broken};
}

}  // namespace hwnas::agent
