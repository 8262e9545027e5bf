#include "nas/strategy/halton.h"

#include <cstddef>
#include <numeric>
#include <utility>

#include "common/rng.h"

namespace hwnas {
namespace {

// Digits of a coordinate: as many as it takes to tell 2^32 points apart.
constexpr double kResolution = 1.0 / 4294967296.0;

// Streams of Rng, beyond those of proposals.
constexpr uint64_t kDimensionStream = uint64_t{1} << 62;

int NextPrime(int after) {
  for (int n = after + 1;; ++n) {
    bool prime = true;
    for (int d = 2; d * d <= n && prime; ++d) prime = n % d != 0;
    if (prime) return n;
  }
}

}  // namespace

ScrambledHalton::ScrambledHalton(int dimensions, uint64_t seed) {
  int base = 1;
  for (int d = 0; d < dimensions; ++d) {
    base = NextPrime(base);
    Dimension dimension;
    dimension.base = base;
    Rng rng(seed, kDimensionStream + static_cast<uint64_t>(d));
    std::vector<int> digits(base);
    for (double width = 1; width > kResolution; width /= base) {
      std::iota(digits.begin(), digits.end(), 0);
      rng.Shuffle(digits);
      dimension.permutations.insert(dimension.permutations.end(),
                                    digits.begin(), digits.end());
    }
    dimensions_.push_back(std::move(dimension));
  }
}

double ScrambledHalton::At(uint64_t index, int dimension) const {
  const Dimension& d = dimensions_[dimension];
  const auto base = static_cast<uint64_t>(d.base);
  double value = 0;
  double width = 1;
  for (size_t row = 0; row < d.permutations.size(); row += base) {
    width /= static_cast<double>(base);
    value += width * d.permutations[row + index % base];
    index /= base;
  }
  return value;
}

}  // namespace hwnas
