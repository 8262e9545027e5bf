#include "nas/warm_start.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/pareto/pareto.h"
#include "nas/strategy/strategy.h"
#include "tests/fakes/toy_space.h"
#include "tests/nas/strategy/simulate.h"

namespace hwnas {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

int Sum(const Architecture& architecture) {
  int sum = 0;
  for (const int choice : architecture.choices) sum += choice;
  return sum;
}

// "score" is the sum of the choices, maximised; "cost" the first one,
// minimised.
SourceTrials SumSource(const SearchSpace& space, int trials,
                       uint64_t seed = 1) {
  SourceTrials source;
  source.name = "studies/sum";
  source.problem.objectives = {{{"score", ""}, true, {}},
                               {{"cost", "pi"}, false, {}}};
  source.metrics = {{"score", ""}, {"cost", "pi"}};
  Rng rng(seed);
  for (int i = 0; i < trials; ++i) {
    const Architecture architecture = space.Sample(rng);
    source.trials.push_back({architecture,
                             {static_cast<double>(Sum(architecture)),
                              static_cast<double>(architecture.choices[0])}});
  }
  return source;
}

std::vector<MetricKey> KeysOf(const Evidence& evidence,
                              const SearchSpace& space) {
  Rng rng(1);
  std::vector<MetricKey> keys;
  for (const MetricValue& value : evidence(space.Sample(rng))) {
    keys.push_back(value.key);
  }
  return keys;
}

double Correlation(const std::vector<double>& a, const std::vector<double>& b) {
  double sa = 0, sb = 0;
  for (size_t i = 0; i < a.size(); ++i) sa += a[i], sb += b[i];
  const double ma = sa / a.size(), mb = sb / b.size();
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - ma) * (b[i] - mb);
    aa += (a[i] - ma) * (a[i] - ma);
    bb += (b[i] - mb) * (b[i] - mb);
  }
  return ab / std::sqrt(aa * bb);
}

TEST(WarmStart, EachMetricOfASourceBecomesEvidenceUnderAKeyOfItsOwn) {
  const ToySpace space(6, 4);
  const Evidence known = [](const Architecture& a) {
    return std::vector<MetricValue>{{{"cost", "pi"}, 1.0}};
  };
  const std::vector<SourceTrials> sources = {SumSource(space, 40)};
  EXPECT_THAT(KeysOf(WithSources(&space, sources, {}), space),
              ElementsAre(MetricKey{"score", "/studies/sum"},
                          MetricKey{"cost", "pi/studies/sum"}));
  // What is known anyway needs no model.
  EXPECT_THAT(
      KeysOf(WithSources(&space, sources, known), space),
      ElementsAre(MetricKey{"cost", "pi"}, MetricKey{"score", "/studies/sum"}));
  EXPECT_FALSE(WithSources(&space, {}, {}));
}

TEST(WarmStart, ExpectsOfNewNetworksWhatTheSourceTeaches) {
  const ToySpace space(6, 4);
  const Evidence evidence = WithSources(&space, {SumSource(space, 60)}, {});
  Rng rng(99);
  std::vector<double> sums, expected;
  for (int i = 0; i < 200; ++i) {
    const Architecture architecture = space.Sample(rng);
    sums.push_back(Sum(architecture));
    expected.push_back(evidence(architecture)[0].value);
  }
  // Smaller is better, always.
  EXPECT_LT(Correlation(sums, expected), -0.95);
}

TEST(WarmStart, RemembersWhatNetworksCameTo) {
  const ToySpace space(6, 4);
  SourceTrials source = SumSource(space, 60);
  // A surprise that no model would expect, twice.
  source.trials[7].values[0] = source.trials[8].values[0] = 1000;
  const Evidence evidence = WithSources(&space, {source}, {});
  const double surprise = evidence(source.trials[7].architecture)[0].value;
  EXPECT_EQ(surprise, evidence(source.trials[8].architecture)[0].value);
  for (int i = 9; i < 60; ++i) {
    EXPECT_LT(surprise, evidence(source.trials[i].architecture)[0].value);
  }
}

