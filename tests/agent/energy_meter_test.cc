#include "agent/measure/energy_meter.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_power.h"
#include "tests/fakes/fake_runtime.h"

namespace hwnas::agent {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// 4 ms of 6 W an inference on a board that takes 2 W at rest. The session tells
// the trace when it works.
class EnergyMeterTest : public ::testing::Test {
 protected:
  class WorkingSession final : public Session {
   public:
    explicit WorkingSession(EnergyMeterTest* test) : test_(*test) {}
    absl::Status Run() override {
      if (++count == fail_at) return absl::InternalError("the fake fails");
      if (test_.busy_.empty() || test_.busy_.back().end != test_.clock_.Now()) {
        test_.busy_.push_back({test_.clock_.Now(), test_.clock_.Now()});
      }
      test_.clock_.Advance(test_.inference_);
      test_.busy_.back().end = test_.clock_.Now();
      return absl::OkStatus();
    }
    int count = 0;
    int fail_at = -1;

   private:
    EnergyMeterTest& test_;
  };

  double Watts(absl::Duration t) const {
    for (const TimeWindow& window : busy_) {
      if (t >= window.begin && t <= window.end) return 6 + Drift(t);
    }
    return 2 + Drift(t);
  }
  double Drift(absl::Duration t) const {
    return drift_w_per_s_ * absl::ToDoubleSeconds(t - start_);
  }
  absl::StatusOr<EnergyReport> Measure(const FrequencyReader& mhz = nullptr) {
    return MeasureEnergy(session_, recorder_, options_, clock_, hooks_, mhz);
  }

