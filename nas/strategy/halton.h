// Points that fill a cube evenly.
#pragma once

#include <cstdint>
#include <vector>

namespace hwnas {

// The Halton sequence (1960), one prime base for each dimension, with every
// digit permuted at random, independently for each dimension and position
// (Owen, "A randomized Halton algorithm in R", arXiv 1706.02808). Each point is
// uniform over the cube, and in each dimension any b^k successive points from a
// multiple of b^k on have exactly one in each of b^k equal intervals, where b
// is its base. Immutable, hence thread-safe.
class ScrambledHalton {
 public:
  ScrambledHalton(int dimensions, uint64_t seed);

  // Coordinate `dimension` of point `index` >= 0, in [0, 1).
  double At(uint64_t index, int dimension) const;

 private:
  struct Dimension {
    int base = 2;
    // base values for each position, the most significant digit of the
    // coordinate first.
    std::vector<int> permutations;
  };
  std::vector<Dimension> dimensions_;
};

}  // namespace hwnas
