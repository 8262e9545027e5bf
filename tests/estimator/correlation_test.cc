#include "estimator/correlation.h"

#include "gtest/gtest.h"

namespace hwnas {
namespace {

TEST(Correlation, OfLinesAndConstants) {
  EXPECT_DOUBLE_EQ(PearsonCorrelation({1, 2, 4}, {-2, -4, -8}), -1);
  EXPECT_EQ(PearsonCorrelation({1, 2, 4}, {3, 3, 3}), 0);
  // (1, 2, 3) with (1, 3, 2): covariance 1/2, variances 1.
  EXPECT_DOUBLE_EQ(PearsonCorrelation({1, 2, 3}, {1, 3, 2}), 0.5);
}

TEST(Correlation, OfRanksDoesNotSeeTheScale) {
  EXPECT_DOUBLE_EQ(SpearmanCorrelation({1, 2, 3, 4}, {1, 10, 100, 1e9}), 1);
  // Ranks 0, 1.5, 1.5, 3 with 0, 1, 2, 3: 4.5 / sqrt(4.5 * 5).
  EXPECT_NEAR(SpearmanCorrelation({1, 2, 2, 3}, {5, 6, 7, 8}), 0.948683298,
              1e-9);
}

}  // namespace
}  // namespace hwnas
