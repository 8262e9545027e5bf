// One suite that every strategy passes, and what is particular to each.
#include "nas/strategy/strategy.h"

#include <cmath>
#include <limits>
#include <map>
#include <ostream>
#include <set>
#include <tuple>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/pareto/constrained.h"
#include "nas/pareto/pareto.h"
#include "tests/fakes/toy_space.h"
#include "tests/nas/strategy/simulate.h"

namespace hwnas {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

struct Named {
  std::string name;
  StrategyConfig config;
};

void PrintTo(const Named& named, std::ostream* out) { *out << named.name; }

class StrategySuite : public ::testing::TestWithParam<Named> {
 protected:
  std::unique_ptr<Strategy> Create(const SearchSpace& space, uint64_t seed) {
    return MustCreate(GetParam().config, &space, ToyProblem(), seed);
  }
  static Evaluator Zdt1(const SearchSpace& space) {
    return [&space](const Architecture& a) { return GridZdt1(space, a); };
  }
};

// All that matters of a proposal, for comparing.
std::vector<std::tuple<int64_t, std::vector<int>, std::string, std::string>>
Flat(absl::Span<const Proposal> proposals) {
  std::vector<std::tuple<int64_t, std::vector<int>, std::string, std::string>>
      flat;
  for (const Proposal& p : proposals) {
    flat.emplace_back(p.number, p.architecture.choices, p.digest, p.origin);
  }
  return flat;
}

SuggestRequest Request(int64_t next_number, int count,
                       absl::Span<const Proposal> pending = {}) {
  SuggestRequest request;
  request.next_number = next_number;
  request.count = count;
  request.pending = pending;
  return request;
}

TEST_P(StrategySuite, EqualSeedsGiveEqualSearches) {
  const ToySpace space(8, 4, 3);
  auto a = Create(space, 7);
  auto b = Create(space, 7);
  EXPECT_EQ(Flat(Simulate(*a, Zdt1(space), 150, 5).proposed),
            Flat(Simulate(*b, Zdt1(space), 150, 5).proposed));
}

TEST_P(StrategySuite, OtherSeedsGiveOtherSearches) {
  const ToySpace space(8, 4, 3);
  auto a = Create(space, 7);
  auto b = Create(space, 8);
  EXPECT_NE(Flat(Simulate(*a, Zdt1(space), 20).proposed),
            Flat(Simulate(*b, Zdt1(space), 20).proposed));
}

TEST_P(StrategySuite, RebuiltFromTheJournalGoesOnAsIfNothingHadHappened) {
  const ToySpace space(6, 4, 2);
  constexpr int kTrials = 160;
  auto original = Create(space, 3);
  const Journal whole = Simulate(*original, Zdt1(space), kTrials, 6);
  // With six at work, the sixth-next proposal follows each end.
  for (size_t ended : {0u, 1u, 17u, 59u, 60u, 119u, 150u}) {
    Journal journal;
    journal.observed.assign(whole.observed.begin(),
                            whole.observed.begin() + ended);
    journal.proposed.assign(whole.proposed.begin(),
                            whole.proposed.begin() + (ended ? ended + 5 : 0));
    auto rebuilt = Create(space, 3);
    ASSERT_TRUE(rebuilt->Observe(journal.observed).ok());
    const std::vector<Proposal> pending = journal.Pending();
    const int64_t next = static_cast<int64_t>(journal.proposed.size()) + 1;
    auto proposals = rebuilt->Suggest(Request(next, 1, pending));
    ASSERT_TRUE(proposals.ok());
    ASSERT_THAT(*proposals, SizeIs(1));
    EXPECT_EQ(Flat(*proposals),
              Flat(absl::MakeSpan(whole.proposed).subspan(next - 1, 1)))
        << "after " << ended << " ends";
  }
}

TEST_P(StrategySuite, SuggestingChangesNothing) {
  const ToySpace space(6, 4, 2);
  auto strategy = Create(space, 3);
  Simulate(*strategy, Zdt1(space), 90, 3);
  const auto first = strategy->Suggest(Request(91, 4));
  const auto other = strategy->Suggest(Request(1000, 50));
  const auto again = strategy->Suggest(Request(91, 4));
  ASSERT_TRUE(first.ok() && other.ok() && again.ok());
  EXPECT_EQ(Flat(*first), Flat(*again));
}

TEST_P(StrategySuite, ABatchIsWhatOneAtATimeWouldBe) {
  const ToySpace space(6, 4, 2);
  auto strategy = Create(space, 3);
  for (int64_t ended : {0, 55}) {
    if (ended > 0) Simulate(*strategy, Zdt1(space), ended, 3);
    const auto batch = strategy->Suggest(Request(ended + 1, 8));
    ASSERT_TRUE(batch.ok());
    std::vector<Proposal> one_by_one;
    for (int i = 0; i < 8; ++i) {
      auto one = strategy->Suggest(Request(ended + 1 + i, 1, one_by_one));
      ASSERT_TRUE(one.ok());
      ASSERT_THAT(*one, SizeIs(1));
      one_by_one.push_back(one->front());
    }
    EXPECT_EQ(Flat(*batch), Flat(one_by_one));
  }
}

TEST_P(StrategySuite, ObservingInPiecesOrAtOnceIsTheSame) {
  const ToySpace space(6, 4, 2);
  auto pieces = Create(space, 3);
  const Journal journal = Simulate(*pieces, Zdt1(space), 120, 4);
  auto at_once = Create(space, 3);
  ASSERT_TRUE(at_once->Observe(journal.observed).ok());
  const auto a = pieces->Suggest(Request(121, 10));
  const auto b = at_once->Suggest(Request(121, 10));
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(Flat(*a), Flat(*b));
}

TEST_P(StrategySuite, NumbersCanonicalValidNewProposals) {
  const ToySpace space(6, 3, 4);
  auto strategy = Create(space, 5);
  const Journal journal = Simulate(*strategy, Zdt1(space), 130, 7);
  ASSERT_THAT(journal.proposed, SizeIs(130));
  std::set<std::string> digests;
  for (size_t i = 0; i < journal.proposed.size(); ++i) {
    const Proposal& p = journal.proposed[i];
    EXPECT_EQ(p.number, static_cast<int64_t>(i) + 1);
    EXPECT_TRUE(space.Validate(p.architecture).ok());
    EXPECT_EQ(space.Canonicalize(p.architecture), p.architecture);
    EXPECT_EQ(space.Digest(p.architecture), p.digest);
    EXPECT_TRUE(digests.insert(p.digest).second) << "repeat: " << p.number;
    EXPECT_FALSE(p.origin.empty());
  }
}

TEST_P(StrategySuite, RepeatsNoPendingProposal) {
  const ToySpace space(2, 4);
  auto strategy = Create(space, 1);
  const auto pending = strategy->Suggest(Request(1, 15));
  ASSERT_TRUE(pending.ok());
  ASSERT_THAT(*pending, SizeIs(15));
  const auto last = strategy->Suggest(Request(16, 5, *pending));
  ASSERT_TRUE(last.ok());
  ASSERT_THAT(*last, SizeIs(1));
  for (const Proposal& p : *pending) EXPECT_NE(p.digest, (*last)[0].digest);
}

TEST_P(StrategySuite, ExhaustsASmallSpaceAndThenProposesNothing) {
  // 5 options, 3 interchangeable decisions: 35 multisets, 25 of the others.
  const ToySpace space(5, 5, 3);
  auto strategy = Create(space, 11);
  const Journal journal = Simulate(*strategy, Zdt1(space), 5000, 4);
  EXPECT_THAT(journal.observed, SizeIs(35 * 25));
  const auto more = strategy->Suggest(Request(876, 3));
  ASSERT_TRUE(more.ok());
  EXPECT_THAT(*more, IsEmpty());
}

TEST_P(StrategySuite, HandlesASpaceOfOnePoint) {
  const ToySpace space(1, 1);
  auto strategy = Create(space, 11);
  const Evaluator evaluate = [](const Architecture&) {
    return Evaluation{{1, 2}, 0, true};
  };
  EXPECT_THAT(Simulate(*strategy, evaluate, 10, 3).observed, SizeIs(1));
}

TEST_P(StrategySuite, FindsNewPointsOfALargerSpaceThatIsNearlyExhausted) {
  // 1,287 networks among 1.7 million points: too many to enumerate.
  const ToySpace space(8, 6, 8);
  auto strategy = Create(space, 11);
  const Evaluator evaluate = [](const Architecture& a) {
    double sum = 0;
    for (int c : a.choices) sum += c;
    return Evaluation{{sum, -sum}, 0, true};
  };
  // Models take time on a front of everything.
  const bool models =
      std::holds_alternative<BayesianConfig>(GetParam().config) ||
      std::holds_alternative<MoBananasConfig>(GetParam().config) ||
      std::holds_alternative<AutoConfig>(GetParam().config);
  const int trials = models ? 300 : 1000;
  EXPECT_THAT(Simulate(*strategy, evaluate, trials, 4).observed,
              SizeIs(trials));
}

TEST_P(StrategySuite, SurvivesATrialThatFails) {
  const ToySpace space(4, 4);
  auto strategy = Create(space, 2);
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const Evaluator evaluate = [&](const Architecture&) {
    return Evaluation{{kNan, kNan}, 0, false};
  };
  EXPECT_THAT(Simulate(*strategy, evaluate, 256, 4).observed, SizeIs(256));
}

// A search in which each trial is seen at low fidelity first, and every third
// of them at full fidelity later.
Journal SimulateFidelities(Strategy& strategy, const Evaluator& evaluate,
                           int trials) {
  Journal journal;
  const auto observe = [&](Observation observation) {
    EXPECT_TRUE(strategy.Observe({observation}).ok());
    journal.observed.push_back(std::move(observation));
  };
  for (int number = 1; number <= trials; ++number) {
    auto proposals = strategy.Suggest(Request(number, 1));
    EXPECT_TRUE(proposals.ok());
    if (proposals->empty()) break;
    const Proposal proposal = proposals->front();
    journal.proposed.push_back(proposal);
    Evaluation evaluation = evaluate(proposal.architecture);
    evaluation.objectives[1] = 3 + 0.5 * evaluation.objectives[1];
    observe({proposal, evaluation, 0.25});
    if (number % 3 == 0) {
      const Proposal& promoted = journal.proposed[number / 3 - 1];
      observe({promoted, evaluate(promoted.architecture), 1});
    }
  }
  return journal;
}

TEST_P(StrategySuite, TakesATrialAgainAtAHigherFidelity) {
  const ToySpace space(4, 4);
  auto strategy = Create(space, 5);
  const Journal journal = SimulateFidelities(*strategy, Zdt1(space), 300);
  std::set<std::string> digests;
  for (const Proposal& p : journal.proposed) digests.insert(p.digest);
  EXPECT_THAT(journal.proposed, SizeIs(256));
  EXPECT_THAT(digests, SizeIs(256));
}

TEST_P(StrategySuite, RebuiltFromResultsOfSeveralFidelitiesGoesOnAsWell) {
  const ToySpace space(6, 4, 2);
  auto original = Create(space, 5);
  const Journal whole = SimulateFidelities(*original, Zdt1(space), 120);
  auto rebuilt = Create(space, 5);
  ASSERT_TRUE(rebuilt->Observe(whole.observed).ok());
  const auto a = original->Suggest(Request(121, 3));
  const auto b = rebuilt->Suggest(Request(121, 3));
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(Flat(*a), Flat(*b));
}

TEST_P(StrategySuite, RejectsWhatIsNotAnObservation) {
  const ToySpace space(4, 4);
  auto strategy = Create(space, 2);
  auto proposals = strategy->Suggest(Request(1, 1));
  ASSERT_TRUE(proposals.ok());
  auto message = [&](const Proposal& proposal, Evaluation evaluation) {
    const absl::Status status =
        strategy->Observe({Observation{proposal, std::move(evaluation)}});
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  const Proposal good = proposals->front();
  EXPECT_THAT(message(good, {{1, 2, 3}, 0, true}),
              AllOf(HasSubstr("proposal 1"), HasSubstr("3 objective"),
                    HasSubstr("expected 2")));
  EXPECT_THAT(message(good, {{1, std::nan("")}, 0, true}),
              AllOf(HasSubstr("proposal 1"), HasSubstr("objective 1")));
  EXPECT_THAT(message(good, {{1, 2}, -0.5, true}), HasSubstr("-0.5"));
  EXPECT_THAT(
      std::string(
          strategy->Observe({{good, {{1, 2}, 0, true}, 1.5}}).message()),
      AllOf(HasSubstr("proposal 1"), HasSubstr("fidelity 1.5")));
  Proposal bad = good;
  bad.architecture.choices[2] = 4;
  EXPECT_THAT(message(bad, {{1, 2}, 0, true}), HasSubstr("4"));
}

TEST_P(StrategySuite, RejectsImpossibleRequests) {
  const ToySpace space(4, 4);
  auto strategy = Create(space, 2);
  EXPECT_THAT(std::string(strategy->Suggest(Request(1, -3)).status().message()),
              HasSubstr("count: -3"));
  EXPECT_THAT(std::string(strategy->Suggest(Request(0, 1)).status().message()),
              HasSubstr("next_number: 0"));
}

INSTANTIATE_TEST_SUITE_P(
    All, StrategySuite,
    ::testing::Values(
        Named{"Auto", AutoConfig{}}, Named{"Random", RandomConfig{}},
        Named{"AgeingEvolution", AgeingEvolutionConfig{}},
        Named{"AgeingEvolutionSmall", AgeingEvolutionConfig{10, 4}},
        Named{"Nsga2", Nsga2Config{}},
        Named{"Nsga2Small", Nsga2Config{8, 0.5, 0.3}},
        Named{"QuasiRandom", QuasiRandomConfig{}},
        Named{"Nsga3", Nsga3Config{}},
        Named{"Nsga3Small", Nsga3Config{8, 0.5, 0.3}},
        Named{"Moead", MoeadConfig{}},
        Named{"MoeadSmall", MoeadConfig{8, 3, 0.5, 0.3}},
        Named{"LocalSearch", LocalSearchConfig{}},
        Named{"LocalSearchFromOnePoint", LocalSearchConfig{1}},
        Named{"Reinforce", ReinforceConfig{}},
        Named{"ReinforceFast", ReinforceConfig{0, 3, 2}},
        Named{"Bayesian", BayesianConfig{}}, Named{"Motpe", MotpeConfig{}},
        Named{"MotpeUnivariate", MotpeConfig{.multivariate = false}},
        Named{"MoBananas", MoBananasConfig{.networks = 3, .candidates = 40}}),
    [](const auto& info) { return info.param.name; });

// Those that learn.
class EvolutionSuite : public StrategySuite {};

TEST_P(EvolutionSuite, FindsAKnownFrontThatRandomSearchDoesNot) {
  // 11^8 points, 11 of which are the front.
  const ToySpace space(8, 11);
  const Point reference = {1.1, 2};
  std::vector<Point> front;
  for (int i = 0; i <= 10; ++i)
    front.push_back({i / 10., 1 - std::sqrt(i / 10.)});
  const double best = Hypervolume(front, reference);
  double mean = 0;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    auto strategy = Create(space, seed);
    const double found =
        FrontHypervolume(Simulate(*strategy, Zdt1(space), 1500, 4), reference);
    auto random = MustCreate(RandomConfig{}, &space, ToyProblem(), seed);
    const double by_chance =
        FrontHypervolume(Simulate(*random, Zdt1(space), 1500, 4), reference);
    EXPECT_GT(found, 0.85 * best);
    mean += found / 3;
    EXPECT_LT(by_chance, 0.8 * best);
  }
  EXPECT_GT(mean, 0.9 * best);
}

TEST_P(EvolutionSuite, LearnsFromLowFidelity) {
  const ToySpace space(8, 11);
  const Point reference = {1.1, 2};
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    auto strategy = Create(space, seed);
    const Journal journal = SimulateFidelities(*strategy, Zdt1(space), 1500);
    std::vector<Point> low;
    for (const Proposal& p : journal.proposed) {
      low.push_back(Zdt1(space)(p.architecture).objectives);
    }
    auto random = MustCreate(RandomConfig{}, &space, ToyProblem(), seed);
    const double by_chance =
        FrontHypervolume(Simulate(*random, Zdt1(space), 1500, 4), reference);
    EXPECT_GT(Hypervolume(low, reference), 1.1 * by_chance);
  }
}

