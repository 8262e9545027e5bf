#include "nas/strategy/moead.h"

#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/toy_space.h"
#include "tests/nas/strategy/simulate.h"

namespace hwnas {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::Pair;

// The reason for Chebyshev's approach: no weighted sum has its best point in
// the middle of a front that bulges towards the ideal point's far side, as
// DTLZ2's does.
TEST(MoeadStrategy, FindsAWholeFrontThatNoWeightedSumHas) {
  const ToySpace space(8, 11);
  auto strategy = MustCreate(MoeadConfig{}, &space, ToyProblem(), 1);
  const Journal journal = Simulate(
      *strategy, [&](const Architecture& a) { return GridDtlz2(space, a, 2); },
      2000, /*workers=*/4);
  std::set<int> found;
  for (const Observation& o : journal.observed) {
    const std::vector<int>& x = o.proposal.architecture.choices;
    bool on_front = true;
    for (size_t i = 1; i < x.size(); ++i) on_front &= x[i] == 5;
    if (on_front) found.insert(x[0]);
  }
  EXPECT_THAT(found, ElementsAreArray({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
}

TEST(MoeadStrategy, IgnoresTheUnitsOfTheObjectives) {
  const ToySpace space(8, 9);
  // Powers of two: scaling is exact.
  const auto proposed = [&](double unit) {
    auto strategy = MustCreate(MoeadConfig{}, &space, ToyProblem(), 7);
    const Journal journal = Simulate(
        *strategy,
        [&](const Architecture& a) {
          Evaluation evaluation = GridZdt1(space, a);
          evaluation.objectives[1] *= unit;
          return evaluation;
        },
        400, /*workers=*/4);
    std::vector<Architecture> architectures;
    for (const Proposal& p : journal.proposed) {
      architectures.push_back(p.architecture);
    }
    return architectures;
  };
  EXPECT_EQ(proposed(1), proposed(1024));
}

// One subproblem has a front of one point.
TEST(MoeadStrategy, OptimizesASingleObjective) {
  const ToySpace space(10, 6);
  auto strategy = MustCreate(MoeadConfig{}, &space, ToyProblem(1), 1);
  const Journal journal = Simulate(
      *strategy,
      [](const Architecture& a) {
        double sum = 0;
        for (int c : a.choices) sum += (c - 2) * (c - 2);
        return Evaluation{{sum}, 0, true};
      },
      600, /*workers=*/4);
  double best = 1e9;
  for (const Observation& o : journal.observed) {
    best = std::min(best, o.evaluation.objectives[0]);
  }
  EXPECT_EQ(best, 0);
}

// By hand: four subproblems, each a neighbour of all, so a trial that holds k
// of them is the parent of k children in four.
class MoeadByHand : public ::testing::Test {
 protected:
  void Observe(int64_t number, std::vector<double> objectives) {
    Rng rng(1, static_cast<uint64_t>(number));
    ASSERT_TRUE(
        strategy_
            ->Observe({MadeTrial(space_, number, space_.Sample(rng).choices,
                                 std::move(objectives))})
            .ok());
  }
  static auto Holds(int64_t trial, int subproblems) {
    return Pair(trial, DoubleNear(subproblems / 4., 0.045));
  }

  const ToySpace space_{10, 9};
  const std::unique_ptr<Strategy> strategy_ =
      MustCreate(MoeadConfig{.population = 4, .neighbours = 4, .crossover = 0},
                 &space_, ToyProblem(), 1);
};

// Weights (0, 1), (1/3, 2/3), (2/3, 1/3) and (1, 0); the ideal point is (0, 0).
TEST_F(MoeadByHand, ASubproblemKeepsTheSmallerChebyshevDistance) {
  Observe(1, {0, 1});
  Observe(2, {1, 0});
  EXPECT_THAT(ShareOfParents(*strategy_),
              ElementsAre(Holds(1, 2), Holds(2, 2)));
  // 0.27 in the middle, where 1/3 was; 0.4 at the ends, where almost 0 was.
  Observe(3, {0.4, 0.4});
  EXPECT_THAT(ShareOfParents(*strategy_),
              ElementsAre(Holds(1, 1), Holds(2, 1), Holds(3, 2)));
  // max(0.15, 0.13) against 0.27 in the second, max(0.3, 0.07) in the third.
  Observe(4, {0.45, 0.2});
  EXPECT_THAT(ShareOfParents(*strategy_),
              ElementsAre(Holds(1, 1), Holds(2, 1), Holds(3, 1), Holds(4, 1)));
  // Dominates 3; 0.2 in the second and the third.
  Observe(5, {0.3, 0.3});
  EXPECT_THAT(ShareOfParents(*strategy_),
              ElementsAre(Holds(1, 1), Holds(2, 1), Holds(4, 1), Holds(5, 1)));
}

// MOEA/D-DE, so that one trial does not take everything over.
TEST_F(MoeadByHand, ATrialReplacesAtMostTwo) {
  Observe(1, {1, 1});
  EXPECT_THAT(ShareOfParents(*strategy_), ElementsAre(Holds(1, 4)));
  Observe(5, {0.5, 0.5});
  EXPECT_THAT(ShareOfParents(*strategy_),
              ElementsAre(Holds(1, 2), Holds(5, 2)));
}

// The initial design is where every subproblem starts.
TEST_F(MoeadByHand, ATrialOfTheInitialDesignReplacesAll) {
  Observe(1, {1, 1});
  Observe(2, {0.5, 0.5});
  EXPECT_THAT(ShareOfParents(*strategy_), ElementsAre(Holds(2, 4)));
}

}  // namespace
}  // namespace hwnas
