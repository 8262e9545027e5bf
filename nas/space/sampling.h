// Random sets, for spaces that bound how many of something there may be.
#pragma once

#include <vector>

#include "common/rng.h"

namespace hwnas {

// Uniform over the subsets of 0 to n - 1 with `low` to `high` members, in
// random order; if n < low, all of them.
std::vector<int> AnySubset(int n, int low, int high, Rng& rng);

}  // namespace hwnas
