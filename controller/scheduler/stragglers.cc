#include "controller/scheduler/stragglers.h"

#include <algorithm>

namespace hwnas::controller {

absl::Duration StragglerTime(absl::Span<const double> epoch_seconds,
                             int epochs) {
  if (epoch_seconds.size() < kLeastFinishedTrainings) {
    return absl::InfiniteDuration();
  }
  std::vector<double> sorted(epoch_seconds.begin(), epoch_seconds.end());
  std::sort(sorted.begin(), sorted.end());
  const auto at = static_cast<size_t>(kStragglerQuantile *
                                      static_cast<double>(sorted.size() - 1));
  return std::max(kLeastStragglerTime,
                  absl::Seconds(kStragglerFactor * sorted[at] * epochs));
}

}  // namespace hwnas::controller
