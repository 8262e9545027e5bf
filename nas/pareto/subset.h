// A few points that stand for many.
#pragma once

#include <vector>

#include "absl/types/span.h"
#include "nas/pareto/pareto.h"

namespace hwnas {

// Indices of `count` points (all, if there are no more) that together dominate
// much hypervolume bounded by `reference`: each in turn is the one that adds
// most to those before it, the earliest of equals. At least 1 - 1/e of what the
// best subset dominates (Guerreiro et al., 2016). Gains only fall as points are
// chosen, so few are computed again (lazy greedy: Minoux, 1978).
std::vector<int> HypervolumeSubset(absl::Span<const Point> points,
                                   const Point& reference, int count);

}  // namespace hwnas
