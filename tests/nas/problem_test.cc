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

TEST(Problem, OfEightObjectivesKeepsThemAll) {
  Problem problem;
  std::vector<MetricValue> values;
  for (int k = 0; k < 8; ++k) {
    const MetricKey key{"latency_ms", std::string(1, 'a' + k)};
    problem.objectives.push_back({key, k % 2 == 1, {}});
    values.push_back({key, k + 1.0});
  }
  const Evaluation evaluation = problem.Evaluate(values);
  EXPECT_THAT(evaluation.objectives, ElementsAre(1, -2, 3, -4, 5, -6, 7, -8));
  EXPECT_EQ(evaluation.declared, evaluation.objectives);
  EXPECT_TRUE(evaluation.complete);
  EXPECT_FALSE(evaluation.score.has_value());
}

MetricKey LatencyOn(const std::string& device) {
  return {"latency_ms", device};
}

TEST(Problem, TakesTheWorstOverDevices) {
  Problem problem = AccuracyAndLatency();
  problem.objectives[1] = {LatencyOn("worst"), false, {}, {"a", "b", "c"}};
  EXPECT_THAT(problem.objectives[1].Keys(),
              ElementsAre(LatencyOn("a"), LatencyOn("b"), LatencyOn("c")));
  const auto evaluate = [&](double a, double b, double c) {
    return problem
        .Evaluate({{Accuracy(), 90},
                   {LatencyOn("a"), a},
                   {LatencyOn("b"), b},
                   {LatencyOn("c"), c}})
        .objectives[1];
  };
  EXPECT_EQ(evaluate(1, 5, 3), 5);
  EXPECT_EQ(evaluate(7, 5, 3), 7);
  problem.objectives[1].maximize = true;
  EXPECT_EQ(evaluate(7, 5, 3), -3);
  // Until all are known, the worst is not.
  for (const double missing : {kNan, kInfinity}) {
    EXPECT_THAT(evaluate(7, missing, 3), IsNan());
    EXPECT_THAT(evaluate(missing, 5, 3), IsNan());
  }
}

TEST(Problem, HasAFrontForEachDeviceOfItsCommonAndItsOwnObjectives) {
  Problem problem = AccuracyAndLatency();
  EXPECT_TRUE(problem.FrontDevices().empty());
  problem.objectives = {{Accuracy(), true, {}}};
  for (const char* metric : {"latency_ms", "energy_mj"}) {
    for (const char* device : {"b", "a"}) {
      problem.objectives.push_back({{metric, device}, false, {}, {}, true});
    }
  }
  problem.objectives.push_back({{"latency_ms", "c"}, false, {}});
  EXPECT_THAT(problem.FrontDevices(), ElementsAre("b", "a"));
  EXPECT_THAT(problem.FrontObjectives("a"), ElementsAre(0, 2, 4, 5));
  EXPECT_THAT(problem.FrontObjectives("b"), ElementsAre(0, 1, 3, 5));
}

// Constraints on any mix of metrics, known or not, on objectives or not.
TEST(Problem, JudgesEveryMixOfKnownAndUnknownConstraints) {
  enum Known { kUnknown, kHolds, kViolated };
  for (const bool on_objective : {false, true}) {
    for (const Known first : {kUnknown, kHolds, kViolated}) {
      for (const Known second : {kUnknown, kHolds, kViolated}) {
        Problem problem = AccuracyAndLatency();
        const MetricKey keys[] = {
            on_objective ? Latency() : Params(),
            on_objective ? Accuracy() : MetricKey{"validation_loss", ""}};
        problem.constraints = {{keys[0], 2.0, {}}, {keys[1], {}, 50.0}};
        std::vector<MetricValue> values;
        if (!on_objective) values = {{Accuracy(), 90}, {Latency(), 3}};
        if (first != kUnknown) {
          values.push_back({keys[0], first == kHolds ? 2.0 : 3.0});
        }
        if (second != kUnknown) {
          values.push_back({keys[1], second == kHolds ? 50.0 : 25.0});
        }
        const Evaluation evaluation = problem.Evaluate(values);
        EXPECT_EQ(evaluation.complete, first != kUnknown && second != kUnknown);
        EXPECT_DOUBLE_EQ(evaluation.violation, 0.5 * (first == kViolated) +
                                                   0.5 * (second == kViolated));
      }
    }
  }
}

}  // namespace
}  // namespace hwnas
