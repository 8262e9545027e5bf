#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

#include "agent/device/cores.h"
#include "agent/device/device_class.h"
#include "agent/device/interference.h"
#include "agent/device/process_memory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class FakeRootTest : public ::testing::Test {
 protected:
  FakeRootTest()
      : root_(::testing::TempDir() + "/device_test." +
              std::to_string(getpid())) {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
  }
  ~FakeRootTest() override { std::filesystem::remove_all(root_); }
  void Write(const std::string& path, const std::string& contents) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << contents;
  }
  void WriteCore(int core, const std::string& file, const std::string& value) {
    Write("/sys/devices/system/cpu/cpu" + std::to_string(core) + "/" + file,
          value);
  }
  const std::string root_;
};

using ChooseCoresTest = FakeRootTest;

TEST_F(ChooseCoresTest, TakesTheLastWhenAllAreEqual) {
  EXPECT_THAT(ChooseCores({0, 1, 2, 3}, 1, root_), ElementsAre(3));
  EXPECT_THAT(ChooseCores({0, 1, 2, 3}, 2, root_), ElementsAre(2, 3));
  EXPECT_THAT(ChooseCores({0, 1}, 5, root_), ElementsAre(0, 1));
  EXPECT_THAT(ChooseCores({0, 1}, 0, root_), IsEmpty());
  EXPECT_THAT(ChooseCores({}, 1, root_), IsEmpty());
}

TEST_F(ChooseCoresTest, PrefersBigCores) {
  for (int core = 0; core < 6; ++core) {
    WriteCore(core, "cpu_capacity", core < 2 ? "1024\n" : "381\n");
  }
  EXPECT_THAT(ChooseCores({0, 1, 2, 3, 4, 5}, 1, root_), ElementsAre(1));
  EXPECT_THAT(ChooseCores({0, 1, 2, 3, 4, 5}, 3, root_), ElementsAre(0, 1, 5));
  EXPECT_THAT(ChooseCores({3, 4}, 1, root_), ElementsAre(4));
}

TEST_F(ChooseCoresTest, PrefersCoresOfTheirOwnToHyperThreads) {
  // Cores 0 and 2 are one physical core, 1 and 3 the other.
  for (int core = 0; core < 4; ++core) {
    WriteCore(core, "topology/thread_siblings_list",
              core % 2 == 0 ? "0,2\n" : "1,3\n");
  }
  EXPECT_THAT(ChooseCores({0, 1, 2, 3}, 2, root_), ElementsAre(2, 3));
  EXPECT_THAT(ChooseCores({0, 1, 2}, 2, root_), ElementsAre(1, 2));
  EXPECT_THAT(ChooseCores({0, 2, 3}, 3, root_), ElementsAre(0, 2, 3));
}

TEST(ScopedPinning, PinsAndRestores) {
  const std::vector<int> before = AllowedCores();
  ASSERT_FALSE(before.empty());
  {
    const ScopedPinning pinning({before.front()});
    EXPECT_THAT(pinning.cores(), ElementsAre(before.front()));
    EXPECT_THAT(AllowedCores(), ElementsAre(before.front()));
  }
  EXPECT_EQ(AllowedCores(), before);
  {
    const ScopedPinning refused({8000});
    EXPECT_THAT(refused.cores(), IsEmpty());
    EXPECT_EQ(AllowedCores(), before);
  }
  EXPECT_EQ(AllowedCores(), before);
}

using HostInterferenceTest = FakeRootTest;

TEST_F(HostInterferenceTest, ReadsTheStealOfItsCores) {
  Write("/proc/stat",
        "cpu  1 2 3 4 5 6 7 800 9 10\ncpu0 1 1 1 1 1 1 1 500 0 0\n"
        "cpu1 1 1 1 1 1 1 1 300 0 0\nintr 5\n");
  const double tick = 1.0 / static_cast<double>(sysconf(_SC_CLK_TCK));
  EXPECT_DOUBLE_EQ(*HostInterference({1}, root_).Read().steal_seconds,
                   300 * tick);
  EXPECT_DOUBLE_EQ(*HostInterference({0, 1}, root_).Read().steal_seconds,
                   800 * tick);
  EXPECT_DOUBLE_EQ(*HostInterference({}, root_).Read().steal_seconds,
                   800 * tick);
  EXPECT_FALSE(HostInterference({7}, root_).Read().steal_seconds.has_value());
}

TEST_F(HostInterferenceTest, ToldNothingSaysNothing) {
  EXPECT_FALSE(HostInterference({}, root_).Read().steal_seconds.has_value());
  Write("/proc/stat", "cpu  1 2 3\n");
  EXPECT_FALSE(HostInterference({}, root_).Read().steal_seconds.has_value());
}

using DeviceClassTest = FakeRootTest;

TEST_F(DeviceClassTest, KnowsBoardsAndFallsBackToTheArchitecture) {
  EXPECT_TRUE(IsDeviceClass(DetectDeviceClass(root_)));
#if defined(__x86_64__)
  EXPECT_EQ(DetectDeviceClass(root_), "x86_64");
#endif
  const std::string model = "/proc/device-tree/model";
  Write(model, "Raspberry Pi 5 Model B Rev 1.0");
  EXPECT_EQ(DetectDeviceClass(root_), "raspberrypi5");
  Write(model, "NVIDIA Jetson Orin Nano Developer Kit");
  EXPECT_EQ(DetectDeviceClass(root_), "jetson-orin-nano");
  EXPECT_FALSE(IsDeviceClass("Raspberry Pi"));
  EXPECT_FALSE(IsDeviceClass(""));
}

TEST(ProcessMemory, SeesWhatWasTouchedInBetween) {
  const auto base = ResetPeakResidentBytes();
  if (!base.ok()) GTEST_SKIP() << base.status();
  constexpr size_t kBytes = size_t{64} << 20;
  {
    // Freed again before we look.
    std::unique_ptr<char[]> block(new char[kBytes]);
    std::memset(block.get(), 1, kBytes);
    volatile char* keep = block.get();
    keep[0] = 2;
  }
  EXPECT_GE(*PeakResidentBytes() - *base, int64_t{60} << 20);
  const auto later = ResetPeakResidentBytes();
  EXPECT_LT(*PeakResidentBytes() - *later, int64_t{30} << 20);
}

}  // namespace
}  // namespace hwnas::agent
