#include "nas/strategy/nsga3.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/pareto/decomposition.h"
#include "nas/pareto/pareto.h"
#include "tests/fakes/toy_space.h"
#include "tests/nas/strategy/simulate.h"

namespace hwnas {
namespace {

using ::testing::ElementsAre;

// On the front of GridDtlz2 the sum of squares is 1.
double DistanceFromSphere(const Point& point) {
  double sum = 0;
  for (double value : point) sum += value * value;
  return std::sqrt(sum) - 1;
}

Journal Search(const StrategyConfig& config, const SearchSpace& space,
               int objectives, int trials, uint64_t seed,
               const std::vector<double>& units) {
  auto strategy = MustCreate(config, &space, ToyProblem(objectives), seed);
  const Evaluator evaluate = [&](const Architecture& a) {
    Evaluation evaluation = GridDtlz2(space, a, objectives);
    for (int k = 0; k < objectives; ++k) evaluation.objectives[k] *= units[k];
    return evaluation;
  };
  return Simulate(*strategy, evaluate, trials, /*workers=*/4);
}

// The paper's claim: in the end each direction has a point of the front near
// it, whatever the units of the objectives.
TEST(Nsga3Strategy, FindsAPointOfTheFrontForEachDirectionWhateverTheUnits) {
  const ToySpace space(8, 9);
  const std::vector<Point> directions = SimplexLattice(3, 5);
  for (const std::vector<double>& units :
       {std::vector<double>{1, 1, 1}, std::vector<double>{1, 10, 100}}) {
    const Journal journal =
        Search(Nsga3Config{21, 0.9, 0}, space, 3, 2000, 1, units);
    std::set<int> found;
    for (const Observation& o : journal.observed) {
      Point point = o.evaluation.objectives;
      for (int k = 0; k < 3; ++k) point[k] /= units[k];
      if (DistanceFromSphere(point) > 0.02) continue;
      const Niche niche = NearestDirection(point, directions);
      found.insert(niche.direction);
    }
    EXPECT_EQ(found.size(), directions.size());
  }
}

TEST(Nsga3Strategy, ComesNearerToAFrontOfManyObjectivesThanNsga2) {
  const ToySpace space(12, 9);
  // Median over the last trials.
  const auto distance = [&](const StrategyConfig& config) {
    std::vector<double> distances;
    for (uint64_t seed = 1; seed <= 3; ++seed) {
      const Journal journal =
          Search(config, space, 5, 1500, seed, {1, 1, 1, 1, 1});
      for (size_t i = 1300; i < 1500; ++i) {
        distances.push_back(
            DistanceFromSphere(journal.observed[i].evaluation.objectives));
      }
    }
    std::nth_element(distances.begin(),
                     distances.begin() + distances.size() / 2, distances.end());
    return distances[distances.size() / 2];
  };
  EXPECT_LT(distance(Nsga3Config{36, 0.9, 0}),
            0.7 * distance(Nsga2Config{36, 0.9, 0}));
}

// By hand: four places for the directions (0, 1), (1/3, 2/3), (2/3, 1/3) and
// (1, 0), and points (t, 1 - t). Niches end at t = 0.19, 0.5 and 0.81.
class NichesByHand : public ::testing::Test {
 protected:
  void Observe(Strategy& strategy, int64_t number, double t) {
    Rng rng(1, static_cast<uint64_t>(number));
    ASSERT_TRUE(
        strategy
            .Observe({MadeTrial(space_, number, space_.Sample(rng).choices,
                                {t, 1 - t})})
            .ok());
  }
  // The population: who has children.
  static std::vector<int64_t> Members(Strategy& strategy) {
    std::vector<int64_t> members;
    for (const auto& [trial, share] : ShareOfParents(strategy)) {
      members.push_back(trial);
    }
    return members;
  }

  const ToySpace space_{10, 9};
};

TEST_F(NichesByHand, TheFarthestOfTheFullestNicheLeaves) {
  const auto survivors = [&](const StrategyConfig& config) {
    auto strategy = MustCreate(config, &space_, ToyProblem(), 1);
    Observe(*strategy, 1, 0);
    Observe(*strategy, 2, 0.45);
    Observe(*strategy, 3, 0.6);
    Observe(*strategy, 4, 0.8);
    Observe(*strategy, 5, 1);
    return Members(*strategy);
  };
  // 3 and 4 share a niche, 3 is nearer to its direction. By crowding distance 3
  // would leave: 0.35 against 0.4.
  EXPECT_THAT(survivors(Nsga3Config{4, 0, 0}), ElementsAre(1, 2, 3, 5));
  EXPECT_THAT(survivors(Nsga2Config{4, 0, 0}), ElementsAre(1, 2, 4, 5));
}

TEST_F(NichesByHand, WhoIsAloneInItsNicheStaysWhateverComesElsewhere) {
  auto strategy = MustCreate(Nsga3Config{4, 0, 0}, &space_, ToyProblem(), 1);
  Observe(*strategy, 1, 0);
  Observe(*strategy, 2, 1);
  Observe(*strategy, 3, 0.21);
  Rng rng(1);
  for (int number = 4; number <= 200; ++number) {
    Observe(*strategy, number, 0.51 + 0.29 * rng.Uniform());
    if (number % 20 != 0) continue;
    const std::vector<int64_t> members = Members(*strategy);
    ASSERT_EQ(members.size(), 4u);
    EXPECT_EQ(std::vector<int64_t>(members.begin(), members.begin() + 3),
              (std::vector<int64_t>{1, 2, 3}));
  }
}

}  // namespace
}  // namespace hwnas