  FakeSteadyClock clock_;
  const absl::Duration start_ = clock_.Now();
  absl::Duration inference_ = absl::Milliseconds(4);
  double drift_w_per_s_ = 0;
  std::vector<TimeWindow> busy_;
  WorkingSession session_{this};
  FakePowerRecorder recorder_{&clock_,
                              [this](absl::Duration t) { return Watts(t); }};
  EnergyMeterOptions options_ = {.inferences_per_block = 3};
  LatencyHooks hooks_;
};

TEST_F(EnergyMeterTest, SubtractsWhatTheIdleBoardTakes) {
  for (const int phase_us : {0, 1, 2500, 5000, 9999}) {
    recorder_.phase = absl::Microseconds(phase_us);
    const auto report = Measure();
    ASSERT_TRUE(report.ok()) << report.status();
    ASSERT_TRUE(report->net_mj) << report->why_none;
    EXPECT_NEAR(*report->net_mj, 4.0 * 4, 0.016);  // 0.1 %.
    EXPECT_NEAR(*report->gross_mj, 6.0 * 4, 0.024);
    EXPECT_NEAR(*report->power_w, 6, 0.006);
    EXPECT_NEAR(*report->idle_before_w, 2, 0.002);
    EXPECT_NEAR(*report->idle_after_w, 2, 0.002);
    EXPECT_NEAR(*report->net_mad_mj, 0, 1e-6);
    EXPECT_GE(report->active_time, absl::Seconds(2));
    EXPECT_EQ(report->inference_count % 3, 0);
    EXPECT_NEAR(static_cast<double>(report->inference_count), 500, 3);
    EXPECT_NEAR(static_cast<double>(report->reading_count), 200, 2);
    EXPECT_DOUBLE_EQ(report->coverage, 1);
    EXPECT_THAT(report->flags, IsEmpty());
  }
}

TEST_F(EnergyMeterTest, ASlowDriftCancelsAndIsFlagged) {
  drift_w_per_s_ = 0.2;
  const auto report = Measure();
  ASSERT_TRUE(report->net_mj) << report->why_none;
  // Idle before and after lie on both sides of the inferences.
  EXPECT_NEAR(*report->net_mj, 16, 0.3);
  EXPECT_THAT(report->flags, ElementsAre(AllOf(StartsWith("IDLE_DRIFT: "),
                                               HasSubstr("W idle before"))));
}

TEST_F(EnergyMeterTest, FlagsOtherClocksWhenIdle) {
  const auto report = Measure([&]() -> std::optional<double> {
    return busy_.empty() || busy_.back().end != clock_.Now() ? 600 : 2400;
  });
  EXPECT_THAT(report->flags,
              ElementsAre("IDLE_CLOCKS: 600 MHz idle, 2400 MHz with "
                          "inferences"));
  busy_.clear();
  EXPECT_THAT(Measure([] { return 1800.0; })->flags, IsEmpty());
}

TEST_F(EnergyMeterTest, HasNoValueWithoutCoverage) {
  // A tenth of the time while inferences run.
  recorder_.lost = [&](absl::Duration t) {
    return absl::ToInt64Milliseconds(t - start_) % 1000 < 100;
  };
  recorder_.failed_count = 40;
  recorder_.last_error = "the bus is busy";
  const auto report = Measure();
  ASSERT_TRUE(report.ok());
  EXPECT_FALSE(report->net_mj);
  EXPECT_FALSE(report->gross_mj);
  EXPECT_LT(report->coverage, 0.95);
  EXPECT_THAT(report->why_none,
              AllOf(HasSubstr("during the inferences: power readings cover "),
                    HasSubstr("expected 95 %"),
                    HasSubstr("(40 failed; last: the bus is busy)")));
}

TEST_F(EnergyMeterTest, HasAGrossValueThoughTheIdlePowerIsNotKnown) {
  recorder_.lost = [&](absl::Duration t) {
    return t < start_ + absl::Milliseconds(1000);
  };
  const auto report = Measure();
  EXPECT_FALSE(report->net_mj);
  EXPECT_NEAR(*report->gross_mj, 24, 0.024);
  EXPECT_THAT(report->why_none, HasSubstr("idle before them: "));
}

TEST_F(EnergyMeterTest, DoesNotReportLessThanNothing) {
  FakePowerRecorder steady(&clock_, [](absl::Duration) { return 3.0; });
  const auto report = MeasureEnergy(session_, steady, options_, clock_, hooks_);
  EXPECT_FALSE(report->net_mj);
  EXPECT_NEAR(*report->gross_mj, 12, 1e-6);
  EXPECT_THAT(report->why_none,
              HasSubstr("the inferences do not show: 3.000 W with them"));
  FakePowerRecorder silent(&clock_, [](absl::Duration) { return 0.0; });
  EXPECT_FALSE(MeasureEnergy(session_, silent, options_, clock_)->gross_mj);
}

TEST_F(EnergyMeterTest, HasNoNetValueWithinTheDriftOfTheIdlePower) {
  drift_w_per_s_ = 2;
  const auto report = Measure();
  EXPECT_FALSE(report->net_mj);
  EXPECT_TRUE(report->gross_mj);
  EXPECT_THAT(report->why_none, HasSubstr("do not show"));
}

TEST_F(EnergyMeterTest, GivesASlowSourceMoreTime) {
  recorder_.info_.interval = absl::Seconds(1);
  const auto report = Measure();
  ASSERT_TRUE(report->net_mj) << report->why_none;
  EXPECT_GE(report->active_time, absl::Seconds(20));
  EXPECT_NEAR(*report->net_mj, 16, 0.016);
  EXPECT_FALSE(report->net_mad_mj);
}

TEST_F(EnergyMeterTest, MeasuresAnInferenceLongerThanTheWindow) {
  inference_ = absl::Seconds(7);
  options_.inferences_per_block = 1;
  const auto report = Measure();
  EXPECT_EQ(report->inference_count, 1);
  EXPECT_NEAR(*report->net_mj, 4.0 * 7000, 28);
}

TEST_F(EnergyMeterTest, EndsWithTheErrorOfAnInference) {
  session_.fail_at = 100;
  EXPECT_EQ(Measure().status(), absl::InternalError("the fake fails"));
}

TEST_F(EnergyMeterTest, StopsSoonWhenCancelled) {
  std::vector<std::string> notes;
  hooks_.progress = [&](const std::string& note) { notes.push_back(note); };
  hooks_.cancelled = [&] { return clock_.Now() > start_ + absl::Seconds(1); };
  EXPECT_TRUE(absl::IsCancelled(Measure().status()));
  EXPECT_LT(clock_.Now(), start_ + absl::Seconds(1.2));
  EXPECT_THAT(notes, ElementsAre("measuring energy: idle"));
}

}  // namespace
}  // namespace hwnas::agent
