#include "nas/pareto/constrained.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas {
namespace {

using ::testing::ElementsAre;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Evaluation Feasible(double a, double b) { return {{a, b}, 0, true}; }
Evaluation Violates(double violation) { return {{0, kNan}, violation, false}; }
Evaluation Failed() { return {{kNan, kNan}, 0, false}; }

TEST(ConstrainedDominates, PutsFeasibilityFirst) {
  EXPECT_TRUE(ConstrainedDominates(Feasible(9, 9), Violates(0.1)));
  EXPECT_FALSE(ConstrainedDominates(Violates(0.1), Feasible(9, 9)));
  EXPECT_TRUE(ConstrainedDominates(Feasible(9, 9), Failed()));
  EXPECT_TRUE(ConstrainedDominates(Violates(5), Failed()));
  EXPECT_FALSE(ConstrainedDominates(Failed(), Violates(5)));
}

TEST(ConstrainedDominates, ComparesAlike) {
  EXPECT_TRUE(ConstrainedDominates(Feasible(1, 1), Feasible(1, 2)));
  EXPECT_FALSE(ConstrainedDominates(Feasible(2, 1), Feasible(1, 2)));
  EXPECT_TRUE(ConstrainedDominates(Violates(0.1), Violates(0.2)));
  EXPECT_FALSE(ConstrainedDominates(Violates(0.2), Violates(0.2)));
  EXPECT_FALSE(ConstrainedDominates(Failed(), Failed()));
}

TEST(ConstrainedDominates, PrefersASmallerViolationWhateverTheObjectives) {
  const Evaluation far{{0, 0}, 2, true};
  const Evaluation near{{9, 9}, 1, true};
  EXPECT_TRUE(ConstrainedDominates(near, far));
  EXPECT_FALSE(ConstrainedDominates(far, near));
}

TEST(ConstrainedNonDominatedSort, OrdersFeasibleThenViolatingThenFailed) {
  const std::vector<Evaluation> evaluations = {
      Violates(0.5),  Failed(), Feasible(2, 2), Violates(0.1),
      Feasible(1, 2), Failed(), Violates(0.5),  Feasible(2, 1)};
  EXPECT_THAT(ConstrainedNonDominatedSort(evaluations),
              ElementsAre(ElementsAre(4, 7), ElementsAre(2), ElementsAre(3),
                          ElementsAre(0, 6), ElementsAre(1, 5)));
}

TEST(RankAndCrowd, PrefersRankThenRoom) {
  const std::vector<Evaluation> evaluations = {Feasible(0, 4), Feasible(1, 1),
                                               Feasible(1.5, 0.9),
                                               Feasible(4, 0), Violates(1)};
  std::vector<const Evaluation*> pointers;
  for (const Evaluation& e : evaluations) pointers.push_back(&e);
  const RankAndCrowding order = RankAndCrowd(pointers);
  EXPECT_THAT(order.rank, ElementsAre(0, 0, 0, 0, 1));
  EXPECT_TRUE(order.Prefers(0, 1));
  EXPECT_TRUE(order.Prefers(1, 4));
  EXPECT_FALSE(order.Prefers(4, 2));
  EXPECT_GT(order.crowding[1], 0);
}

}  // namespace
}  // namespace hwnas
