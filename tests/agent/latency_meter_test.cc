#include "agent/measure/latency_meter.h"

#include <cmath>

#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_interference.h"
#include "tests/fakes/fake_runtime.h"

namespace hwnas::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

TEST(LatencyMeter, ReportsAConstantLatencyExactly) {
  FakeSteadyClock clock;
  FakeSession session(clock, [](int64_t) { return absl::Milliseconds(2); });
  const auto report = MeasureLatency(session, {}, clock, nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_DOUBLE_EQ(report->median_ms, 2);
  EXPECT_DOUBLE_EQ(report->p90_ms, 2);
  EXPECT_FALSE(report->p99_ms.has_value());
  EXPECT_DOUBLE_EQ(*report->mad_ms, 0);
  EXPECT_DOUBLE_EQ(report->ci_ms->low, 2);
  EXPECT_DOUBLE_EQ(report->ci_ms->high, 2);
  EXPECT_DOUBLE_EQ(report->first_ms, 2);
  EXPECT_EQ(report->inferences_per_block, 5);  // 10 ms.
  EXPECT_THAT(report->block_ms, SizeIs(30));   // 0.3 s.
  EXPECT_EQ(report->inference_count, 150);
  EXPECT_THAT(report->flags, IsEmpty());
  EXPECT_EQ(session.count(),
            1 + report->warmup_inferences + report->inference_count);
}

TEST(LatencyMeter, LeavesTheSlowStartOut) {
  FakeSteadyClock clock;
  // A first inference of 500 ms, then it gets faster until the 100th.
  FakeSession session(clock, [](int64_t i) {
    if (i == 0) return absl::Milliseconds(500);
    return absl::Milliseconds(1) +
           absl::Milliseconds(5) * std::max<int64_t>(0, 100 - i) / 100;
  });
  const auto report = MeasureLatency(session, {}, clock, nullptr);
  ASSERT_TRUE(report.ok());
  EXPECT_DOUBLE_EQ(report->first_ms, 500);
  EXPECT_DOUBLE_EQ(report->median_ms, 1);
  EXPECT_GE(report->warmup_inferences, 99);
  ASSERT_GE(report->warmup_block_ms.size(), 6);
  EXPECT_GT(report->warmup_block_ms.front(), 4);
  EXPECT_DOUBLE_EQ(report->warmup_block_ms.back(), 1);
  EXPECT_EQ(report->inferences_per_block, 10);
}

TEST(LatencyMeter, WarmUpIsBounded) {
  FakeSteadyClock clock;
  // Never settles: each inference takes 1 % longer.
  FakeSession session(clock, [](int64_t i) {
    return absl::Milliseconds(20) * std::pow(1.01, i);
  });
  const auto report =
      MeasureLatency(session, {.max_time = absl::Seconds(4)}, clock, nullptr);
  ASSERT_TRUE(report.ok());
  EXPECT_LT(report->total_time, absl::Seconds(5));
  EXPECT_THAT(report->flags, ElementsAre(StartsWith("UNCONVERGED")));
}

TEST(LatencyMeter, StopsWhenTheIntervalIsTightAndNotBefore) {
  FakeSteadyClock clock;
  Rng rng(3);
  FakeSession session(clock, [&](int64_t) {
    return absl::Milliseconds(20) * std::exp(0.05 * rng.Normal());
  });
  const LatencyMeterOptions options = {.target_half_width = 0.01,
                                       .max_time = absl::Seconds(60)};
  const auto report = MeasureLatency(session, options, clock, nullptr);
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->flags, IsEmpty());
  EXPECT_LE(report->ci_ms->high - report->median_ms, 0.01 * report->median_ms);
  EXPECT_LE(report->median_ms - report->ci_ms->low, 0.01 * report->median_ms);
  // The interval is about 1.25 * 0.05 * 1.96 / sqrt(n) wide on each side.
  EXPECT_GT(report->block_ms.size(), 60);
  EXPECT_LT(report->block_ms.size(), 600);
  EXPECT_NEAR(report->median_ms, 20, 0.4);
  // exp(0.05 * 1.2816): the 0.9-quantile of this distribution.
  EXPECT_NEAR(report->p90_ms, 20 * std::exp(0.05 * 1.2816), 0.5);
  EXPECT_LT(report->total_time, absl::Seconds(20));
}

