#include "nas/fidelity/fidelity_lift.h"

#include <cmath>
#include <limits>

#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas {
namespace {

using ::testing::DoubleEq;
using ::testing::DoubleNear;
using ::testing::Each;
using ::testing::ElementsAre;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Evaluation Values(double error, double latency, double violation = 0) {
  return {{error, latency}, violation, true};
}

TEST(FidelityLift, LeavesValuesAsTheyAreWithoutEvidence) {
  FidelityLift lift;
  lift.Add(1, 0.1, Values(50, 3));
  const auto lifted = lift.Lift(Values(40, 2), 0.1);
  EXPECT_THAT(lifted.evaluation.objectives, ElementsAre(40, 2));
  EXPECT_THAT(lifted.deviation, Each(kInfinity));
}

TEST(FidelityLift, LeavesFullFidelityAlone) {
  FidelityLift lift;
  lift.Add(1, 0.1, Values(50, 3));
  lift.Add(1, 1, Values(30, 3));
  const auto lifted = lift.Lift(Values(40, 2), 1);
  EXPECT_THAT(lifted.evaluation.objectives, ElementsAre(40, 2));
  EXPECT_THAT(lifted.deviation, Each(0));
}

TEST(FidelityLift, MovesByWhatTheOnlyPairDid) {
  FidelityLift lift;
  lift.Add(1, 0.1, Values(50, 3));
  lift.Add(1, 1, Values(30, 3));
  const auto lifted = lift.Lift(Values(40, 2), 0.1);
  EXPECT_THAT(lifted.evaluation.objectives,
              ElementsAre(DoubleEq(20), DoubleEq(2)));
  EXPECT_THAT(lifted.deviation, Each(kInfinity));
}

// y = 10 + x / 2 exactly: the change is 10 - x / 2, whose slope -1/2 is shrunk
// by n / (n + 2).
TEST(FidelityLift, FitsALineWithShrunkenSlope) {
  FidelityLift lift;
  constexpr int kPairs = 18;
  for (int i = 1; i <= kPairs; ++i) {
    lift.Add(i, 0.25, Values(i, 5));
    lift.Add(i, 1, Values(10 + 0.5 * i, 5));
  }
  const double mean = (kPairs + 1) / 2.0;
  const double slope = -0.5 * 0.9;
  const auto lifted = lift.Lift(Values(40, 7), 0.25);
  EXPECT_THAT(
      lifted.evaluation.objectives,
      ElementsAre(DoubleNear(40 + 10 - 0.5 * mean + slope * (40 - mean), 1e-9),
                  DoubleEq(7)));
  EXPECT_NEAR(lifted.deviation[1], 0, 1e-9);
}

TEST(FidelityLift, EstimatesTheErrorOfItsPredictions) {
  FidelityLift lift;
  Rng rng(3);
  for (int i = 1; i <= 400; ++i) {
    const double x = 10 * rng.Uniform();
    lift.Add(i, 0.1, Values(x, 1));
    lift.Add(i, 1, Values(x - 3 + 0.7 * rng.Normal(), 1));
  }
  EXPECT_NEAR(lift.Lift(Values(5, 1), 0.1).deviation[0], 0.7, 0.05);
  EXPECT_NEAR(lift.Lift(Values(5, 1), 0.1).evaluation.objectives[0], 2, 0.1);
}

TEST(FidelityLift, GoesThroughARungInBetweenWhileFewHaveReachedTheTop) {
  FidelityLift lift;
  for (int i = 1; i <= 9; ++i) {
    lift.Add(i, 0.1, Values(50 + i, 1));
    lift.Add(i, 0.3, Values(40 + i, 1));
  }
  lift.Add(9, 1, Values(31, 1));  // 9 took 18 from 0.3, 28 from 0.1.
  EXPECT_THAT(lift.Lift(Values(52, 1), 0.1).evaluation.objectives[0],
              DoubleNear(42 - 18, 1e-9));
  lift.Add(8, 1, Values(30, 1));
  lift.Add(7, 1, Values(29, 1));
  EXPECT_THAT(lift.Lift(Values(58, 1), 0.1).evaluation.objectives[0],
              DoubleNear(30, 1e-9));
}

TEST(FidelityLift, LiftsViolationsButNeverBelowZero) {
  FidelityLift lift;
  for (int i = 1; i <= 4; ++i) {
    lift.Add(i, 0.1, Values(1, 1, 0.4));
    lift.Add(i, 1, Values(1, 1, 0.1));
  }
  EXPECT_NEAR(lift.Lift(Values(1, 1, 0.5), 0.1).evaluation.violation, 0.2,
              1e-9);
  EXPECT_EQ(lift.Lift(Values(1, 1, 0.2), 0.1).evaluation.violation, 0);
}

TEST(FidelityLift, TakesNothingFromFailures) {
  FidelityLift lift;
  lift.Add(1, 0.1, Values(50, 3));
  lift.Add(1, 1, {{std::nan(""), 3}, 0, false});
  EXPECT_THAT(lift.Lift(Values(40, 2), 0.1).evaluation.objectives,
              ElementsAre(40, 2));
  const Evaluation failed{{std::nan(""), 2}, 0, false};
  EXPECT_FALSE(lift.Lift(failed, 0.1).evaluation.complete);
}

}  // namespace
}  // namespace hwnas
