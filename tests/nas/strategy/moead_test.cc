#include "nas/strategy/moead.h"

#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/toy_space.h"
#include "tests/nas/strategy/simulate.h"

namespace hwnas {
namespace {

using ::testing::ElementsAreArray;

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

}  // namespace
}  // namespace hwnas
