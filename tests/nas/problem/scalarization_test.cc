#include "nas/problem/scalarization.h"

#include <cmath>
#include <limits>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/pareto/pareto.h"
#include "nas/problem.h"
#include "tests/nas/pareto/random_points.h"

namespace hwnas {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::IsNan;

MetricKey Accuracy() { return {"accuracy", ""}; }
MetricKey Latency() { return {"latency_ms", "pi"}; }

Problem AccuracyAndLatency(Scalarization scalarization) {
  Problem problem;
  problem.objectives = {{Accuracy(), true}, {Latency(), false}};
  problem.scalarization = std::move(scalarization);
  return problem;
}

double Score(const Problem& problem, double accuracy, double latency) {
  const Evaluation evaluation =
      problem.Evaluate({{Accuracy(), accuracy}, {Latency(), latency}});
  EXPECT_TRUE(evaluation.complete);
  EXPECT_THAT(evaluation.objectives, ElementsAre(-*evaluation.score));
  EXPECT_THAT(evaluation.declared, ElementsAre(-accuracy, latency));
  return *evaluation.score;
}

TEST(WeightedSum, CountsWhatIsMinimisedNegative) {
  const Problem problem = AccuracyAndLatency(WeightedSum{{1, 0.5}});
  EXPECT_DOUBLE_EQ(Score(problem, 90, 8), 86);
  EXPECT_DOUBLE_EQ(Score(problem, 91, 10), 86);
}

WeightedProduct MnasNet(double target, double alpha, double beta) {
  return {
      {{.maximize = true, .target = 1, .alpha = 1, .beta = 1},
       {.maximize = false, .target = target, .alpha = alpha, .beta = beta}}};
}

// Equation 2 of arXiv 1807.11626: ACC * (LAT / T)^w, where w is alpha up to the
// target and beta beyond.
TEST(WeightedProduct, IsTheRewardOfMnasNet) {
  const double target = 75;
  for (const auto& [alpha, beta] :
       {std::pair(-0.07, -0.07), std::pair(0.0, -1.0),
        std::pair(-0.02, -0.5)}) {
    const Problem problem = AccuracyAndLatency(MnasNet(target, alpha, beta));
    for (const double latency : {10.0, 74.9, 75.0, 75.1, 300.0}) {
      const double w = latency <= target ? alpha : beta;
      EXPECT_NEAR(Score(problem, 75.2, latency),
                  75.2 * std::pow(latency / target, w), 1e-12);
    }
  }
}

// "doubling the latency usually brings about 5 % relative accuracy gain": two
// such models have similar rewards (section 3.1).
TEST(WeightedProduct, SoftConstraintTradesFivePercentForTwiceTheLatency) {
  const Problem soft = AccuracyAndLatency(MnasNet(75, -0.07, -0.07));
  const double reward = Score(soft, 70, 60);
  EXPECT_NEAR(Score(soft, 70 * 1.05, 120), reward, 1e-3 * reward);
}

TEST(WeightedProduct, HardConstraintIsSharpBeyondTheTargetOnly) {
  const Problem hard = AccuracyAndLatency(MnasNet(75, 0, -1));
  EXPECT_DOUBLE_EQ(Score(hard, 70, 10), 70);
  EXPECT_DOUBLE_EQ(Score(hard, 70, 75), 70);
  EXPECT_DOUBLE_EQ(Score(hard, 70, 150), 35);
}

TEST(WeightedProduct, TargetOfWhatIsMaximisedIsMissedFromBelow) {
  const WeightedProduct product{
      {{.maximize = true, .target = 80, .alpha = 1, .beta = 3}}};
  EXPECT_DOUBLE_EQ(product.Score({80}), 1);
  EXPECT_DOUBLE_EQ(product.Score({88}), 1.1);
  EXPECT_DOUBLE_EQ(product.Score({40}), 0.125);
}

TEST(WeightedProduct, IsANumberWhateverTheValues) {
  const WeightedProduct product = MnasNet(75, -10, -10);
  const double largest = std::numeric_limits<double>::max();
  for (const double accuracy : {0.0, -5.0, 50.0, largest}) {
    for (const double latency : {0.0, -5.0, 1e-300, 50.0, largest}) {
      EXPECT_TRUE(std::isfinite(product.Score({accuracy, latency})))
          << accuracy << " " << latency;
    }
  }
  EXPECT_TRUE(std::isfinite(WeightedSum{{1e9}}.Score({largest})));
}

TEST(Chebyshev, IsTheLargestWeightedShortfallPlusALittleOfAll) {
  const Problem problem =
      AccuracyAndLatency(Chebyshev{{1, 2}, {-100, 0}, /*rho=*/0.05});
  // Shortfalls: 10 of accuracy; 2 * 3 of latency.
  EXPECT_DOUBLE_EQ(Score(problem, 90, 3), -(10 + 0.05 * 16));
  EXPECT_DOUBLE_EQ(Score(problem, 98, 3), -(6 + 0.05 * 8));
  EXPECT_DOUBLE_EQ(Score(problem, 100, 0), 0);
}

TEST(Chebyshev, GoesOnBeyondTheIdeal) {
  const Chebyshev chebyshev{{1, 1}, {0, 0}, 0};
  EXPECT_LT(chebyshev.Score({-1, -2}), chebyshev.Score({-2, -2}));
}

TEST(EpsilonConstraint, IsTheObjectiveThatIsKept) {
  Problem problem = AccuracyAndLatency(EpsilonConstraint{0});
  problem.constraints = {{Latency(), 10.0, {}}};
  EXPECT_DOUBLE_EQ(Score(problem, 90, 3), 90);
  const Evaluation slow = problem.Evaluate({{Accuracy(), 95}, {Latency(), 12}});
  EXPECT_DOUBLE_EQ(slow.violation, 0.2);
  // It needs no other value.
  const Evaluation early = problem.Evaluate({{Accuracy(), 95}});
  EXPECT_EQ(early.score, 95);
  EXPECT_FALSE(early.complete);
}

TEST(ScalarizedProblem, ShowsAStrategyOneMinimisedObjective) {
  Problem problem = AccuracyAndLatency(WeightedSum{{1, 1}});
  problem.constraints = {{{"params_m", ""}, 5.0, {}}};
  const Problem searched = problem.Searched();
  ASSERT_EQ(searched.objectives.size(), 1);
  EXPECT_FALSE(searched.objectives[0].maximize);
  EXPECT_FALSE(searched.scored());
  EXPECT_EQ(searched.constraints.size(), 1);
  EXPECT_EQ(searched.Searched().objectives.size(), 1);  // Once is enough.
}

TEST(ScalarizedProblem, HasNoScoreWhileAValueIsMissing) {
  const Problem problem = AccuracyAndLatency(WeightedSum{{1, 0}});
  const Evaluation evaluation = problem.Evaluate({{Accuracy(), 90}});
  EXPECT_FALSE(evaluation.complete);
  EXPECT_FALSE(evaluation.score.has_value());
  EXPECT_THAT(evaluation.objectives, ElementsAre(IsNan()));
  EXPECT_THAT(evaluation.declared, ElementsAre(-90, IsNan()));
}

// The properties that the header states, for any number of objectives.
class AnyScalarization : public ::testing::TestWithParam<int> {
 protected:
  std::vector<Scalarization> Forms(Rng& rng) const {
    Point weights(GetParam()), ideal(GetParam());
    WeightedProduct product;
    for (int k = 0; k < GetParam(); ++k) {
      weights[k] = 0.1 + rng.Uniform();
      ideal[k] = -rng.Uniform();
      const double e = 0.1 + rng.Uniform();
      product.terms.push_back({.maximize = false,
                               .target = 0.2 + rng.Uniform(),
                               .alpha = -e,
                               .beta = -e - rng.Uniform()});
    }
    return {WeightedSum{weights}, product, Chebyshev{weights, ideal, 0.01},
            EpsilonConstraint{GetParam() - 1}};
  }
  Problem ProblemOf(const Scalarization& form) const {
    Problem problem;
    for (int k = 0; k < GetParam(); ++k) {
      problem.objectives.push_back({{std::string(1, 'a' + k), ""}, false});
    }
    problem.scalarization = form;
    return problem;
  }
};

TEST_P(AnyScalarization, NeverPrefersWhatIsDominated) {
  Rng rng(GetParam());
  for (const Scalarization& form : Forms(rng)) {
    const Problem problem = ProblemOf(form);
    const bool strict = !std::holds_alternative<EpsilonConstraint>(form);
    std::vector<Point> points = RandomPoints(rng, 120, GetParam(), 5);
    for (Point& point : points) {
      for (double& value : point) value += 0.1;  // For the product.
    }
    for (const Point& a : points) {
      for (const Point& b : points) {
        if (!Dominates(a, b)) continue;
        if (strict) {
          EXPECT_GT(problem.Score(a), problem.Score(b));
        } else {
          EXPECT_GE(problem.Score(a), problem.Score(b));
        }
      }
    }
  }
}

TEST_P(AnyScalarization, TheBestIsOnTheFront) {
  Rng rng(100 + GetParam());
  for (int round = 0; round < 10; ++round) {
    const std::vector<Point> points = RandomPoints(rng, 60, GetParam(), 0);
    const std::vector<int> front = NonDominated(points);
    for (const Scalarization& form : Forms(rng)) {
      const Problem problem = ProblemOf(form);
      int best = 0;
      for (size_t i = 1; i < points.size(); ++i) {
        if (problem.Score(points[i]) > problem.Score(points[best])) {
          best = static_cast<int>(i);
        }
      }
      EXPECT_THAT(front, ::testing::Contains(best));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Objectives, AnyScalarization, ::testing::Range(1, 9));

// What tells them apart: a front that bulges outwards.
TEST(Chebyshev, ReachesWhatTheWeightedSumCannot) {
  std::vector<Point> points;
  for (int i = 0; i <= 20; ++i) {
    const double angle = M_PI_2 * i / 20;
    points.push_back({std::cos(angle), std::sin(angle)});
  }
  std::set<int> by_sum, by_chebyshev;
  for (int i = 1; i < 200; ++i) {
    const double w = i / 200.0;
    const auto best = [&](const auto& form) {
      int best = 0;
      for (int j = 1; j <= 20; ++j) {
        if (form.Score(points[j]) > form.Score(points[best])) best = j;
      }
      return best;
    };
    by_sum.insert(best(WeightedSum{{w, 1 - w}}));
    by_chebyshev.insert(best(Chebyshev{{w, 1 - w}, {0, 0}, 1e-6}));
  }
  EXPECT_THAT(by_sum, ElementsAre(0, 20));  // Only the ends.
  EXPECT_GE(by_chebyshev.size(), 19u);
}

}  // namespace
}  // namespace hwnas
