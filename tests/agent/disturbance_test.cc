#include "agent/measure/disturbance.h"

#include "gtest/gtest.h"

namespace hwnas::agent {
namespace {

constexpr absl::Duration kBlock = absl::Milliseconds(10);
constexpr absl::Duration kSecond = absl::Seconds(1);

TEST(JudgeBlock, LetsAnUndisturbedBlockPass) {
  EXPECT_FALSE(JudgeBlock({}, {}, kBlock).any());
  const ThreadCounts before = {.preemptions = 7,
                               .waited_seconds = 3.5,
                               .throttles = 2,
                               .frequency_mhz = 2400};
  EXPECT_FALSE(JudgeBlock(before, before, kBlock).any());
}

TEST(JudgeBlock, SeesWaitingOfMoreThanHalfAPercent) {
  const ThreadCounts before = {.waited_seconds = 3};
  EXPECT_FALSE(JudgeBlock(before, {.waited_seconds = 3.00004}, kBlock).any());
  EXPECT_TRUE(JudgeBlock(before, {.waited_seconds = 3.00006}, kBlock)
                  .Has(Disturbance::kWaited));
  // What is not told cannot be judged.
  EXPECT_FALSE(JudgeBlock({}, {.waited_seconds = 3}, kBlock).any());
}

TEST(JudgeBlock, ForgivesALongBlockSomePreemptions) {
  EXPECT_TRUE(JudgeBlock({.preemptions = 4}, {.preemptions = 5}, kBlock)
                  .Has(Disturbance::kPreempted));
  EXPECT_FALSE(JudgeBlock({.preemptions = 4}, {.preemptions = 9}, kSecond)
                   .Has(Disturbance::kPreempted));
  EXPECT_TRUE(JudgeBlock({.preemptions = 4}, {.preemptions = 15}, kSecond)
                  .Has(Disturbance::kPreempted));
}

TEST(JudgeBlock, SeesTheClockMoveEitherWay) {
  const auto clock = [](double before, double after) {
    return JudgeBlock({.frequency_mhz = before}, {.frequency_mhz = after},
                      kBlock)
        .Has(Disturbance::kClock);
  };
  EXPECT_FALSE(clock(2400, 2300));
  EXPECT_TRUE(clock(2400, 1500));
  EXPECT_TRUE(clock(1500, 2400));
}

TEST(JudgeBlock, SeesThrottling) {
  EXPECT_TRUE(JudgeBlock({.throttles = 2}, {.throttles = 3}, kBlock)
                  .Has(Disturbance::kThrottled));
}

TEST(JudgeHost, ForgivesWhatTicksCannotTell) {
  const HostCounts before = {
      .steal_seconds = 5, .others_seconds = 100, .other_cores = 1};
  HostCounts after = before;
  after.others_seconds = 100.11;
  EXPECT_FALSE(JudgeHost(before, after, kSecond).any());
  after.others_seconds = 100.13;
  EXPECT_TRUE(JudgeHost(before, after, kSecond).Has(Disturbance::kOthers));
  // One busy core of sixteen others is less than a tenth of them.
  after.others_seconds = 101;
  after.other_cores = 16;
  EXPECT_FALSE(JudgeHost(before, after, kSecond).any());
}

TEST(JudgeHost, SeesStealSiblingsAndThrottling) {
  EXPECT_TRUE(JudgeHost({.steal_seconds = 1}, {.steal_seconds = 1.03}, kSecond)
                  .Has(Disturbance::kStolen));
  EXPECT_FALSE(
      JudgeHost({.steal_seconds = 1}, {.steal_seconds = 1.01}, kSecond).any());
  EXPECT_TRUE(JudgeHost({.siblings_seconds = 1},
                        {.siblings_seconds = 2, .sibling_cores = 1}, kSecond)
                  .Has(Disturbance::kSibling));
  // Throttled now, or in between; but not by what had been before.
  const auto throttled = [](uint32_t before, uint32_t after) {
    return JudgeHost({.throttled = before}, {.throttled = after}, kSecond)
        .Has(Disturbance::kThrottled);
  };
  EXPECT_TRUE(throttled(0, 0x4));
  EXPECT_TRUE(throttled(0, 0x40000));
  EXPECT_FALSE(throttled(0x40000, 0x40000));
}

}  // namespace
}  // namespace hwnas::agent
