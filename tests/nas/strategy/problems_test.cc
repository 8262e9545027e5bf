// Every strategy searches every kind of problem.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/pareto/pareto.h"
#include "tests/fakes/toy_space.h"
#include "tests/nas/strategy/simulate.h"

namespace hwnas {
namespace {

constexpr int kMetrics = 8;

MetricKey Key(int k) { return {"distance", std::string(1, 'a' + k)}; }

// Metric k is the distance of an architecture from corner k of the space; that
// of "a" is to be large.
std::vector<MetricValue> Values(const SearchSpace& space,
                                const Architecture& architecture) {
  std::vector<MetricValue> values;
  for (int k = 0; k < kMetrics; ++k) {
    double sum = 0;
    for (size_t i = 0; i < architecture.choices.size(); ++i) {
      const auto last =
          static_cast<double>(space.decisions()[i].options.size() - 1);
      const double corner = (k + 3 * static_cast<int>(i)) % 5 / 4.0;
      sum += std::pow(architecture.choices[i] / last - corner, 2);
    }
    values.push_back({Key(k), 0.1 + std::sqrt(sum)});
  }
  return values;
}

Problem Objectives(int count) {
  Problem problem;
  for (int k = 0; k < count; ++k) {
    problem.objectives.push_back({Key(k), k == 0, k == 0 ? 0.1 : 2.5});
  }
  return problem;
}

struct Kind {
  std::string name;
  Problem problem;
};

std::vector<Kind> Kinds() {
  std::vector<Kind> kinds = {{"eight objectives", Objectives(8)}};
  const auto scalarized = [&](std::string name, Scalarization scalarization) {
    Kind& kind = kinds.emplace_back(Kind{std::move(name), Objectives(3)});
    kind.problem.scalarization = std::move(scalarization);
    return &kind.problem;
  };
  scalarized("weighted sum", WeightedSum{{1, 0.5, 2}});
  scalarized("MnasNet",
             WeightedProduct{{{.maximize = true, .alpha = 1, .beta = 1},
                              {.target = 1, .beta = -1},
                              {.alpha = -0.07, .beta = -0.07}}});
  scalarized("Chebyshev", Chebyshev{{1, 1, 1}, {-2.5, 0, 0}});
  scalarized("epsilon-constraint", EpsilonConstraint{0})->constraints = {
      {Key(1), 1.2, {}}, {Key(2), 1.2, {}}};
  Kind& preference = kinds.emplace_back(Kind{"preference", Objectives(3)});
  preference.problem.preference = Preference{{-2, 0.5, 0.5}};
  Kind& bounds = kinds.emplace_back(Kind{"bounds", Objectives(2)});
  bounds.problem.objectives[1].reference = 1;
  bounds.problem.preference = Preference{};
  Kind& worst = kinds.emplace_back(Kind{"worst", Objectives(2)});
  worst.problem.objectives[1].key.device_class = "worst";
  worst.problem.objectives[1].worst_of = {"b", "c", "d"};
  return kinds;
}

struct Named {
  std::string name;
  StrategyConfig config;
};

void PrintTo(const Named& named, std::ostream* out) { *out << named.name; }

class EveryStrategy : public ::testing::TestWithParam<Named> {
 protected:
  // Those with models take longer for a proposal, and need fewer.
  bool HasModels() const {
    const StrategyConfig& config = GetParam().config;
    return std::holds_alternative<AutoConfig>(config) ||
           std::holds_alternative<MoBananasConfig>(config);
  }
  int Trials() const { return HasModels() ? 35 : 120; }

  Journal Search(const StrategyConfig& config, const Problem& problem,
                 uint64_t seed) const {
    auto strategy = MustCreate(config, &space_, problem, seed);
    return Simulate(
        *strategy,
        [&](const Architecture& architecture) {
          return problem.Evaluate(Values(space_, architecture)).Shown();
        },
        Trials(), /*workers=*/3);
  }
  // How far the best feasible trials are from the best score of all, in parts
  // of what all scores span; the mean over the problems with a score.
  double Regret(const StrategyConfig& config) const {
    const int seeds = HasModels() ? 1 : 5;
    double regret = 0;
    int count = 0;
    for (const Kind& kind : Kinds()) {
      if (!kind.problem.scored()) continue;
      double least = 1e9, most = -1e9;
      Architecture point{{0, 0, 0, 0, 0}};
      for (int i = 0; i < 3125; ++i) {
        for (int rest = i, k = 0; k < 5; ++k, rest /= 5) {
          point.choices[k] = rest % 5;
        }
        const Evaluation evaluation =
            kind.problem.Evaluate(Values(space_, point)).Shown();
        if (evaluation.violation > 0) continue;
        least = std::min(least, *evaluation.score);
        most = std::max(most, *evaluation.score);
      }
      for (int seed = 1; seed <= seeds; ++seed) {
        double best = least;
        for (const Observation& observation :
             Search(config, kind.problem, seed).observed) {
          const Evaluation& evaluation = observation.evaluation;
          if (evaluation.violation > 0) continue;
          best = std::max(best, *evaluation.score);
        }
        regret += (most - best) / (most - least);
        ++count;
      }
    }
    return regret / count;
  }

  const ToySpace space_{5, 5, 0, /*ordered=*/true};
};

TEST_P(EveryStrategy, SearchesEveryProblem) {
  for (const Kind& kind : Kinds()) {
    SCOPED_TRACE(kind.name);
    const Journal journal = Search(GetParam().config, kind.problem, 1);
    ASSERT_EQ(journal.observed.size(), Trials());
    const size_t searched = kind.problem.Searched().objectives.size();
    for (const Observation& observation : journal.observed) {
      EXPECT_EQ(observation.evaluation.objectives.size(), searched);
      EXPECT_TRUE(observation.evaluation.complete);
    }
    EXPECT_EQ(searched,
              kind.problem.scalarized() ? 1 : kind.problem.objectives.size());
  }
}

TEST_P(EveryStrategy, FindsBetterScoresThanRandomSearch) {
  if (std::holds_alternative<RandomConfig>(GetParam().config) ||
      std::holds_alternative<QuasiRandomConfig>(GetParam().config)) {
    return;
  }
  const double random = Regret(RandomConfig{});
  const double regret = Regret(GetParam().config);
  std::printf("mean regret %.4f, of random search %.4f\n", regret, random);
  EXPECT_LT(regret, random);
}

INSTANTIATE_TEST_SUITE_P(
    All, EveryStrategy,
    ::testing::Values(
        Named{"Auto", AutoConfig{}}, Named{"Random", RandomConfig{}},
        Named{"AgeingEvolution", AgeingEvolutionConfig{20, 6}},
        Named{"Nsga2", Nsga2Config{}}, Named{"Motpe", MotpeConfig{}},
        Named{"MoBananas", MoBananasConfig{}},
        Named{"QuasiRandom", QuasiRandomConfig{}},
        Named{"Nsga3", Nsga3Config{}}, Named{"Moead", MoeadConfig{}},
        Named{"LocalSearch", LocalSearchConfig{}},
        Named{"Reinforce", ReinforceConfig{}}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace hwnas