TEST_P(EvolutionSuite, PrefersFeasibleCandidates) {
  // Feasible where the choices sum to at most 12 of 56: about one in 300.
  const ToySpace space(8, 8);
  const Evaluator evaluate = [&](const Architecture& a) {
    Evaluation evaluation = GridZdt1(space, a);
    int sum = 0;
    for (int c : a.choices) sum += c;
    evaluation.violation = std::max(0, sum - 12) / 12.;
    return evaluation;
  };
  auto feasible = [](const Journal& journal) {
    int count = 0;
    for (const Observation& o : journal.observed) {
      count += StandingOf(o.evaluation) == Standing::kFeasible;
    }
    return count;
  };
  auto strategy = Create(space, 4);
  auto random = MustCreate(RandomConfig{}, &space, ToyProblem(), 4);
  EXPECT_GT(feasible(Simulate(*strategy, evaluate, 500, 4)), 200);
  EXPECT_LT(feasible(Simulate(*random, evaluate, 500, 4)), 20);
}

TEST_P(EvolutionSuite, LearnsFromTrialsThatAConstraintStoppedEarly) {
  // Rejected trials have no objectives, only a violation.
  const ToySpace space(8, 8);
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const Evaluator evaluate = [&](const Architecture& a) {
    int sum = 0;
    for (int c : a.choices) sum += c;
    if (sum > 8) return Evaluation{{kNan, kNan}, (sum - 8) / 8., false};
    return GridZdt1(space, a);
  };
  auto strategy = Create(space, 4);
  int feasible = 0;
  for (const Observation& o : Simulate(*strategy, evaluate, 600, 4).observed) {
    feasible += StandingOf(o.evaluation) == Standing::kFeasible;
  }
  EXPECT_GT(feasible, 100);
}

