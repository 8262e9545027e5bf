// Which of the results at one rung are the best, when there are several
// objectives and constraints.
#pragma once

#include <vector>

#include "absl/types/span.h"
#include "nas/problem.h"

namespace hwnas {

// How members of one front are ordered.
enum class FrontOrder {
  // First the one with the most hypervolume, then whichever adds most to those
  // taken (greedy subset selection; Guerreiro, Fonseca and Paquete,
  // Evolutionary
  // Computation 2016). Objectives are scaled to the range of all feasible
  // results; the reference point is a tenth of it beyond the worst.
  kHypervolume,
  // First the one best in the first objective, then whichever is furthest from
  // all taken, in the same scale: an epsilon-net (Salinas et al., arXiv
  // 2106.05680), as Schmucker et al. use it (MO-ASHA, arXiv 2106.12639).
  kEpsilonNet,
};

// Indices of the best `count` (or all, if there are fewer), best first: by
// fronts under constrained non-domination, then by `order`; members of a front
// of violating results come in their order here. Failed results are left out.
// Thread-safe.
std::vector<int> BestOfRung(absl::Span<const Evaluation* const> evaluations,
                            int count, FrontOrder order);

}  // namespace hwnas
