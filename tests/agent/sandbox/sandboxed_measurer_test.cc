// Runs real children, whose "export" of a graph does what the graph's name
// says.
#include "agent/sandbox/sandboxed_measurer.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <new>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/quantizer.h"
#include "agent/sandbox/child.pb.h"
#include "agent/sandbox/confined_command.h"
#include "agent/sandbox/measuring_child.h"
#include "agent/sandbox/message_socket.h"
#include "common/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas::agent {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Which of many things a confined process should not be able to do worked.
std::string Attack() {
  std::vector<std::string> worked;
  const auto attempt = [&](const char* what, bool success) {
    if (success) worked.push_back(what);
  };
  attempt("socket", socket(AF_INET, SOCK_STREAM, 0) >= 0);
  attempt("unix socket", socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
  const pid_t child = fork();
  if (child == 0) _exit(0);
  attempt("fork", child > 0);
  char* const arguments[] = {nullptr};
  execve("/bin/true", arguments, arguments);  // Does not return if it works.
  attempt("create file",
          open("/tmp/hwnas-sandbox-escaped", O_WRONLY | O_CREAT, 0600) >= 0);
  attempt("write a file", open("/proc/self/oom_score_adj", O_WRONLY) >= 0);
  attempt("read a file", open("/etc/passwd", O_RDONLY) >= 0);
  attempt("kill", kill(getppid(), 0) == 0);
  attempt("delete",
          unlink("/tmp/hwnas-sandbox-escaped") == 0 || errno == ENOENT);
  attempt("write to an unknown descriptor", write(STDOUT_FILENO, "x", 1) == 1);
  attempt("raise limits", [] {
    rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
    return setrlimit(RLIMIT_DATA, &limit) == 0;
  }());
  // Threads are needed, and so is /proc.
  bool ran = false;
  std::thread([&] { ran = true; }).join();
  attempt("no thread", !ran);
  attempt("no /proc", !ReadFile("/proc/self/status", 1 << 16).ok());
  // Where the temperatures are.
  std::error_code error;
  const std::filesystem::directory_iterator folders("/sys/class", error);
  attempt("no folders", static_cast<bool>(error));
  return absl::StrJoin(worked, ", ");
}

absl::StatusOr<std::string> Misbehave(const v1::ModelGraph& graph, int) {
  const std::string& name = graph.nodes(0).name();
  if (name == "attack") return absl::FailedPreconditionError(Attack() + ";");
  if (name == "abort") std::abort();
  if (name == "mutter") std::cerr << "muttered" << std::endl;
  if (name == "segfault") raise(SIGSEGV);
  if (name == "exit") _exit(7);
  if (name == "hang") {
    for (volatile bool forever = true; forever;) {
    }
  }
  if (name == "sleep") {
    for (;;) pause();
  }
  if (name == "disconnect") {
    close(kMeasuringChildSocket);
    for (volatile bool forever = true; forever;) {
    }
  }
  if (name == "eat") {
    std::vector<std::string> eaten;
    try {
      for (;;) eaten.emplace_back(size_t{16} << 20, 'x');
    } catch (const std::bad_alloc&) {
      return absl::ResourceExhaustedError(
          absl::StrCat(eaten.size() * 16, " MiB eaten"));
    }
  }
  if (name == "babble") {
    const std::string noise(1000, '\xff');
    send(kMeasuringChildSocket, noise.data(), noise.size(), 0);
    pause();
  }
  if (name == "exported") return name;
  return absl::InvalidArgumentError("the graph is wrong");
}

class SandboxedMeasurerTest : public ::testing::Test {
 protected:
  SandboxedMeasurerTest() {
    options_.measurer.device = "devices/pi-7";
    options_.time_limit = absl::Seconds(30);
    task_.set_device_class("raspberrypi5");
  }
  absl::Status Measure(const std::string& behaviour) {
    task_.mutable_graph()->clear_nodes();
    task_.mutable_graph()->add_nodes()->set_name(behaviour);
    return SandboxedMeasurer(options_).Measure(task_, hooks_, result_);
  }

  SandboxedMeasurerOptions options_;
  LatencyHooks hooks_;
  v1::MeasureTask task_;
  v1::TaskResult result_;
};

TEST_F(SandboxedMeasurerTest, MayWriteToStandardErrorThatIsAFile) {
  const std::string log =
      ::testing::TempDir() + "/sandbox_log." + std::to_string(getpid());
  const int terminal = dup(STDERR_FILENO);
  const int file = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ASSERT_GE(file, 0);
  dup2(file, STDERR_FILENO);
  const absl::Status status = Measure("mutter");
  dup2(terminal, STDERR_FILENO);
  close(terminal);
  close(file);
  unlink(log.c_str());
  EXPECT_EQ(status.message(), "the graph is wrong");
}

TEST_F(SandboxedMeasurerTest, TheChildCanDoNothingElse) {
  const absl::Status status = Measure("attack");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  const bool landlock = syscall(SYS_landlock_create_ruleset, nullptr, 0,
                                LANDLOCK_CREATE_RULESET_VERSION) > 0;
  EXPECT_EQ(status.message(), landlock ? ";" : "read a file;");
}

TEST_F(SandboxedMeasurerTest, PassesErrorsOn) {
  const absl::Status status = Measure("wrong");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "the graph is wrong");
}

