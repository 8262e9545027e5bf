#include "nas/strategy/reinforce.h"

#include <algorithm>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/toy_space.h"
#include "tests/nas/strategy/simulate.h"

namespace hwnas {
namespace {

double Sum(const Architecture& a) {
  double sum = 0;
  for (int c : a.choices) sum += c;
  return sum;
}

// Mean of `value` over the trials in [begin, end) that `keep` keeps.
template <typename Value, typename Keep>
double Mean(const Journal& journal, size_t begin, size_t end,
            const Value& value, const Keep& keep) {
  double sum = 0;
  int count = 0;
  for (size_t i = begin; i < end; ++i) {
    if (!keep(journal.observed[i].proposal)) continue;
    sum += value(journal.observed[i]);
    ++count;
  }
  EXPECT_GT(count, 0);
  return sum / count;
}

// Each decision adds to the objective: the policy learns every one.
TEST(ReinforceStrategy, LearnsTheBestOptionOfEachDecision) {
  const ToySpace space(10, 4);
  auto strategy = MustCreate(ReinforceConfig{}, &space, ToyProblem(1), 1);
  const Journal journal = Simulate(
      *strategy,
      [](const Architecture& a) {
        return Evaluation{{1 + Sum(a)}, 0, true};
      },
      600, /*workers=*/4);
  const auto sum = [](const Observation& o) {
    return Sum(o.proposal.architecture);
  };
  const auto all = [](const Proposal&) { return true; };
  EXPECT_NEAR(Mean(journal, 0, 20, sum, all), 15, 2);
  EXPECT_LT(Mean(journal, 500, 600, sum, all), 5);
}

// The sweep: proposals whose weights are all on one objective come to minimise
// it alone, whatever it costs in the other.
TEST(ReinforceStrategy, FollowsItsWeights) {
  const ToySpace space(10, 4);
  const ReinforceConfig config{20, 5, 0.3};
  auto strategy = MustCreate(config, &space, ToyProblem(2), 1);
  const Journal journal = Simulate(
      *strategy,
      [](const Architecture& a) {
        return Evaluation{{1 + Sum(a), -1 - 2 * Sum(a)}, 0, true};
      },
      1000, /*workers=*/4);
  const auto sum = [](const Observation& o) {
    return Sum(o.proposal.architecture);
  };
  // Five vectors in lexicographic order: number % 5 == 0 has weights (0, 1).
  const auto mean = [&](int direction) {
    return Mean(journal, 800, 1000, sum,
                [&](const Proposal& p) { return p.number % 5 == direction; });
  };
  EXPECT_GT(mean(0), 25);
  EXPECT_LT(mean(4), 5);
}

// MnasNet's use: the most accurate network of at most a target latency.
TEST(ReinforceStrategy, ApproachesATargetLatencyFromBelow) {
  const ToySpace space(10, 4);
  constexpr double kTarget = 12;
  auto strategy = MustCreate(ReinforceConfig{}, &space, ToyProblem(1), 1);
  const Journal journal = Simulate(
      *strategy,
      [](const Architecture& a) {
        const double latency = Sum(a);
        return Evaluation{
            {-60 - latency}, std::max(0., (latency - kTarget) / kTarget), true};
      },
      800, /*workers=*/4);
  const auto latency = [](const Observation& o) {
    return Sum(o.proposal.architecture);
  };
  const auto all = [](const Proposal&) { return true; };
  const double mean = Mean(journal, 700, 800, latency, all);
  EXPECT_GT(mean, 0.6 * kTarget);
  EXPECT_LT(mean, 1.05 * kTarget);
  const auto feasible = [](const Observation& o) {
    return o.evaluation.violation > 0 ? 0. : 1.;
  };
  EXPECT_GT(Mean(journal, 700, 800, feasible, all), 0.6);
}

}  // namespace
}  // namespace hwnas
