#include "common/rng.h"

#include <cmath>
#include <set>

#include "gtest/gtest.h"

namespace hwnas {
namespace {

TEST(Rng, EqualSeedsGiveEqualStreamsAndOthersDiffer) {
  Rng a(7, 1), b(7, 1), c(7, 2), d(8, 1);
  const uint64_t first = a.Next();
  EXPECT_EQ(first, b.Next());
  EXPECT_NE(first, c.Next());
  EXPECT_NE(first, d.Next());
}

TEST(Rng, BelowIsUniform) {
  Rng rng(1);
  int counts[7] = {};
  constexpr int kDraws = 70000;
  for (int i = 0; i < kDraws; ++i) ++counts[rng.Below(7)];
  double chi2 = 0;
  for (int count : counts)
    chi2 += std::pow(count - kDraws / 7.0, 2) / (kDraws / 7.0);
  EXPECT_LT(chi2, 22.46);  // 99.9 % quantile, 6 degrees of freedom.
}

TEST(Rng, NormalHasItsMoments) {
  Rng rng(2);
  double sum = 0, squares = 0;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = rng.Normal();
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0, 0.015);
  EXPECT_NEAR(squares / kDraws, 1, 0.02);
}

TEST(Rng, SampleIsDistinctAndClamped) {
  Rng rng(3);
  const std::vector<int> five = rng.Sample(10, 5);
  EXPECT_EQ(std::set<int>(five.begin(), five.end()).size(), 5u);
  EXPECT_EQ(rng.Sample(3, 5).size(), 3u);
}

}  // namespace
}  // namespace hwnas
