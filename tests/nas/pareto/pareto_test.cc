#include "nas/pareto/pareto.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/pareto/archive.h"
#include "tests/nas/pareto/random_points.h"

namespace hwnas {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(Dominates, AsksForNoWorseAndOnceBetter) {
  EXPECT_TRUE(Dominates({1, 2}, {1, 3}));
  EXPECT_TRUE(Dominates({0, 2}, {1, 3}));
  EXPECT_FALSE(Dominates({1, 2}, {1, 2}));
  EXPECT_FALSE(Dominates({0, 4}, {1, 3}));
  EXPECT_FALSE(Dominates({1, 3}, {1, 2}));
}

TEST(ParetoFront, DropsDominatedPoints) {
  EXPECT_THAT(NonDominated({{3, 1}, {2, 2}, {3, 3}, {1, 3}, {2, 3}}),
              ElementsAre(0, 1, 3));
}

TEST(ParetoFront, KeepsEqualPoints) {
  EXPECT_THAT(NonDominated({{1, 2}, {2, 1}, {1, 2}, {2, 2}}),
              ElementsAre(0, 1, 2));
}

TEST(ParetoFront, OfNothingIsEmpty) {
  EXPECT_THAT(NonDominated({}), IsEmpty());
  EXPECT_THAT(NonDominatedSort({}), IsEmpty());
  EXPECT_THAT(CrowdingDistance({}), IsEmpty());
}

TEST(NonDominatedSort, GivesFrontsBestFirst) {
  EXPECT_THAT(
      NonDominatedSort({{3, 3}, {1, 1}, {2, 2}, {1, 3}, {1, 1}, {4, 4}}),
      ElementsAre(ElementsAre(1, 4), ElementsAre(2, 3), ElementsAre(0),
                  ElementsAre(5)));
}

// By the definition: a front is what nothing left over dominates.
std::vector<std::vector<int>> SortByPeeling(const std::vector<Point>& points) {
  std::vector<int> left(points.size());
  std::iota(left.begin(), left.end(), 0);
  std::vector<std::vector<int>> fronts;
  while (!left.empty()) {
    std::vector<int> front;
    std::vector<int> rest;
    for (int i : left) {
      bool dominated = false;
      for (int j : left) dominated |= Dominates(points[j], points[i]);
      (dominated ? rest : front).push_back(i);
    }
    fronts.push_back(front);
    left = rest;
  }
  return fronts;
}

TEST(NonDominatedSort, AgreesWithPeelingByDefinition) {
  Rng rng(1);
  for (int objectives = 1; objectives <= 5; ++objectives) {
    for (int levels : {0, 2, 4, 10}) {
      for (int count : {1, 2, 7, 60}) {
        const std::vector<Point> points =
            RandomPoints(rng, count, objectives, levels);
        const auto expected = SortByPeeling(points);
        EXPECT_EQ(NonDominatedSort(points), expected);
        EXPECT_EQ(NonDominated(points), expected[0]);
      }
    }
  }
}

TEST(CrowdingDistance, AddsNormalisedGapsAndIsInfiniteAtTheEnds) {
  EXPECT_THAT(
      CrowdingDistance({{0, 4}, {4, 0}, {1, 2}, {2, 1}}),
      ElementsAre(kInfinity, kInfinity, DoubleNear(2. / 4 + 3. / 4, 1e-12),
                  DoubleNear(3. / 4 + 2. / 4, 1e-12)));
  EXPECT_THAT(CrowdingDistance({{0, 4}, {4, 0}}),
              ElementsAre(kInfinity, kInfinity));
}

TEST(CrowdingDistance, OfSurplusEqualPointsIsZero) {
  EXPECT_THAT(CrowdingDistance({{0, 4}, {1, 1}, {1, 1}, {1, 1}, {4, 0}})[2], 0);
}

TEST(CrowdingDistance, IgnoresAnObjectiveWithoutSpread) {
  EXPECT_THAT(CrowdingDistance({{0, 7}, {1, 7}, {2, 7}}),
              ElementsAre(kInfinity, 1, kInfinity));
  EXPECT_THAT(CrowdingDistance({{7, 7}, {7, 7}, {7, 7}}), ElementsAre(0, 0, 0));
}

TEST(Hypervolume, OfOnePointIsItsBox) {
  EXPECT_DOUBLE_EQ(Hypervolume({{1}}, {3}), 2);
  EXPECT_DOUBLE_EQ(Hypervolume({{1, 1}}, {3, 4}), 6);
  EXPECT_DOUBLE_EQ(Hypervolume({{1, 1, 1}}, {3, 4, 5}), 24);
  EXPECT_DOUBLE_EQ(Hypervolume({{1, 1, 1, 1}}, {3, 4, 5, 6}), 120);
  EXPECT_DOUBLE_EQ(Hypervolume({{1, 1, 1, 1, 1}}, {3, 4, 5, 6, 7}), 720);
}

TEST(Hypervolume, IgnoresPointsNotBetterThanTheReference) {
  EXPECT_EQ(Hypervolume({}, {1, 1}), 0);
  EXPECT_EQ(Hypervolume({{1, 0}, {0, 1}, {2, -5}}, {1, 1}), 0);
  EXPECT_EQ(Hypervolume({{0.5, 0.5, 2}, {0.5, 0.5, 0.5}}, {1, 1, 1}), 0.125);
}

TEST(Hypervolume, IsInfiniteForAnUnboundedPoint) {
  EXPECT_EQ(Hypervolume({{0, -kInfinity, 0}}, {1, 1, 1}), kInfinity);
  EXPECT_EQ(ExclusiveHypervolume({0, -kInfinity}, {}, {1, 1}), kInfinity);
}

// Counts the unit cells of a grid that some point dominates: exact for points
// on the grid.
double CountCells(const std::vector<Point>& points, int objectives,
                  int levels) {
  int64_t cells = 1;
  for (int k = 0; k < objectives; ++k) cells *= levels;
  int64_t dominated = 0;
  for (int64_t cell = 0; cell < cells; ++cell) {
    for (const Point& point : points) {
      int64_t rest = cell;
      bool inside = true;
      for (int k = 0; k < objectives; ++k) {
        inside &= std::lround(point[k] * levels) <= rest % levels;
        rest /= levels;
      }
      if (inside) {
        ++dominated;
        break;
      }
    }
  }
  return static_cast<double>(dominated) / static_cast<double>(cells);
}

TEST(Hypervolume, AgreesWithCountingCells) {
  Rng rng(2);
  for (int objectives = 1; objectives <= 5; ++objectives) {
    const int levels = objectives <= 3 ? 16 : 6;
    for (int count : {1, 2, 3, 10, 40}) {
      const std::vector<Point> points =
          RandomPoints(rng, count, objectives, levels);
      EXPECT_THAT(Hypervolume(points, Point(objectives, 1)),
                  DoubleNear(CountCells(points, objectives, levels), 1e-12))
          << objectives << " objectives, " << count << " points";
    }
  }
}

// By definition, from samples of the box up to the reference: the hypervolume
// and its standard deviation.
std::pair<double, double> SampledHypervolume(const std::vector<Point>& points,
                                             double reference) {
  constexpr int kSamples = 50000;
  const int objectives = static_cast<int>(points[0].size());
  Rng rng(99);
  int dominated = 0;
  Point sample(objectives);
  for (int i = 0; i < kSamples; ++i) {
    for (double& x : sample) x = reference * rng.Uniform();
    dominated += std::any_of(
        points.begin(), points.end(),
        [&](const Point& point) { return Dominates(point, sample); });
  }
  const double share = static_cast<double>(dominated) / kSamples;
  const double box = std::pow(reference, objectives);
  return {box * share, box * std::sqrt(share * (1 - share) / kSamples)};
}

class ManyObjectives : public ::testing::TestWithParam<int> {};

TEST_P(ManyObjectives, SmallFrontsAreExact) {
  const int objectives = GetParam();
  Rng rng(objectives);
  const int levels = 3;
  const std::vector<Point> points = RandomPoints(rng, 15, objectives, levels);
  const double expected = CountCells(points, objectives, levels);
  EXPECT_THAT(Hypervolume(points, Point(objectives, 1)),
              DoubleNear(expected, 1e-12));
  ParetoArchive archive(objectives);
  archive.SetReference(Point(objectives, 1));
  for (const Point& point : points) archive.Insert(point, 0);
  EXPECT_THAT(archive.hypervolume(), DoubleNear(expected, 1e-12));
}

TEST_P(ManyObjectives, LargeFrontsAreEstimatedWithinAPercent) {
  const int objectives = GetParam();
  Rng rng(objectives);
  const double reference = 1.1;
  const std::vector<Point> points = SpherePoints(rng, 150, objectives);
  const auto [expected, deviation] = SampledHypervolume(points, reference);
  const double tolerance = 0.01 * expected + 3 * deviation;
  const double volume = Hypervolume(points, Point(objectives, reference));
  EXPECT_THAT(volume, DoubleNear(expected, tolerance));
  EXPECT_EQ(Hypervolume(points, Point(objectives, reference)), volume);
  ParetoArchive archive(objectives);
  archive.SetReference(Point(objectives, reference));
  for (const Point& point : points) {
    const double before = archive.hypervolume();
    EXPECT_TRUE(archive.Insert(point, 0));
    EXPECT_GE(archive.hypervolume(), before);
  }
  EXPECT_THAT(archive.hypervolume(), DoubleNear(expected, tolerance));
}

TEST_P(ManyObjectives, RoughGainsAgreeOnAverage) {
  const int objectives = GetParam();
  Rng rng(objectives);
  ParetoArchive archive(objectives);
  archive.SetReference(Point(objectives, 1.1));
  for (const Point& point : SpherePoints(rng, 100, objectives)) {
    archive.Insert(point, 0);
  }
  double gains = 0, rough = 0;
  for (Point& point : SpherePoints(rng, 80, objectives)) {
    for (double& value : point) value *= 0.9;
    gains += archive.Gain(point);
    rough += archive.RoughGain(point);
  }
  EXPECT_THAT(rough, DoubleNear(gains, 0.3 * gains));
}

INSTANTIATE_TEST_SUITE_P(Objectives, ManyObjectives, ::testing::Range(5, 9));

TEST(HypervolumeContributions, AreWhatIsLostWithoutThePoint) {
  Rng rng(3);
  for (int objectives = 1; objectives <= 5; ++objectives) {
    for (int levels : {0, 4}) {
      std::vector<Point> points = RandomPoints(rng, 20, objectives, levels);
      for (Point& point : SpherePoints(rng, 20, objectives)) {
        points.push_back(point);
      }
      const Point reference(objectives, 0.9);
      const double all = Hypervolume(points, reference);
      const std::vector<double> contributions =
          HypervolumeContributions(points, reference);
      for (size_t i = 0; i < points.size(); ++i) {
        std::vector<Point> others = points;
        others.erase(others.begin() + i);
        EXPECT_THAT(contributions[i],
                    DoubleNear(all - Hypervolume(others, reference), 1e-12));
        EXPECT_EQ(ExclusiveHypervolume(points[i], others, reference),
                  contributions[i]);
      }
    }
  }
}

}  // namespace
}  // namespace hwnas
