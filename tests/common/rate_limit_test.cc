#include "common/rate_limit.h"

#include "gtest/gtest.h"

namespace hwnas {
namespace {

TEST(RateLimit, LetsABurstThroughAndThenTheRate) {
  RateLimit limit(/*per_second=*/2, /*burst=*/3);
  absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limit.Take(now)) << i;
  EXPECT_FALSE(limit.Take(now));
  now += absl::Milliseconds(500);
  EXPECT_TRUE(limit.Take(now));
  EXPECT_FALSE(limit.Take(now));
  // A long pause saves up no more than a burst.
  now += absl::Hours(1);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limit.Take(now)) << i;
  EXPECT_FALSE(limit.Take(now));
}

TEST(RateLimit, AClockThatIsSetBackGivesNothing) {
  RateLimit limit(/*per_second=*/1, /*burst=*/1);
  const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  EXPECT_TRUE(limit.Take(now));
  EXPECT_FALSE(limit.Take(now - absl::Hours(1)));
  EXPECT_TRUE(limit.Take(now + absl::Seconds(1)));
}

}  // namespace
}  // namespace hwnas
