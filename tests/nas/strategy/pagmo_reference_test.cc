// Against pagmo2's NSGA-II and MOEA/D: as good a front with populations of the
// same size and as many evaluations. What pagmo2 2.18.0 finds was written by
//
//   cmake --preset release -DHWNAS_BUILD_BENCH=ON
//   ninja -C build/release pagmo_grid
//   build/release/bin/pagmo_grid --seeds=20
#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/toy_space.h"
#include "tests/nas/strategy/simulate.h"

namespace hwnas {
namespace {

constexpr std::array<int, 4> kEvaluations = {250, 500, 1000, 2000};

struct Case {
  std::string name;
  StrategyConfig config;
  bool zdt1;  // Else DTLZ2.
  int objectives;
  // What pagmo2 has found after kEvaluations: hypervolumes, medians.
  std::array<double, 4> pagmo;
};

void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }

class AgainstPagmo : public ::testing::TestWithParam<Case> {};

TEST_P(AgainstPagmo, FindsAsMuchWithAsManyEvaluations) {
  constexpr int kSeeds = 9;
  const Case& one = GetParam();
  const ToySpace space(8, 11);
  const Point reference = one.zdt1 ? Point{1.1, 2} : Point(one.objectives, 1.1);
  std::array<std::vector<double>, 4> found;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    auto strategy =
        MustCreate(one.config, &space, ToyProblem(one.objectives), seed);
    Journal journal = Simulate(
        *strategy,
        [&](const Architecture& a) {
          return one.zdt1 ? GridZdt1(space, a)
                          : GridDtlz2(space, a, one.objectives);
        },
        kEvaluations.back());
    for (size_t i = kEvaluations.size(); i-- > 0;) {
      journal.observed.resize(kEvaluations[i]);
      found[i].push_back(FrontHypervolume(journal, reference));
    }
  }
  for (size_t i = 0; i < kEvaluations.size(); ++i) {
    std::sort(found[i].begin(), found[i].end());
    const double median = found[i][kSeeds / 2];
    std::printf("%4d evaluations: %.4f, pagmo2 %.4f\n", kEvaluations[i], median,
                one.pagmo[i]);
    EXPECT_GE(median, 0.95 * one.pagmo[i]) << kEvaluations[i];
  }
}

INSTANTIATE_TEST_SUITE_P(
    Grids, AgainstPagmo,
    ::testing::Values(Case{"Nsga2Zdt1",
                           Nsga2Config{.population = 20},
                           true,
                           2,
                           {1.3247, 1.6803, 1.8036, 1.8105}},
                      Case{"MoeadZdt1",
                           MoeadConfig{.population = 20},
                           true,
                           2,
                           {0.6236, 1.3654, 1.7508, 1.8105}},
                      Case{"Nsga2Dtlz2",
                           Nsga2Config{.population = 20},
                           false,
                           2,
                           {0.2797, 0.3540, 0.3885, 0.3885}},
                      Case{"MoeadDtlz2",
                           MoeadConfig{.population = 20},
                           false,
                           2,
                           {0.2789, 0.3376, 0.3800, 0.3885}},
                      Case{"Nsga2Dtlz2OfThree",
                           Nsga2Config{.population = 36},
                           false,
                           3,
                           {0.3817, 0.5671, 0.6855, 0.7333}},
                      Case{"MoeadDtlz2OfThree",
                           MoeadConfig{.population = 36},
                           false,
                           3,
                           {0.3418, 0.4934, 0.6234, 0.6956}},
                      // pagmo2 2.18 has no NSGA-III: against its NSGA-II.
                      Case{"Nsga3Dtlz2OfThree",
                           Nsga3Config{.population = 36},
                           false,
                           3,
                           {0.3817, 0.5671, 0.6855, 0.7333}}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace hwnas
