#include "nas/pareto/subset.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/nas/pareto/random_points.h"

namespace hwnas {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

double Covered(const std::vector<Point>& points, const std::vector<int>& subset,
               const Point& reference) {
  std::vector<Point> some;
  for (const int i : subset) some.push_back(points[i]);
  return Hypervolume(some, reference);
}

TEST(HypervolumeSubset, IsWhatTryingEveryPointInTurnChooses) {
  Rng rng(3);
  for (int objectives = 1; objectives <= 4; ++objectives) {
    const std::vector<Point> points = RandomPoints(rng, 30, objectives, 0);
    const Point reference(objectives, 1.0);
    std::vector<int> expected;
    for (int step = 0; step < 6; ++step) {
      int best = -1;
      double most = -1;
      for (int i = 0; i < 30; ++i) {
        std::vector<int> with = expected;
        if (std::find(with.begin(), with.end(), i) != with.end()) continue;
        with.push_back(i);
        const double covered = Covered(points, with, reference);
        if (covered > most + 1e-12) {
          most = covered;
          best = i;
        }
      }
      expected.push_back(best);
    }
    EXPECT_NEAR(
        Covered(points, HypervolumeSubset(points, reference, 6), reference),
        Covered(points, expected, reference), 1e-9)
        << objectives;
  }
}

TEST(HypervolumeSubset, IsNotFarFromTheBest) {
  Rng rng(4);
  const std::vector<Point> points = SpherePoints(rng, 12, 3);
  const Point reference(3, 1.1);
  double best = 0;
  for (int bits = 0; bits < 1 << 12; ++bits) {
    std::vector<int> subset;
    for (int i = 0; i < 12; ++i) {
      if (bits >> i & 1) subset.push_back(i);
    }
    if (subset.size() == 4) {
      best = std::max(best, Covered(points, subset, reference));
    }
  }
  const double greedy =
      Covered(points, HypervolumeSubset(points, reference, 4), reference);
  EXPECT_LE(greedy, best + 1e-12);
  EXPECT_GE(greedy, (1 - std::exp(-1)) * best);
}

TEST(HypervolumeSubset, TakesTheEarlierOfEquals) {
  const std::vector<Point> points = {{2, 2}, {1, 1}, {1, 1}, {0, 3}};
  EXPECT_THAT(HypervolumeSubset(points, {4, 4}, 2), ElementsAre(1, 3));
}

TEST(HypervolumeSubset, MayBeEverythingOrNothing) {
  const std::vector<Point> points = {{2, 2}, {1, 3}, {5, 5}};
  EXPECT_THAT(HypervolumeSubset(points, {4, 4}, 9),
              UnorderedElementsAre(0, 1, 2));
  EXPECT_THAT(HypervolumeSubset(points, {4, 4}, 0), IsEmpty());
  EXPECT_THAT(HypervolumeSubset({}, {4, 4}, 3), SizeIs(0));
}

}  // namespace
}  // namespace hwnas
