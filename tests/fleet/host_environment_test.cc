#include "fleet/host_environment.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "gtest/gtest.h"

namespace hwnas::fleet {
namespace {

class HostEnvironmentTest : public ::testing::Test {
 protected:
  HostEnvironmentTest()
      : root_(::testing::TempDir() + "/host_environment." +
              std::to_string(getpid())) {
    std::filesystem::remove_all(root_);
  }
  ~HostEnvironmentTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& contents) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << contents;
  }

  const std::string root_;
};

TEST_F(HostEnvironmentTest, LeavesUnsetWhatItCannotRead) {
  const v1::Environment environment = HostEnvironment(root_).Read();
  EXPECT_EQ(environment.cpu_model(), "");
  EXPECT_EQ(environment.cpu_governor(), "");
  EXPECT_FALSE(environment.has_cpu_frequency_mhz());
  EXPECT_FALSE(environment.has_load_average());
  EXPECT_FALSE(environment.has_temperature_c());
  EXPECT_NE(environment.host(), "");
  EXPECT_GE(environment.logical_cores(), 1);
  EXPECT_NE(environment.hwnas_version(), "");
}

TEST_F(HostEnvironmentTest, ReadsAnX86Machine) {
  Write("/proc/cpuinfo",
        "processor\t: 0\nmodel name\t: Fast CPU @ 3.00GHz\ncpu MHz : 2999\n"
        "\nprocessor\t: 1\nmodel name\t: Other\n");
  Write("/proc/loadavg", "1.25 0.50 0.10 1/100 1234\n");
  const std::string cpu1 = "/sys/devices/system/cpu/cpu1/cpufreq/";
  Write(cpu1 + "scaling_governor", "performance\n");
  Write(cpu1 + "scaling_cur_freq", "2400000\n");
  Write("/sys/class/thermal/thermal_zone0/temp", "41000\n");
  Write("/sys/class/thermal/thermal_zone1/temp", "-274000\n");
  Write("/sys/class/thermal/cooling_device0/temp", "99000\n");
  Write("/sys/class/hwmon/hwmon0/temp1_input", "56500\n");
  Write("/sys/class/hwmon/hwmon0/temp2_input", "not a number\n");
  Write("/etc/os-release", "NAME=x\nPRETTY_NAME=\"Some Linux 12\"\n");
  const HostEnvironment host(root_);
  const v1::Environment environment = host.Read(1);
  EXPECT_EQ(environment.cpu_model(), "Fast CPU @ 3.00GHz");
  EXPECT_EQ(environment.cpu_governor(), "performance");
  EXPECT_EQ(environment.cpu_frequency_mhz(), 2400);
  EXPECT_EQ(environment.load_average(), 1.25);
  EXPECT_EQ(environment.temperature_c(), 56.5);
  EXPECT_EQ(environment.os().rfind("Some Linux 12, ", 0), 0);
  EXPECT_FALSE(host.Read(0).has_cpu_frequency_mhz());
}

TEST_F(HostEnvironmentTest, NamesAnArmBoard) {
  Write("/proc/cpuinfo",
        "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n");
  EXPECT_EQ(HostEnvironment(root_).Read().cpu_model(),
            "implementer 0x41 part 0xd0b");
  Write("/proc/device-tree/model",
        std::string("Raspberry Pi 5 Model B Rev 1.0\0", 31));
  EXPECT_EQ(HostEnvironment(root_).Read().cpu_model(),
            "Raspberry Pi 5 Model B Rev 1.0");
}

TEST_F(HostEnvironmentTest, IdentifiesTheMachineByItsBoot) {
  const HostEnvironment host(root_);
  EXPECT_EQ(host.HostId().rfind("host-", 0), 0);
  Write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
  EXPECT_EQ(host.HostId(), "machine-0123456789abcdef0123456789abcdef");
  Write("/proc/sys/kernel/random/boot_id",
        "AAAAAAAA-bbbb-cccc-dddd-eeeeeeeeeeee\n");
  EXPECT_EQ(host.HostId(), "boot-aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee");
  EXPECT_TRUE(IsExecutorId(host.HostId()));
}

TEST(HostEnvironment, LabelsTheRealMachine) {
  EXPECT_TRUE(IsExecutorId(HostEnvironment().HostLabel()));
}

TEST(IsExecutorId, AcceptsOnlyShortPlainNames) {
  EXPECT_TRUE(IsExecutorId("pi-7"));
  EXPECT_TRUE(IsExecutorId(std::string(63, 'a')));
  EXPECT_FALSE(IsExecutorId(std::string(64, 'a')));
  EXPECT_FALSE(IsExecutorId(""));
  EXPECT_FALSE(IsExecutorId("Pi"));
  EXPECT_FALSE(IsExecutorId("a/b"));
}

}  // namespace
}  // namespace hwnas::fleet
