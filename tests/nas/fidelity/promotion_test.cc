// Who goes on, by tables: the trials of a study so far, and the next promotion.
#include <cmath>
#include <map>
#include <optional>
#include <queue>

#include "absl/strings/str_cat.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/fidelity/fidelity_policy.h"
#include "nas/fidelity/hyperband.h"
#include "tests/nas/fidelity/rung_builder.h"

namespace hwnas {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::Optional;

std::optional<int64_t> Next(const FidelityConfig& config,
                            const RungBuilder& builder, bool proposing = true) {
  return NextPromotion(config, builder.table, proposing);
}

TEST(Asha, PromotesTheBestThirdOfARung) {
  RungBuilder b({1, 3, 9});
  b.Losses({5}).Losses({3});
  EXPECT_EQ(Next(AshaConfig{}, b), std::nullopt);
  b.Losses({4});
  EXPECT_THAT(Next(AshaConfig{}, b), Optional(2));
  ASSERT_TRUE(b.table.Promote(2).ok());
  EXPECT_EQ(Next(AshaConfig{}, b), std::nullopt);
  b.Losses({6}).Losses({7});
  EXPECT_EQ(Next(AshaConfig{}, b), std::nullopt);
  b.Losses({8});  // Six results: two of them may go on.
  EXPECT_THAT(Next(AshaConfig{}, b), Optional(3));
}

TEST(Asha, LetsOnAsManyAsTheNextRungHasMoreEpochs) {
  RungBuilder b({12, 60});
  for (const double loss : {4, 3, 2, 1}) b.Losses({loss});
  EXPECT_EQ(Next(AshaConfig{}, b), std::nullopt);
  EXPECT_THAT(Next(AshaConfig{.eta = 2}, b), Optional(4));
  b.Losses({5});
  EXPECT_THAT(Next(AshaConfig{}, b), Optional(4));
}

TEST(Asha, LooksAtTheHighestRungFirst) {
  RungBuilder b({1, 3, 9});
  b.Losses({5, 5}).Losses({4, 4}).Losses({3, 3});
  for (int i = 0; i < 9; ++i) b.Losses({1.0 + 0.1 * i});
  EXPECT_THAT(Next(AshaConfig{}, b), Optional(3));
  ASSERT_TRUE(b.table.Promote(3).ok());
  EXPECT_THAT(Next(AshaConfig{}, b), Optional(4));
}

TEST(Asha, NeverPromotesAFailure) {
  RungBuilder b({1, 3});
  b.Trial({Failed()}).Trial({Failed()}).Trial({Failed()}).Losses({1});
  EXPECT_THAT(Next(AshaConfig{}, b), Optional(4));
  ASSERT_TRUE(b.table.End(4).ok());
  EXPECT_EQ(Next(AshaConfig{}, b), std::nullopt);
  EXPECT_EQ(Next(AshaConfig{}, b, false), std::nullopt);
}

TEST(Asha, PrefersResultsThatKeepConstraints) {
  RungBuilder b({1, 3});
  b.Trial({Loss(1, 0.5)}).Trial({Loss(2, 0.1)}).Trial({Loss(9)});
  EXPECT_THAT(Next(AshaConfig{}, b), Optional(3));
}

TEST(Asha, PromotesAlongTheFrontWithTwoObjectives) {
  RungBuilder b({1, 3});
  b.Trial({Losses(0, 10)}).Trial({Losses(10, 0)}).Trial({Losses(3, 3)});
  b.Trial({Losses(9, 9)}).Trial({Losses(8, 9)}).Trial({Losses(9, 8)});
  EXPECT_THAT(Next(AshaConfig{}, b), Optional(3));
  ASSERT_TRUE(b.table.Promote(3).ok());
  EXPECT_THAT(Next(AshaConfig{}, b), Optional(1));
}

// Four were promoted, and each lost exactly 4; what would end above the best of
// them is passed over.
TEST(Asha, PassesOverWhatCanHardlyImproveTheFront) {
  RungBuilder b({1, 3});  // One of three.
  for (const double loss : {10, 11, 12, 13}) b.Losses({loss, loss - 4});
  for (int i = 0; i < 6; ++i) b.Losses({20});
  b.Losses({10.5}).Losses({14});  // 12 results: four of them may go on.
  EXPECT_EQ(Next(AshaConfig{}, b), std::nullopt);
  b.Losses({9});
  EXPECT_THAT(Next(AshaConfig{}, b), Optional(13));
}

TEST(Asha, EndsWithTheExpectedFront) {
  RungBuilder b({1, 3});
  b.Trial({Losses(0, 10)}).Trial({Losses(10, 0)}).Trial({Losses(3, 3)});
  b.Trial({Losses(9, 9)});
  EXPECT_THAT(Next(AshaConfig{}, b), Optional(3));
  for (const int64_t trial : {3, 1, 2}) {
    EXPECT_THAT(Next(AshaConfig{}, b, false), Optional(trial));
    ASSERT_TRUE(b.table.Promote(trial).ok());
  }
  EXPECT_EQ(Next(AshaConfig{}, b, false), std::nullopt);
}

TEST(Asha, SharesTrialsAmongItsBrackets) {
  AshaConfig config;
  config.brackets = 3;
  RungTable table({1, 3, 9});
  std::map<int, int> begun;
  for (int64_t n = 1; n <= 165; ++n) {
    const int rung = NextFirstRung(config, table);
    ++begun[rung];
    ASSERT_TRUE(table.Propose(n, rung).ok());
  }
  // As 9 : 4.5 : 3.
  EXPECT_THAT(begun, ElementsAre(testing::Pair(0, 90), testing::Pair(1, 45),
                                 testing::Pair(2, 30)));
}

TEST(Asha, ComparesWithinABracketOnly) {
  AshaConfig config;
  config.brackets = 2;
  RungBuilder b({1, 3, 9});
  b.Losses({9, 2}).Losses({9, 1}).Losses({9, 3});
  b.Losses({7}, 1).Losses({5}, 1);
  EXPECT_THAT(Next(config, b), Optional(2));
  ASSERT_TRUE(b.table.Promote(2).ok());
  EXPECT_EQ(Next(config, b), std::nullopt);
  b.Losses({6}, 1);
  EXPECT_THAT(Next(config, b), Optional(5));
}

TEST(SuccessiveHalving, WaitsForTheWholeCohort) {
  const SuccessiveHalvingConfig config;  // 9 begin, 3 go on, then 1.
  RungBuilder b({1, 3, 9});
  for (int i = 0; i < 8; ++i) b.Losses({8.0 - i});
  EXPECT_EQ(Next(config, b), std::nullopt);
  ASSERT_TRUE(b.table.Propose(9, 0).ok());
  EXPECT_EQ(Next(config, b), std::nullopt);
  ASSERT_TRUE(b.table.Finish(9, Loss(10)).ok());
  for (const int64_t trial : {8, 7, 6}) {
    EXPECT_THAT(Next(config, b), Optional(trial));
    ASSERT_TRUE(b.table.Promote(trial).ok());
  }
  EXPECT_EQ(Next(config, b), std::nullopt);
  ASSERT_TRUE(b.table.Finish(6, Loss(0.1)).ok());
  ASSERT_TRUE(b.table.Finish(7, Loss(0.2)).ok());
  EXPECT_EQ(Next(config, b), std::nullopt);
  ASSERT_TRUE(b.table.Finish(8, Loss(0.3)).ok());
  EXPECT_THAT(Next(config, b), Optional(6));
  ASSERT_TRUE(b.table.Promote(6).ok());
  EXPECT_EQ(Next(config, b), std::nullopt);
}

TEST(SuccessiveHalving, DoesNotWaitForWhoEndedEarly) {
  SuccessiveHalvingConfig config;
  config.cohort = 3;
  RungBuilder b({1, 3});
  b.Losses({4}).Losses({5});
  ASSERT_TRUE(b.table.Propose(3, 0).ok());
  EXPECT_EQ(Next(config, b), std::nullopt);
  ASSERT_TRUE(b.table.End(3).ok());
  EXPECT_THAT(Next(config, b), Optional(1));
}

TEST(SuccessiveHalving, KeepsCohortsApart) {
  SuccessiveHalvingConfig config;
  config.cohort = 3;
  RungBuilder b({1, 3});
  for (const double loss : {7, 8, 9, 3, 2, 1}) b.Losses({loss});
  EXPECT_THAT(Next(config, b), Optional(1));
  ASSERT_TRUE(b.table.Promote(1).ok());
  EXPECT_THAT(Next(config, b), Optional(6));
}

TEST(SuccessiveHalving, TakesTheLastCohortAsItIs) {
  SuccessiveHalvingConfig config;
  config.cohort = 9;
  RungBuilder b({1, 3, 9});
  for (const double loss : {3, 2, 4}) b.Losses({loss});
  EXPECT_EQ(Next(config, b, true), std::nullopt);
  EXPECT_THAT(Next(config, b, false), Optional(2));
}

// Table 1 of the paper: R = 81, eta = 3.
TEST(Hyperband, HasTheBracketsOfThePaper) {
  std::vector<int> sizes;
  const RungTable table({1, 3, 9, 27, 81});
  for (int s = 0; s < 5; ++s) {
    sizes.push_back(static_cast<int>(std::ceil(HyperbandSize(3, table, s))));
  }
  EXPECT_THAT(sizes, ElementsAre(81, 34, 15, 8, 5));
}

TEST(Hyperband, TakesTheKindsOfCohortsInTurn) {
  RungTable table({1, 3, 9});
  std::vector<int> begun;
  for (int64_t n = 1; n <= 18; ++n) {
    begun.push_back(NextFirstRung(HyperbandConfig{}, table));
    ASSERT_TRUE(table.Propose(n, begun.back()).ok());
  }
  // 9 at rung 0, 5 at rung 1, 3 at rung 2, and again.
  EXPECT_THAT(
      begun, ElementsAre(0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 0));
}

TEST(Hyperband, HalvesEachCohortByItself) {
  RungBuilder b({1, 3, 9});
  for (int i = 0; i < 9; ++i) b.Losses({9.0 - i});
  for (const int64_t trial : {9, 8, 7}) {
    EXPECT_THAT(Next(HyperbandConfig{}, b), Optional(trial));
    ASSERT_TRUE(b.table.Promote(trial).ok());
  }
  for (int i = 0; i < 5; ++i) b.Losses({2.0 + i}, 1);
  EXPECT_THAT(Next(HyperbandConfig{}, b), Optional(10));
}

// One suite for all that promote: a whole study with workers that finish out of
// order.
struct Named {
  std::string name;
  FidelityConfig config;
};
void PrintTo(const Named& named, std::ostream* out) { *out << named.name; }

class PromotionSuite : public ::testing::TestWithParam<Named> {
 protected:
  // Runs until nothing is left to do; checks the table on the way.
  RungTable Run(int trials, int workers, uint64_t seed,
                std::vector<int64_t>* decisions = nullptr) {
    RungTable table({1, 3, 9});
    Rng rng(seed);
    std::vector<int64_t> running;
    for (;;) {
      while (static_cast<int>(running.size()) < workers) {
        const bool proposing = static_cast<int>(table.trials().size()) < trials;
        const auto next = NextPromotion(GetParam().config, table, proposing);
        if (decisions != nullptr) decisions->push_back(next.value_or(0));
        if (next) {
          EXPECT_TRUE(table.Promote(*next).ok());
          running.push_back(*next);
        } else if (proposing) {
          const auto number = static_cast<int64_t>(table.trials().size()) + 1;
          EXPECT_TRUE(
              table.Propose(number, NextFirstRung(GetParam().config, table))
                  .ok());
          running.push_back(number);
        } else {
          break;
        }
      }
      if (running.empty()) return table;
      const size_t i = rng.Below(running.size());
      const int64_t number = running[i];
      running.erase(running.begin() + i);
      const int rung = table.trials()[number - 1].rung() + 1;
      Rng noise(number, rung);
      Rng truth(number);
      EXPECT_TRUE(
          table
              .Finish(number, Losses(truth.Uniform() + 0.3 * noise.Uniform() +
                                         3.0 / (1 + rung),
                                     truth.Uniform()))
              .ok());
      if (rung == 2) {
        EXPECT_TRUE(table.End(number).ok());
      }
    }
  }
};

TEST_P(PromotionSuite, SpendsMostTrialsAtLowFidelity) {
  const RungTable table = Run(120, 4, 1);
  int full = 0;
  for (const RungTrial& trial : table.trials()) {
    ASSERT_FALSE(trial.results.empty());
    full += trial.rung() == 2 && trial.first_rung < 2;
  }
  EXPECT_THAT(full, AllOf(Ge(4), Le(40)));
}

TEST_P(PromotionSuite, EqualTablesGiveEqualDecisions) {
  std::vector<int64_t> a, b;
  Run(60, 5, 7, &a);
  Run(60, 5, 7, &b);
  EXPECT_EQ(a, b);
}

TEST_P(PromotionSuite, EndsWithAnyNumberOfWorkers) {
  for (const int workers : {1, 3, 50}) {
    EXPECT_FALSE(Run(40, workers, 3).FullResults().empty()) << workers;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, PromotionSuite,
    ::testing::Values(Named{"Asha", AshaConfig{}},
                      Named{"AshaEpsilonNet",
                            AshaConfig{.eta = 2,
                                       .order = FrontOrder::kEpsilonNet}},
                      Named{"AshaBrackets", AshaConfig{.brackets = 3}},
                      Named{"SuccessiveHalving", SuccessiveHalvingConfig{}},
                      Named{"Hyperband", HyperbandConfig{}}),
    [](const auto& info) { return info.param.name; });

TEST(GeometricRungs, AreShortFirstAndHaveNoSmallLastStep) {
  EXPECT_THAT(GeometricRungs(1, 9, 3), ElementsAre(1, 3, 9));
  EXPECT_THAT(GeometricRungs(1, 12, 3), ElementsAre(1, 3, 12));
  EXPECT_THAT(GeometricRungs(1, 20, 3), ElementsAre(1, 3, 9, 20));
  EXPECT_THAT(GeometricRungs(2, 12, 2.5), ElementsAre(2, 5, 12));
  EXPECT_THAT(GeometricRungs(1, 2, 1.2), ElementsAre(1, 2));
  EXPECT_THAT(GeometricRungs(5, 5, 3), ElementsAre(5));
}

TEST(CheckFidelity, NamesTheBadParameter) {
  const auto message = [](const FidelityConfig& config, int rungs = 3) {
    return std::string(CheckFidelity(config, rungs).message());
  };
  EXPECT_EQ(message(AshaConfig{}), "");
  EXPECT_THAT(message(AshaConfig{}, 1), HasSubstr("rungs: 1"));
  EXPECT_THAT(message(AshaConfig{.eta = 1}), HasSubstr("asha.eta: 1"));
  EXPECT_THAT(message(AshaConfig{.brackets = 4}),
              HasSubstr("asha.brackets: 4"));
  EXPECT_THAT(message(SuccessiveHalvingConfig{.cohort = -1}),
              HasSubstr("successive_halving.cohort: -1"));
  EXPECT_THAT(message(HyperbandConfig{.eta = 0.5}), HasSubstr("hyperband.eta"));
  EXPECT_THAT(message(MedianStopConfig{.min_epochs = 0}),
              HasSubstr("median_stop.min_epochs: 0"));
  EXPECT_THAT(message(LearningCurveStopConfig{.chance = 0.7}),
              HasSubstr("learning_curve_stop.chance: 0.7"));
  EXPECT_EQ(message(MedianStopConfig{}, 1), "");
}

}  // namespace
}  // namespace hwnas
