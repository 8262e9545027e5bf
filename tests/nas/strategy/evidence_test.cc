// What every strategy makes of what is free to know of constraints
// (nas/strategy/basic_strategy.h).
#include <algorithm>
#include <ostream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/strategy/strategy.h"
#include "tests/fakes/toy_space.h"
#include "tests/nas/strategy/simulate.h"

namespace hwnas {
namespace {

struct Named {
  std::string name;
  StrategyConfig config;
};

void PrintTo(const Named& named, std::ostream* out) { *out << named.name; }

std::string NameOf(const ::testing::TestParamInfo<Named>& info) {
  return info.param.name;
}

int Sum(const Architecture& architecture) {
  int sum = 0;
  for (const int choice : architecture.choices) sum += choice;
  return sum;
}

// The sum of choices must be at most `most`, which is free to know.
Journal SearchWithKnownConstraint(const StrategyConfig& config,
                                  const ToySpace& space, int most, int trials) {
  Problem problem = ToyProblem();
  problem.constraints = {{{"sum", ""}, static_cast<double>(most), {}}};
  auto strategy =
      CreateStrategy(config, &space, problem, 3, [](const Architecture& a) {
        return std::vector<MetricValue>{
            {{"sum", ""}, static_cast<double>(Sum(a))}};
      });
  EXPECT_TRUE(strategy.ok()) << strategy.status();
  return Simulate(
      **strategy,
      [&](const Architecture& a) {
        Evaluation evaluation = GridZdt1(space, a);
        evaluation.violation = std::max(0, Sum(a) - most) / double(most);
        return evaluation;
      },
      trials, 3);
}

class EvidenceSuite : public ::testing::TestWithParam<Named> {};

TEST_P(EvidenceSuite, NothingKnownToViolateAConstraintIsProposed) {
  // Holds for one network in eight.
  const ToySpace space(6, 6);
  const Journal journal =
      SearchWithKnownConstraint(GetParam().config, space, 10, 60);
  ASSERT_EQ(journal.proposed.size(), 60u);
  for (const Proposal& proposal : journal.proposed) {
    EXPECT_LE(Sum(proposal.architecture), 10) << proposal.number;
  }
}

TEST_P(EvidenceSuite, ASpaceIsExhaustedAllTheSame) {
  // 20 of 64 networks hold; the others come last, with the least violation or
  // when nothing else is left.
  const ToySpace space(3, 4);
  const Journal journal =
      SearchWithKnownConstraint(GetParam().config, space, 3, 1000);
  EXPECT_EQ(journal.proposed.size(), 64u);
  for (int i = 0; i < 15; ++i) {
    EXPECT_LE(Sum(journal.proposed[i].architecture), 3) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, EvidenceSuite,
    ::testing::Values(
        Named{"Auto", AutoConfig{}}, Named{"Random", RandomConfig{}},
        Named{"AgeingEvolution", AgeingEvolutionConfig{}},
        Named{"Nsga2", Nsga2Config{}},
        Named{"QuasiRandom", QuasiRandomConfig{}},
        Named{"Nsga3", Nsga3Config{}}, Named{"Moead", MoeadConfig{}},
        Named{"LocalSearch", LocalSearchConfig{}},
        Named{"Reinforce", ReinforceConfig{}},
        Named{"Bayesian", BayesianConfig{}}, Named{"Motpe", MotpeConfig{}},
        Named{"MoBananas", MoBananasConfig{.networks = 3, .candidates = 40}}),
    NameOf);

// Those that follow the trials that did best.
class LearningSuite : public EvidenceSuite {};

TEST_P(LearningSuite, FindsTheFewThatHoldFromTheFirstTrialOn) {
  // Holds for one network in 3,000.
  const ToySpace space(8, 8);
  const Journal journal =
      SearchWithKnownConstraint(GetParam().config, space, 9, 60);
  EXPECT_GT(Feasible(journal), 54);
}

INSTANTIATE_TEST_SUITE_P(
    All, LearningSuite,
    ::testing::Values(Named{"AgeingEvolution", AgeingEvolutionConfig{}},
                      Named{"Nsga2", Nsga2Config{}},
                      Named{"Nsga3", Nsga3Config{}},
                      Named{"Moead", MoeadConfig{}},
                      Named{"LocalSearch", LocalSearchConfig{}},
                      Named{"Reinforce", ReinforceConfig{}},
                      Named{"Motpe", MotpeConfig{}},
                      Named{"Bayesian", BayesianConfig{}}),
    NameOf);

}  // namespace
}  // namespace hwnas
