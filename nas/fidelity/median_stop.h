// The median stopping rule with several objectives.
#pragma once

#include <optional>
#include <string>

#include "nas/fidelity/curves.h"
#include "nas/fidelity/fidelity_policy.h"

namespace hwnas {

// Golovin et al., "Google Vizier", KDD 2017, section 3.2.2: a trial is stopped
// after epoch e if its best value so far is strictly worse than the median,
// over the trials that have finished, of their mean value up to epoch e.
//
// With several objectives: if more than half of those means lie on better
// fronts under constrained non-domination than its best values so far (of each
// objective), all ranked together. With one objective that is the rule above.
// Thread-safe.
std::optional<std::string> MedianReasonToStop(const MedianStopConfig& config,
                                              const CurveTable& table,
                                              const Curve& running);

}  // namespace hwnas