TEST(LatencyMeter, SaysWhenItDidNotConverge) {
  FakeSteadyClock clock;
  Rng rng(4);
  FakeSession session(clock, [&](int64_t) {
    return absl::Milliseconds(20) * std::exp(1.0 * rng.Normal());
  });
  const auto report =
      MeasureLatency(session, {.max_time = absl::Seconds(2)}, clock, nullptr);
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->flags,
              ElementsAre(StartsWith("UNCONVERGED: 95 % interval within")));
  EXPECT_TRUE(report->ci_ms.has_value());
}

TEST(LatencyMeter, ASlowModelGetsFewBlocksAndAFlag) {
  FakeSteadyClock clock;
  FakeSession session(clock, [](int64_t) { return absl::Seconds(2); });
  const auto report = MeasureLatency(session, {}, clock, nullptr);
  ASSERT_TRUE(report.ok());
  EXPECT_DOUBLE_EQ(report->median_ms, 2000);
  EXPECT_EQ(report->inferences_per_block, 1);
  EXPECT_EQ(report->warmup_inferences, 1);
  EXPECT_THAT(report->block_ms, SizeIs(2));
  EXPECT_FALSE(report->ci_ms.has_value());
  EXPECT_THAT(report->flags, ElementsAre("UNCONVERGED: only 2 blocks in 4s"));
}

TEST(LatencyMeter, TellsThe99thPercentileOfEnoughInferences) {
  FakeSteadyClock clock;
  // Every 50th inference takes three times as long.
  FakeSession session(clock, [](int64_t i) {
    return i % 50 == 0 ? absl::Milliseconds(3) : absl::Milliseconds(1);
  });
  auto report = MeasureLatency(session, {}, clock, nullptr);
  ASSERT_TRUE(report.ok());
  EXPECT_GE(report->inference_count, 290);
  LatencyMeterOptions options;
  options.min_time = absl::Milliseconds(400);
  report = MeasureLatency(session, options, clock, nullptr);
  ASSERT_TRUE(report.ok());
  EXPECT_GE(report->inference_count, 300);
  EXPECT_DOUBLE_EQ(report->p90_ms, 1);
  EXPECT_DOUBLE_EQ(*report->p99_ms, 3);
}

// The same for a drift as for noise: an interval that does not cover the
// median of a later measurement would be a false promise.
TEST(LatencyMeter, DoesNotTakeADriftForConvergence) {
  FakeSteadyClock clock;
  FakeSession session(clock, [&](int64_t i) {
    return absl::Milliseconds(2) * (1 + 1e-5 * static_cast<double>(i));
  });
  const auto report = MeasureLatency(
      session, {.target_half_width = 0.001, .max_time = absl::Seconds(2)},
      clock, nullptr);
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->flags, ElementsAre(HasSubstr("UNCONVERGED: the latency "
                                                   "drifted over all")));
}

TEST(LatencyMeter, LetsOthersUseTheDeviceBetweenPasses) {
  FakeSteadyClock clock;
  int cold = 0;
  FakeSession session(clock, [&](int64_t) {
    // What others did left the caches cold.
    return cold > 0 && cold-- > 0 ? absl::Milliseconds(9)
                                  : absl::Milliseconds(2);
  });
  int pauses = 0;
  LatencyHooks hooks;
  hooks.pause = [&]() -> absl::StatusOr<bool> {
    ++pauses;
    clock.Advance(absl::Seconds(7));
    cold = 3;
    return true;
  };
  const auto report = MeasureLatency(session, {}, clock, nullptr, hooks);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(pauses, 2);
  EXPECT_THAT(report->pass_begins, ElementsAre(10, 20));
  EXPECT_THAT(report->block_ms, SizeIs(30));
  EXPECT_THAT(report->block_ms, ::testing::Each(::testing::DoubleEq(2)));
  EXPECT_THAT(report->flags, IsEmpty());
  // The pauses are nobody's time, though far longer than max_time.
  EXPECT_LT(report->total_time, absl::Seconds(1));
}

