// Which trainings take so much longer than others of their study that a worker
// with nothing to do should try as well: pure policy.
#pragma once

#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"

namespace hwnas::controller {

// A training is a straggler when it has taken more than twice what three
// quarters of the finished ones took, epoch for epoch. What is over soon is not
// worth a second worker.
inline constexpr int kLeastFinishedTrainings = 5;
inline constexpr double kStragglerQuantile = 0.75;
inline constexpr double kStragglerFactor = 2;
inline constexpr absl::Duration kLeastStragglerTime = absl::Seconds(10);

// How long a training of so many epochs may take before it is one.
// `epoch_seconds` are of finished trainings of the study; infinite if they are
// too few to tell.
absl::Duration StragglerTime(absl::Span<const double> epoch_seconds,
                             int epochs);

}  // namespace hwnas::controller
