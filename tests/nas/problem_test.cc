#include "nas/problem.h"

#include <cmath>
#include <limits>
#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::IsNan;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

MetricKey Accuracy() { return {"accuracy", ""}; }
MetricKey Latency() { return {"latency_ms", "x86_64"}; }
MetricKey Params() { return {"params_m", ""}; }

Problem AccuracyAndLatency() {
  Problem problem;
  problem.objectives = {{Accuracy(), true, {}}, {Latency(), false, {}}};
  return problem;
}

TEST(KnownMetrics, HaveDistinctNamesUnitsAndDescriptions) {
  std::set<std::string> names;
  for (const MetricInfo& metric : KnownMetrics()) {
    EXPECT_TRUE(names.insert(std::string(metric.name)).second) << metric.name;
    EXPECT_FALSE(metric.unit.empty()) << metric.name;
    EXPECT_FALSE(metric.description.empty()) << metric.name;
    EXPECT_EQ(metric.per_device, metric.source == MetricSource::kMeasured)
        << metric.name;
    EXPECT_EQ(FindMetric(metric.name), &metric);
  }
}

TEST(KnownMetrics, CoverAllStages) {
  EXPECT_EQ(FindMetric("flops_m")->source, MetricSource::kAnalytic);
  EXPECT_EQ(FindMetric("energy_mj")->source, MetricSource::kMeasured);
  EXPECT_EQ(FindMetric("accuracy")->source, MetricSource::kTrained);
  EXPECT_TRUE(FindMetric("accuracy")->higher_is_better);
  EXPECT_FALSE(FindMetric("validation_loss")->higher_is_better);
  EXPECT_EQ(FindMetric("latency"), nullptr);
}

TEST(MetricKey, NamesItsDeviceOnlyIfItHasOne) {
  EXPECT_EQ(Accuracy().ToString(), "accuracy");
  EXPECT_EQ(Latency().ToString(), "latency_ms@x86_64");
}

TEST(Problem, NegatesWhatIsMaximised) {
  const Evaluation evaluation = AccuracyAndLatency().Evaluate(
      {{Accuracy(), 91.5}, {Latency(), 3.25}, {Params(), 9}});
  EXPECT_THAT(evaluation.objectives, ElementsAre(-91.5, 3.25));
  EXPECT_TRUE(evaluation.complete);
  EXPECT_EQ(evaluation.violation, 0);
}

TEST(Problem, KeepsDevicesApart) {
  const Evaluation evaluation = AccuracyAndLatency().Evaluate(
      {{Accuracy(), 91.5}, {{"latency_ms", "raspberrypi5"}, 3.25}});
  EXPECT_THAT(evaluation.objectives, ElementsAre(-91.5, IsNan()));
  EXPECT_FALSE(evaluation.complete);
}

TEST(Problem, TakesNonFiniteValuesAsMissing) {
  for (double bad : {kNan, kInfinity, -kInfinity}) {
    const Evaluation evaluation =
        AccuracyAndLatency().Evaluate({{Accuracy(), bad}, {Latency(), 3.25}});
    EXPECT_THAT(evaluation.objectives, ElementsAre(IsNan(), 3.25));
    EXPECT_FALSE(evaluation.complete);
    EXPECT_EQ(evaluation.violation, 0);
  }
}

TEST(Problem, LetsTheLastFiniteValueOfAKeyCount) {
  const Evaluation evaluation = AccuracyAndLatency().Evaluate(
      {{Accuracy(), 10}, {Latency(), 3}, {Accuracy(), 20}, {Latency(), kNan}});
  EXPECT_THAT(evaluation.objectives, ElementsAre(-20, 3));
}

TEST(Problem, SumsRelativeExcessOverConstraints) {
  Problem problem = AccuracyAndLatency();
  problem.constraints = {
      {Params(), 0.5, {}}, {Latency(), 4.0, 1.0}, {Accuracy(), {}, 80.0}};
  auto violation = [&](double params, double latency, double accuracy) {
    return problem
        .Evaluate(
            {{Params(), params}, {Latency(), latency}, {Accuracy(), accuracy}})
        .violation;
  };
  EXPECT_EQ(violation(0.5, 4, 80), 0);
  EXPECT_EQ(violation(0.5, 1, 80), 0);
  EXPECT_THAT(violation(0.6, 4, 80), DoubleNear(0.2, 1e-12));
  EXPECT_THAT(violation(0.5, 0.75, 80), DoubleNear(0.25, 1e-12));
  EXPECT_THAT(violation(0.6, 5, 60), DoubleNear(0.2 + 0.25 + 0.25, 1e-12));
}

TEST(Problem, CountsKnownViolationsBeforeAllIsKnown) {
  Problem problem = AccuracyAndLatency();
  problem.constraints = {{Params(), 0.5, {}}, {{"flops_m", ""}, 10.0, {}}};
  const Evaluation evaluation = problem.Evaluate({{Params(), 1.0}});
  EXPECT_FALSE(evaluation.complete);
  EXPECT_EQ(evaluation.violation, 1);
  EXPECT_THAT(evaluation.objectives, ElementsAre(IsNan(), IsNan()));
}

TEST(Problem, IsIncompleteWithoutAConstraintsValue) {
  Problem problem = AccuracyAndLatency();
  problem.constraints = {{Params(), 0.5, {}}};
  const Evaluation evaluation =
      problem.Evaluate({{Accuracy(), 90}, {Latency(), 1}});
  EXPECT_FALSE(evaluation.complete);
  EXPECT_EQ(evaluation.violation, 0);
}

TEST(Problem, MeasuresExcessOverALimitOfZero) {
  Problem problem;
  problem.constraints = {{Params(), 0.0, {}}};
  const Evaluation evaluation = problem.Evaluate({{Params(), 1e-12}});
  EXPECT_THAT(evaluation.violation, DoubleNear(1, 1e-9));
  EXPECT_TRUE(evaluation.complete);
}

}  // namespace
}  // namespace hwnas
