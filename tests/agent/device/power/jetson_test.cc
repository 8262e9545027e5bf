#include "agent/device/power/jetson.h"

#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/agent/device/power/fake_root.h"
#include "tests/fakes/fake_runtime.h"

namespace hwnas::agent {
namespace {

using ::testing::HasSubstr;

class JetsonTest : public ::testing::Test {
 protected:
  void WriteModel(const std::string& model) {
    root_.Write("/proc/device-tree/model", model + std::string(1, '\0'));
  }
  // JetPack 4.
  void WriteIio(const std::string& device, int channel, const std::string& name,
                int millivolts, int milliamperes) {
    const std::string folder = "/sys/bus/i2c/drivers/ina3221x/" + device;
    const std::string n = std::to_string(channel);
    root_.Write(folder + "/rail_name_" + n, name + "\n");
    root_.Write(folder + "/in_voltage" + n + "_input",
                std::to_string(millivolts) + "\n");
    root_.Write(folder + "/in_current" + n + "_input",
                std::to_string(milliamperes) + "\n");
    root_.Write(folder + "/in_power" + n + "_input",
                std::to_string(millivolts * milliamperes / 1000) + "\n");
  }
  // JetPack 5 and later.
  void WriteHwmon(const std::string& device, int channel,
                  const std::string& label, int millivolts, int milliamperes) {
    const std::string folder = "/sys/bus/i2c/drivers/ina3221/" + device;
    const std::string n = std::to_string(channel);
    root_.Write(folder + "/in" + n + "_label", label + "\n");
    root_.Write(folder + "/in" + n + "_input",
                std::to_string(millivolts) + "\n");
    root_.Write(folder + "/curr" + n + "_input",
                std::to_string(milliamperes) + "\n");
  }
  std::unique_ptr<PowerSource> Find() {
    auto source = FindJetson(root_.path(), &clock_);
    EXPECT_TRUE(source.ok()) << source.status();
    return source.ok() ? *std::move(source) : nullptr;
  }
  static double Watts(PowerSource& source) {
    const auto reading = source.Read();
    EXPECT_TRUE(reading.ok()) << reading.status();
    return reading->power_w.value_or(-1);
  }