// Of the default configuration.
int DesignSize(const StrategyConfig& config) {
  struct Visitor {
    int operator()(const AgeingEvolutionConfig& c) { return c.population; }
    int operator()(const Nsga2Config& c) { return c.population; }
    int operator()(const Nsga3Config& c) { return c.population; }
    int operator()(const MoeadConfig& c) { return c.population; }
    int operator()(const LocalSearchConfig& c) { return c.starts; }
    int operator()(const ReinforceConfig& c) { return c.initial_design; }
    int operator()(const AutoConfig&) { return 0; }
    int operator()(const RandomConfig&) { return 0; }
    int operator()(const BayesianConfig& c) { return c.initial; }
    int operator()(const QuasiRandomConfig&) { return 0; }
    int operator()(const MotpeConfig& c) { return c.initial; }
    int operator()(const MoBananasConfig& c) { return c.initial; }
  };
  return std::visit(Visitor{}, config);
}

TEST_P(EvolutionSuite, StartsWithEachOptionEquallyOften) {
  const int design = DesignSize(GetParam().config);
  // As many options as proposals: each once.
  const ToySpace space(8, design);
  auto strategy = Create(space, 9);
  const auto proposals = strategy->Suggest(Request(1, design));
  ASSERT_TRUE(proposals.ok());
  for (size_t decision = 0; decision < 8; ++decision) {
    std::vector<int> counts(design);
    for (const Proposal& p : *proposals) {
      ++counts[p.architecture.choices[decision]];
    }
    EXPECT_THAT(counts, Each(1));
  }
}

