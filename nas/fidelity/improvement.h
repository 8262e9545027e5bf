// Whether a trial that has not had its whole training may still improve the
// front.
#pragma once

#include "absl/types/span.h"
#include "nas/fidelity/fidelity_lift.h"
#include "nas/problem.h"

namespace hwnas {

// True unless some result at full fidelity dominates or equals the trial even
// where it ends `deviations` standard deviations better than expected in every
// value. True if nothing is known of the error. Thread-safe.
bool MayImprove(const FidelityLift::Lifted& trial,
                absl::Span<const Evaluation* const> full_fidelity,
                double deviations);

}  // namespace hwnas
