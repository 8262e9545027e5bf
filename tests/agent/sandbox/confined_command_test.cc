// Runs shell scripts that misbehave as a tool may.
#include "agent/sandbox/confined_command.h"

#include <linux/landlock.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas::agent {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class ConfinedCommandTest : public ::testing::Test {
 protected:
  ConfinedCommandTest() {
    options_.folder = ::testing::TempDir() + "hwnas-command-test.XXXXXX";
    EXPECT_NE(mkdtemp(options_.folder.data()), nullptr);
    options_.time_limit = absl::Seconds(30);
  }
  ~ConfinedCommandTest() override {
    std::filesystem::remove_all(options_.folder);
  }
  absl::StatusOr<ConfinedCommandResult> Run(const std::string& script) {
    return RunConfinedCommand({"/bin/sh", "-c", script}, options_);
  }
  std::string Error(const std::string& script) {
    const auto result = Run(script);
    EXPECT_FALSE(result.ok());
    return std::string(result.status().message());
  }
  // Cancels when the script has written this file.
  void CancelOnceThereIs(const std::string& file) {
    options_.cancelled = [path = options_.folder + "/" + file] {
      const auto text = ReadFile(path, 100);
      return text.ok() && !text->empty();
    };
  }
  // A process that the script has noted, gone or about to be: killed processes
  // vanish a moment after the signal.
  bool Gone(const std::string& file) {
    const auto text = ReadFile(options_.folder + "/" + file, 100);
    pid_t pid = 0;
    if (!text.ok() || !absl::SimpleAtoi(*text, &pid)) return false;
    for (int i = 0; i < 1000; ++i) {
      const auto status = ReadFile(absl::StrCat("/proc/", pid, "/stat"), 1000);
      if (!status.ok() || status->find(") Z") != std::string::npos) return true;
      absl::SleepFor(absl::Milliseconds(5));
    }
    return false;
  }

  ConfinedCommandOptions options_;
};

TEST_F(ConfinedCommandTest, RunsACommandInItsFolder) {
  setenv("HWNAS_TEST_SECRET", "secret", 1);
  const auto result =
      Run("pwd; echo to stderr >&2; echo $HOME; echo text > file; cat file; "
          "echo [$HWNAS_TEST_SECRET]");
  unsetenv("HWNAS_TEST_SECRET");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->out, absl::StrCat(options_.folder, "\n", options_.folder,
                                      "\ntext\n[]\n"));
  EXPECT_EQ(result->err, "to stderr\n");
  EXPECT_GT(result->cpu_time, absl::ZeroDuration());
}

TEST_F(ConfinedCommandTest, SaysHowItFailedInTheCommandsWords) {
  EXPECT_EQ(Error("echo fine; for i in 1 2 3 4 5 6 7; do echo error $i >&2; "
                  "done; exit 1"),
            "sh ended with exit code 1; it said: error 3 | error 4 | error 5 | "
            "error 6 | error 7");
  EXPECT_EQ(Error("echo on stdout; exit 3"),
            "sh ended with exit code 3; it said: on stdout");
  EXPECT_EQ(Error("printf '\\377bytes' >&2; exit 5"),
            "sh ended with exit code 5; it said: ?bytes");
  EXPECT_EQ(Error("exit 4"), "sh ended with exit code 4, and printed nothing");
  EXPECT_EQ(Error("kill -SEGV $$"),
            "sh was killed by a signal: Segmentation fault, and printed "
            "nothing");
  const auto missing = RunConfinedCommand({"/no/such/program"}, options_);
  EXPECT_EQ(missing.status().message(),
            "program ended with exit code 126; it said: hwnas-agent: "
            "/no/such/program: No such file or directory");
}

