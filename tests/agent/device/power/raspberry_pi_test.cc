#include "agent/device/power/raspberry_pi.h"

#include <map>
#include <memory>

#include "absl/strings/str_join.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/agent/device/power/fake_commands.h"
#include "tests/agent/device/power/fake_root.h"
#include "tests/fakes/fake_runtime.h"

namespace hwnas::agent {
namespace {

using ::testing::HasSubstr;

// As a Raspberry Pi 5 prints it.
constexpr char kPmic[] = R"( 3V7_WL_SW_A current(0)=0.00195186A
   3V3_SYS_A current(1)=0.12687090A
   1V8_SYS_A current(2)=0.18835450A
  DDR_VDD2_A current(3)=0.02147046A
  DDR_VDDQ_A current(4)=0.00000000A
   1V1_SYS_A current(5)=0.17957110A
    0V8_SW_A current(6)=0.25959740A
  VDD_CORE_A current(7)=0.56259000A
   3V3_DAC_A current(17)=0.00000000A
   3V3_ADC_A current(18)=0.00000000A
   0V8_AON_A current(16)=0.00293040A
      HDMI_A current(22)=0.02551890A
 3V7_WL_SW_V volt(8)=3.70720000V
   3V3_SYS_V volt(9)=3.32580900V
   1V8_SYS_V volt(10)=1.80415000V
  DDR_VDD2_V volt(11)=1.11135400V
  DDR_VDDQ_V volt(12)=0.60329610V
   1V1_SYS_V volt(13)=1.11282000V
    0V8_SW_V volt(14)=0.80512740V
  VDD_CORE_V volt(15)=0.76798460V
   3V3_DAC_V volt(20)=3.31318300V
   3V3_ADC_V volt(21)=3.30677300V
   0V8_AON_V volt(19)=0.80029220V
      HDMI_V volt(23)=5.13896000V
     EXT5V_V volt(24)=5.09066000V
      BATT_V volt(25)=0.00000000V
)";
constexpr double kPmicWatts =
    0.00195186 * 3.7072 + 0.1268709 * 3.325809 + 0.1883545 * 1.80415 +
    0.02147046 * 1.111354 + 0.1795711 * 1.11282 + 0.2595974 * 0.8051274 +
    0.56259 * 0.7679846 + 0.0029304 * 0.8002922 + 0.0255189 * 5.13896;

TEST(ParsePmicWatts, AddsRailsWithCurrentAndVoltage) {
  EXPECT_NEAR(*ParsePmicWatts(kPmic), kPmicWatts, 1e-9);
}

TEST(ParsePmicWatts, ReadsTheShortFormAsWell) {
  EXPECT_NEAR(*ParsePmicWatts("VDD_CORE_A=2.00000000A\nEXT5V_V=5.1V\n"
                              "VDD_CORE_V=0.75000000V\r\n3V3_SYS_A=1A\n"),
              1.5, 1e-9);
}

TEST(ParsePmicWatts, RefusesWhatIsNoReading) {
  for (const char* text :
       {"", "error=1 error_msg=\"Command not registered\"", "EXT5V_V=5.1V",
        "VDD_CORE_A current(7)=nanA\nVDD_CORE_V volt(15)=0.8V",
        "VDD_CORE_A current(7)=-1A\nVDD_CORE_V volt(15)=0.8V",
        "VDD_CORE_A current(7)=1\nVDD_CORE_V volt(15)=0.8V",
        "VDD_CORE_A current(7)=1e300A\nVDD_CORE_V volt(15)=0.8V",
        // A chip that is not read: not a board that takes nothing.
        "VDD_CORE_A current(7)=0.00000000A\nVDD_CORE_V volt(15)=0.8V"}) {
    EXPECT_FALSE(ParsePmicWatts(text).ok()) << text;
  }
}

TEST(ParsePmicWatts, SurvivesDamagedText) {
  Rng rng(1);
  for (int i = 0; i < 2000; ++i) {
    std::string text = kPmic;
    for (int k = 0; k < 5; ++k) {
      text[rng.Below(text.size())] = static_cast<char>(rng.Below(256));
    }
    const auto watts = ParsePmicWatts(text.substr(rng.Below(text.size())));
    EXPECT_GT(watts.value_or(1), 0);
  }
}

TEST(RaspberryPiPmic, IsFoundWhereTheFirmwareAnswers) {
  FakeRoot root;
  FakeCommands commands;
  FakeSteadyClock clock;
  commands.answers["vcgencmd pmic_read_adc"] = kPmic;
  EXPECT_THAT(
      FindRaspberryPiPmic(root.path(), &commands, &clock).status().message(),
      HasSubstr("no Raspberry Pi"));
  EXPECT_EQ(commands.count, 0);
  root.Write("/proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0");
  const auto source = FindRaspberryPiPmic(root.path(), &commands, &clock);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->info().name, "pmic");
  const auto reading = (*source)->Read();
  EXPECT_NEAR(*reading->power_w, kPmicWatts, 1e-9);
  EXPECT_EQ(reading->time, clock.Now());
  // A board before the fifth.
  commands.answers["vcgencmd pmic_read_adc"] =
      "error=1 error_msg=\"Command not registered\"\n";
  EXPECT_THAT(
      FindRaspberryPiPmic(root.path(), &commands, &clock).status().message(),
      HasSubstr("no power readings"));
  commands.answers.clear();
  EXPECT_FALSE((*source)->Read().ok());
}

TEST(Throttled, ReadsBits) {
  EXPECT_EQ(*ParseThrottled("throttled=0x0\n"), 0);
  EXPECT_EQ(*ParseThrottled("throttled=0x50005"), 0x50005);
  for (const char* text : {"", "throttled=", "throttled=0x", "throttled=50005",
                           "throttled=0xg", "throttled=0x123456789"}) {
    EXPECT_FALSE(ParseThrottled(text).ok()) << text;
  }
}

TEST(Throttled, TellsWhatHappenedBetweenTwoReadings) {
  EXPECT_EQ(ThrottledBetween(0, 0), "");
  EXPECT_EQ(ThrottledBetween(0, 0x50005), "under-voltage, throttled");
  EXPECT_EQ(ThrottledBetween(0x2, 0x20000), "frequency capped");
  // It happened in between, and is over.
  EXPECT_EQ(ThrottledBetween(0, 0x80000), "soft temperature limit");
  // It happened before.
  EXPECT_EQ(ThrottledBetween(0x50000, 0x50000), "");
  EXPECT_EQ(ThrottledBetween(0x50000, 0x70000), "frequency capped");
}

TEST(ThrottleSensor, IsThereOnlyIfItAnswers) {
  FakeRoot root;
  FakeCommands commands;
  commands.answers["vcgencmd get_throttled"] = "throttled=0x20002\n";
  EXPECT_EQ(ThrottleSensor::Find(root.path(), &commands), nullptr);
  root.Write("/proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4");
  const auto sensor = ThrottleSensor::Find(root.path(), &commands);
  ASSERT_NE(sensor, nullptr);
  EXPECT_EQ(sensor->Read(), 0x20002);
  commands.answers.clear();
  EXPECT_EQ(sensor->Read(), std::nullopt);
  EXPECT_EQ(ThrottleSensor::Find(root.path(), &commands), nullptr);
}

}  // namespace
}  // namespace hwnas::agent
