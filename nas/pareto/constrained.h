// Ordering of judged trials when there are constraints: feasibility first.
#pragma once

#include <vector>

#include "absl/types/span.h"
#include "nas/pareto/pareto.h"
#include "nas/problem.h"

namespace hwnas {

// What a trial is worth before its objectives are looked at, best first.
enum class Standing {
  kFeasible,  // All values known, all constraints hold.
  kViolates,  // Some constraint does not hold, whatever else is unknown.
  kFailed,    // Values are missing, and no constraint explains it.
};

Standing StandingOf(const Evaluation& evaluation);

// Constrained domination (Deb et al., 2002): a feasible trial dominates any
// other; of two that violate constraints the smaller violation dominates; of
// two feasible ones Pareto dominance decides. A failed trial is dominated by
// all others.
bool ConstrainedDominates(const Evaluation& a, const Evaluation& b);

// Fronts of indices under constrained domination, best first: the feasible
// ones by NonDominatedSort, then one front for each size of violation, then all
// failed ones.
std::vector<std::vector<int>> ConstrainedNonDominatedSort(
    absl::Span<const Evaluation* const> evaluations);
std::vector<std::vector<int>> ConstrainedNonDominatedSort(
    absl::Span<const Evaluation> evaluations);

// Place of each trial under constrained domination, and how alone it is there.
struct RankAndCrowding {
  std::vector<int> rank;         // 0 is best.
  std::vector<double> crowding;  // 0 unless feasible. Larger is better.

  // Deb's crowded comparison: whether a is preferred to b.
  bool Prefers(int a, int b) const {
    if (rank[a] != rank[b]) return rank[a] < rank[b];
    return crowding[a] > crowding[b];
  }
};

RankAndCrowding RankAndCrowd(absl::Span<const Evaluation* const> evaluations);

// A reference point for hypervolumes, all objectives minimised: what an
// objective of the problem says, else its worst finite value and a tenth of the
// range beyond it (0 if there is none).
Point ReferenceOf(const Problem& problem,
                  absl::Span<const Evaluation> evaluations);

}  // namespace hwnas
