#include "worker/train/schedule.h"

#include <cmath>

#include "gtest/gtest.h"

namespace hwnas::worker {
namespace {

TEST(CosineSchedule, FollowsTheClosedForm) {
  const CosineSchedule schedule(0.4, 10, 110);
  for (int step = 0; step < 10; ++step) {
    EXPECT_DOUBLE_EQ(schedule.At(step), 0.04 * (step + 1));
  }
  for (int step = 10; step < 110; ++step) {
    EXPECT_NEAR(
        schedule.At(step),
        0.2 * (1 + std::cos(3.14159265358979323846 * (step - 10) / 100)),
        1e-12);
  }
  EXPECT_DOUBLE_EQ(schedule.At(10), 0.4);
  EXPECT_NEAR(schedule.At(60), 0.2, 1e-12);
}

TEST(CosineSchedule, NeedsNoWarmUpAndFallsToNearlyZero) {
  const CosineSchedule schedule(1.0, 0, 1000);
  EXPECT_DOUBLE_EQ(schedule.At(0), 1.0);
  EXPECT_GT(schedule.At(999), 0);
  EXPECT_LT(schedule.At(999), 1e-5);
}

TEST(CosineSchedule, MayWarmUpToTheEnd) {
  const CosineSchedule schedule(1.0, 4, 4);
  EXPECT_DOUBLE_EQ(schedule.At(3), 1.0);
}

}  // namespace
}  // namespace hwnas::worker
