#include "agent/measure/preflight.h"

#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_root.h"
#include "tests/fakes/fake_runtime.h"

namespace hwnas::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A machine of two cores whose processes use `busy_cores` of them.
class PreflightTest : public FakeRootTest {
 protected:
  class WorkingClock final : public SteadyClock {
   public:
    explicit WorkingClock(PreflightTest* test) : test_(test) {}
    absl::Duration Now() override { return clock_.Now(); }
    void SleepFor(absl::Duration duration) override {
      clock_.Advance(duration);
      test_->Work(duration);
    }

   private:
    FakeSteadyClock clock_;
    PreflightTest* const test_;
  };

  PreflightTest() : clock_(this) {
    options_.root = root_;
    Work(absl::ZeroDuration());
  }
  void Work(absl::Duration duration) {
    busy_seconds_ += busy_cores * absl::ToDoubleSeconds(duration);
    const auto ticks = static_cast<int64_t>(
        busy_seconds_ * static_cast<double>(sysconf(_SC_CLK_TCK)) / 2);
    const std::string core =
        " " + std::to_string(1000 + ticks) + " 0 0 5000 0 0 0 0 0 0\n";
    Write("/proc/stat",
          "cpu  1 1 1 1 1 1 1 1 1 1\ncpu0" + core + "cpu1" + core + "intr 1\n");
    if (on_work) on_work();
  }
  absl::StatusOr<std::vector<std::string>> Look() {
    return Preflight(options_, clock_, hooks_);
  }

  double busy_cores = 0;
  std::function<void()> on_work;
  PreflightOptions options_;
  LatencyHooks hooks_;
  WorkingClock clock_;

 private:
  double busy_seconds_ = 0;
};

TEST_F(PreflightTest, AnIdleMachineIsMeasuredAtOnce) {
  const absl::Duration begin = clock_.Now();
  EXPECT_THAT(*Look(), IsEmpty());
  EXPECT_EQ(clock_.Now() - begin, absl::Milliseconds(100));
}

TEST_F(PreflightTest, WaitsForTheMachineToBecomeIdle) {
  busy_cores = 2;
  const absl::Duration begin = clock_.Now();
  std::string note;
  hooks_.progress = [&](const std::string& text) { note = text; };
  on_work = [&] {
    if (clock_.Now() - begin >= absl::Seconds(3)) busy_cores = 0.1;
  };
  EXPECT_THAT(*Look(), IsEmpty());
  EXPECT_GE(clock_.Now() - begin, absl::Seconds(3));
  EXPECT_LE(clock_.Now() - begin, absl::Seconds(4));
  EXPECT_THAT(note, HasSubstr("waiting for the machine: load: 2.0 of 2"));
}

TEST_F(PreflightTest, GoesOnAfterAWhileAndSaysSo) {
  busy_cores = 2;
  Write("/proc/loadavg", "3.10 2.00 1.00 3/200 4711\n");
  const absl::Duration begin = clock_.Now();
  EXPECT_THAT(*Look(), ElementsAre("NOISY: load: 2.0 of 2 cores were busy just "
                                   "before (load average 3.10)"));
  EXPECT_EQ(clock_.Now() - begin, absl::Seconds(10));
  options_.wait = absl::ZeroDuration();
  EXPECT_THAT(*Look(), ElementsAre(HasSubstr("NOISY: load")));
}

TEST_F(PreflightTest, WaitsForTheMachineToCoolDown) {
  Write("/sys/class/thermal/thermal_zone0/temp", "82000\n");
  EXPECT_THAT(
      *Look(),
      ElementsAre("NOISY: temperature: 82.0 C just before, more than 75 C"));
  on_work = [&] { Write("/sys/class/thermal/thermal_zone0/temp", "60000\n"); };
  EXPECT_THAT(*Look(), IsEmpty());
}

TEST_F(PreflightTest, WaitsWhileTheBoardIsThrottled) {
  uint32_t bits = 0x50005;
  options_.throttled = [&]() -> std::optional<uint32_t> { return bits; };
  EXPECT_THAT(*Look(), ElementsAre("NOISY: throttled just before: "
                                   "under-voltage, throttled"));
  bits = 0x50000;  // It is over.
  EXPECT_THAT(*Look(), IsEmpty());
}

TEST_F(PreflightTest, SaysNothingOfWhatItCannotSee) {
  options_.root = root_ + "/nowhere";
  EXPECT_THAT(*Look(), IsEmpty());
}

TEST_F(PreflightTest, CanBeCancelled) {
  busy_cores = 2;
  const absl::Duration begin = clock_.Now();
  hooks_.cancelled = [&] { return clock_.Now() - begin > absl::Seconds(1); };
  EXPECT_TRUE(absl::IsCancelled(Look().status()));
  EXPECT_LT(clock_.Now() - begin, absl::Seconds(2));
}

}  // namespace
}  // namespace hwnas::agent
