#include "agent/device/power/probe.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/agent/device/power/fake_commands.h"
#include "tests/agent/device/power/fake_root.h"
#include "tests/fakes/fake_runtime.h"

namespace hwnas::agent {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ProbeTest : public ::testing::Test {
 protected:
  ProbeTest() {
    options_.root = root_.path();
    options_.commands = &commands_;
    options_.clock = &clock_;
    options_.nvml_library = "libno-such-library.so.1";
  }
  void WriteRapl() {
    const std::string folder = "/sys/class/powercap/intel-rapl:0";
    root_.Write(folder + "/name", "package-0\n");
    root_.Write(folder + "/max_energy_range_uj", "262143328850\n");
    root_.Write(folder + "/energy_uj", "1234567\n");
  }
  void WriteIna(const std::string& microwatts) {
    root_.Write("/sys/class/hwmon/hwmon1/name", "ina226\n");
    root_.Write("/sys/class/hwmon/hwmon1/power1_input", microwatts);
  }
  std::string Chosen(const std::string& choice) {
    const auto probe = ChoosePowerSource(choice, options_);
    if (!probe.ok()) return std::string(probe.status().message());
    return probe->source == nullptr ? "" : probe->source->info().name;
  }

  FakeRoot root_;
  FakeCommands commands_;
  FakeSteadyClock clock_;
  PowerProbeOptions options_;
};

TEST_F(ProbeTest, ABareMachineHasNoneAndSaysWhy) {
  const auto probe = ChoosePowerSource("auto", options_);
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_EQ(probe->source, nullptr);
  EXPECT_THAT(probe->why_none,
              AllOf(HasSubstr("jetson: this is no Jetson board"),
                    HasSubstr("pmic: this is no Raspberry Pi"),
                    HasSubstr("hwmon: "), HasSubstr("rapl: ")));
  EXPECT_EQ(ProbePowerSources(options_).absent.size(), 4);
}

TEST_F(ProbeTest, AutoPrefersTheWholeBoard) {
  WriteRapl();
  EXPECT_EQ(Chosen("auto"), "rapl");
  WriteIna("2500000");
  EXPECT_EQ(Chosen("auto"), "hwmon");
  root_.Write("/proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0");
  commands_.answers["vcgencmd pmic_read_adc"] =
      "VDD_CORE_A current(7)=1.5A\nVDD_CORE_V volt(15)=0.8V\n";
  EXPECT_EQ(Chosen("auto"), "pmic");
  EXPECT_EQ(Chosen("rapl"), "rapl");
  EXPECT_EQ(Chosen("none"), "");
  EXPECT_EQ(ProbePowerSources(options_).found.size(), 3);
}

TEST_F(ProbeTest, ASensorThatReadsNothingIsNone) {
  WriteIna("0\n");
  EXPECT_THAT(Chosen("hwmon"), HasSubstr("hwmon tells 0 W"));
  WriteIna("-2500000\n");  // Wired the wrong way round.
  EXPECT_THAT(Chosen("hwmon"), HasSubstr("-2.5 W"));
  WriteIna("\n");
  EXPECT_EQ(Chosen("auto"), "");
  WriteRapl();
  EXPECT_EQ(Chosen("auto"), "rapl");
}

TEST_F(ProbeTest, WhatIsAskedForMustBeThere) {
  EXPECT_THAT(Chosen("rapl"), HasSubstr("--power=rapl: "));
  EXPECT_TRUE(
      absl::IsFailedPrecondition(ChoosePowerSource("rapl", options_).status()));
  EXPECT_THAT(Chosen("nvml"), HasSubstr("cannot be loaded"));
  EXPECT_THAT(Chosen("hwmon:1-0040"), HasSubstr("\"1-0040\""));
  EXPECT_THAT(Chosen("serial:/dev/null"), HasSubstr("no serial port"));
}

TEST_F(ProbeTest, RefusesUnknownWords) {
  for (const char* choice : {"", "rappel", "command:", "serial:", "auto "}) {
    const auto probe = ChoosePowerSource(choice, options_);
    EXPECT_TRUE(absl::IsInvalidArgument(probe.status())) << choice;
    EXPECT_THAT(probe.status().message(),
                HasSubstr("expected auto, none, jetson"));
  }
}

}  // namespace
}  // namespace hwnas::agent
