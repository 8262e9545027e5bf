// What a surrogate is fitted to, of more than it can take.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "common/rng.h"

namespace hwnas {

// The first 70 % of `count` from `items`, which are in order of importance, and
// a sample of the rest; all of them, in their order, if there are no more.
template <typename T>
std::vector<T> FitSample(std::vector<T> items, size_t count, Rng& rng) {
  if (items.size() <= count) return items;
  const size_t first = count * 7 / 10;
  std::vector<T> rest(items.begin() + first, items.end());
  rng.Shuffle(rest);
  std::copy_n(rest.begin(), count - first, items.begin() + first);
  items.resize(count);
  return items;
}

}  // namespace hwnas
