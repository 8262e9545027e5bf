#include "nas/pareto/decomposition.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/nas/pareto/random_points.h"

namespace hwnas {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::Pointwise;
using ::testing::SizeIs;

TEST(SimplexLattice, IsThatOfThePaper) {
  EXPECT_THAT(SimplexLattice(2, 4),
              ElementsAre(Point{0, 1}, Point{0.25, 0.75}, Point{0.5, 0.5},
                          Point{0.75, 0.25}, Point{1, 0}));
  EXPECT_THAT(SimplexLattice(1, 7), ElementsAre(Point{1}));
  // Deb and Jain, 2014, table I: 91 for 3 objectives and 12 divisions, 210 for
  // 5 and 6.
  EXPECT_THAT(SimplexLattice(3, 12), SizeIs(91));
  EXPECT_THAT(SimplexLattice(5, 6), SizeIs(210));
}

TEST(SimplexLattice, HasDistinctPointsThatSumToOne) {
  for (int objectives = 1; objectives <= 6; ++objectives) {
    for (int divisions = 1; divisions <= 6; ++divisions) {
      const std::vector<Point> lattice = SimplexLattice(objectives, divisions);
      EXPECT_EQ(static_cast<int64_t>(lattice.size()),
                SimplexLatticeSize(objectives, divisions));
      EXPECT_EQ(std::set<Point>(lattice.begin(), lattice.end()).size(),
                lattice.size());
      for (const Point& point : lattice) {
        EXPECT_NEAR(std::accumulate(point.begin(), point.end(), 0.0), 1, 1e-12);
      }
    }
  }
}

TEST(SimplexLattice, OfAtMostIsTheLargestThatFits) {
  EXPECT_THAT(SimplexLatticeOfAtMost(2, 20), SizeIs(20));
  EXPECT_THAT(SimplexLatticeOfAtMost(3, 20), SizeIs(15));
  EXPECT_THAT(SimplexLatticeOfAtMost(3, 21), SizeIs(21));
  EXPECT_THAT(SimplexLatticeOfAtMost(8, 20), SizeIs(8));
  EXPECT_THAT(SimplexLatticeOfAtMost(8, 3), SizeIs(8));
  EXPECT_THAT(SimplexLatticeOfAtMost(1, 20), SizeIs(1));
}

TEST(SimplexLattice, SizeSaturates) {
  EXPECT_EQ(SimplexLatticeSize(100, 100), std::numeric_limits<int64_t>::max());
}

TEST(Chebyshev, IsTheLargestWeightedObjective) {
  EXPECT_DOUBLE_EQ(ChebyshevDistance({3, 8}, {0.75, 0.25}), 2.25);
  EXPECT_DOUBLE_EQ(ChebyshevDistance({-3, 1}, {0.5, 0.5}), 1.5);
  // Weight 0 still tells points apart.
  EXPECT_LT(ChebyshevDistance({0, 1}, {1, 0}),
            ChebyshevDistance({0, 2}, {1, 0}));
  EXPECT_LT(ChebyshevDistance({0, 1}, {1, 0}), 1e-5);
}

// By another formula: the length times the sine of the angle between them.
TEST(PerpendicularDistance, IsWhatTheAngleSays) {
  Rng rng(3);
  for (int dims : {1, 2, 3, 5}) {
    for (int i = 0; i < 50; ++i) {
      const std::vector<Point> pair = RandomPoints(rng, 2, dims, 0);
      double dot = 0;
      double a = 0;
      double b = 0;
      for (int k = 0; k < dims; ++k) {
        dot += pair[0][k] * pair[1][k];
        a += pair[0][k] * pair[0][k];
        b += pair[1][k] * pair[1][k];
      }
      const double cosine = std::min(1.0, dot / std::sqrt(a * b));
      EXPECT_NEAR(PerpendicularDistance(pair[0], pair[1]),
                  std::sqrt(a) * std::sqrt(1 - cosine * cosine), 1e-7);
    }
  }
}

TEST(NearestDirection, IsTheNearestAndTheFirstOfEquals) {
  const std::vector<Point> directions = SimplexLattice(2, 2);
  EXPECT_EQ(NearestDirection({1, 9}, directions).direction, 0);
  EXPECT_EQ(NearestDirection({5, 4}, directions).direction, 1);
  EXPECT_EQ(NearestDirection({9, 1}, directions).direction, 2);
  EXPECT_NEAR(NearestDirection({9, 1}, directions).distance, 1, 1e-12);
  EXPECT_EQ(NearestDirection({0, 0}, directions).direction, 0);
}

// Points of the plane f0 / 2 + f1 / 30 + f2 / 0.5 = 1, moved away from the
// origin: the intercepts of the plane are found whatever the units.
TEST(HyperplaneScale, FindsTheInterceptsOfAPlane) {
  const Point intercepts = {2, 30, 0.5};
  const Point ideal = {-7, 100, 0};
  std::vector<Point> points = SimplexLattice(3, 6);
  for (Point& point : points) {
    for (int k = 0; k < 3; ++k) point[k] = ideal[k] + point[k] * intercepts[k];
  }
  HyperplaneScale scale(3);
  scale.Update(points, points);
  EXPECT_THAT(scale.ideal(), Pointwise(DoubleNear(1e-9), ideal));
  EXPECT_THAT(scale.intercepts(), Pointwise(DoubleNear(1e-9), intercepts));
  EXPECT_THAT(scale.Normalized(points[0]),
              Pointwise(DoubleNear(1e-9), Point{0, 0, 1}));
}

// A plane that is only hinted at: no point lies on an axis.
TEST(HyperplaneScale, ReachesBeyondTheExtremePoints) {
  const std::vector<Point> points = {
      {0, 0.9, 0.1}, {0.1, 0, 0.9}, {0.9, 0.1, 0}};
  HyperplaneScale scale(3);
  scale.Update(points, points);
  EXPECT_THAT(scale.intercepts(), Pointwise(DoubleNear(1e-9), Point{1, 1, 1}));
}

TEST(HyperplaneScale, FallsBackToTheWorstOfTheFront) {
  // Two extreme points coincide.
  const std::vector<Point> points = {{0, 0, 4}, {1, 1, 0}, {9, 9, 9}};
  HyperplaneScale scale(3);
  scale.Update(points, absl::MakeSpan(points).subspan(0, 2));
  EXPECT_THAT(scale.intercepts(), ElementsAre(1, 1, 4));
  // One point only: nothing to scale by.
  HyperplaneScale one(3);
  one.Update({Point{1, 2, 3}}, {Point{1, 2, 3}});
  EXPECT_THAT(one.intercepts(), ElementsAre(1, 1, 1));
  EXPECT_THAT(one.Normalized({1, 2, 4}), ElementsAre(0, 0, 1));
}

TEST(HyperplaneScale, RemembersExtremePointsThatLeft) {
  HyperplaneScale scale(2);
  scale.Update({Point{0, 10}, Point{10, 0}}, {Point{0, 10}, Point{10, 0}});
  scale.Update({Point{5, 5}}, {Point{5, 5}});
  EXPECT_THAT(scale.intercepts(), ElementsAre(10, 10));
}

}  // namespace
}  // namespace hwnas
