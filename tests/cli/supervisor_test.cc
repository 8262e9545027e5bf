#include "cli/supervisor.h"

#include <signal.h>
#include <sys/wait.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "cli/study_folder.h"
#include "common/files.h"
#include "gmock/gmock.h"
#include "tests/fakes/simulated_clock.h"

namespace hwnas::cli {
namespace {

using ::testing::HasSubstr;

class SupervisorTest : public ::testing::Test {
 protected:
  SupervisorTest()
      : dir_(absl::StrCat(
            ::testing::TempDir(), "/hwnas_supervisor_", getpid(), "_",
            ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::create_directories(dir_);
  }
  ~SupervisorTest() override { std::filesystem::remove_all(dir_); }

  ChildSpec Shell(const std::string& script) {
    return {"child",
            [script] {
              return std::vector<std::string>{"/bin/sh", "-c", script};
            },
            dir_ + "/child.log"};
  }
  // Waits for the child to end without reaping it.
  static void AwaitEnd(pid_t pid) {
    siginfo_t info;
    waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
  }

  const std::string dir_;
  SimulatedClock clock_;
  std::vector<std::string> notes_;
};

TEST_F(SupervisorTest, RestartsAChildAfterAPause) {
  Supervisor supervisor({}, &clock_);
  ASSERT_TRUE(supervisor.Start(Shell("exit 3")).ok());
  AwaitEnd(supervisor.pid("child"));
  ASSERT_TRUE(supervisor.Poll(&notes_).ok());
  EXPECT_THAT(notes_, ::testing::ElementsAre(
                          HasSubstr("the child ended with exit code 3; "
                                    "starting it again in 200ms")));
  EXPECT_EQ(supervisor.pid("child"), -1);
  clock_.Advance(absl::Milliseconds(199));
  ASSERT_TRUE(supervisor.Poll(&notes_).ok());
  EXPECT_EQ(supervisor.pid("child"), -1);
  clock_.Advance(absl::Milliseconds(1));
  ASSERT_TRUE(supervisor.Poll(&notes_).ok());
  EXPECT_GT(supervisor.pid("child"), 0);
}

TEST_F(SupervisorTest, GivesUpAfterSeveralFastDeathsWithTheEndOfTheLog) {
  Supervisor supervisor({.max_fast_deaths = 3}, &clock_);
  ASSERT_TRUE(supervisor.Start(Shell("echo no such port >&2; exit 1")).ok());
  absl::Status status;
  int deaths = 0;
  while (status.ok() && deaths < 10) {
    AwaitEnd(supervisor.pid("child"));
    ++deaths;
    status = supervisor.Poll(&notes_);
    clock_.Advance(absl::Seconds(10));
    if (status.ok()) status = supervisor.Poll(&notes_);
  }
  EXPECT_EQ(deaths, 3);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no such port"));
}

TEST_F(SupervisorTest, ForgivesAChildThatHadLivedLong) {
  Supervisor supervisor({.max_fast_deaths = 2}, &clock_);
  ASSERT_TRUE(supervisor.Start(Shell("read x; sleep 100")).ok());
  for (int i = 0; i < 5; ++i) {
    const pid_t pid = supervisor.pid("child");
    ASSERT_GT(pid, 0);
    clock_.Advance(absl::Seconds(30));
    kill(pid, SIGKILL);
    AwaitEnd(pid);
    ASSERT_TRUE(supervisor.Poll(&notes_).ok());
    clock_.Advance(absl::Seconds(10));
    ASSERT_TRUE(supervisor.Poll(&notes_).ok());
  }
}

TEST_F(SupervisorTest, StopsChildrenPolitelyFirst) {
  Supervisor supervisor({}, Clock::Real());
  ASSERT_TRUE(supervisor
                  .Start(Shell(absl::StrCat("trap 'echo bye > ", dir_,
                                            "/bye; exit 0' TERM; touch ", dir_,
                                            "/up; while :; do sleep 0.01; "
                                            "done")))
                  .ok());
  while (!std::filesystem::exists(dir_ + "/up")) {
    sched_yield();
  }
  supervisor.Stop({"child"});
  EXPECT_TRUE(std::filesystem::exists(dir_ + "/bye"));
  EXPECT_EQ(supervisor.pid("child"), -1);
}

TEST_F(SupervisorTest, KillsAChildThatDoesNotListen) {
  Supervisor supervisor({}, Clock::Real());
  ASSERT_TRUE(
      supervisor.Start(Shell("trap '' TERM; while :; do sleep 0.01; done"))
          .ok());
  supervisor.Stop({"child"}, [] { return true; });
  EXPECT_EQ(supervisor.pid("child"), -1);
}

TEST_F(SupervisorTest, NamesAProgramThatIsMissing) {
  Supervisor supervisor({}, &clock_);
  const absl::Status status = supervisor.Start(
      {"child",
       [] { return std::vector<std::string>{"/nonexistent/hwnas-worker"}; },
       dir_ + "/child.log"});
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("/nonexistent/hwnas-worker"));
}

v1::StudyFile Study(uint64_t seed) {
  v1::StudyFile study;
  study.mutable_metadata()->set_name("tiny");
  study.mutable_spec()->add_objectives()->set_maximize("accuracy");
  study.mutable_spec()->set_seed(seed);
  return study;
}

TEST_F(SupervisorTest, AFolderIsForOneRunAtATime) {
  const std::string path = dir_ + "/study";
  auto first = StudyFolder::Open(path, Study(1), false);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE((*first)->resumed());
  const auto second = StudyFolder::Open(path, Study(1), false);
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr(absl::StrCat("process ", getpid())));
  first->reset();
  const auto third = StudyFolder::Open(path, Study(1), false);
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_TRUE((*third)->resumed());
}

TEST_F(SupervisorTest, AFolderKeepsToOneSpecification) {
  const std::string path = dir_ + "/study";
  ASSERT_TRUE(StudyFolder::Open(path, Study(1), false).ok());
  const auto other = StudyFolder::Open(path, Study(2), false);
  EXPECT_TRUE(absl::IsInvalidArgument(other.status()));
  EXPECT_THAT(std::string(other.status().message()),
              HasSubstr("modified: spec.seed: 1 -> 2"));
  ASSERT_TRUE(WriteFileAtomically(path + "/front.csv", "x").ok());
  ASSERT_TRUE(WriteFileAtomically(path + "/notes.txt", "mine").ok());
  EXPECT_TRUE(StudyFolder::Open(path, Study(2), /*fresh=*/true).ok());
  EXPECT_FALSE(std::filesystem::exists(path + "/front.csv"));
  EXPECT_TRUE(std::filesystem::exists(path + "/notes.txt"));
}

TEST_F(SupervisorTest, AFolderWithOtherFilesIsLeftAlone) {
  ASSERT_TRUE(WriteFileAtomically(dir_ + "/precious", "x").ok());
  for (bool fresh : {false, true}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        StudyFolder::Open(dir_, Study(1), fresh).status()));
  }
}

}  // namespace
}  // namespace hwnas::cli
