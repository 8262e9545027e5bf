// What Bayesian optimisation does beyond what every strategy promises.
#include "nas/strategy/bayesian.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/pareto/constrained.h"
#include "nas/pareto/pareto.h"
#include "tests/fakes/toy_space.h"
#include "tests/nas/strategy/simulate.h"

namespace hwnas {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

int Sum(const Architecture& architecture) {
  int sum = 0;
  for (const int choice : architecture.choices) sum += choice;
  return sum;
}

TEST(Bayesian, FindsInTensOfTrialsWhatRandomSearchMissesInThousands) {
  // 11^8 points, 11 of which are the front.
  const ToySpace space(8, 11, 0, /*ordered=*/true);
  const Point reference = {1.1, 2};
  std::vector<Point> front;
  for (int i = 0; i <= 10; ++i) {
    front.push_back({i / 10., 1 - std::sqrt(i / 10.)});
  }
  const double best = Hypervolume(front, reference);
  const Evaluator evaluate = [&](const Architecture& a) {
    return GridZdt1(space, a);
  };
  auto strategy = MustCreate(BayesianConfig{}, &space, ToyProblem(), 1);
  EXPECT_GT(FrontHypervolume(Simulate(*strategy, evaluate, 90), reference),
            0.95 * best);
  auto random = MustCreate(RandomConfig{}, &space, ToyProblem(), 1);
  EXPECT_LT(FrontHypervolume(Simulate(*random, evaluate, 2000), reference),
            0.85 * best);
}

TEST(Bayesian, PrefersFeasibleCandidates) {
  // Feasible where the choices sum to at most 12 of 56: about one in 300.
  const ToySpace space(8, 8);
  const Evaluator evaluate = [&](const Architecture& a) {
    Evaluation evaluation = GridZdt1(space, a);
    evaluation.violation = std::max(0, Sum(a) - 12) / 12.;
    return evaluation;
  };
  auto strategy = MustCreate(BayesianConfig{}, &space, ToyProblem(), 4);
  EXPECT_GT(Feasible(Simulate(*strategy, evaluate, 100, 4)), 50);
}

TEST(Bayesian, LearnsFromTrialsThatAConstraintStoppedEarly) {
  // Rejected trials have no objectives, only a violation.
  const ToySpace space(8, 8);
  const Evaluator evaluate = [&](const Architecture& a) {
    if (Sum(a) > 8) return Evaluation{{kNan, kNan}, (Sum(a) - 8) / 8., false};
    return GridZdt1(space, a);
  };
  auto strategy = MustCreate(BayesianConfig{}, &space, ToyProblem(), 4);
  EXPECT_GT(Feasible(Simulate(*strategy, evaluate, 100, 4)), 30);
}

TEST(Bayesian, TakesKnownObjectivesFromTheEvidence) {
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
    auto strategy =
        *CreateStrategy(BayesianConfig{}, &space, ToyProblem(), 2, known);
    return FrontHypervolume(Simulate(*strategy, evaluate, 50), {24, 1});
  };
  // Nothing can dominate more than 24.
  EXPECT_LT(24 - found(evidence), 0.5 * (24 - found({})));
}

TEST(Bayesian, SaysHowMuchItExpects) {
  const ToySpace space(8, 8);
  auto strategy = MustCreate(BayesianConfig{}, &space, ToyProblem(), 9);
  const Journal journal = Simulate(
      *strategy, [&](const Architecture& a) { return GridZdt1(space, a); }, 20);
  EXPECT_EQ(journal.proposed.front().origin, "initial design");
  EXPECT_THAT(journal.proposed.back().origin,
              ::testing::StartsWith("expected hypervolume gain "));
}

TEST(Bayesian, MinimisesASingleObjective) {
  const ToySpace space(8, 6);
  Problem problem;
  problem.objectives = {{{"sum", ""}, false, {}}};
  auto strategy = MustCreate(BayesianConfig{}, &space, problem, 5);
  const Journal journal = Simulate(
      *strategy,
      [](const Architecture& a) {
        return Evaluation{{static_cast<double>(Sum(a))}, 0, true};
      },
      40);
  double best = 1e9;
  for (const Observation& o : journal.observed) {
    best = std::min(best, o.evaluation.objectives[0]);
  }
  EXPECT_EQ(best, 0);  // One of 1.7 million points.
}

}  // namespace
}  // namespace hwnas
