#include "agent/device/power/hwmon_ina.h"

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/agent/device/power/fake_root.h"
#include "tests/fakes/fake_runtime.h"

namespace hwnas::agent {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class HwmonInaTest : public ::testing::Test {
 protected:
  void WriteChip(const std::string& hwmon, const std::string& name,
                 const std::string& place, const std::string& microwatts) {
    const std::string folder = "/sys/class/hwmon/" + hwmon;
    root_.Write(folder + "/name", name + "\n");
    root_.Write(folder + "/power1_input", microwatts + "\n");
    root_.Write(folder + "/in1_input", "5088\n");
    root_.Write(folder + "/curr1_input", "684\n");
    root_.Write("/sys/devices/i2c/" + place + "/name", name);
    std::filesystem::create_symlink(root_.path() + "/sys/devices/i2c/" + place,
                                    root_.path() + folder + "/device");
  }
  absl::StatusOr<std::unique_ptr<PowerSource>> Find(
      const std::string& device = "") {
    return FindHwmonIna(root_.path(), device, &clock_);
  }

  FakeRoot root_;
  FakeSteadyClock clock_;
};

TEST_F(HwmonInaTest, ReadsMicrowatts) {
  root_.Write("/sys/class/hwmon/hwmon0/name", "cpu_thermal\n");
  root_.Write("/sys/class/hwmon/hwmon0/temp1_input", "51000\n");
  WriteChip("hwmon2", "ina219", "1-0040", "3480000");
  const auto source = Find();
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->info().name, "hwmon");
  EXPECT_EQ((*source)->info().includes, "what ina219 at 1-0040 is wired to");
  EXPECT_DOUBLE_EQ(*(*source)->Read()->power_w, 3.48);
  root_.Write("/sys/class/hwmon/hwmon2/power1_input", "x\n");
  EXPECT_FALSE((*source)->Read().ok());
}

TEST_F(HwmonInaTest, FollowsTheChipsOwnPace) {
  WriteChip("hwmon2", "ina226", "1-0040", "3480000");
  root_.Write("/sys/class/hwmon/hwmon2/update_interval", "140\n");
  EXPECT_EQ((*Find())->info().interval, absl::Milliseconds(140));
  EXPECT_EQ((*Find())->info().averaging, absl::Milliseconds(140));
}

TEST_F(HwmonInaTest, DoesNotGuessWhichOfSeveral) {
  WriteChip("hwmon2", "ina219", "1-0040", "3480000");
  WriteChip("hwmon3", "ina226", "1-0041", "120000");
  EXPECT_THAT(Find().status().message(),
              AllOf(HasSubstr("there are 2 power monitors"),
                    HasSubstr("hwmon:1-0040 or hwmon:1-0041")));
  EXPECT_DOUBLE_EQ(*(*Find("1-0041"))->Read()->power_w, 0.12);
  EXPECT_DOUBLE_EQ(*(*Find("hwmon2"))->Read()->power_w, 3.48);
  EXPECT_THAT(Find("1-0042").status().message(), HasSubstr("\"1-0042\""));
}

TEST_F(HwmonInaTest, IsAbsentWithoutAChip) {
  EXPECT_TRUE(absl::IsNotFound(Find().status()));
  root_.Write("/sys/class/hwmon/hwmon0/name", "nvme\n");
  EXPECT_TRUE(absl::IsNotFound(Find().status()));
}

}  // namespace
}  // namespace hwnas::agent
