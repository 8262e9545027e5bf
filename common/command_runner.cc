#include "common/command_runner.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/child_process.h"
#include "common/status_macros.h"
#include "common/text.h"

namespace hwnas {
namespace {

constexpr size_t kMaxOutputBytes = 1 << 20;
constexpr size_t kMaxErrorBytes = 16 << 10;
// Of what a program says, in a message of ours.
constexpr size_t kMaxQuotedBytes = 500;

// Memory for standard error that takes so much and no more: writes beyond it
// fail. -1 if there is none to be had.
int ErrorMemory() {
  const int fd = memfd_create("stderr", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd >= 0 && ftruncate(fd, kMaxErrorBytes) == 0) {
    fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK);
  }
  return fd;
}

// The last lines of it as one; empty if there are none.
std::string ReadErrors(int fd) {
  std::string text(kMaxErrorBytes, '\0');
  const ssize_t size = fd < 0 ? 0 : pread(fd, text.data(), text.size(), 0);
  text.resize(std::max<ssize_t>(size, 0));
  text = text.substr(0, text.find('\0'));
  text = absl::StrReplaceAll(absl::StripAsciiWhitespace(text), {{"\n", "; "}});
  if (text.size() > kMaxQuotedBytes) {
    text.erase(0, text.size() - kMaxQuotedBytes);
  }
  return Printable(text);
}

}  // namespace

absl::StatusOr<ChildProcess> ChildProcess::Start(
    const std::vector<std::string>& command, int error_output) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::ErrnoToStatus(errno, "create a pipe");
  }
  absl::Cleanup close_child_end = [&] { close(ends[1]); };
  absl::Cleanup close_our_end = [&] { close(ends[0]); };
  fcntl(ends[0], F_SETFL, O_NONBLOCK);

  HWNAS_ASSIGN_OR_RETURN(
      const pid_t pid,
      StartChild({.arguments = command,
                  .descriptors = {{ends[1], STDOUT_FILENO},
                                  {error_output, STDERR_FILENO}}}));
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
  const int errors = ErrorMemory();
  absl::Cleanup close_errors = [&] {
    if (errors >= 0) close(errors);
  };
  HWNAS_ASSIGN_OR_RETURN(ChildProcess child,
                         ChildProcess::Start(command, errors));
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
    const std::string said = ReadErrors(errors);
    return absl::UnknownError(absl::StrCat(command[0], " ended with exit code ",
                                           code, said.empty() ? "" : ": ",
                                           said));
  }
  return output;
}

}  // namespace hwnas
