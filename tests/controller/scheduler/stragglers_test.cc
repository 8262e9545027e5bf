#include "controller/scheduler/stragglers.h"

#include "gtest/gtest.h"

namespace hwnas::controller {
namespace {

TEST(StragglerTime, IsTwiceWhatThreeQuartersTookEpochForEpoch) {
  EXPECT_EQ(StragglerTime({10, 50, 20, 40, 30}, 1), absl::Seconds(80));
  EXPECT_EQ(StragglerTime({10, 50, 20, 40, 30}, 12), absl::Seconds(960));
}

TEST(StragglerTime, IsNotKnownFromAFew) {
  EXPECT_EQ(StragglerTime({10, 10, 10, 10}, 1), absl::InfiniteDuration());
  EXPECT_EQ(StragglerTime({}, 1), absl::InfiniteDuration());
}

TEST(StragglerTime, IsNeverShort) {
  EXPECT_EQ(StragglerTime({0.1, 0.1, 0.1, 0.1, 0.1}, 1), kLeastStragglerTime);
}

}  // namespace
}  // namespace hwnas::controller
