#include "agent/measure/statistics.h"

#include <cmath>
#include <vector>

#include "common/rng.h"
#include "gtest/gtest.h"

namespace hwnas::agent {
namespace {

TEST(Median, OfOddAndEvenCounts) {
  EXPECT_EQ(Median({3}), 3);
  EXPECT_EQ(Median({5, 1, 3}), 3);
  EXPECT_EQ(Median({4, 1, 3, 2}), 2.5);
  EXPECT_EQ(Median({2, 2, 2, 9}), 2);
}

TEST(MedianAbsoluteDeviation, IgnoresOneOutlier) {
  EXPECT_EQ(MedianAbsoluteDeviation({7}), 0);
  // The textbook example: deviations 1 1 0 0 2 4 7 around 2.
  EXPECT_EQ(MedianAbsoluteDeviation({1, 1, 2, 2, 4, 6, 9}), 1);
  EXPECT_EQ(MedianAbsoluteDeviation({1, 1, 2, 2, 4, 6, 9000}), 1);
}

TEST(Quantile, InterpolatesAsNumPyDoes) {
  // numpy.quantile([1, 2, 3, 4], q), worked by hand: 1 + 3 q.
  EXPECT_DOUBLE_EQ(Quantile({4, 3, 2, 1}, 0.9), 3.7);
  EXPECT_DOUBLE_EQ(Quantile({4, 3, 2, 1}, 0), 1);
  EXPECT_DOUBLE_EQ(Quantile({4, 3, 2, 1}, 1), 4);
  EXPECT_DOUBLE_EQ(Quantile({4, 3, 2, 1}, 0.5), Median({4, 3, 2, 1}));
  EXPECT_DOUBLE_EQ(Quantile({42}, 0.9), 42);
}

// Ranks of the samples 1, 2, ..., n.
std::vector<double> Ranks(int n) {
  std::vector<double> ranks(n);
  for (int i = 0; i < n; ++i) ranks[i] = n - i;
  return ranks;
}

TEST(MedianConfidenceInterval, UsesTheRanksOfPublishedTables) {
  // 95 % ranks from tables of the sign test's interval, e.g. Conover, table A3.
  struct Row {
    int n, low, high;
  };
  for (const Row& row :
       {Row{6, 1, 6}, Row{8, 1, 8}, Row{9, 2, 8}, Row{10, 2, 9}, Row{15, 4, 12},
        Row{20, 6, 15}, Row{25, 8, 18}, Row{30, 10, 21}, Row{50, 18, 33},
        Row{100, 40, 61}}) {
    const auto interval = MedianConfidenceInterval(Ranks(row.n));
    ASSERT_TRUE(interval.has_value()) << row.n;
    EXPECT_EQ(interval->low, row.low) << row.n;
    EXPECT_EQ(interval->high, row.high) << row.n;
  }
}

TEST(MedianConfidenceInterval, NeedsSixSamples) {
  for (int n = 0; n < 6; ++n) {
    EXPECT_FALSE(MedianConfidenceInterval(Ranks(n)).has_value()) << n;
  }
  // With 90 %, five are enough: 2 / 2^5 = 6.25 % is left out.
  EXPECT_TRUE(MedianConfidenceInterval(Ranks(5), 0.9).has_value());
}

TEST(MedianConfidenceInterval, ApproachesTheNormalApproximation) {
  const int n = 20000;
  const auto interval = MedianConfidenceInterval(Ranks(n));
  ASSERT_TRUE(interval.has_value());
  EXPECT_NEAR(interval->low, n / 2.0 - 1.959964 * std::sqrt(n) / 2, 1.5);
  EXPECT_NEAR(interval->high, n / 2.0 + 1.959964 * std::sqrt(n) / 2, 1.5);
}

// Skewed like latencies: the exponential distribution has median ln 2.
TEST(MedianConfidenceInterval, CoversTheTrueMedianAsOftenAsItSays) {
  Rng rng(1);
  for (const int n : {6, 11, 30, 101}) {
    constexpr int kRounds = 20000;
    int covered = 0;
    for (int round = 0; round < kRounds; ++round) {
      std::vector<double> samples(n);
      for (double& sample : samples) sample = -std::log(1 - rng.Uniform());
      const auto interval = MedianConfidenceInterval(samples);
      covered += interval->low <= std::log(2) && std::log(2) <= interval->high;
    }
    const double coverage = static_cast<double>(covered) / kRounds;
    // Four standard errors of 20,000 rounds.
    EXPECT_GE(coverage, 0.95 - 0.006) << n;
    EXPECT_LE(coverage, 0.99) << n;
  }
}

}  // namespace
}  // namespace hwnas::agent
