#include "agent/measure/latency_meter.h"

#include <cmath>

#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_runtime.h"

namespace hwnas::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

class FakeInterference final : public Interference {
 public:
  int64_t Preemptions() override { return preemptions += step; }
  InterferenceCounts Read() override {
    InterferenceCounts counts = {.preemptions = preemptions};
    if (steals) counts.steal_seconds = steal_seconds += steal_step;
    return counts;
  }
  int64_t preemptions = 0;
  int64_t step = 0;
  bool steals = false;
  double steal_seconds = 0;
  double steal_step = 0;
};

TEST(LatencyMeter, ReportsAConstantLatencyExactly) {
  FakeSteadyClock clock;
  FakeSession session(clock, [](int64_t) { return absl::Milliseconds(2); });
  const auto report = MeasureLatency(session, {}, clock, nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_DOUBLE_EQ(report->median_ms, 2);
  EXPECT_DOUBLE_EQ(report->p90_ms, 2);
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
  EXPECT_THAT(report->flags, ElementsAre("UNCONVERGED: only 2 blocks in 5s"));
}

TEST(LatencyMeter, FlagsPreemptionAndSteal) {
  const auto measure = [](FakeInterference& interference) {
    FakeSteadyClock clock;
    FakeSession session(clock, [](int64_t) { return absl::Milliseconds(1); });
    return MeasureLatency(session, {}, clock, &interference)->flags;
  };
  FakeInterference quiet;
  EXPECT_THAT(measure(quiet), IsEmpty());
  quiet.steals = true;
  EXPECT_THAT(measure(quiet), IsEmpty());
  FakeInterference preempted;
  preempted.step = 1;
  EXPECT_THAT(measure(preempted),
              ElementsAre(HasSubstr("NOISY: 30 of 30 blocks were preempted")));
  FakeInterference stolen;
  stolen.steals = true;
  stolen.steal_step = 0.03;  // Of 0.3 s.
  EXPECT_THAT(measure(stolen),
              ElementsAre("NOISY: the hypervisor took 10.0 % of the core"));
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
