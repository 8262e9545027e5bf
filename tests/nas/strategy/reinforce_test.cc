#include "nas/strategy/reinforce.h"

#include <algorithm>
#include <cmath>
#include <memory>
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

// One decision matters, and is trained by trials made for it; the others only
// make networks new.
class ReinforceBandit : public ::testing::Test {
 protected:
  std::unique_ptr<Strategy> Create(double learning_rate) {
    return MustCreate(
        ReinforceConfig{.initial_design = 0, .learning_rate = learning_rate},
        &space_, ToyProblem(1), 1);
  }
  // A trial with `option` cost this; costs of 1 and e are 0 and 1 as
  // logarithms.
  void Observe(int64_t number, int option, double cost) {
    Rng rng(1, static_cast<uint64_t>(number));
    std::vector<int> choices = space_.Sample(rng).choices;
    choices[0] = option;
    ASSERT_TRUE(
        strategy_->Observe({MadeTrial(space_, number, choices, {cost})}).ok());
  }
  // How likely option 0 is: always by the same random numbers.
  double Probability() {
    constexpr int kProposals = 4000;
    int count = 0;
    for (int i = 0; i < kProposals; ++i) {
      SuggestRequest request;
      request.next_number = 1000000 + i;
      const auto proposals = strategy_->Suggest(request);
      EXPECT_TRUE(proposals.ok());
      count += proposals->front().architecture.choices[0] == 0;
    }
    return static_cast<double>(count) / kProposals;
  }

  const ToySpace space_{16, 2};
  std::unique_ptr<Strategy> strategy_ = Create(/*learning_rate=*/1);
};

TEST_F(ReinforceBandit, TakesTheStepsOfWilliams) {
  // Four standard deviations are 0.03.
  const auto near = [](double difference_of_logits) {
    return ::testing::DoubleNear(1 / (1 + std::exp(-difference_of_logits)),
                                 0.03);
  };
  EXPECT_THAT(Probability(), near(0));
  // The first reward is its own baseline.
  Observe(1, 0, 1);
  EXPECT_THAT(Probability(), near(0));
  // Logarithms 0 and 1 have deviation 0.707: the second is 0.707 worse than the
  // mean. Each logit moves by 0.707 * (1 - 0.5), one up and one down.
  Observe(2, 1, std::exp(1));
  EXPECT_THAT(Probability(), near(0.707));
  // 0.577 deviations worse; the baseline is a tenth of -0.707 by now, and the
  // policy took the option with probability 0.33: 0.507 * (1 - 0.33).
  Observe(3, 1, std::exp(1));
  EXPECT_THAT(Probability(), near(0.707 + 2 * 0.339));
  // 0.5 worse, a baseline of -0.121, and a probability of 0.2: 0.379 * 0.8.
  Observe(4, 1, std::exp(1));
  EXPECT_THAT(Probability(), near(0.707 + 2 * 0.339 + 2 * 0.303));
}

TEST_F(ReinforceBandit, TheRewardedOptionBecomesLikelierWithEachTrial) {
  strategy_ = Create(/*learning_rate=*/0.3);
  Observe(1, 0, 1);
  double before = Probability();
  const double first = before;
  for (int number = 2; number <= 16; ++number) {
    const int option = 1 - number % 2;
    Observe(number, option, option == 0 ? 1 : std::exp(1));
    const double after = Probability();
    EXPECT_GT(after, before) << number;
    before = after;
  }
  EXPECT_NEAR(first, 0.5, 0.03);
  EXPECT_GT(before, 0.9);
}

}  // namespace
}  // namespace hwnas
