#include "nas/fidelity/rung_table.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/nas/fidelity/rung_builder.h"

namespace hwnas {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(RungTable, PausesBetweenRungsUntilPromoted) {
  RungTable table({1, 3, 9});
  ASSERT_TRUE(table.Propose(1, 0).ok());
  EXPECT_THAT(table.Paused(), IsEmpty());
  ASSERT_TRUE(table.Finish(1, Loss(5)).ok());
  EXPECT_THAT(table.Paused(), ElementsAre(1));
  ASSERT_TRUE(table.Promote(1).ok());
  EXPECT_THAT(table.Paused(), IsEmpty());
  ASSERT_TRUE(table.Finish(1, Loss(4)).ok());
  ASSERT_TRUE(table.Promote(1).ok());
  ASSERT_TRUE(table.Finish(1, Loss(3)).ok());
  EXPECT_THAT(table.Paused(), IsEmpty());
  EXPECT_EQ(table.FullResults().size(), 1u);
  EXPECT_EQ(table.trials()[0].ResultAt(1)->objectives[0], 4);
  ASSERT_TRUE(table.End(1).ok());
}

TEST(RungTable, KnowsTheFidelityOfARung) {
  const RungTable table({12, 200});
  EXPECT_DOUBLE_EQ(table.FidelityOf(0), 0.06);
  EXPECT_DOUBLE_EQ(table.FidelityOf(1), 1);
}

TEST(RungTable, BeginsWhereToldTo) {
  RungBuilder b({1, 3, 9});
  b.Losses({2}, 1);
  EXPECT_EQ(b.table.trials()[0].rung(), 1);
  EXPECT_EQ(b.table.trials()[0].ResultAt(0), nullptr);
  EXPECT_EQ(b.table.trials()[0].ResultAt(1)->objectives[0], 2);
}

TEST(RungTable, LearnsHowValuesMoveBetweenRungs) {
  RungBuilder b({1, 3});
  for (int i = 0; i < 3; ++i) b.Losses({5.0 + i, 2.0 + i});
  EXPECT_NEAR(b.table.lift().Lift(Loss(9), 1.0 / 3).evaluation.objectives[0], 6,
              1e-9);
}

TEST(RungTable, RefusesWhatCannotBe) {
  RungTable table({1, 3});
  EXPECT_THAT(std::string(table.Propose(2, 0).message()),
              HasSubstr("trial 2 is proposed, expected trial 1"));
  EXPECT_THAT(std::string(table.Propose(1, 2).message()),
              HasSubstr("rung 2 of 2"));
  EXPECT_FALSE(table.Finish(1, Loss(1)).ok());
  ASSERT_TRUE(table.Propose(1, 0).ok());
  EXPECT_FALSE(table.Promote(1).ok());
  ASSERT_TRUE(table.Finish(1, Loss(1)).ok());
  EXPECT_FALSE(table.Finish(1, Loss(1)).ok());
  ASSERT_TRUE(table.End(1).ok());
  EXPECT_FALSE(table.Promote(1).ok());
  EXPECT_FALSE(table.End(1).ok());
  EXPECT_THAT(table.Paused(), IsEmpty());
}

}  // namespace
}  // namespace hwnas
