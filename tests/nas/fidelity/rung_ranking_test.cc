#include "nas/fidelity/rung_ranking.h"

#include <algorithm>
#include <numeric>

#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/pareto/pareto.h"
#include "tests/nas/fidelity/rung_builder.h"

namespace hwnas {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::vector<int> Best(const std::vector<Evaluation>& evaluations, int count,
                      FrontOrder order = FrontOrder::kHypervolume) {
  std::vector<const Evaluation*> pointers;
  for (const Evaluation& e : evaluations) pointers.push_back(&e);
  return BestOfRung(pointers, count, order);
}

class BestOfRungTest : public ::testing::TestWithParam<FrontOrder> {};

TEST_P(BestOfRungTest, SortsByTheOnlyObjective) {
  EXPECT_THAT(Best({Loss(3), Loss(1), Loss(2)}, 5, GetParam()),
              ElementsAre(1, 2, 0));
  EXPECT_THAT(Best({Loss(3), Loss(1), Loss(2)}, 2, GetParam()),
              ElementsAre(1, 2));
  EXPECT_THAT(Best({Loss(3), Loss(1)}, 0, GetParam()), IsEmpty());
  EXPECT_THAT(Best({}, 3, GetParam()), IsEmpty());
}

TEST_P(BestOfRungTest, TakesWholeFrontsFirst) {
  const std::vector<Evaluation> evaluations = {
      Losses(4, 4), Losses(0, 3), Losses(1, 2), Losses(3, 0), Losses(2, 3)};
  std::vector<int> best = Best(evaluations, 4, GetParam());
  EXPECT_EQ(best[3], 4);
  best.pop_back();
  std::sort(best.begin(), best.end());
  EXPECT_THAT(best, ElementsAre(1, 2, 3));
}

TEST_P(BestOfRungTest, PutsFeasibleOnesFirstAndLeavesFailuresOut) {
  EXPECT_THAT(
      Best({Loss(1, 0.2), Failed(), Loss(9), Loss(1, 0.1)}, 9, GetParam()),
      ElementsAre(2, 3, 0));
}

TEST_P(BestOfRungTest, TakesEqualResultsInOrder) {
  EXPECT_THAT(Best({Losses(1, 1), Losses(1, 1), Losses(1, 1)}, 3, GetParam()),
              SizeIs(3));
}

INSTANTIATE_TEST_SUITE_P(Orders, BestOfRungTest,
                         ::testing::Values(FrontOrder::kHypervolume,
                                           FrontOrder::kEpsilonNet));

// On the scale of [0, 1] and with reference (1.1, 1.1) the middle point covers
// 0.8 * 0.8, an end 1.1 * 0.1.
TEST(BestOfRung, StartsWithTheMostHypervolume) {
  EXPECT_THAT(Best({Losses(0, 10), Losses(3, 3), Losses(10, 0)}, 3),
              ElementsAre(1, 0, 2));
}

TEST(BestOfRung, IsTheGreedyChoiceOfHypervolume) {
  Rng rng(5);
  std::vector<Evaluation> evaluations;
  std::vector<Point> front;
  for (int i = 0; i < 40; ++i) {
    const double x = rng.Uniform();
    evaluations.push_back(Losses(x, (1 - x) * (1 - x)));
    front.push_back(evaluations.back().objectives);
  }
  double low[2] = {1, 1}, high[2] = {0, 0};
  for (const Point& p : front) {
    for (int k = 0; k < 2; ++k) {
      low[k] = std::min(low[k], p[k]);
      high[k] = std::max(high[k], p[k]);
    }
  }
  for (Point& p : front) {
    for (int k = 0; k < 2; ++k) p[k] = (p[k] - low[k]) / (high[k] - low[k]);
  }
  std::vector<Point> taken;
  for (const int i : Best(evaluations, 12)) {
    double most = 0;
    for (const Point& p : front) {
      most = std::max(most, ExclusiveHypervolume(p, taken, {1.1, 1.1}));
    }
    EXPECT_NEAR(ExclusiveHypervolume(front[i], taken, {1.1, 1.1}), most, 1e-12);
    taken.push_back(front[i]);
  }
}

// After the best in the first objective: the other end, then the middle.
TEST(BestOfRung, SpreadsAnEpsilonNet) {
  EXPECT_THAT(Best({Losses(1, 9), Losses(9, 1), Losses(0, 10), Losses(10, 0),
                    Losses(4, 5)},
                   3, FrontOrder::kEpsilonNet),
              ElementsAre(2, 3, 4));
}

TEST(BestOfRung, DoesNotDependOnUnits) {
  Rng rng(6);
  std::vector<Evaluation> a, b;
  for (int i = 0; i < 30; ++i) {
    const double x = rng.Uniform(), y = rng.Uniform();
    a.push_back(Losses(x, y));
    b.push_back(Losses(1024 * x - 512, y / 4));
  }
  for (const FrontOrder order :
       {FrontOrder::kHypervolume, FrontOrder::kEpsilonNet}) {
    EXPECT_EQ(Best(a, 30, order), Best(b, 30, order));
  }
}

}  // namespace
}  // namespace hwnas
