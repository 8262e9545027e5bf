// Problems with a preference.
#include <algorithm>
#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/pareto/constrained.h"
#include "nas/pareto/pareto.h"
#include "nas/problem.h"
#include "tests/nas/pareto/random_points.h"

namespace hwnas {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::IsNan;
using ::testing::Pointwise;

MetricKey Accuracy() { return {"accuracy", ""}; }
MetricKey Latency() { return {"latency_ms", "pi"}; }

Problem Wished(double focus) {
  Problem problem;
  problem.objectives = {{Accuracy(), true, 80.0}, {Latency(), false, 10.0}};
  problem.preference = Preference{{-90, 4}, focus};
  return problem;
}

Evaluation Judge(const Problem& problem, double accuracy, double latency) {
  return problem.Evaluate({{Accuracy(), accuracy}, {Latency(), latency}});
}

// By hand: u = ((90 - accuracy) / 10, (latency - 4) / 6).
TEST(Preference, AddsTheLargestShortfallToEachObjective) {
  const Evaluation evaluation = Judge(Wished(2), 87, 7);
  EXPECT_THAT(evaluation.objectives,
              Pointwise(DoubleNear(1e-12), {0.3 + 2 * 0.5, 0.5 + 2 * 0.5}));
  EXPECT_THAT(evaluation.declared, ElementsAre(-87, 7));
  EXPECT_EQ(evaluation.beyond, 0);
  EXPECT_NEAR(*evaluation.score, -0.5, 1e-3);
}

TEST(Preference, ScoresTheAspirationZeroAndTheReferenceMinusOne) {
  const Problem problem = Wished(1);
  EXPECT_EQ(*Judge(problem, 90, 4).score, 0);
  EXPECT_NEAR(*Judge(problem, 80, 10).score, -1, 1e-3);
  EXPECT_GT(*Judge(problem, 91, 3).score, 0);
}

TEST(Preference, CountsWhatIsBeyondAReferenceAsAViolationForStrategiesOnly) {
  const Evaluation within = Judge(Wished(1), 80, 10);
  const Evaluation beyond = Judge(Wished(1), 99, 11.5);
  EXPECT_EQ(within.beyond, 0);
  EXPECT_EQ(beyond.violation, 0);
  EXPECT_DOUBLE_EQ(beyond.beyond, 0.25);
  EXPECT_TRUE(ConstrainedDominates(within.Shown(), beyond.Shown()));
  EXPECT_FALSE(ConstrainedDominates(within, beyond));
}

TEST(Preference, WithoutAspirationHasBoundsAlone) {
  Problem problem = Wished(1);
  problem.preference = Preference{};
  problem.objectives[0].reference.reset();
  EXPECT_FALSE(problem.scored());
  const Evaluation evaluation = Judge(problem, 5, 12);
  EXPECT_THAT(evaluation.objectives, ElementsAre(-5, 12));
  EXPECT_FALSE(evaluation.score.has_value());
  EXPECT_DOUBLE_EQ(evaluation.beyond, 0.2);  // 2 of 10.
  EXPECT_EQ(problem.Searched().objectives[1].reference, 10);
}

TEST(Preference, KnowsNothingWhileAValueIsMissing) {
  const Evaluation evaluation = Wished(1).Evaluate({{Latency(), 12}});
  EXPECT_THAT(evaluation.objectives, ElementsAre(IsNan(), IsNan()));
  EXPECT_FALSE(evaluation.score.has_value());
  EXPECT_DOUBLE_EQ(evaluation.beyond, 1. / 3);  // Of what is known.
}

TEST(Preference, PutsTheReferenceOfASearchWhereItsOwnIs) {
  const Problem problem = Wished(2);
  const Problem searched = problem.Searched();
  const Evaluation worst = Judge(problem, 80, 10);
  ASSERT_EQ(searched.objectives.size(), 2);
  for (int k = 0; k < 2; ++k) {
    EXPECT_FALSE(searched.objectives[k].maximize);
    EXPECT_DOUBLE_EQ(*searched.objectives[k].reference, worst.objectives[k]);
  }
}

class AnyPreference : public ::testing::TestWithParam<int> {
 protected:
  Problem ProblemOf(double focus) const {
    Problem problem;
    for (int k = 0; k < GetParam(); ++k) {
      problem.objectives.push_back({{std::string(1, 'a' + k), ""}, false, 1.0});
    }
    problem.preference = Preference{Point(GetParam(), -0.1), focus};
    return problem;
  }
  Evaluation Of(const Problem& problem, const Point& point) const {
    std::vector<MetricValue> values;
    for (int k = 0; k < GetParam(); ++k) {
      values.push_back({problem.objectives[k].key, point[k]});
    }
    return problem.Evaluate(values);
  }
  // Indices of the front that a strategy sees.
  std::vector<int> FrontSeen(double focus,
                             const std::vector<Point>& points) const {
    const Problem problem = ProblemOf(focus);
    std::vector<Point> seen;
    for (const Point& point : points) {
      seen.push_back(Of(problem, point).objectives);
    }
    return NonDominated(seen);
  }
};

TEST_P(AnyPreference, KeepsDominance) {
  Rng rng(GetParam());
  const std::vector<Point> points = RandomPoints(rng, 100, GetParam(), 4);
  for (const double focus : {0.0, 0.5, 3.0}) {
    const Problem problem = ProblemOf(focus);
    for (const Point& a : points) {
      for (const Point& b : points) {
        if (!Dominates(a, b)) continue;
        const Evaluation of_a = Of(problem, a), of_b = Of(problem, b);
        EXPECT_TRUE(Dominates(of_a.objectives, of_b.objectives));
        EXPECT_GT(*of_a.score, *of_b.score);
      }
    }
  }
}

// The stronger the focus, the less of the front is left, and the nearest stays.
TEST_P(AnyPreference, NarrowsTheFrontAroundTheNearestPoint) {
  Rng rng(10 + GetParam());
  // Convex towards the ideal: good trades near the middle, poor ones at the
  // ends.
  std::vector<Point> points = SpherePoints(rng, 200, GetParam());
  for (Point& point : points) {
    for (double& value : point) value = 1 - value;
  }
  std::vector<int> last = FrontSeen(0, points);
  EXPECT_EQ(last, NonDominated(points));
  int nearest = 0;
  const Problem problem = ProblemOf(1);
  for (size_t i = 1; i < points.size(); ++i) {
    if (*Of(problem, points[i]).score > *Of(problem, points[nearest]).score) {
      nearest = static_cast<int>(i);
    }
  }
  for (const double focus : {0.25, 0.5, 1.0, 2.0, 100.0}) {
    const std::vector<int> front = FrontSeen(focus, points);
    EXPECT_THAT(front, ::testing::Contains(nearest)) << focus;
    EXPECT_TRUE(
        std::includes(last.begin(), last.end(), front.begin(), front.end()))
        << focus;
    last = front;
  }
  EXPECT_LE(last.size(), 3u);
}

INSTANTIATE_TEST_SUITE_P(Objectives, AnyPreference, ::testing::Range(2, 9));

}  // namespace
}  // namespace hwnas