  FakeRoot root_;
  FakeSteadyClock clock_;
};

TEST_F(JetsonTest, ReadsANanoWithJetPack4) {
  WriteModel("NVIDIA Jetson Nano Developer Kit");
  WriteIio("6-0040/iio:device0", 0, "POM_5V_IN", 5008, 624);
  WriteIio("6-0040/iio:device0", 1, "POM_5V_GPU", 5008, 48);
  WriteIio("6-0040/iio:device0", 2, "POM_5V_CPU", 5016, 232);
  root_.Write("/sys/bus/i2c/drivers/ina3221x/uevent", "");
  const auto source = Find();
  EXPECT_EQ(source->info().name, "jetson");
  EXPECT_EQ(source->info().includes, "module input, rail POM_5V_IN");
  EXPECT_NEAR(Watts(*source), 5.008 * 0.624, 1e-9);
}

TEST_F(JetsonTest, ReadsTheModuleOfATx2OnItsSecondMonitor) {
  WriteModel("quill jetson tx2");
  WriteIio("0-0040/iio_device", 0, "VDD_SYS_GPU", 19152, 40);
  WriteIio("0-0040/iio_device", 1, "VDD_SYS_SOC", 19152, 40);
  WriteIio("0-0041/iio_device", 0, "VDD_IN", 19160, 174);
  WriteIio("0-0042/iio_device", 0, "VDD_MUX", 19144, 284);
  EXPECT_NEAR(Watts(*Find()), 19.160 * 0.174, 1e-9);
}

TEST_F(JetsonTest, ReadsAnOrinNanoWithJetPack5) {
  WriteModel("NVIDIA Jetson Orin Nano Developer Kit");
  WriteHwmon("1-0040/hwmon/hwmon3", 1, "VDD_IN", 5080, 1016);
  WriteHwmon("1-0040/hwmon/hwmon3", 2, "VDD_CPU_GPU_CV", 5080, 128);
  WriteHwmon("1-0040/hwmon/hwmon3", 3, "VDD_SOC", 5080, 296);
  // A sum of shunt voltages: no rail.
  WriteHwmon("1-0040/hwmon/hwmon3", 7, "sum of shunt voltages", 12, 0);
  const auto source = Find();
  EXPECT_EQ(source->info().includes, "module input, rail VDD_IN");
  EXPECT_NEAR(Watts(*source), 5.080 * 1.016, 1e-9);
}

TEST_F(JetsonTest, AddsTheRailsOfAnAgxOrinOnceEach) {
  WriteModel("Jetson AGX Orin Developer Kit");
  WriteHwmon("1-0040/hwmon/hwmon3", 1, "VDD_GPU_SOC", 843, 6170);
  WriteHwmon("1-0040/hwmon/hwmon3", 2, "VDD_CPU_CV", 780, 3437);
  WriteHwmon("1-0040/hwmon/hwmon3", 3, "VIN_SYS_5V0", 4968, 953);
  WriteHwmon("1-0041/hwmon/hwmon4", 1, "NC", 0, 0);
  // Fed by the rail above.
  WriteHwmon("1-0041/hwmon/hwmon4", 2, "VDDQ_VDD2_1V8AO", 4968, 80);
  WriteHwmon("1-0041/hwmon/hwmon4", 3, "NC", 0, 0);
  const auto source = Find();
  EXPECT_EQ(source->info().includes,
            "sum of rails VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0");
  EXPECT_NEAR(Watts(*source), 0.843 * 6.170 + 0.780 * 3.437 + 4.968 * 0.953,
              1e-9);
}

TEST_F(JetsonTest, PrefersTheInputMonitorOfAThor) {
  WriteModel("NVIDIA Jetson AGX Thor Developer Kit");
  // An offset at rest.
  WriteHwmon("2-0040/hwmon/hwmon4", 1, "VDD_GPU", 784, -500);
  WriteHwmon("2-0040/hwmon/hwmon4", 2, "VDD_CPU_SOC_MSS", 784, 5005);
  WriteHwmon("2-0040/hwmon/hwmon4", 3, "VIN_SYS_5V0", 5016, 1300);
  const auto rails = Find();
  EXPECT_NEAR(Watts(*rails), -0.392 + 0.784 * 5.005 + 5.016 * 1.3, 1e-9);
  root_.Write("/sys/bus/i2c/drivers/ina238/2-0044/hwmon/hwmon5/power1_input",
              "23400000\n");
  const auto input = Find();
  EXPECT_EQ(input->info().includes, "module input, rail VIN");
  EXPECT_NEAR(Watts(*input), 23.4, 1e-9);
}

TEST_F(JetsonTest, IsNotTakenForGranted) {
  EXPECT_FALSE(FindJetson(root_.path(), &clock_).ok());
  WriteModel("Raspberry Pi 5 Model B Rev 1.0");
  WriteHwmon("1-0040/hwmon/hwmon3", 1, "VDD_IN", 5080, 1016);
  EXPECT_EQ(FindJetson(root_.path(), &clock_).status().message(),
            "this is no Jetson board");
  root_.Remove("/sys");
  WriteModel("NVIDIA Jetson Nano 2GB Developer Kit");  // Without a monitor.
  EXPECT_THAT(FindJetson(root_.path(), &clock_).status().message(),
              HasSubstr("no power monitor with a rail in use"));
  WriteHwmon("1-0040/hwmon/hwmon3", 1, "NC", 0, 0);
  EXPECT_FALSE(FindJetson(root_.path(), &clock_).ok());
}

TEST_F(JetsonTest, ASensorThatFailsIsAnError) {
  WriteModel("NVIDIA Jetson Orin Nano Developer Kit");
  WriteHwmon("1-0040/hwmon/hwmon3", 1, "VDD_IN", 5080, 1016);
  const auto source = Find();
  root_.Write("/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr1_input",
              "1016 mA and more\n");
  EXPECT_THAT(source->Read().status().message(),
              HasSubstr("says \"1016 mA and more\""));
  root_.Remove("/sys");
  EXPECT_FALSE(source->Read().ok());
}

}  // namespace
}  // namespace hwnas::agent
