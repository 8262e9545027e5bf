#include "agent/device/power/line_meter.h"

#include <fcntl.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas::agent {
namespace {

using ::testing::HasSubstr;

TEST(ParseWatts, TakesANumberWithOrWithoutUnit) {
  EXPECT_DOUBLE_EQ(*ParseWatts("4.27"), 4.27);
  EXPECT_DOUBLE_EQ(*ParseWatts("  4.27 W\r\n"), 4.27);
  EXPECT_DOUBLE_EQ(*ParseWatts("4270 mW"), 4.27);
  EXPECT_DOUBLE_EQ(*ParseWatts("4270000uW"), 4.27);
  EXPECT_DOUBLE_EQ(*ParseWatts("-1.5e-1W"), -0.15);
}

TEST(ParseWatts, RefusesAllElse) {
  for (const std::string& line :
       {std::string(), std::string("W"), std::string("5 V"),
        std::string("5.1V 0.6A"), std::string("nan"), std::string("inf"),
        std::string("1e9"), std::string("power=3"), std::string("4,27"),
        std::string("\0\1\2", 3), std::string(1000, '1')}) {
    EXPECT_FALSE(ParseWatts(line).ok()) << line;
  }
}

TEST(CommandMeter, FollowsACommandThatGoesOn) {
  RealSteadyClock clock;
  const auto meter = OpenCommandMeter(
      "while :; do echo '# volts amperes'; echo; echo 3.5 W; sleep 0.02; done",
      &clock);
  ASSERT_TRUE(meter.ok()) << meter.status();
  EXPECT_EQ((*meter)->info().name, "command");
  EXPECT_TRUE((*meter)->info().paces_itself);
  EXPECT_GE((*meter)->info().interval, absl::Milliseconds(10));
  const absl::Duration before = clock.Now();
  const auto first = (*meter)->Read();
  const auto second = (*meter)->Read();
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_DOUBLE_EQ(*second->power_w, 3.5);
  EXPECT_GT(first->time, before);
  EXPECT_GT(second->time, first->time);
}

TEST(CommandMeter, StartsACommandOfOneValueAgain) {
  RealSteadyClock clock;
  const auto meter = OpenCommandMeter("echo 2500 mW", &clock);
  ASSERT_TRUE(meter.ok()) << meter.status();
  // At most ten times a second.
  EXPECT_GE((*meter)->info().interval, absl::Milliseconds(90));
  EXPECT_DOUBLE_EQ(*(*meter)->Read()->power_w, 2.5);
}

TEST(CommandMeter, SaysWhatIsWrong) {
  RealSteadyClock clock;
  EXPECT_THAT(OpenCommandMeter("exit 3", &clock).status().message(),
              HasSubstr("ended with exit code 3"));
  EXPECT_THAT(OpenCommandMeter("echo hello", &clock).status().message(),
              HasSubstr("says \"hello\": expected watts"));
  EXPECT_THAT(
      OpenCommandMeter("head -c 100000 /dev/zero; echo; sleep 9", &clock)
          .status()
          .message(),
      HasSubstr("expected watts"));
}

// The two ends of a serial line.
class SerialMeterTest : public ::testing::Test {
 protected:
  SerialMeterTest() {
    device_ = posix_openpt(O_RDWR | O_NOCTTY);
    if (device_ >= 0 && grantpt(device_) == 0 && unlockpt(device_) == 0) {
      port_ = ptsname(device_);
    }
  }
  ~SerialMeterTest() override {
    if (device_ >= 0) close(device_);
  }
  int device_ = -1;
  std::string port_;
  RealSteadyClock clock_;
};

TEST_F(SerialMeterTest, ReadsLines) {
  if (port_.empty()) GTEST_SKIP() << "there are no pseudo-terminals here";
  std::atomic<bool> done{false};
  std::thread device([&] {
    while (!done) {
      const char line[] = "5.25\r\n";
      (void)!write(device_, line, sizeof(line) - 1);
      absl::SleepFor(absl::Milliseconds(20));  // The pace of a real device.
    }
  });
  const auto meter = OpenSerialMeter(port_ + "@9600", &clock_);
  EXPECT_TRUE(meter.ok()) << meter.status();
  if (meter.ok()) {
    EXPECT_EQ((*meter)->info().name, "serial");
    const auto reading = (*meter)->Read();
    EXPECT_TRUE(reading.ok()) << reading.status();
    EXPECT_DOUBLE_EQ(reading->power_w.value_or(-1), 5.25);
  }
  done = true;
  device.join();
}

TEST_F(SerialMeterTest, SaysWhatIsWrong) {
  EXPECT_THAT(OpenSerialMeter("/dev/null", &clock_).status().message(),
              HasSubstr("/dev/null is no serial port"));
  EXPECT_THAT(OpenSerialMeter("/dev/no-such-port", &clock_).status().message(),
              HasSubstr("/dev/no-such-port"));
  EXPECT_THAT(OpenSerialMeter("/dev/null@300", &clock_).status().message(),
              HasSubstr("speed \"300\""));
}

}  // namespace
}  // namespace hwnas::agent
