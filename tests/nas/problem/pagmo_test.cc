// Against the decompositions of pagmo2, an independent implementation.
#include <pagmo/utils/multi_objective.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/problem/scalarization.h"
#include "tests/nas/pareto/random_points.h"

namespace hwnas {
namespace {

using ::testing::DoubleNear;

class AgainstPagmo : public ::testing::TestWithParam<int> {};

TEST_P(AgainstPagmo, WeightedSumAndChebyshevAreEqual) {
  const int objectives = GetParam();
  Rng rng(objectives);
  for (const Point& weights : RandomPoints(rng, 20, objectives, 0)) {
    // pagmo wants weights that add up to 1; the ideal lies below all points.
    double sum = 0;
    for (const double w : weights) sum += w;
    Point scaled = weights;
    for (double& w : scaled) w /= sum;
    const Point ideal(objectives, -0.5);
    for (const Point& point : RandomPoints(rng, 20, objectives, 0)) {
      EXPECT_THAT(WeightedSum{scaled}.Score(point),
                  DoubleNear(-pagmo::decompose_objectives(point, scaled, ideal,
                                                          "weighted")[0],
                             1e-14));
      EXPECT_THAT((Chebyshev{scaled, ideal, /*rho=*/0}.Score(point)),
                  DoubleNear(-pagmo::decompose_objectives(point, scaled, ideal,
                                                          "tchebycheff")[0],
                             1e-14));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Objectives, AgainstPagmo, ::testing::Range(2, 9));

}  // namespace
}  // namespace hwnas