TEST(WarmStart, LeavesOutWhatTeachesNothing) {
  const ToySpace space(6, 4);
  SourceTrials source = SumSource(space, 40);
  for (size_t i = 0; i < source.trials.size(); ++i) {
    if (i >= 7) source.trials[i].values[0] = kNan;  // Seven values.
    source.trials[i].values[1] = 5;                 // One different.
  }
  EXPECT_THAT(KeysOf(WithSources(&space, {source}, {}), space), IsEmpty());
  // Networks that this space does not have.
  source = SumSource(space, 40);
  for (SourceTrials::Trial& trial : source.trials) {
    trial.architecture.choices[0] = 4;
  }
  EXPECT_THAT(KeysOf(WithSources(&space, {source}, {}), space), IsEmpty());
  EXPECT_THAT(BestOfSources(space, {source}, 5), IsEmpty());
}

TEST(WarmStart, TheBestOfASourceAreSpreadOverItsFront) {
  const ToySpace space(4, 9);
  SourceTrials source;
  source.problem = ToyProblem();
  source.metrics = {{"a", ""}, {"b", ""}};
  for (int i = 0; i < 9; ++i) {
    source.trials.push_back({{{i, 0, 0, 0}}, {1. * i, 8. - i}});  // The front.
    source.trials.push_back({{{i, 1, 0, 0}}, {1. * i, 9. - i}});
    source.trials.push_back({{{i, 2, 0, 0}}, {1. * i, kNan}});
  }
  const std::vector<Architecture> best = BestOfSources(space, {source}, 3);
  ASSERT_THAT(best, SizeIs(3));
  std::set<int> places;
  for (const Architecture& architecture : best) {
    EXPECT_EQ(architecture.choices[1], 0);
    places.insert(architecture.choices[0] / 3);
  }
  EXPECT_THAT(places, SizeIs(3));
  // Then the next front; failed trials never.
  EXPECT_THAT(BestOfSources(space, {source}, 100), SizeIs(18));
}

TEST(WarmStart, SourcesTakeTurns) {
  const ToySpace space(4, 9, 3);
  SourceTrials a;
  a.problem.objectives = {{{"a", ""}, false, {}}};
  a.metrics = {{"a", ""}};
  SourceTrials b = a;
  for (int i = 0; i < 9; ++i) {
    a.trials.push_back({{{i, 0, 0, 0}}, {1. * i}});
    b.trials.push_back({{{i, 0, 0, 0}}, {9. - i}});
    b.trials.push_back({{{8, 1, 0, 0}}, {-1}});  // Equal to {8, 0, 0, 1}.
  }
  const std::vector<Architecture> best = BestOfSources(space, {a, b}, 4);
  EXPECT_THAT(
      best,
      ElementsAre(Architecture{{0, 0, 0, 0}}, Architecture{{8, 0, 0, 1}},
                  Architecture{{1, 0, 0, 0}}, Architecture{{8, 0, 0, 0}}));
}

TEST(WarmStart, ATrialThatViolatedAConstraintIsNoneOfTheBest) {
  const ToySpace space(6, 4);
  SourceTrials source = SumSource(space, 40);
  source.problem.constraints = {{{"cost", "pi"}, 1, std::nullopt}};
  const std::vector<Architecture> best = BestOfSources(space, {source}, 10);
  EXPECT_THAT(best, Not(IsEmpty()));
  for (const Architecture& architecture : best) {
    EXPECT_LE(architecture.choices[0], 1);
  }
}