TEST_P(EvolutionSuite, StartsWithBothEndsOfWhatIsOrdered) {
  const ToySpace space(3, 5, 0, /*ordered=*/true);
  auto strategy = Create(space, 9);
  const auto proposals = strategy->Suggest(Request(1, 2));
  ASSERT_TRUE(proposals.ok());
  EXPECT_THAT((*proposals)[0].architecture.choices, ElementsAre(0, 0, 0));
  EXPECT_THAT((*proposals)[1].architecture.choices, ElementsAre(4, 4, 4));
}

TEST_P(EvolutionSuite, SaysWhereProposalsComeFrom) {
  const ToySpace space(8, 8);
  auto strategy = Create(space, 9);
  const Journal journal = Simulate(*strategy, Zdt1(space), 200, 4);
  EXPECT_EQ(journal.proposed.front().origin, "initial design");
  EXPECT_THAT(
      journal.proposed.back().origin,
      ::testing::AnyOf(StartsWith("mutation of "), StartsWith("crossover of "),
                       StartsWith("neighbour of "), "policy"));
}

INSTANTIATE_TEST_SUITE_P(
    Learning, EvolutionSuite,
    ::testing::Values(Named{"AgeingEvolution", AgeingEvolutionConfig{}},
                      Named{"Nsga2", Nsga2Config{}},
                      Named{"Nsga3", Nsga3Config{}},
                      Named{"Moead", MoeadConfig{}},
                      Named{"LocalSearch", LocalSearchConfig{}},
                      Named{"Reinforce", ReinforceConfig{}}),
    [](const auto& info) { return info.param.name; });

