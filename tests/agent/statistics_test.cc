#include "agent/measure/statistics.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/rng.h"
#include "common/statistics.h"
#include "gtest/gtest.h"

namespace hwnas::agent {
namespace {

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

TEST(MedianConfidenceInterval, MovesItsRanksApartForCorrelatedSamples) {
  // Of 50 independent ones: ranks 18 and 33, which is 7.5 off the middle.
  const auto interval = MedianConfidenceInterval(Ranks(50), 0.95, 4);
  ASSERT_TRUE(interval.has_value());
  EXPECT_EQ(interval->low, 10);
  EXPECT_EQ(interval->high, 41);
  EXPECT_FALSE(MedianConfidenceInterval(Ranks(50), 0.95, 16).has_value());
}

TEST(CorrelationTime, IsOneForWhatCannotBeMoreIndependent) {
  EXPECT_EQ(CorrelationTime({5}), 1);
  EXPECT_EQ(CorrelationTime({2, 2, 2, 2, 2, 2, 2, 2}), 1);
  EXPECT_EQ(CorrelationTime({1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2}), 1);
}

// Samples whose neighbours resemble each other: an autoregressive process of
// first order, made skewed like latencies. Its median is 1.
std::vector<double> CorrelatedTrace(Rng& rng, int n, double correlation) {
  std::vector<double> samples(n);
  double x = rng.Normal();
  for (double& sample : samples) {
    x = correlation * x +
        std::sqrt(1 - correlation * correlation) * rng.Normal();
    sample = std::exp(0.5 * x);
  }
  return samples;
}

TEST(CorrelationTime, GrowsWithTheCorrelation) {
  Rng rng(2);
  // That of the signs of a Gaussian process with lag correlations r^k is the
  // sum of 2/pi asin(r^k) over all k (the arcsine law).
  for (const double r : {0.0, 0.5, 0.8}) {
    double expected = 1;
    for (double power = r; power > 1e-6; power *= r) {
      expected += 2 * 2 / M_PI * std::asin(power);
    }
    EXPECT_NEAR(CorrelationTime(CorrelatedTrace(rng, 20000, r)), expected,
                0.1 * expected)
        << r;
  }
}

// The moving block bootstrap (Kuensch, Annals of Statistics 17, 1989) of the
// median, by percentiles: what the interval is measured against.
Interval BootstrapInterval(const std::vector<double>& samples, Rng& rng) {
  const size_t n = samples.size();
  const auto length = static_cast<size_t>(
      std::max(1.0, std::round(1.5 * std::cbrt(static_cast<double>(n)))));
  std::vector<double> medians(200);
  std::vector<double> resampled;
  for (double& median : medians) {
    resampled.clear();
    while (resampled.size() < n) {
      const size_t begin = rng.Below(n - length + 1);
      for (size_t i = 0; i < length && resampled.size() < n; ++i) {
        resampled.push_back(samples[begin + i]);
      }
    }
    median = Median(resampled);
  }
  return {Quantile(medians, 0.025), Quantile(medians, 0.975)};
}

TEST(MedianConfidenceInterval, CoversTheMedianOfCorrelatedSamples) {
  struct Case {
    double correlation;
    int n;
    double coverage;  // At least.
  };
  for (const Case& c : {Case{0, 30, 0.95},
                        {0, 120, 0.95},
                        {0.3, 30, 0.93},
                        {0.3, 120, 0.94},
                        {0.6, 30, 0.89},
                        {0.6, 120, 0.93},
                        {0.6, 300, 0.93},
                        {0.9, 300, 0.88}}) {
    Rng rng(7);
    constexpr int kRounds = 1000;
    int covered = 0;
    int independent = 0;  // Taking the samples for independent.
    int bootstrap = 0;
    const auto covers = [](const std::optional<Interval>& interval) {
      // None is no false promise.
      return !interval || (interval->low <= 1 && 1 <= interval->high);
    };
    for (int round = 0; round < kRounds; ++round) {
      const std::vector<double> samples =
          CorrelatedTrace(rng, c.n, c.correlation);
      covered += covers(
          MedianConfidenceInterval(samples, 0.95, CorrelationTime(samples)));
      independent += covers(MedianConfidenceInterval(samples));
      if (round % 5 == 0) {
        bootstrap += 5 * covers(BootstrapInterval(samples, rng));
      }
    }
    EXPECT_GE(covered, c.coverage * kRounds) << c.correlation << " " << c.n;
    EXPECT_GE(covered, independent) << c.correlation << " " << c.n;
    EXPECT_GE(covered, bootstrap) << c.correlation << " " << c.n;
    // For docs/measurement.md: --gtest_output=json:FILE.
    RecordProperty(
        absl::StrFormat("correlation_%.1f_samples_%d", c.correlation, c.n),
        absl::StrFormat("%d %d %d of %d", covered, independent, bootstrap,
                        kRounds));
  }
}

}  // namespace
}  // namespace hwnas::agent
