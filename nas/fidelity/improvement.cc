#include "nas/fidelity/improvement.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "nas/pareto/constrained.h"

namespace hwnas {

bool MayImprove(const FidelityLift::Lifted& trial,
                absl::Span<const Evaluation* const> full_fidelity,
                double deviations) {
  if (!trial.evaluation.complete) return false;
  Evaluation best = trial.evaluation;
  for (size_t k = 0; k < best.objectives.size(); ++k) {
    if (!std::isfinite(trial.deviation[k])) return true;
    best.objectives[k] -= deviations * trial.deviation[k];
  }
  if (!std::isfinite(trial.violation_deviation)) return true;
  best.violation =
      std::max(0.0, best.violation - deviations * trial.violation_deviation);
  return std::none_of(full_fidelity.begin(), full_fidelity.end(),
                      [&best](const Evaluation* result) {
                        return ConstrainedDominates(*result, best) ||
                               (StandingOf(*result) == Standing::kFeasible &&
                                StandingOf(best) == Standing::kFeasible &&
                                result->objectives == best.objectives);
                      });
}

}  // namespace hwnas