TEST(CreateStrategy, RejectsBadParametersByName) {
  const ToySpace space(4, 4);
  auto message = [&](const StrategyConfig& config) {
    const auto strategy = CreateStrategy(config, &space, ToyProblem(), 1);
    EXPECT_EQ(strategy.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(strategy.status().message());
  };
  EXPECT_EQ(message(AgeingEvolutionConfig{1, 1}),
            "ageing_evolution.population: 1, expected 2 to 10000");
  EXPECT_EQ(message(AgeingEvolutionConfig{10001, 1}),
            "ageing_evolution.population: 10001, expected 2 to 10000");
  EXPECT_EQ(
      message(AgeingEvolutionConfig{20, 0}),
      "ageing_evolution.sample_size: 0, expected 1 to the population, 20");
  EXPECT_EQ(
      message(AgeingEvolutionConfig{20, 21}),
      "ageing_evolution.sample_size: 21, expected 1 to the population, 20");
  EXPECT_EQ(message(Nsga2Config{3, 0.9, 0}),
            "nsga2.population: 3, expected 4 to 10000");
  EXPECT_EQ(message(Nsga2Config{40, 1.5, 0}),
            "nsga2.crossover: 1.5, expected 0 to 1");
  EXPECT_EQ(message(Nsga2Config{40, std::nan(""), 0}),
            "nsga2.crossover: nan, expected 0 to 1");
  EXPECT_EQ(message(Nsga2Config{40, 0.9, -0.1}),
            "nsga2.mutation: -0.1, expected 0 to 1, where 0 means 1 / choices");
  EXPECT_EQ(message(Nsga3Config{3, 0.9, 0}),
            "nsga3.population: 3, expected 4 to 10000");
  EXPECT_EQ(message(MoeadConfig{10001, 5, 0.9, 0}),
            "moead.population: 10001, expected 4 to 10000");
  EXPECT_EQ(message(MoeadConfig{20, 1, 0.9, 0}),
            "moead.neighbours: 1, expected 2 to the population, 20");
  EXPECT_EQ(message(MoeadConfig{20, 21, 0.9, 0}),
            "moead.neighbours: 21, expected 2 to the population, 20");
  EXPECT_EQ(message(LocalSearchConfig{0}),
            "local_search.starts: 0, expected 1 to 10000");
  EXPECT_EQ(message(ReinforceConfig{-1, 10, 0.3}),
            "reinforce.initial_design: -1, expected 0 to 10000");
  EXPECT_EQ(message(ReinforceConfig{20, 0, 0.3}),
            "reinforce.directions: 0, expected 1 to 1000");
  EXPECT_EQ(message(ReinforceConfig{20, 10, 0}),
            "reinforce.learning_rate: 0, expected more than 0, at most 10");
  EXPECT_EQ(message(ReinforceConfig{20, 10, std::nan("")}),
            "reinforce.learning_rate: nan, expected more than 0, at most 10");
  EXPECT_EQ(message(MotpeConfig{1, 24}),
            "motpe.initial: 1, expected 2 to 1000");
  EXPECT_EQ(message(MotpeConfig{12, 0}),
            "motpe.candidates: 0, expected 1 to 1000");
  EXPECT_EQ(message(MoBananasConfig{1001, 8, 200}),
            "mo_bananas.initial: 1001, expected 2 to 1000");
  EXPECT_EQ(message(MoBananasConfig{12, 1, 200}),
            "mo_bananas.networks: 1, expected 2 to 100");
  EXPECT_EQ(message(MoBananasConfig{12, 8, 0}),
            "mo_bananas.candidates: 0, expected 1 to 10000");
}

TEST(CreateStrategy, AsksForASpaceAndAnObjective) {
  const ToySpace space(4, 4);
  EXPECT_FALSE(CreateStrategy(RandomConfig{}, nullptr, ToyProblem(), 1).ok());
  EXPECT_THAT(std::string(CreateStrategy(RandomConfig{}, &space, Problem{}, 1)
                              .status()
                              .message()),
              HasSubstr("objectives: none"));
}

TEST(CreateStrategy, RecommendsBayesianOptimisation) {
  const ToySpace space(4, 4);
  EXPECT_EQ(MustCreate(AutoConfig{}, &space, ToyProblem(), 1)->name(),
            "bayesian");
}

TEST(RandomStrategy, IsUniformOverASmallSpace) {
  const ToySpace space(2, 3);
  std::map<std::vector<int>, int> counts;
  for (uint64_t seed = 0; seed < 900; ++seed) {
    auto strategy = MustCreate(RandomConfig{}, &space, ToyProblem(), seed);
    ++counts[strategy->Suggest(Request(1, 1))->front().architecture.choices];
  }
  ASSERT_EQ(counts.size(), 9u);
  for (const auto& [choices, count] : counts) {
    EXPECT_GT(count, 60);
    EXPECT_LT(count, 145);
  }
}

}  // namespace
}  // namespace hwnas
