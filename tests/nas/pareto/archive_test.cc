#include "nas/pareto/archive.h"

#include <algorithm>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/nas/pareto/random_points.h"

namespace hwnas {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

TEST(ParetoArchive, KeepsTheFront) {
  ParetoArchive archive(2);
  EXPECT_TRUE(archive.Insert({2, 2}, 1));
  EXPECT_FALSE(archive.Insert({3, 2}, 2));
  EXPECT_TRUE(archive.Insert({1, 3}, 3));
  EXPECT_TRUE(archive.Insert({2, 2}, 4));
  EXPECT_THAT(archive.ids(), UnorderedElementsAre(1, 3, 4));
  EXPECT_TRUE(archive.Insert({2, 1}, 5));
  EXPECT_THAT(archive.ids(), UnorderedElementsAre(3, 5));
}

TEST(ParetoArchive, RefusesValuesThatAreNotFiniteAndOtherSizes) {
  ParetoArchive archive(2);
  archive.SetReference({1, 1});
  EXPECT_FALSE(
      archive.Insert({0, std::numeric_limits<double>::quiet_NaN()}, 1));
  EXPECT_FALSE(
      archive.Insert({0, -std::numeric_limits<double>::infinity()}, 2));
  EXPECT_FALSE(archive.Insert({0}, 3));
  EXPECT_FALSE(archive.Insert({0, 0, 0}, 4));
  EXPECT_EQ(archive.size(), 0);
  EXPECT_EQ(archive.hypervolume(), 0);
}

TEST(ParetoArchive, TakesAReferenceLate) {
  ParetoArchive archive(2);
  archive.Insert({1, 2}, 1);
  archive.Insert({2, 1}, 2);
  EXPECT_EQ(archive.hypervolume(), 0);
  archive.SetReference({3, 3});
  EXPECT_DOUBLE_EQ(archive.hypervolume(), 3);
  EXPECT_DOUBLE_EQ(archive.Gain({0, 0}), 6);
  EXPECT_EQ(archive.Gain({2, 2}), 0);
  archive.Insert({0, 0}, 3);
  EXPECT_DOUBLE_EQ(archive.hypervolume(), 9);
  EXPECT_THAT(archive.ids(), ElementsAre(3));
}

TEST(ParetoArchive, EqualsTheFrontAndHypervolumeOfTheWholeSet) {
  Rng rng(4);
  for (int objectives = 1; objectives <= 5; ++objectives) {
    for (int levels : {0, 5}) {
      const int count = objectives <= 3 ? 400 : 60;
      std::vector<Point> points = RandomPoints(rng, count, objectives, levels);
      for (const Point& point : SpherePoints(rng, count / 4, objectives)) {
        points.push_back(point);
      }
      rng.Shuffle(points);
      const Point reference(objectives, 0.95);
      ParetoArchive archive(objectives);
      archive.SetReference(reference);
      std::vector<Point> seen;
      for (size_t i = 0; i < points.size(); ++i) {
        seen.push_back(points[i]);
        const bool would = archive.WouldJoin(points[i]);
        const bool joined = archive.Insert(points[i], static_cast<int64_t>(i));
        EXPECT_EQ(would, joined);
        if (i % 37 != 0 && i + 1 != points.size()) continue;
        const std::vector<int> front = NonDominated(seen);
        std::vector<int64_t> ids = archive.ids();
        std::sort(ids.begin(), ids.end());
        EXPECT_EQ(ids, std::vector<int64_t>(front.begin(), front.end()));
        EXPECT_THAT(archive.hypervolume(),
                    DoubleNear(Hypervolume(seen, reference), 1e-12));
      }
    }
  }
}

}  // namespace
}  // namespace hwnas
