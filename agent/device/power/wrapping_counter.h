// Makes one growing number of a counter that begins again at zero.
#pragma once

#include <optional>

#include "absl/time/time.h"

namespace hwnas::agent {

// Not thread-safe.
class WrappingCounter {
 public:
  // The counter begins again at zero after `range` joules. Nothing that it
  // counts takes more than `max_power_w`.
  WrappingCounter(double range_j, double max_power_w);

  struct Total {
    double energy_j = 0;  // Since the first call; never less than before.
    // How much was counted since the call before is not known: it lies so far
    // back that there may have been several wraps, or more was counted than is
    // possible. The total then goes on as if it had been nothing.
    bool broken = false;
  };
  // `raw_j` from 0 to the range; `time` later than at the call before.
  Total Add(absl::Duration time, double raw_j);

  // Calls further apart than this are broken.
  absl::Duration longest_gap() const;

 private:
  const double range_j_;
  const double max_power_w_;
  std::optional<double> last_j_;
  absl::Duration last_time_;
  double total_j_ = 0;
};

}  // namespace hwnas::agent
