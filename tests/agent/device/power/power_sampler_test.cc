#include "agent/device/power/power_sampler.h"

#include <functional>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas::agent {
namespace {

// Safe to share with the sampler's thread; moves on a little at each look.
class TickingClock final : public SteadyClock {
 public:
  absl::Duration Now() override {
    MutexLock lock(&mutex_);
    return now_ += absl::Microseconds(1);
  }
  void SleepFor(absl::Duration duration) override {
    MutexLock lock(&mutex_);
    now_ += duration;
  }

 private:
  Mutex mutex_;
  absl::Duration now_ ABSL_GUARDED_BY(mutex_) = absl::Seconds(1000);
};

// Gives 1 W, 2 W, ... stamped by the clock; every `fail_each`-th read fails.
class CountingSource final : public PowerSource {
 public:
  CountingSource(SteadyClock* clock, PowerSourceInfo info, int fail_each = 0)
      : clock_(clock), info_(std::move(info)), fail_each_(fail_each) {}

  const PowerSourceInfo& info() const override { return info_; }
  absl::StatusOr<PowerReading> Read() override {
    MutexLock lock(&mutex_);
    ++count_;
    changed_.SignalAll();
    if (fail_each_ > 0 && count_ % fail_each_ == 0) {
      return absl::UnavailableError("the bus is busy");
    }
    return PowerReading{.time = clock_->Now(),
                        .power_w = static_cast<double>(count_)};
  }
  // Waits for so many reads to have begun since the source was made: a count of
  // further ones would miss those that began before the caller looked.
  void AwaitReads(int count) {
    MutexLock lock(&mutex_);
    while (count_ < count) changed_.Wait(&mutex_);
  }
  int count() {
    MutexLock lock(&mutex_);
    return count_;
  }

 private:
  SteadyClock* const clock_;
  const PowerSourceInfo info_;
  const int fail_each_;
  Mutex mutex_;
  CondVar changed_;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
};

PowerSourceInfo Fast() {
  return {.name = "fake", .interval = absl::Nanoseconds(1)};
}

TEST(PowerSampler, ReadsOnlyWhileItRecords) {
  TickingClock clock;
  auto owned = std::make_unique<CountingSource>(&clock, Fast());
  CountingSource& source = *owned;
  PowerSampler sampler(std::move(owned), &clock);
  EXPECT_EQ(sampler.info().name, "fake");
  EXPECT_EQ(source.count(), 0);
  const absl::Duration begin = clock.Now();
  sampler.Start();
  source.AwaitReads(20);
  const PowerRecord record = sampler.Stop();
  // The last read may still be in hand.
  ASSERT_GE(record.readings.size(), 19);
  EXPECT_GT(record.readings.front().time, begin);
  EXPECT_LT(record.readings.back().time, clock.Now());
  for (size_t i = 1; i < record.readings.size(); ++i) {
    EXPECT_GT(record.readings[i].time, record.readings[i - 1].time);
    EXPECT_EQ(*record.readings[i].power_w, *record.readings[i - 1].power_w + 1);
  }
  EXPECT_EQ(record.failed_count, 0);
  EXPECT_TRUE(sampler.Stop().readings.empty());
}

TEST(PowerSampler, BeginsAnewEachTime) {
  TickingClock clock;
  auto owned = std::make_unique<CountingSource>(&clock, Fast());
  CountingSource& source = *owned;
  PowerSampler sampler(std::move(owned), &clock);
  sampler.Start();
  source.AwaitReads(3);
  const PowerRecord first = sampler.Stop();
  const absl::Duration between = clock.Now();
  sampler.Start();
  source.AwaitReads(source.count() + 5);
  const PowerRecord second = sampler.Stop();
  ASSERT_FALSE(second.readings.empty());
  EXPECT_GT(*second.readings.front().power_w, *first.readings.back().power_w);
  EXPECT_GT(second.readings.back().time, between);
}

TEST(PowerSampler, CountsFailuresAndGoesOn) {
  TickingClock clock;
  auto owned = std::make_unique<CountingSource>(&clock, Fast(), 2);
  CountingSource& source = *owned;
  PowerSampler sampler(std::move(owned), &clock);
  sampler.Start();
  source.AwaitReads(11);
  const PowerRecord record = sampler.Stop();
  EXPECT_GE(record.failed_count, 5);
  EXPECT_GE(record.readings.size(), 5);
  EXPECT_EQ(record.last_error, "the bus is busy");
}

TEST(PowerSampler, DoesNotWaitForASourceWithAPaceOfItsOwn) {
  TickingClock clock;
  auto owned = std::make_unique<CountingSource>(
      &clock,
      PowerSourceInfo{
          .name = "fake", .interval = absl::Hours(1), .paces_itself = true});
  CountingSource& source = *owned;
  PowerSampler sampler(std::move(owned), &clock);
  sampler.Start();
  source.AwaitReads(10);
  EXPECT_GE(sampler.Stop().readings.size(), 9);
}

TEST(PowerSampler, EndsAtOnceInTheMiddleOfAnInterval) {
  TickingClock clock;
  auto owned = std::make_unique<CountingSource>(
      &clock, PowerSourceInfo{.name = "fake", .interval = absl::Hours(1)});
  CountingSource& source = *owned;
  {
    PowerSampler sampler(std::move(owned), &clock);
    EXPECT_EQ(sampler.max_gap(), absl::Minutes(150));
    sampler.Start();
    source.AwaitReads(1);
  }
}

}  // namespace
}  // namespace hwnas::agent