TEST(WarmStart, HalfOfTheInitialDesignOfEveryStrategyIsTheBestOfSources) {
  const ToySpace space(6, 4);
  const std::vector<SourceTrials> sources = {SumSource(space, 60)};
  const std::vector<std::pair<StrategyConfig, int>> expected = {
      {AutoConfig{}, 6},      {AgeingEvolutionConfig{}, 10},
      {Nsga2Config{}, 8},     {Nsga3Config{}, 6},
      {MoeadConfig{}, 7},     {LocalSearchConfig{}, 2},
      {MotpeConfig{}, 6},     {MoBananasConfig{}, 6},
      {RandomConfig{}, 0},    {QuasiRandomConfig{}, 0},
      {ReinforceConfig{}, 10}};
  for (const auto& [config, count] : expected) {
    auto strategy =
        CreateStrategy(config, &space, ToyProblem(), 1, {}, sources);
    ASSERT_TRUE(strategy.ok()) << strategy.status();
    const Journal journal = Simulate(
        **strategy, [&](const Architecture& a) { return GridZdt1(space, a); },
        25);
    std::vector<Architecture> begun_with;
    for (const Proposal& proposal : journal.proposed) {
      if (proposal.origin == "best of another search") {
        begun_with.push_back(proposal.architecture);
      }
    }
    EXPECT_EQ(begun_with, BestOfSources(space, sources, count))
        << (*strategy)->name();
  }
}

TEST(WarmStart, TheDesignIsAFunctionOfTheObservations) {
  const ToySpace space(6, 4);
  const std::vector<SourceTrials> sources = {SumSource(space, 400)};
  const auto evaluate = [&](const Architecture& a) {
    return GridZdt1(space, a);
  };
  const auto create = [&] {
    return *CreateStrategy(Nsga2Config{}, &space, ToyProblem(), 1, {}, sources);
  };
  auto original = create();
  const Journal whole = Simulate(*original, evaluate, 20, 3);
  for (size_t ended = 1; ended < 18; ++ended) {
    Journal journal;
    journal.observed.assign(whole.observed.begin(),
                            whole.observed.begin() + ended);
    journal.proposed.assign(whole.proposed.begin(),
                            whole.proposed.begin() + ended + 2);
    auto rebuilt = create();
    ASSERT_TRUE(rebuilt->Observe(journal.observed).ok());
    SuggestRequest request;
    request.next_number = static_cast<int64_t>(ended) + 3;
    const std::vector<Proposal> pending = journal.Pending();
    request.pending = pending;
    const auto proposals = rebuilt->Suggest(request);
    ASSERT_TRUE(proposals.ok() && proposals->size() == 1);
    EXPECT_EQ(proposals->front().architecture,
              whole.proposed[ended + 2].architecture)
        << ended;
    EXPECT_EQ(proposals->front().origin, whole.proposed[ended + 2].origin);
  }
}

// Hypervolume found by 30 trials, mean of some seeds.
double Found(const SearchSpace& space, absl::Span<const SourceTrials> sources) {
  double sum = 0;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    auto strategy = CreateStrategy(BayesianConfig{}, &space, ToyProblem(), seed,
                                   {}, sources);
    const Journal journal = Simulate(
        **strategy, [&](const Architecture& a) { return GridZdt1(space, a); },
        30);
    std::vector<Point> points;
    for (const Observation& observation : journal.observed) {
      points.push_back(observation.evaluation.objectives);
    }
    sum += Hypervolume(points, {1.1, 8});
  }
  return sum / 3;
}

TEST(WarmStart, ARelatedSourceHelpsAndAnotherHardlyHarms) {
  const ToySpace space(8, 8);
  // Both of its metrics go with those of the search, on other scales.
  SourceTrials related;
  related.problem = ToyProblem();
  related.metrics = {{"a", ""}, {"b", ""}};
  SourceTrials unrelated = related;
  Rng rng(3);
  for (int i = 0; i < 150; ++i) {
    const Architecture architecture = space.Sample(rng);
    const Evaluation evaluation = GridZdt1(space, architecture);
    related.trials.push_back({architecture,
                              {3 * evaluation.objectives[0] + rng.Uniform(),
                               std::pow(evaluation.objectives[1], 2)}});
    unrelated.trials.push_back({architecture, {rng.Normal(), rng.Normal()}});
  }
  std::vector<Point> front;
  for (int i = 0; i < 8; ++i) front.push_back({i / 7., 1 - std::sqrt(i / 7.)});
  const double best = Hypervolume(front, {1.1, 8});
  const double cold = best - Found(space, {});
  EXPECT_LT(best - Found(space, {related}), 0.7 * cold);
  EXPECT_LT(best - Found(space, {unrelated}), 1.3 * cold);
}

}  // namespace
}  // namespace hwnas