TEST_F(ConfinedCommandTest, KillsAllOfACommandThatHangs) {
  options_.time_limit = absl::Seconds(2);
  const auto result =
      Run("echo before; sleep 1000 & echo $! > child; (sleep 1000 & echo $! > "
          "grandchild; wait); wait");
  EXPECT_EQ(result.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(result.status().message(),
            "sh was killed: it took more than 2s; it said: before");
  EXPECT_TRUE(Gone("child"));
  EXPECT_TRUE(Gone("grandchild"));
}

TEST_F(ConfinedCommandTest, LeavesNothingOfACommandThatEnds) {
  const auto result = Run("sleep 1000 & echo $! > child; echo done");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->out, "done\n");
  EXPECT_TRUE(Gone("child"));
}

TEST_F(ConfinedCommandTest, KillsManyProcesses) {
  CancelOnceThereIs("child");
  const auto result =
      Run("i=0; while [ $i -lt 300 ]; do sleep 1000 & i=$((i+1)); done; "
          "echo $! > child; wait");
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(Gone("child"));
}

TEST_F(ConfinedCommandTest, StopsAFlood) {
  // 1 GB.
  const std::string flood = "head -c 1000000000 /dev/zero";
  for (const char* to : {"", " >&2"}) {
    const auto result = Run(flood + to);
    EXPECT_EQ(result.status().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(result.status().message(),
              "sh was killed: it printed more than 8388608 bytes");
  }
}

TEST_F(ConfinedCommandTest, LimitsMemory) {
  options_.max_memory_bytes = int64_t{64} << 20;
  // Doubles a text until it cannot.
  EXPECT_THAT(Error("x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"),
              AllOf(HasSubstr("sh "), Not(HasSubstr("took more"))));
}

TEST_F(ConfinedCommandTest, CanBeCancelled) {
  CancelOnceThereIs("child");
  const auto result = Run("sleep 1000 & echo $! > child; wait");
  EXPECT_EQ(result.status().message(), "cancelled while sh was running");
  EXPECT_TRUE(Gone("child"));
}

TEST_F(ConfinedCommandTest, KeepsItFromEverythingElse) {
  const bool landlock = syscall(SYS_landlock_create_ruleset, nullptr, 0,
                                LANDLOCK_CREATE_RULESET_VERSION) > 0;
  if (!landlock) GTEST_SKIP() << "this kernel has no Landlock";
  const std::string outside =
      absl::StrCat(::testing::TempDir(), "/hwnas-outside.", getpid());
  std::ofstream(outside) << "secret";
  // Prints what worked.
  const auto result = Run(absl::StrCat(
      "exec 2>/dev/null; ",  //
      "cat ", outside, " && echo read; ", "echo x > ", outside,
      ".new && echo write; ", "rm ", outside, " && echo delete; ",  //
      "cat /etc/shadow > copy && echo shadow; ", "cat /proc/", getpid(),
      "/environ > copy && echo environ; ", "kill -0 ", getpid(),
      " && echo signal; ",  //
      "kill -0 -1 && echo signal all; ",
      "setsid -w true && echo setsid; ",  //
      "unshare -n true && echo unshare; ", "true"));
  EXPECT_TRUE(std::filesystem::exists(outside));
  std::filesystem::remove(outside);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->out, "");
}

TEST_F(ConfinedCommandTest, HasNoNetwork) {
  if (!std::filesystem::exists("/bin/bash")) GTEST_SKIP() << "no bash";
  const auto result = RunConfinedCommand(
      {"/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/22"}, options_);
  EXPECT_THAT(std::string(result.status().message()),
              HasSubstr("Operation not permitted"));
}

TEST_F(ConfinedCommandTest, ReadsWhatItIsGiven) {
  const std::string given =
      absl::StrCat(::testing::TempDir(), "/hwnas-given.", getpid());
  std::filesystem::create_directories(given);
  std::ofstream(given + "/data") << "data";
  EXPECT_THAT(Error(absl::StrCat("cat ", given, "/data")),
              HasSubstr("Permission denied"));
  options_.reads = {given};
  const auto result = Run(absl::StrCat("cat ", given, "/data"));
  std::filesystem::remove_all(given);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->out, "data");
}

}  // namespace
}  // namespace hwnas::agent
