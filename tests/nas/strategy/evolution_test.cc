// What the papers say of ageing evolution and NSGA-II, by hand.
#include <cmath>
#include <iterator>
#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/toy_space.h"
#include "tests/nas/strategy/simulate.h"

namespace hwnas {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::Pair;

// Of 2,000 proposals: four standard deviations of a share, and more.
constexpr double kChance = 0.045;

auto Share(int64_t trial, double share) {
  return Pair(trial, DoubleNear(share, kChance));
}

class EvolutionByHand : public ::testing::Test {
 protected:
  // The trial's architecture is unlike those of all other numbers.
  void Observe(Strategy& strategy, int64_t number,
               std::vector<double> objectives) {
    Rng rng(1, static_cast<uint64_t>(number));
    ASSERT_TRUE(
        strategy
            .Observe({MadeTrial(space_, number, space_.Sample(rng).choices,
                                std::move(objectives))})
            .ok());
  }

  const ToySpace space_{10, 9};
};

using AgeingEvolution = EvolutionByHand;

// Real et al.: `population` children after its own birth a model is dead,
// whatever it was worth.
TEST_F(AgeingEvolution, TheOldestDiesHoweverGoodItIs) {
  auto strategy =
      MustCreate(AgeingEvolutionConfig{5, 1}, &space_, ToyProblem(), 1);
  Observe(*strategy, 1, {0, 0});  // Dominates all that come.
  for (int number = 2; number <= 5; ++number) {
    Observe(*strategy, number, {1. * number, 2. * number});
  }
  // Each of a sample of one.
  EXPECT_THAT(ShareOfParents(*strategy),
              ElementsAre(Share(1, 0.2), Share(2, 0.2), Share(3, 0.2),
                          Share(4, 0.2), Share(5, 0.2)));
  for (int number = 6; number <= 12; ++number) {
    Observe(*strategy, number, {1. * number, 2. * number});
    EXPECT_THAT(
        ShareOfParents(*strategy),
        ElementsAre(Pair(number - 4, Ge(0.1)), Pair(number - 3, Ge(0.1)),
                    Pair(number - 2, Ge(0.1)), Pair(number - 1, Ge(0.1)),
                    Pair(number, Ge(0.1))));
  }
}

// Of three drawn with replacement from five: the k-th best is the best of them
// if it was drawn and none better was.
TEST_F(AgeingEvolution, TheParentIsTheBestOfASample) {
  auto strategy =
      MustCreate(AgeingEvolutionConfig{5, 3}, &space_, ToyProblem(), 1);
  for (int number = 1; number <= 5; ++number) {
    Observe(*strategy, number, {5. - number, 5. - number});
  }
  const auto none_of_best = [](int k) { return std::pow(1 - k / 5., 3); };
  EXPECT_THAT(ShareOfParents(*strategy),
              ElementsAre(Share(1, none_of_best(4)),
                          Share(2, none_of_best(3) - none_of_best(4)),
                          Share(3, none_of_best(2) - none_of_best(3)),
                          Share(4, none_of_best(1) - none_of_best(2)),
                          Share(5, 1 - none_of_best(1))));
}

class Nsga2 : public EvolutionByHand {
 protected:
  // Children are mutations of a winner of a tournament.
  std::unique_ptr<Strategy> Create() {
    return MustCreate(Nsga2Config{.population = 4, .crossover = 0}, &space_,
                      ToyProblem(), 1);
  }
};

// Of two draws out of four the best of all is 7 of 16, the next 5, 3 and 1.
TEST_F(Nsga2, TheLowerRankWinsATournament) {
  auto strategy = Create();
  for (int number : {3, 1, 4, 2}) {
    Observe(*strategy, number, {1. * number, 2. * number});
  }
  EXPECT_THAT(ShareOfParents(*strategy),
              ElementsAre(Share(1, 7 / 16.), Share(2, 5 / 16.),
                          Share(3, 3 / 16.), Share(4, 1 / 16.)));
}

TEST_F(Nsga2, TheLessCrowdedWinsATournamentWithinAFront) {
  auto strategy = Create();
  // Gaps around 2 and 3: 0.3 and 0.9.
  Observe(*strategy, 1, {0, 1});
  Observe(*strategy, 2, {0.1, 0.9});
  Observe(*strategy, 3, {0.3, 0.7});
  Observe(*strategy, 4, {1, 0});
  // The two ends are equal: of both, the one that was drawn first.
  EXPECT_THAT(ShareOfParents(*strategy),
              ElementsAre(Share(1, 6 / 16.), Share(2, 1 / 16.),
                          Share(3, 3 / 16.), Share(4, 6 / 16.)));
}

TEST_F(Nsga2, TheMostCrowdedOfTheLastFrontLeaves) {
  auto strategy = Create();
  Observe(*strategy, 1, {0, 1});
  Observe(*strategy, 2, {0.1, 0.9});
  Observe(*strategy, 3, {0.5, 0.5});
  Observe(*strategy, 4, {1, 0});
  const auto members = [&] {
    std::vector<int64_t> members;
    for (const auto& [trial, share] : ShareOfParents(*strategy)) {
      members.push_back(trial);
    }
    return members;
  };
  // Gaps of 0.2 around 2 and 0.4 around the new one.
  Observe(*strategy, 5, {0.2, 0.8});
  EXPECT_THAT(members(), ElementsAre(1, 3, 4, 5));
  // On a second front, even if nothing is near.
  Observe(*strategy, 6, {0.75, 0.75});
  EXPECT_THAT(members(), ElementsAre(1, 3, 4, 5));
  // Dominates 3 alone.
  Observe(*strategy, 7, {0.45, 0.45});
  EXPECT_THAT(members(), ElementsAre(1, 4, 5, 7));
}

// Elitism: the ends of the front have the largest crowding distance.
TEST_F(Nsga2, NeverLosesTheEndsOfItsFront) {
  auto strategy = Create();
  Observe(*strategy, 1, {0, 1});
  Observe(*strategy, 2, {1, 0});
  Rng rng(3);
  for (int number = 3; number <= 300; ++number) {
    const double a = 0.001 + 0.998 * rng.Uniform();
    const double above = number % 3 == 0 ? rng.Uniform() : 0;
    Observe(*strategy, number, {a, 1 - a + above});
    if (number % 25 != 0) continue;
    const auto shares = ShareOfParents(*strategy);
    EXPECT_EQ(shares.size(), 4u);
    EXPECT_THAT(shares.begin()->first, 1);
    EXPECT_THAT(std::next(shares.begin())->first, 2);
  }
}

}  // namespace
}  // namespace hwnas
