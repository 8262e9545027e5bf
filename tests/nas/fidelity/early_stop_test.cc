// Whose training ends early, by tables of learning curves.
#include <cmath>

#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/fidelity/fidelity_policy.h"
#include "nas/fidelity/improvement.h"
#include "tests/nas/fidelity/rung_builder.h"

namespace hwnas {
namespace {

using ::testing::HasSubstr;
using ::testing::Optional;

// Epochs 1, 2, ...
Curve Losses1(const std::vector<double>& losses) {
  Curve curve;
  for (const double loss : losses) {
    curve.points.push_back(
        {static_cast<int>(curve.points.size()) + 1, Loss(loss)});
  }
  return curve;
}

CurveTable Finished(std::vector<std::vector<double>> curves) {
  CurveTable table;
  table.max_epochs = static_cast<int>(curves[0].size());
  for (const auto& losses : curves) {
    table.finished.push_back(Losses1(losses));
    table.finished.back().trial = static_cast<int64_t>(table.finished.size());
  }
  return table;
}

const CurveTable kFive =
    Finished({{5, 3, 1}, {6, 4, 2}, {7, 5, 3}, {8, 6, 4}, {9, 7, 5}});

// Means up to epoch 2: 4, 5, 6, 7, 8; their median is 6.
TEST(MedianStop, StopsWhatIsStrictlyWorseThanTheMedian) {
  const MedianStopConfig config;
  EXPECT_EQ(ReasonToStop(config, kFive, Losses1({9, 6})), std::nullopt);
  EXPECT_THAT(ReasonToStop(config, kFive, Losses1({9, 6.1})),
              Optional(HasSubstr("of 3 of 5 finished trials")));
  // The best so far counts, not the last.
  EXPECT_EQ(ReasonToStop(config, kFive, Losses1({6, 20})), std::nullopt);
}

TEST(MedianStop, AllowsTimeAndWaitsForEvidence) {
  MedianStopConfig config;
  config.min_epochs = 3;
  EXPECT_EQ(ReasonToStop(config, kFive, Losses1({99, 99})), std::nullopt);
  config.min_epochs = 1;
  EXPECT_NE(ReasonToStop(config, kFive, Losses1({99})), std::nullopt);
  config.min_trials = 6;
  EXPECT_EQ(ReasonToStop(config, kFive, Losses1({99})), std::nullopt);
  EXPECT_EQ(ReasonToStop(config, kFive, Curve()), std::nullopt);
  EXPECT_EQ(ReasonToStop(config, kFive, Losses1({99, 99, 99})), std::nullopt);
}

TEST(MedianStop, CountsBetterFrontsWithTwoObjectives) {
  CurveTable table;
  table.max_epochs = 3;
  for (const auto& [loss, latency] :
       {std::pair<double, double>{5, 1}, {4, 2}, {3, 3}, {6, 2}, {9, 9}}) {
    Curve& curve = table.finished.emplace_back();
    for (int e = 1; e <= 3; ++e) {
      curve.points.push_back({e, Losses(loss, latency)});
    }
  }
  const auto at = [](double loss, double latency) {
    return Curve{9, {{1, Losses(loss, latency)}}};
  };
  // Worse than two of five in loss, but none is as quick.
  EXPECT_EQ(ReasonToStop(MedianStopConfig{}, table, at(20, 0.5)), std::nullopt);
  // On the second front, behind three.
  EXPECT_THAT(ReasonToStop(MedianStopConfig{}, table, at(5.5, 2.5)),
              Optional(HasSubstr("3 of 5")));
}

// Finished curves that end 4 below where they stood after the first epoch, give
// or take; the best ended at 6.
CurveTable Parallel(double noise) {
  Rng rng(4);
  CurveTable table;
  table.max_epochs = 10;
  for (int i = 0; i < 12; ++i) {
    Curve& curve = table.finished.emplace_back();
    curve.trial = i + 1;
    curve.points = {{1, Loss(10 + i)},
                    {10, Loss(6 + i + (i > 0 ? noise * rng.Normal() : 0))}};
  }
  return table;
}

TEST(LearningCurveStop, StopsWhatWillHardlyBeTheBest) {
  const LearningCurveStopConfig config;
  const auto at = [](double loss) { return Curve{99, {{1, Loss(loss)}}}; };
  EXPECT_EQ(ReasonToStop(config, Parallel(0), at(9.9)), std::nullopt);
  EXPECT_THAT(ReasonToStop(config, Parallel(0), at(10.1)),
              Optional(HasSubstr("less than 0.05")));
  // With more noise there is more hope.
  EXPECT_EQ(ReasonToStop(config, Parallel(1), at(11)), std::nullopt);
  EXPECT_NE(ReasonToStop(config, Parallel(1), at(14)), std::nullopt);
}

TEST(LearningCurveStop, AllowsTimeAndWaitsForEvidence) {
  LearningCurveStopConfig config;
  const Curve hopeless = {99, {{1, Loss(50)}}};
  ASSERT_NE(ReasonToStop(config, Parallel(0), hopeless), std::nullopt);
  config.min_epochs = 2;
  EXPECT_EQ(ReasonToStop(config, Parallel(0), hopeless), std::nullopt);
  config.min_epochs = 1;
  config.min_trials = 13;
  EXPECT_EQ(ReasonToStop(config, Parallel(0), hopeless), std::nullopt);
}

// A curve that is bad until the rate falls: a model of the curve alone would
// give up, the regression knows better.
TEST(LearningCurveStop, KnowsCurvesThatDropAtTheEnd) {
  CurveTable table;
  table.max_epochs = 10;
  for (int i = 0; i < 8; ++i) {
    table.finished.push_back(
        {i + 1, {{8, Loss(50 + i)}, {9, Loss(50 + i)}, {10, Loss(5 + i)}}});
  }
  EXPECT_EQ(ReasonToStop(LearningCurveStopConfig{}, table,
                         {99, {{8, Loss(50)}, {9, Loss(49)}}}),
            std::nullopt);
}

TEST(ReasonToStop, IsNeverGivenWhereTrialsPauseAtRungs) {
  EXPECT_EQ(ReasonToStop(AshaConfig{}, kFive, Losses1({99, 99})), std::nullopt);
}

TEST(MayImprove, GivesTheBenefitOfTheDoubt) {
  const Evaluation front = Losses(5, 5);
  const auto may = [&](double a, double deviation, double deviations) {
    FidelityLift::Lifted lifted;
    lifted.evaluation = Losses(a, 5);
    lifted.deviation = {deviation, 0};
    return MayImprove(lifted, {&front}, deviations);
  };
  EXPECT_TRUE(may(4, 0, 1));
  EXPECT_FALSE(may(5, 0, 1));  // Equal adds nothing.
  EXPECT_FALSE(may(6, 0.5, 1));
  EXPECT_TRUE(may(6, 0.5, 3));
  EXPECT_TRUE(may(6, INFINITY, 1));
}

}  // namespace
}  // namespace hwnas
