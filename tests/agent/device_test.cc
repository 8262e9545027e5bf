#include <unistd.h>

#include <cstring>
#include <memory>

#include "agent/device/cores.h"
#include "agent/device/device_class.h"
#include "agent/device/interference.h"
#include "agent/device/process_memory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_root.h"
#include "tests/fakes/fake_runtime.h"

namespace hwnas::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

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

TEST_F(ChooseCoresTest, KnowsHyperThreads) {
  EXPECT_THAT(HyperThreads(3, root_), ElementsAre(3));
  WriteCore(0, "topology/thread_siblings_list", "0,64\n");
  EXPECT_THAT(HyperThreads(0, root_), ElementsAre(0, 64));
  WriteCore(2, "topology/thread_siblings_list", "2-3\n");
  EXPECT_THAT(HyperThreads(2, root_), ElementsAre(2, 3));
}

TEST_F(ChooseCoresTest, MeasuresWhereItIsToldTo) {
  EXPECT_THAT(MeasuringCores({5, 6}, 1, root_), ElementsAre(5, 6));
  const int all = static_cast<int>(AllowedCores().size());
  EXPECT_THAT(MeasuringCores({}, all, root_), IsEmpty());
}

class HostInterferenceTest : public FakeRootTest {
 protected:
  HostInterference Watch(std::vector<int> cores) {
    return HostInterference({.cores = std::move(cores), .root = root_},
                            &clock_);
  }
  const double tick_ = 1.0 / static_cast<double>(sysconf(_SC_CLK_TCK));
  FakeSteadyClock clock_;
};

TEST_F(HostInterferenceTest, ReadsWhatOthersDoWithTheCores) {
  WriteCore(1, "topology/thread_siblings_list", "1,2\n");
  Write("/proc/stat",
        "cpu  1 2 3 4 5 6 7 800 9 10\ncpu0 1000000 1 1 1 1 1 1 500 0 0\n"
        "cpu1 1 1 1 1 1 1 1 300 0 0\ncpu2 5 5 5 900 900 5 5 0 0 0\nintr 5\n");
  HostCounts counts = Watch({1}).ReadHost();
  EXPECT_DOUBLE_EQ(*counts.steal_seconds, 300 * tick_);
  EXPECT_EQ(counts.other_cores, 2);
  EXPECT_EQ(counts.sibling_cores, 1);
  EXPECT_DOUBLE_EQ(*counts.siblings_seconds, 25 * tick_);
  // All that the cores worked, less what this process did.
  EXPECT_LE(*counts.others_seconds, 1000034 * tick_);
  EXPECT_GE(*counts.others_seconds, 1000034 * tick_ - 1000);
  EXPECT_DOUBLE_EQ(*Watch({0, 1}).ReadHost().steal_seconds, 800 * tick_);
  counts = Watch({}).ReadHost();
  EXPECT_DOUBLE_EQ(*counts.steal_seconds, 800 * tick_);
  EXPECT_EQ(counts.other_cores, 1);
  EXPECT_FALSE(Watch({7}).ReadHost().steal_seconds.has_value());
}

TEST_F(HostInterferenceTest, ToldNothingSaysNothing) {
  EXPECT_FALSE(Watch({}).ReadHost().steal_seconds.has_value());
  Write("/proc/stat", "cpu  1 2 3\n");
  const HostCounts counts = Watch({}).ReadHost();
  EXPECT_FALSE(counts.steal_seconds.has_value());
  EXPECT_FALSE(counts.others_seconds.has_value());
  const ThreadCounts thread = Watch({}).ReadThread();
  EXPECT_FALSE(thread.frequency_mhz.has_value());
  EXPECT_FALSE(thread.throttles.has_value());
}

TEST_F(HostInterferenceTest, ReadsWaitingClockAndThrottling) {
  Write("/proc/thread-self/schedstat", "9000000000 2500000000 17\n");
  WriteCore(1, "cpufreq/scaling_cur_freq", "2400000\n");
  WriteCore(1, "thermal_throttle/core_throttle_count", "3\n");
  WriteCore(1, "thermal_throttle/package_throttle_count", "4\n");
  HostInterference watch = Watch({1});
  ThreadCounts counts = watch.ReadThread();
  EXPECT_DOUBLE_EQ(*counts.waited_seconds, 2.5);
  EXPECT_DOUBLE_EQ(*counts.frequency_mhz, 2400);
  EXPECT_EQ(*counts.throttles, 7);
  WriteCore(1, "cpufreq/scaling_cur_freq", "1500000\n");
  EXPECT_DOUBLE_EQ(*watch.ReadThread().frequency_mhz, 1500);
}

TEST_F(HostInterferenceTest, WithoutSchedstatTimeThatIsNotOursIsWaiting) {
  HostInterference watch = Watch({});
  const double before = *watch.ReadThread().waited_seconds;
  clock_.Advance(absl::Seconds(10));
  const double waited = *watch.ReadThread().waited_seconds - before;
  EXPECT_GT(waited, 9);
  EXPECT_LE(waited, 10);
  // The threads of a session do not show in the one that waits for them.
  EXPECT_FALSE(HostInterference({.threads = 2, .root = root_}, &clock_)
                   .ReadThread()
                   .waited_seconds.has_value());
}

TEST_F(HostInterferenceTest, AsksTheBoardNotMoreThanOnceASecond) {
  int asked = 0;
  HostInterference watch(
      {.throttled = [&]() -> std::optional<uint32_t> { return ++asked; },
       .root = root_},
      &clock_);
  EXPECT_EQ(watch.ReadHost().throttled, 1);
  clock_.Advance(absl::Milliseconds(900));
  EXPECT_EQ(watch.ReadHost().throttled, 1);
  clock_.Advance(absl::Milliseconds(200));
  EXPECT_EQ(watch.ReadHost().throttled, 2);
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
