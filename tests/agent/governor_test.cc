#include "agent/device/governor.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_root.h"

namespace hwnas::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class GovernorTest : public FakeRootTest {
 protected:
  GovernorTest() : record_(root_ + "/governors"), control_(record_, root_) {
    Write("/proc/sys/kernel/random/boot_id", "11111111-2222\n");
    for (int core = 0; core < 4; ++core) {
      WriteCore(core, "cpufreq/scaling_governor",
                core < 2 ? "ondemand\n" : "schedutil\n");
      WriteCore(core, "cpufreq/scaling_available_governors",
                "ondemand schedutil performance \n");
    }
  }
  std::string Governor(int core) const {
    return Read(CoreFile(core, "cpufreq/scaling_governor"));
  }
  bool HasRecord() const { return access(record_.c_str(), F_OK) == 0; }
  // A process that sets the governors and is killed.
  void SetAndBeKilled(const std::vector<int>& cores) {
    const pid_t child = fork();
    if (child == 0) {
      const auto pinned = control_.SetPerformance(cores);
      if (!pinned.ok()) _exit(1);
      kill(getpid(), SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    ASSERT_EQ(WTERMSIG(status), SIGKILL);
  }

  const std::string record_;
  GovernorControl control_;
};

TEST_F(GovernorTest, SetsAndRestores) {
  {
    auto pinned = control_.SetPerformance({1, 2});
    ASSERT_TRUE(pinned.ok()) << pinned.status();
    EXPECT_EQ(Governor(0), "ondemand\n");
    EXPECT_EQ(Governor(1), "performance\n");
    EXPECT_EQ(Governor(2), "performance\n");
    EXPECT_TRUE(HasRecord());
    EXPECT_TRUE(pinned->Restore().ok());
    EXPECT_EQ(Governor(1), "ondemand\n");
    EXPECT_EQ(Governor(2), "schedutil\n");
    EXPECT_FALSE(HasRecord());
  }
  {
    const auto pinned = control_.SetPerformance({3});
    ASSERT_TRUE(pinned.ok()) << pinned.status();
  }
  EXPECT_EQ(Governor(3), "schedutil\n");
  EXPECT_FALSE(HasRecord());
}

TEST_F(GovernorTest, RestoresAfterAProcessWasKilled) {
  SetAndBeKilled({0, 3});
  EXPECT_EQ(Governor(0), "performance\n");
  EXPECT_EQ(Governor(3), "performance\n");
  ASSERT_TRUE(HasRecord());
  GovernorControl next(record_, root_);
  EXPECT_THAT(*next.RestoreLeftOver(), ElementsAre(0, 3));
  EXPECT_EQ(Governor(0), "ondemand\n");
  EXPECT_EQ(Governor(3), "schedutil\n");
  EXPECT_FALSE(HasRecord());
  EXPECT_THAT(*next.RestoreLeftOver(), IsEmpty());
}

TEST_F(GovernorTest, WhatAKilledProcessSetIsNotTakenForTheOriginal) {
  SetAndBeKilled({2});
  const auto pinned = control_.SetPerformance({2});
  ASSERT_TRUE(pinned.ok()) << pinned.status();
  EXPECT_THAT(Read("/governors"), HasSubstr("2 schedutil"));
}

TEST_F(GovernorTest, CoresOfOneClockAreAllRestored) {
  // As on a Raspberry Pi: all cores have one policy.
  for (int core = 1; core < 4; ++core) {
    std::filesystem::remove_all(root_ + CoreFile(core, "cpufreq"));
    std::filesystem::create_directory_symlink(
        root_ + CoreFile(0, "cpufreq"), root_ + CoreFile(core, "cpufreq"));
  }
  SetAndBeKilled({2, 3});
  EXPECT_EQ(Governor(0), "performance\n");
  EXPECT_TRUE(control_.RestoreLeftOver().ok());
  EXPECT_EQ(Governor(0), "ondemand\n");
  EXPECT_EQ(Governor(3), "ondemand\n");
}

TEST_F(GovernorTest, LeavesALivingProcessAlone) {
  Write("/proc/4711/stat",
        "4711 (an (odd) name) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 "
        "8812345 20\n");
  Write("/governors",
        "hwnas-governors 1\nboot 11111111-2222\nprocess 4711 8812345\n"
        "0 powersave\n");
  EXPECT_THAT(*control_.RestoreLeftOver(), IsEmpty());
  EXPECT_EQ(Governor(0), "ondemand\n");
  const auto pinned = control_.SetPerformance({0});
  EXPECT_EQ(pinned.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(pinned.status().message()),
              HasSubstr("process 4711 has the governors set"));
  // Another process of that number does not count.
  Write("/governors",
        "hwnas-governors 1\nboot 11111111-2222\nprocess 4711 5\n0 powersave\n");
  EXPECT_THAT(*control_.RestoreLeftOver(), ElementsAre(0));
  EXPECT_EQ(Governor(0), "powersave\n");
}

TEST_F(GovernorTest, ARestartOfTheMachineForgets) {
  SetAndBeKilled({0});
  Write("/proc/sys/kernel/random/boot_id", "33333333-4444\n");
  WriteCore(0, "cpufreq/scaling_governor", "powersave\n");
  EXPECT_THAT(*control_.RestoreLeftOver(), IsEmpty());
  EXPECT_EQ(Governor(0), "powersave\n");
  EXPECT_FALSE(HasRecord());
}

TEST_F(GovernorTest, SaysWhyItCannot) {
  EXPECT_TRUE(control_.Check({0, 1, 2, 3}).ok());
  EXPECT_THAT(std::string(control_.Check({0, 7}).message()),
              HasSubstr("the system has no governor for core 7: no "));
  WriteCore(1, "cpufreq/scaling_available_governors", "powersave userspace\n");
  EXPECT_THAT(std::string(control_.SetPerformance({0, 1}).status().message()),
              HasSubstr("core 1 has no governor \"performance\", only "
                        "powersave, userspace"));
  EXPECT_EQ(Governor(0), "ondemand\n");
  EXPECT_FALSE(HasRecord());
  if (geteuid() == 0) return;  // May write everything.
  chmod((root_ + CoreFile(2, "cpufreq/scaling_governor")).c_str(), 0444);
  EXPECT_THAT(std::string(control_.Check({2}).message()),
              HasSubstr("this user may not write "));
}

TEST_F(GovernorTest, DoesNotTrustARecordThatIsNone) {
  Write("/governors", "hwnas-governors 1\n0 ../../etc\n");
  EXPECT_EQ(control_.RestoreLeftOver().status().code(),
            absl::StatusCode::kDataLoss);
  Write("/governors", "");
  EXPECT_EQ(control_.RestoreLeftOver().status().code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace hwnas::agent