TEST_F(SandboxedMeasurerTest, SaysHowAChildDied) {
  absl::Status status = Measure("segfault");
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("crashed: Segmentation fault"),
                    HasSubstr("while preparing the model")));
  EXPECT_THAT(std::string(Measure("abort").message()),
              HasSubstr("crashed: Aborted"));
  EXPECT_THAT(std::string(Measure("exit").message()), HasSubstr("exit code 7"));
}

TEST_F(SandboxedMeasurerTest, KillsAChildAfterItsTime) {
  options_.time_limit = absl::Milliseconds(300);
  task_.mutable_measure()->mutable_max_time()->set_nanos(1'000'000);
  task_.mutable_measure()->mutable_min_time()->set_nanos(0);
  for (const char* behaviour : {"hang", "sleep"}) {
    const absl::Status status = Measure(behaviour);
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("killed while preparing the model: it took more "
                          "than 302ms"));
  }
}

TEST_F(SandboxedMeasurerTest, KillsAChildThatIsCancelled) {
  bool cancel = false;
  hooks_.progress = [&](const std::string&) { cancel = true; };
  hooks_.cancelled = [&] { return cancel; };
  EXPECT_EQ(Measure("hang").code(), absl::StatusCode::kCancelled);
}

TEST_F(SandboxedMeasurerTest, LimitsTheMemory) {
  options_.max_memory_bytes = int64_t{512} << 20;
  const absl::Status status = Measure("eat");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  int eaten = 0;
  ASSERT_EQ(std::sscanf(std::string(status.message()).c_str(), "%d MiB eaten",
                        &eaten),
            1);
  EXPECT_LE(eaten, 512);
  EXPECT_GE(eaten, 256);
}

TEST_F(SandboxedMeasurerTest, DoesNotTrustTheChild) {
  EXPECT_THAT(std::string(Measure("babble").message()),
              HasSubstr("told nonsense while preparing the model"));
}

TEST_F(SandboxedMeasurerTest, KillsAChildThatHangsUp) {
  EXPECT_THAT(std::string(Measure("disconnect").message()),
              HasSubstr("had to be killed"));
}

TEST_F(SandboxedMeasurerTest, LeavesNoProcessBehind) {
  Measure("hang-not").IgnoreError();
  Measure("segfault").IgnoreError();
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST_F(SandboxedMeasurerTest, SaysThatTheProgramIsMissing) {
  options_.program = {"/nowhere/hwnas-agent"};
  EXPECT_THAT(std::string(Measure("wrong").message()),
              HasSubstr("start /nowhere/hwnas-agent: No such file"));
}

TEST(MessageSocketTest, CarriesMessagesInOrderAndNoticesTheEnd) {
  auto pair = MessageSocket::MakePair();
  ASSERT_TRUE(pair.ok());
  MessageSocket reader = std::move(pair->first);
  sandbox::ToParent message;
  EXPECT_FALSE(*reader.Receive(&message, absl::ZeroDuration()));
  {
    MessageSocket writer = std::move(pair->second);
    for (const char* note : {"one", "two"}) {
      message.set_note(note);
      ASSERT_TRUE(writer.Send(message).ok());
    }
  }
  for (const char* note : {"one", "two"}) {
    ASSERT_TRUE(*reader.Receive(&message, absl::Seconds(10)));
    EXPECT_EQ(message.note(), note);
  }
  EXPECT_EQ(reader.Receive(&message, absl::Seconds(10)).status().code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(reader.Send(message).code(), absl::StatusCode::kUnavailable);
}

TEST(MessageSocketTest, RefusesWhatIsTooLong) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  MessageSocket reader(fds[0], 10);
  MessageSocket writer(fds[1]);
  sandbox::ToParent message;
  message.set_note("more than ten bytes");
  ASSERT_TRUE(writer.Send(message).ok());
  EXPECT_EQ(reader.Receive(&message, absl::Seconds(10)).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(reader.Send(message).code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace hwnas::agent

int main(int argc, char** argv) {
  if (argc > 1 &&
      argv[1] == std::string_view(hwnas::agent::kMeasuringChildArgument)) {
    return hwnas::agent::RunMeasuringChild(
        {.export_graph = hwnas::agent::Misbehave,
         .quantize = hwnas::agent::QuantizeForMeasuring});
  }
  if (argc > 1 &&
      argv[1] == std::string_view(hwnas::agent::kCommandLauncherArgument)) {
    return hwnas::agent::RunCommandLauncher(argc, argv);
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
