// What multi-objective TPE and MO-BANANAS do beyond what every strategy
// promises.
#include <cmath>
#include <limits>
#include <ostream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/pareto/constrained.h"
#include "nas/pareto/pareto.h"
#include "tests/fakes/toy_space.h"
#include "tests/nas/strategy/simulate.h"

namespace hwnas {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Named {
  std::string name;
  StrategyConfig config;
  std::string origin;
};

void PrintTo(const Named& named, std::ostream* out) { *out << named.name; }

int Sum(const Architecture& architecture) {
  int sum = 0;
  for (const int choice : architecture.choices) sum += choice;
  return sum;
}

double Best(const Journal& journal) {
  double best = std::numeric_limits<double>::infinity();
  for (const Observation& o : journal.observed) {
    best = std::min(best, o.evaluation.objectives[0]);
  }
  return best;
}

Problem SingleObjective() {
  Problem problem;
  problem.objectives = {{{"a", ""}, false, {}}};
  return problem;
}

class ModelSuite : public ::testing::TestWithParam<Named> {
 protected:
  std::unique_ptr<Strategy> Create(const SearchSpace& space, uint64_t seed) {
    return MustCreate(GetParam().config, &space, ToyProblem(), seed);
  }
};

TEST_P(ModelSuite, FindsMoreThanRandomSearchWithAsManyTrials) {
  // 11^8 points, 11 of which are the front.
  const ToySpace space(8, 11, 0, /*ordered=*/true);
  const Point reference = {1.1, 2};
  const Evaluator evaluate = [&](const Architecture& a) {
    return GridZdt1(space, a);
  };
  auto strategy = Create(space, 1);
  auto random = MustCreate(RandomConfig{}, &space, ToyProblem(), 1);
  EXPECT_GT(
      FrontHypervolume(Simulate(*strategy, evaluate, 150, 2), reference),
      1.5 * FrontHypervolume(Simulate(*random, evaluate, 150, 2), reference));
}

TEST_P(ModelSuite, PrefersFeasibleCandidates) {
  // Feasible where the choices sum to at most 12 of 56: about one in 300.
  const ToySpace space(8, 8);
  const Evaluator evaluate = [&](const Architecture& a) {
    Evaluation evaluation = GridZdt1(space, a);
    evaluation.violation = std::max(0, Sum(a) - 12) / 12.;
    return evaluation;
  };
  auto strategy = Create(space, 4);
  EXPECT_GT(Feasible(Simulate(*strategy, evaluate, 150, 4)), 30);
}

TEST_P(ModelSuite, LearnsFromTrialsThatAConstraintStoppedEarly) {
  // Rejected trials have no objectives, only a violation.
  const ToySpace space(8, 8);
  const Evaluator evaluate = [&](const Architecture& a) {
    if (Sum(a) > 8) return Evaluation{{kNan, kNan}, (Sum(a) - 8) / 8., false};
    return GridZdt1(space, a);
  };
  auto strategy = Create(space, 4);
  EXPECT_GT(Feasible(Simulate(*strategy, evaluate, 150, 4)), 20);
}

TEST_P(ModelSuite, LearnsFromLowFidelity) {
  // Results at low fidelity are worse by as much for all.
  const ToySpace space(8, 11);
  const Point reference = {1.1, 2};
  auto strategy = Create(space, 3);
  std::vector<Point> proposed;
  for (int number = 1; number <= 150; ++number) {
    SuggestRequest request;
    request.next_number = number;
    const auto proposals = strategy->Suggest(request);
    ASSERT_TRUE(proposals.ok());
    const Proposal& proposal = proposals->front();
    Evaluation evaluation = GridZdt1(space, proposal.architecture);
    proposed.push_back(evaluation.objectives);
    evaluation.objectives[1] += 5;
    ASSERT_TRUE(strategy->Observe({{proposal, evaluation, 0.25}}).ok());
    if (number % 3 == 0) {
      evaluation.objectives[1] -= 5;
      ASSERT_TRUE(strategy->Observe({{proposal, evaluation, 1}}).ok());
    }
  }
  auto random = MustCreate(RandomConfig{}, &space, ToyProblem(), 3);
  const Journal by_chance = Simulate(
      *random, [&](const Architecture& a) { return GridZdt1(space, a); }, 150);
  EXPECT_GT(Hypervolume(proposed, reference),
            1.2 * FrontHypervolume(by_chance, reference));
}

TEST_P(ModelSuite, MinimisesASingleObjective) {
  const ToySpace space(8, 6);
  auto strategy = MustCreate(GetParam().config, &space, SingleObjective(), 5);
  const Journal journal = Simulate(
      *strategy,
      [](const Architecture& a) {
        return Evaluation{{static_cast<double>(Sum(a))}, 0, true};
      },
      150);
  EXPECT_LE(Best(journal), 1);  // Nine of 1.7 million points.
}

TEST_P(ModelSuite, SaysWhereProposalsComeFrom) {
  const ToySpace space(8, 8);
  auto strategy = Create(space, 9);
  const Journal journal = Simulate(
      *strategy, [&](const Architecture& a) { return GridZdt1(space, a); }, 20);
  EXPECT_EQ(journal.proposed.front().origin, "initial design");
  EXPECT_EQ(journal.proposed.back().origin, GetParam().origin);
}

TEST_P(ModelSuite, RemembersTheBestOfALongSearch) {
  // More trials than are remembered, few of which are good and the first.
  const ToySpace space(8, 8);
  auto strategy = Create(space, 1);
  std::vector<Observation> observations;
  Rng rng(1);
  for (int number = 1; number <= 2500; ++number) {
    Proposal proposal{number, space.Sample(rng), "", ""};
    if (number <= 40) proposal.architecture = {{0, 0, 0, 0, 0, 0, 0, 0}};
    if (number <= 40) {
      for (int step = 0; step < 2; ++step) {
        proposal.architecture = space.MutateOne(proposal.architecture, rng);
      }
    }
    proposal.digest = space.Digest(proposal.architecture);
    const Evaluation evaluation = GridZdt1(space, proposal.architecture);
    observations.push_back({std::move(proposal), evaluation});
  }
  ASSERT_TRUE(strategy->Observe(observations).ok());
  SuggestRequest request;
  request.next_number = 2501;
  request.count = 20;
  const auto proposals = strategy->Suggest(request);
  ASSERT_TRUE(proposals.ok());
  int near = 0;
  for (const Proposal& p : *proposals) {
    int sum = 0;
    for (size_t i = 1; i < 8; ++i) sum += p.architecture.choices[i];
    near += sum <= 10;
  }
  EXPECT_GT(near, 12);  // Of random ones about one in 100.
}

INSTANTIATE_TEST_SUITE_P(
    All, ModelSuite,
    ::testing::Values(Named{"Motpe", MotpeConfig{}, "Parzen estimators"},
                      Named{"MotpeUnivariate",
                            MotpeConfig{.multivariate = false},
                            "Parzen estimators"},
                      Named{"MoBananas",
                            MoBananasConfig{.networks = 4, .candidates = 60},
                            "Thompson sample"}),
    [](const auto& info) { return info.param.name; });

TEST(MoBananas, TakesKnownObjectivesFromTheEvidence) {
  // The second objective is noise that no model could learn, but is known.
  const ToySpace space(6, 5);
  const auto noise = [](const Architecture& a) {
    uint64_t hash = 1;
    for (const int choice : a.choices) hash = Rng(hash, choice).Next();
    return Rng(hash).Uniform();
  };
  const Evaluator evaluate = [&](const Architecture& a) {
    return Evaluation{{static_cast<double>(Sum(a)), noise(a)}, 0, true};
  };
  const Evidence evidence = [&](const Architecture& a) {
    return std::vector<MetricValue>{{{"b", ""}, noise(a)}};
  };
  const auto found = [&](const Evidence& known) {
    const MoBananasConfig config{.networks = 4, .candidates = 100};
    auto strategy = *CreateStrategy(config, &space, ToyProblem(), 2, known);
    return FrontHypervolume(Simulate(*strategy, evaluate, 60), {24, 1});
  };
  // Nothing can dominate more than 24.
  EXPECT_LT(24 - found(evidence), 0.7 * (24 - found({})));
}

}  // namespace
}  // namespace hwnas
