// Against pagmo2, an independent implementation.
#include <algorithm>
#include <pagmo/utils/hypervolume.hpp>
#include <pagmo/utils/multi_objective.hpp>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/pareto/decomposition.h"
#include "nas/pareto/pareto.h"
#include "tests/nas/pareto/random_points.h"

namespace hwnas {
namespace {

using ::testing::DoubleNear;

std::vector<std::vector<Point>> Cases(int objectives) {
  Rng rng(objectives);
  std::vector<std::vector<Point>> cases;
  for (int count : {2, 3, 10, 50, 150}) {
    for (int levels : {0, 3, 10}) {
      cases.push_back(RandomPoints(rng, count, objectives, levels));
    }
    cases.push_back(SpherePoints(rng, std::min(count, 60), objectives));
    // Some points twice.
    std::vector<Point> doubled = cases.back();
    doubled.insert(doubled.end(), cases.back().begin(),
                   cases.back().begin() + count / 3 % doubled.size());
    cases.push_back(doubled);
  }
  return cases;
}

class AgainstPagmo : public ::testing::TestWithParam<int> {};

TEST_P(AgainstPagmo, FrontsAreEqual) {
  for (const std::vector<Point>& points : Cases(GetParam())) {
    auto expected = std::get<0>(pagmo::fast_non_dominated_sorting(points));
    const std::vector<std::vector<int>> fronts = NonDominatedSort(points);
    ASSERT_EQ(fronts.size(), expected.size());
    for (size_t i = 0; i < fronts.size(); ++i) {
      std::sort(expected[i].begin(), expected[i].end());
      EXPECT_EQ(
          std::vector<pagmo::pop_size_t>(fronts[i].begin(), fronts[i].end()),
          expected[i]);
    }
  }
}

TEST_P(AgainstPagmo, CrowdingIsEqualWithoutTies) {
  Rng rng(7);
  for (int count : {2, 3, 10, 100}) {
    const std::vector<Point> front = SpherePoints(rng, count, GetParam());
    const std::vector<double> expected = pagmo::crowding_distance(front);
    const std::vector<double> crowding = CrowdingDistance(front);
    ASSERT_EQ(crowding.size(), expected.size());
    for (size_t i = 0; i < crowding.size(); ++i) {
      if (std::isinf(expected[i])) {
        EXPECT_EQ(crowding[i], expected[i]);
      } else {
        EXPECT_THAT(crowding[i], DoubleNear(expected[i], 1e-12));
      }
    }
  }
}

TEST_P(AgainstPagmo, HypervolumesAreEqual) {
  for (const std::vector<Point>& points : Cases(GetParam())) {
    const Point reference(GetParam(), 1.25);
    EXPECT_THAT(
        Hypervolume(points, reference),
        DoubleNear(pagmo::hypervolume(points).compute(reference), 1e-10));
  }
}

TEST_P(AgainstPagmo, ContributionsAreEqual) {
  for (const std::vector<Point>& points : Cases(GetParam())) {
    if (points.size() > 60) continue;
    const Point reference(GetParam(), 1.25);
    const std::vector<double> expected =
        pagmo::hypervolume(points).contributions(reference);
    const std::vector<double> contributions =
        HypervolumeContributions(points, reference);
    for (size_t i = 0; i < points.size(); ++i) {
      EXPECT_THAT(contributions[i], DoubleNear(expected[i], 1e-10));
    }
  }
}

TEST_P(AgainstPagmo, SimplexLatticesAreEqual) {
  std::mt19937 unused;  // By this method.
  for (int divisions = 1; divisions <= 5; ++divisions) {
    const int64_t size = SimplexLatticeSize(GetParam(), divisions);
    std::vector<Point> expected = pagmo::decomposition_weights(
        GetParam(), static_cast<pagmo::vector_double::size_type>(size), "grid",
        unused);
    std::sort(expected.begin(), expected.end());
    const std::vector<Point> lattice = SimplexLattice(GetParam(), divisions);
    ASSERT_EQ(lattice.size(), expected.size());
    for (size_t i = 0; i < lattice.size(); ++i) {
      EXPECT_THAT(lattice[i],
                  ::testing::Pointwise(DoubleNear(1e-12), expected[i]));
    }
  }
}

TEST_P(AgainstPagmo, ChebyshevDistancesAreEqual) {
  Rng rng(GetParam());
  for (int i = 0; i < 100; ++i) {
    const std::vector<Point> three = RandomPoints(rng, 3, GetParam(), 0);
    Point weights = three[1];
    for (double& weight : weights) weight += 0.01;  // No zeros.
    const Point& ideal = three[2];
    Point from_ideal = three[0];
    for (int k = 0; k < GetParam(); ++k) from_ideal[k] -= ideal[k];
    EXPECT_THAT(ChebyshevDistance(from_ideal, weights),
                DoubleNear(pagmo::decompose_objectives(three[0], weights, ideal,
                                                       "tchebycheff")[0],
                           1e-12));
  }
}

INSTANTIATE_TEST_SUITE_P(Objectives, AgainstPagmo, ::testing::Range(2, 6));

}  // namespace
}  // namespace hwnas
