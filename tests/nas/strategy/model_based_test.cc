// What multi-objective TPE and MO-BANANAS do beyond what every strategy
// promises.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <numeric>
#include <ostream>
#include <set>
#include <vector>

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

// A Parzen estimator over one ordered decision, written down anew: each kernel
// has 1 at its centre, 0.2 beside it and 1 / (centres + 1) everywhere; a
// uniform one of weight 1 is added.
std::vector<double> ParzenByHand(int options, const std::vector<int>& centres,
                                 const std::vector<double>& weights) {
  std::vector<double> density(options, 1. / options);
  double total = 1;
  for (size_t i = 0; i < centres.size(); ++i) {
    std::vector<double> kernel(options, 1. / (1. + centres.size()));
    for (int o = 0; o < options; ++o) {
      if (o == centres[i]) kernel[o] += 1;
      if (std::abs(o - centres[i]) == 1) kernel[o] += 0.2;
    }
    const double sum = std::accumulate(kernel.begin(), kernel.end(), 0.);
    for (int o = 0; o < options; ++o)
      density[o] += weights[i] * kernel[o] / sum;
    total += weights[i];
  }
  for (double& value : density) value /= total;
  return density;
}

// What is proposed next if one decision's options have these values.
int NextOf(int options, const std::map<int, std::vector<double>>& values) {
  const ToySpace space(1, options, 0, /*ordered=*/true);
  // So many candidates are all options that are left.
  const MotpeConfig config{.initial = 2, .candidates = 1000};
  const int objectives = static_cast<int>(values.begin()->second.size());
  auto strategy = MustCreate(config, &space, ToyProblem(objectives), 1);
  int64_t number = 0;
  for (const auto& [option, value] : values) {
    EXPECT_TRUE(
        strategy->Observe({MadeTrial(space, ++number, {option}, value)}).ok());
  }
  SuggestRequest request;
  request.next_number = number + 1;
  const auto proposals = strategy->Suggest(request);
  EXPECT_TRUE(proposals.ok() && proposals->size() == 1);
  return proposals->front().architecture.choices[0];
}

// Ozaki et al.: what is proposed has the largest l / g of the candidates.
TEST(Motpe, ProposesTheLargestQuotientOfTheDensities) {
  constexpr int kOptions = 20;
  // Two of eleven are good: the best, 10, has all the hypervolume; 15 has none,
  // and the least weight there is.
  const std::vector<int> good = {10, 15};
  const std::vector<int> bad = {0, 1, 2, 3, 4, 5, 8, 12, 14};
  std::map<int, std::vector<double>> values = {{10, {0}}, {15, {1}}};
  for (int option : bad) values[option] = {2. + option};
  const std::vector<double> l = ParzenByHand(kOptions, good, {1, 0.3});
  const std::vector<double> g =
      ParzenByHand(kOptions, bad, std::vector<double>(bad.size(), 1));
  std::vector<int> left;
  for (int option = 0; option < kOptions; ++option) {
    if (!values.contains(option)) left.push_back(option);
  }
  const auto best = [&](const auto& score) {
    return *std::max_element(left.begin(), left.end(),
                             [&](int a, int b) { return score(a) < score(b); });
  };
  // 9 and 11 are beside the best option, but beside a bad one as well.
  EXPECT_EQ(best([&](int o) { return l[o]; }), 9);
  EXPECT_EQ(best([&](int o) { return l[o] / g[o]; }), 16);
  EXPECT_EQ(NextOf(kOptions, values), 16);
}

// A tenth is good: whole fronts, then what covers most hypervolume.
TEST(Motpe, SplitsAFrontByHypervolume) {
  // Two of twenty: the front of 10 alone, and one of 20, 25 and 30.
  const auto next = [](int middle, int one_end, int other_end) {
    std::map<int, std::vector<double>> values = {{10, {0, 0}},
                                                 {middle, {0.5, 0.5}},
                                                 {one_end, {0.1, 0.95}},
                                                 {other_end, {0.95, 0.1}}};
    // Among them what is beside 10, and on one side of the three.
    for (int option :
         {9, 11, 21, 26, 31, 0, 1, 2, 3, 4, 14, 35, 36, 37, 38, 39}) {
      values[option] = {1, 1};
    }
    return NextOf(40, values);
  };
  EXPECT_EQ(next(20, 25, 30), 19);
  EXPECT_EQ(next(25, 20, 30), 24);
  EXPECT_EQ(next(30, 25, 20), 29);
}

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

// Nothing is left to draw: the best of the candidates is known.
TEST(MoBananas, ProposesTheRestOfTheFrontFirstIfAllObjectivesAreKnown) {
  const ToySpace space(3, 4);
  const auto values = [](const Architecture& a) {
    uint64_t hash = 1;
    for (const int choice : a.choices) hash = Rng(hash, choice).Next();
    Rng rng(hash);
    const double first = rng.Uniform();
    return Point{first, rng.Uniform()};
  };
  const Evidence evidence = [&](const Architecture& a) {
    const Point point = values(a);
    return std::vector<MetricValue>{{{"a", ""}, point[0]},
                                    {{"b", ""}, point[1]}};
  };
  // So many candidates are all that are left.
  const MoBananasConfig config{.initial = 6, .networks = 2, .candidates = 300};
  auto strategy = *CreateStrategy(config, &space, ToyProblem(), 1, evidence);
  const Journal journal = Simulate(
      *strategy,
      [&](const Architecture& a) {
        return Evaluation{values(a), 0, true};
      },
      30);
  const std::vector<Architecture> all = space.Enumerate(64).value();
  std::set<std::vector<int>> seen;
  for (size_t i = 0; i < journal.proposed.size(); ++i) {
    const Architecture& proposed = journal.proposed[i].architecture;
    if (journal.proposed[i].origin == "Thompson sample") {
      for (const Architecture& other : all) {
        if (seen.contains(other.choices)) continue;
        EXPECT_FALSE(Dominates(values(other), values(proposed)))
            << "trial " << i + 1;
      }
    }
    seen.insert(proposed.choices);
  }
  EXPECT_EQ(journal.proposed[29].origin, "Thompson sample");
}

}  // namespace
}  // namespace hwnas