TEST(LatencyMeter, APauseInWhichNobodyMeasuredChangesNothing) {
  FakeSteadyClock clock;
  FakeSession session(clock, [](int64_t) { return absl::Milliseconds(2); });
  int pauses = 0;
  LatencyHooks hooks;
  hooks.pause = [&]() -> absl::StatusOr<bool> {
    ++pauses;
    return false;
  };
  const auto report = MeasureLatency(session, {}, clock, nullptr, hooks);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(pauses, 2);
  EXPECT_THAT(report->pass_begins, IsEmpty());
  EXPECT_EQ(session.count(),
            1 + report->warmup_inferences + report->inference_count);
}

TEST(LatencyMeter, EndsWithTheErrorOfAPause) {
  FakeSteadyClock clock;
  FakeSession session(clock, [](int64_t) { return absl::Milliseconds(2); });
  LatencyHooks hooks;
  hooks.pause = []() -> absl::StatusOr<bool> {
    return absl::CancelledError("nobody wants it");
  };
  EXPECT_THAT(
      MeasureLatency(session, {}, clock, nullptr, hooks).status().message(),
      "nobody wants it");
}

// Inferences of 1 ms, which take twice as long when they are disturbed.
class DisturbedTest : public ::testing::Test {
 protected:
  absl::StatusOr<LatencyReport> Measure() {
    FakeSession session(clock_, [this](int64_t) {
      return absl::Milliseconds(disturbed_now ? 2 : 1);
    });
    return MeasureLatency(session, {}, clock_, &interference_);
  }
  FakeSteadyClock clock_;
  FakeInterference interference_;
  bool disturbed_now = false;
};

TEST_F(DisturbedTest, AQuietMeasurementHasNoFlag) {
  const auto report = Measure();
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->flags, IsEmpty());
  EXPECT_EQ(report->disturbed_blocks, 0);
  EXPECT_THAT(report->block_ms, SizeIs(30));
}

TEST_F(DisturbedTest, RunsDisturbedBlocksAgain) {
  // Every third block is preempted, and slower for it.
  int block = 0;
  interference_.before_thread = [&](ThreadCounts& counts) {
    if (disturbed_now) {
      ++counts.preemptions;
      counts.waited_seconds = *counts.waited_seconds + 0.010;
    }
    disturbed_now = ++block % 3 == 0;
  };
  const auto report = Measure();
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->flags, IsEmpty());
  EXPECT_GT(report->disturbed_blocks, 5);
  EXPECT_GE(report->block_ms.size(), 30);
  EXPECT_THAT(report->block_ms, ::testing::Each(::testing::DoubleEq(1)));
  EXPECT_DOUBLE_EQ(report->p90_ms, 1);
}

TEST_F(DisturbedTest, GivesUpAndSaysWhy) {
  disturbed_now = true;
  interference_.before_thread = [&](ThreadCounts& counts) {
    ++counts.preemptions;
    counts.waited_seconds = *counts.waited_seconds + 0.005;
  };
  const auto report = Measure();
  ASSERT_TRUE(report.ok());
  ASSERT_THAT(report->flags, SizeIs(1));
  EXPECT_THAT(report->flags[0], StartsWith("NOISY: "));
  EXPECT_THAT(report->flags[0], HasSubstr("blocks were disturbed: waited for a "
                                          "core ("));
  EXPECT_THAT(report->flags[0], HasSubstr("preempted ("));
  EXPECT_DOUBLE_EQ(report->median_ms, 2);
  EXPECT_LT(report->total_time, absl::Seconds(1));
}

TEST_F(DisturbedTest, GoesOnWhileSomeBlocksAreLeftAlone) {
  // Most blocks are preempted. The others scatter by a seventh, which takes
  // more of them than min_time has.
  Rng rng(5);
  auto duration = absl::Milliseconds(1);
  FakeSession session(clock_, [&](int64_t) { return duration; });
  interference_.before_thread = [&](ThreadCounts& counts) {
    if (disturbed_now) {
      ++counts.preemptions;
      counts.waited_seconds = *counts.waited_seconds + 0.010;
    }
    disturbed_now = rng.Bernoulli(0.6);
    duration = absl::Microseconds(disturbed_now ? 2000 : 1000 + rng.Below(150));
  };
  const auto report = MeasureLatency(session, {}, clock_, &interference_);
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->flags, ElementsAre(StartsWith("NOISY: ")));
  EXPECT_GT(report->block_ms.size(), 31);
  EXPECT_NEAR(report->median_ms, 1.075, 0.02);
}

