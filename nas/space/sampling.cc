#include "nas/space/sampling.h"

#include <algorithm>

namespace hwnas {

std::vector<int> AnySubset(int n, int low, int high, Rng& rng) {
  // Numbers of subsets of each size.
  std::vector<double> counts;
  double total = 0;
  for (int k = 0; k <= std::min(n, high); ++k) {
    counts.push_back(k == 0 ? 1 : counts[k - 1] * (n - k + 1) / k);
    if (k >= low) total += counts[k];
  }
  double position = rng.Uniform() * total;
  int size = std::min(low, n);
  while (size + 1 < static_cast<int>(counts.size()) &&
         position >= counts[size]) {
    position -= counts[size++];
  }
  return rng.Sample(n, size);
}

}  // namespace hwnas
