// All that there is to choose, one after the other.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/types/span.h"
#include "nas/space/search_space.h"

namespace hwnas {

// Visits every vector of choices, valid or not; the first decision changes
// first.
template <typename F>
void ForEachPoint(absl::Span<const Decision> decisions, F visit) {
  Architecture point;
  point.choices.assign(decisions.size(), 0);
  for (;;) {
    visit(point);
    size_t k = 0;
    while (k < decisions.size() &&
           ++point.choices[k] ==
               static_cast<int>(decisions[k].options.size())) {
      point.choices[k++] = 0;
    }
    if (k == decisions.size()) return;
  }
}

}  // namespace hwnas
