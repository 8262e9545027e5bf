#include "common/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "gtest/gtest.h"

namespace hwnas {
namespace {

class ChildProcessTest : public ::testing::Test {
 protected:
  // What a shell prints on standard output.
  std::string Run(const std::string& script, ChildOptions options = {}) {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    options.arguments = {"sh", "-c", script};
    options.descriptors.emplace_back(ends[1], STDOUT_FILENO);
    const auto pid = StartChild(options);
    EXPECT_TRUE(pid.ok()) << pid.status();
    close(ends[1]);
    if (!pid.ok()) return "";
    EXPECT_EQ(getpgid(*pid), *pid);
    std::string text;
    char chunk[256];
    for (ssize_t got; (got = read(ends[0], chunk, sizeof(chunk))) > 0;) {
      text.append(chunk, static_cast<size_t>(got));
    }
    close(ends[0]);
    EXPECT_EQ(waitpid(*pid, &status_, 0), *pid);
    return text;
  }
  int status_ = 0;
};

TEST_F(ChildProcessTest, HasNothingToRead) {
  EXPECT_EQ(Run("read line || echo nothing; exit 7"), "nothing\n");
  EXPECT_EQ(WEXITSTATUS(status_), 7);
}

TEST_F(ChildProcessTest, HasTheDescriptorsThatAreNamedAndNoOthers) {
  int ends[2];
  // One that a careless library left open for children.
  ASSERT_EQ(pipe(ends), 0);
  EXPECT_EQ(Run("ls /proc/self/fd | wc -l", {.descriptors = {{-1, 2}}}),
            "4\n");  // 0, 1, 2, and the folder that ls looks at.
  EXPECT_EQ(Run("echo far >&5; echo near", {.descriptors = {{ends[1], 5}}}),
            "near\n");
  char text[16] = {};
  EXPECT_EQ(read(ends[0], text, sizeof(text)), 4);
  EXPECT_EQ(std::string(text), "far\n");
  close(ends[0]);
  close(ends[1]);
}

TEST_F(ChildProcessTest, HasTheEnvironmentThatIsGiven) {
  setenv("HWNAS_TEST_SECRET", "secret", 1);
  EXPECT_EQ(Run("echo $HWNAS_TEST_SECRET"), "secret\n");
  EXPECT_EQ(Run("echo $HWNAS_TEST_SECRET$OTHER",
                {.environment = std::vector<std::string>{"OTHER=given"}}),
            "given\n");
  unsetenv("HWNAS_TEST_SECRET");
}

TEST_F(ChildProcessTest, BlocksAndIgnoresNoSignal) {
  sigset_t term, before;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &term, &before), 0);
  const auto handler = signal(SIGTERM, SIG_IGN);
  Run("kill -TERM $$; echo survived");
  signal(SIGTERM, handler);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ASSERT_TRUE(WIFSIGNALED(status_));
  EXPECT_EQ(SignalName(WTERMSIG(status_)), "Terminated");
}

TEST_F(ChildProcessTest, SaysWhichProgramIsMissing) {
  const auto pid = StartChild({.arguments = {"no-such-program-here"}});
  EXPECT_TRUE(absl::IsNotFound(pid.status()));
  EXPECT_NE(pid.status().message().find("no-such-program-here"),
            std::string::npos);
  EXPECT_EQ(SignalName(999), "signal 999");
}

}  // namespace
}  // namespace hwnas
