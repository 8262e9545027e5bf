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

}  // namespace
}  // namespace hwnas