TEST_F(DisturbedTest, SeesWhatOnlyOtherCoresShow) {
  // Another process keeps the other core busy: nobody preempts us, and yet we
  // are slower.
  disturbed_now = true;
  interference_.before_host = [&](HostCounts& counts) {
    counts.others_seconds = absl::ToDoubleSeconds(clock_.Now());
  };
  auto report = Measure();
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->flags,
              ElementsAre(HasSubstr("other work on the machine (")));
  // For the first half of a second only.
  const absl::Duration end = clock_.Now() + absl::Milliseconds(500);
  interference_.before_thread = [&](ThreadCounts&) {
    disturbed_now = clock_.Now() < end;
  };
  interference_.before_host = [&](HostCounts& counts) {
    counts.others_seconds = absl::ToDoubleSeconds(std::min(clock_.Now(), end));
  };
  report = Measure();
  ASSERT_TRUE(report.ok());
  EXPECT_DOUBLE_EQ(report->median_ms, 1);
}

TEST_F(DisturbedTest, SeesALittleOfItAllTheTime) {
  // A fifth of the other core: within what a stretch forgives.
  interference_.before_host = [&](HostCounts& counts) {
    counts.others_seconds = 0.2 * absl::ToDoubleSeconds(clock_.Now());
  };
  const auto report = Measure();
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->flags, ElementsAre("NOISY: all the time, a little: other "
                                         "work on the machine"));
}

TEST_F(DisturbedTest, SeesTheftOfTheHypervisor) {
  interference_.before_host = [&](HostCounts& counts) {
    counts.steal_seconds = 0.1 * absl::ToDoubleSeconds(clock_.Now());
  };
  const auto report = Measure();
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->flags,
              ElementsAre(HasSubstr("the hypervisor took the core (")));
}

TEST_F(DisturbedTest, SeesAClockThatCreeps) {
  interference_.before_thread = [&](ThreadCounts& counts) {
    counts.frequency_mhz = counts.frequency_mhz.value_or(2000) * 0.995;
  };
  const auto report = Measure();
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->flags,
              ElementsAre(StartsWith("NOISY: the clock of the core was "
                                     "between ")));
}

TEST(LatencyMeter, SurvivesVeryFastModels) {
  FakeSteadyClock clock;
  FakeSession session(clock, [](int64_t) { return absl::Nanoseconds(100); });
  const auto report = MeasureLatency(session, {}, clock, nullptr);
  ASSERT_TRUE(report.ok());
  EXPECT_NEAR(report->median_ms, 1e-4, 1e-12);
  EXPECT_EQ(report->inferences_per_block, 100000);
  EXPECT_EQ(report->inference_count, 3'000'000);
}

TEST(LatencyMeter, EndsWithTheErrorOfAnInference) {
  FakeSteadyClock clock;
  FakeSession session(clock, [](int64_t) { return absl::Milliseconds(1); });
  session.fail_at = 200;
  EXPECT_EQ(MeasureLatency(session, {}, clock, nullptr).status(),
            absl::InternalError("the fake fails"));
}

TEST(LatencyMeter, StopsSoonWhenCancelled) {
  FakeSteadyClock clock;
  FakeSession session(clock, [](int64_t) { return absl::Milliseconds(1); });
  LatencyHooks hooks;
  std::vector<std::string> notes;
  hooks.progress = [&](const std::string& note) { notes.push_back(note); };
  hooks.cancelled = [&] { return session.count() >= 150; };
  EXPECT_TRUE(absl::IsCancelled(
      MeasureLatency(session, {}, clock, nullptr, hooks).status()));
  EXPECT_LE(session.count(), 160);
  ASSERT_THAT(notes, SizeIs(::testing::Ge(2)));
  EXPECT_EQ(notes[0], "warming up");
  EXPECT_EQ(notes[1], "measuring, 1 blocks of 10");
}

}  // namespace
}  // namespace hwnas::agent
