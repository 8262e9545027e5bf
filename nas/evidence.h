// What is free to know about an architecture.
#pragma once

#include <functional>
#include <vector>

#include "nas/problem.h"
#include "nas/space/search_space.h"

namespace hwnas {

// What is known of an architecture before anything is paid for it: analytic
// counts, zero-cost scores. The same metrics in the same order for every
// architecture; NaN where unknown. A pure function, hence thread-safe. Empty if
// nothing is known.
using Evidence =
    std::function<std::vector<MetricValue>(const Architecture& architecture)>;

}  // namespace hwnas
