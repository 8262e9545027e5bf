#include "agent/device/power/command_runner.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

extern char** environ;

namespace hwnas::agent {
namespace {

constexpr size_t kMaxOutputBytes = 64 << 10;

}  // namespace

absl::StatusOr<ChildProcess> ChildProcess::Start(
    const std::vector<std::string>& command) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::ErrnoToStatus(errno, "create a pipe");
  }
  absl::Cleanup close_child_end = [&] { close(ends[1]); };
  absl::Cleanup close_our_end = [&] { close(ends[0]); };
  fcntl(ends[0], F_SETFL, O_NONBLOCK);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  absl::Cleanup destroy_actions = [&] {
    posix_spawn_file_actions_destroy(&actions);
  };
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);

  // A group of its own, so that what it starts can be killed with it; and none
  // of the signals that this process blocks.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  absl::Cleanup destroy_attributes = [&] {
    posix_spawnattr_destroy(&attributes);
  };
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP |
                                            POSIX_SPAWN_SETSIGMASK |
                                            POSIX_SPAWN_SETSIGDEF);
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, arguments[0], &actions, &attributes,
                                 arguments.data(), environ);
  if (error != 0) {
    return absl::ErrnoToStatus(error, absl::StrCat("start ", command[0]));
  }
  std::move(close_our_end).Cancel();
  return ChildProcess(pid, ends[0]);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)),
      output_(std::exchange(other.output_, -1)) {}

ChildProcess::~ChildProcess() {
  if (pid_ != 0) Wait(absl::ZeroDuration());
  if (output_ >= 0) close(output_);
}

int ChildProcess::Wait(absl::Duration timeout) {
  const auto deadline =
      std::chrono::steady_clock::now() + absl::ToChronoMilliseconds(timeout);
  int status = 0;
  while (waitpid(pid_, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() < deadline) {
      poll(nullptr, 0, /*milliseconds=*/1);
      continue;
    }
    kill(-pid_, SIGKILL);
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    break;
  }
  pid_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

absl::StatusOr<std::string> ProcessRunner::Run(
    const std::vector<std::string>& command, absl::Duration timeout) {
  HWNAS_ASSIGN_OR_RETURN(ChildProcess child, ChildProcess::Start(command));
  const auto deadline =
      std::chrono::steady_clock::now() + absl::ToChronoMilliseconds(timeout);
  std::string output;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      return absl::DeadlineExceededError(absl::StrCat(
          command[0], " did not end within ", absl::FormatDuration(timeout)));
    }
    pollfd wait = {.fd = child.output(), .events = POLLIN};
    if (poll(&wait, 1, static_cast<int>(left.count())) <= 0) continue;
    char buffer[4096];
    const ssize_t n = read(child.output(), buffer, sizeof(buffer));
    if (n == 0) break;
    if (n < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return absl::ErrnoToStatus(errno, absl::StrCat("read from ", command[0]));
    }
    if (output.size() + n > kMaxOutputBytes) {
      return absl::ResourceExhaustedError(absl::StrCat(
          command[0], " printed more than ", kMaxOutputBytes, " bytes"));
    }
    output.append(buffer, n);
  }
  // With its output closed it is as good as gone.
  const int code =
      child.Wait(absl::FromChrono(deadline - std::chrono::steady_clock::now()));
  if (code != 0) {
    return absl::UnknownError(
        absl::StrCat(command[0], " ended with exit code ", code));
  }
  return output;
}

}  // namespace hwnas::agent
