#include "agent/sandbox/confined_command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent/measure/steady_clock.h"
#include "agent/sandbox/confinement.h"
#include "common/child_process.h"
#include "common/status_macros.h"
#include "common/text.h"

namespace hwnas::agent {
namespace {

// A cancellation is noticed within this time.
constexpr absl::Duration kSlice = absl::Milliseconds(100);
constexpr size_t kLastLines = 5;
constexpr size_t kMaxLastBytes = 800;
// As shells have it.
constexpr int kCannotRun = 126;

// Of the agent's environment, what programs are found and accelerators are
// chosen by. Never its secrets.
std::vector<std::string> Environment(const std::string& folder) {
  std::vector<std::string> kept = {absl::StrCat("HOME=", folder),
                                   absl::StrCat("TMPDIR=", folder), "LANG=C"};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const absl::string_view variable = *entry;
    for (const char* prefix :
         {"PATH=", "LD_LIBRARY_PATH=", "PYTHONPATH=", "VIRTUAL_ENV=", "CUDA_",
          "NVIDIA_", "ROCR_", "HIP_", "OMP_"}) {
      if (absl::StartsWith(variable, prefix)) kept.emplace_back(variable);
    }
  }
  return kept;
}

// The folders of the program itself and of its libraries.
std::vector<std::string> ReadsOf(const std::string& program) {
  std::error_code error;
  std::vector<std::string> reads = {program};
  const std::filesystem::path real = std::filesystem::canonical(program, error);
  if (!error) reads.push_back(real.parent_path().string());
  // NOLINTNEXTLINE(concurrency-mt-unsafe)
  if (const char* folders = std::getenv("LD_LIBRARY_PATH")) {
    for (absl::string_view folder : absl::StrSplit(folders, ':')) {
      if (absl::StartsWith(folder, "/") && folder.size() > 1) {
        reads.emplace_back(folder);
      }
    }
  }
  return reads;
}

struct Pipe {
  int read_end = -1;
  int write_end = -1;

  static absl::StatusOr<Pipe> Open() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
      return absl::ErrnoToStatus(errno, "no pipe for a command");
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return Pipe{ends[0], ends[1]};
  }
  void CloseRead() { Close(read_end); }
  void CloseWrite() { Close(write_end); }

 private:
  static void Close(int& fd) {
    if (fd >= 0) close(fd);
    fd = -1;
  }
};

std::string LastLines(absl::string_view text) {
  std::vector<absl::string_view> lines =
      absl::StrSplit(absl::StripAsciiWhitespace(text), '\n');
  std::string last;
  for (size_t i = lines.size() - std::min(lines.size(), kLastLines);
       i < lines.size(); ++i) {
    absl::StrAppend(&last, last.empty() ? "" : " | ",
                    absl::StripAsciiWhitespace(lines[i]));
  }
  if (last.size() > kMaxLastBytes) {
    last = "..." + last.substr(last.size() - kMaxLastBytes);
  }
  return Printable(last);
}

// A command at work.
class Running {
 public:
  Running(const std::string& name, const ConfinedCommandOptions& options)
      : name_(name), options_(options) {}
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  ~Running() {
    KillGroup();
    for (Stream* stream : {&out_, &err_}) {
      stream->pipe.CloseRead();
      stream->pipe.CloseWrite();
    }
  }

  absl::Status Start(std::vector<std::string> arguments) {
    HWNAS_ASSIGN_OR_RETURN(out_.pipe, Pipe::Open());
    HWNAS_ASSIGN_OR_RETURN(err_.pipe, Pipe::Open());
    HWNAS_ASSIGN_OR_RETURN(
        pid_,
        StartChild({.arguments = std::move(arguments),
                    .environment = Environment(options_.folder),
                    .descriptors = {{out_.pipe.write_end, STDOUT_FILENO},
                                    {err_.pipe.write_end, STDERR_FILENO}}}));
    out_.pipe.CloseWrite();
    err_.pipe.CloseWrite();
    return absl::OkStatus();
  }

  absl::StatusOr<ConfinedCommandResult> Finish() {
    RealSteadyClock clock;
    const absl::Duration deadline = clock.Now() + options_.time_limit;
    // Until it has ended; not until its output has, which a process that it
    // left behind may keep open.
    while (!HasEnded()) {
      if (options_.cancelled()) {
        return absl::CancelledError(
            absl::StrCat("cancelled while ", name_, " was running"));
      }
      if (clock.Now() >= deadline) {
        return absl::DeadlineExceededError(
            absl::StrCat(name_, " was killed: it took more than ",
                         absl::FormatDuration(options_.time_limit), Said()));
      }
      HWNAS_RETURN_IF_ERROR(ReadSome(std::min(kSlice, deadline - clock.Now())));
    }
    KillGroup();
    // What it wrote before.
    HWNAS_RETURN_IF_ERROR(ReadSome(absl::ZeroDuration()));
    HWNAS_RETURN_IF_ERROR(Judge());
    ConfinedCommandResult result;
    result.out = std::move(out_.text);
    result.err = std::move(err_.text);
    const auto seconds = [](const timeval& time) {
      return absl::DurationFromTimeval(time);
    };
    result.cpu_time = seconds(usage_.ru_utime) + seconds(usage_.ru_stime);
    result.preemptions = usage_.ru_nivcsw;
    return result;
  }

 private:
  struct Stream {
    Pipe pipe;
    std::string text;
  };

  // Waits at most `timeout` for something to read, and reads what there is.
  absl::Status ReadSome(absl::Duration timeout) {
    std::array<pollfd, 2> waiting = {
        pollfd{.fd = out_.pipe.read_end, .events = POLLIN, .revents = 0},
        pollfd{.fd = err_.pipe.read_end, .events = POLLIN, .revents = 0}};
    // With both closed it is about to end: look soon.
    const bool open = out_.pipe.read_end >= 0 || err_.pipe.read_end >= 0;
    const absl::Duration wait =
        open ? timeout : std::min(timeout, absl::Milliseconds(1));
    poll(waiting.data(), waiting.size(),
         static_cast<int>(absl::ToInt64Milliseconds(wait)));
    for (Stream* stream : {&out_, &err_}) {
      while (stream->pipe.read_end >= 0) {
        char chunk[1 << 16];
        const ssize_t got = read(stream->pipe.read_end, chunk, sizeof(chunk));
        if (got == 0) stream->pipe.CloseRead();
        if (got <= 0) break;
        stream->text.append(chunk, got);
        if (stream->text.size() > options_.max_output_bytes) {
          return absl::ResourceExhaustedError(
              absl::StrCat(name_, " was killed: it printed more than ",
                           options_.max_output_bytes, " bytes"));
        }
      }
    }
    return absl::OkStatus();
  }

  // It is not waited for yet, so that its number stays its own.
  bool HasEnded() const {
    siginfo_t info = {};
    return waitid(P_PID, pid_, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == pid_;
  }

  // With all that it started.
  void KillGroup() {
    if (pid_ <= 0) return;
    kill(-pid_, SIGKILL);
    while (wait4(pid_, &status_, 0, &usage_) < 0 && errno == EINTR) {
    }
    pid_ = 0;
  }

  absl::Status Judge() const {
    if (WIFEXITED(status_) && WEXITSTATUS(status_) == 0) {
      return absl::OkStatus();
    }
    const std::string how =
        WIFSIGNALED(status_)
            ? absl::StrCat("was killed by a signal: ",
                           SignalName(WTERMSIG(status_)))
            : absl::StrCat("ended with exit code ", WEXITSTATUS(status_));
    return absl::InternalError(absl::StrCat(name_, " ", how, Said()));
  }

  // Its last words.
  std::string Said() const {
    const std::string last = LastLines(
        absl::StripAsciiWhitespace(err_.text).empty() ? out_.text : err_.text);
    if (last.empty()) return ", and printed nothing";
    return absl::StrCat("; it said: ", last);
  }

  const std::string& name_;
  const ConfinedCommandOptions& options_;
  Stream out_, err_;
  pid_t pid_ = 0;
  int status_ = 0;
  rusage usage_ = {};
};

}  // namespace

absl::StatusOr<ConfinedCommandResult> RunConfinedCommand(
    const std::vector<std::string>& command,
    const ConfinedCommandOptions& options) {
  std::vector<std::string> reads = ReadsOf(command[0]);
  reads.insert(reads.end(), options.reads.begin(), options.reads.end());
  const absl::Duration cpu_time = absl::Ceil(
      options.time_limit * std::max(1, options.cores), absl::Seconds(1));
  std::vector<std::string> arguments = options.launcher;
  for (const std::string& argument :
       {std::string(kCommandLauncherArgument), options.folder,
        absl::StrCat(options.max_memory_bytes),
        absl::StrCat(absl::ToInt64Seconds(cpu_time)),
        absl::StrCat(reads.size())}) {
    arguments.push_back(argument);
  }
  arguments.insert(arguments.end(), reads.begin(), reads.end());
  arguments.insert(arguments.end(), command.begin(), command.end());
  const std::string name =
      std::filesystem::path(command[0]).filename().string();
  Running running(name, options);
  HWNAS_RETURN_IF_ERROR(running.Start(std::move(arguments)));
  return running.Finish();
}

int RunCommandLauncher(int argc, char** argv) {
  const auto fail = [](absl::string_view why) {
    std::cerr << "hwnas-agent: " << why << std::endl;
    return kCannotRun;
  };
  constexpr int kFixed = 6;
  CommandConfinementOptions options;
  int64_t cpu_seconds = 0;
  int reads = 0;
  if (argc <= kFixed || !absl::SimpleAtoi(argv[3], &options.max_memory_bytes) ||
      !absl::SimpleAtoi(argv[4], &cpu_seconds) ||
      !absl::SimpleAtoi(argv[5], &reads) || reads < 0 ||
      reads >= argc - kFixed) {
    return fail(
        absl::StrCat(kCommandLauncherArgument, " is for the agent's own use"));
  }
  options.folder = argv[2];
  options.max_cpu_time = absl::Seconds(cpu_seconds);
  options.reads.assign(argv + kFixed, argv + kFixed + reads);
  if (chdir(options.folder.c_str()) != 0) {
    return fail(absl::ErrnoToStatus(errno, options.folder).message());
  }
  const absl::StatusOr<std::string> missing = ConfineForCommand(options);
  if (!missing.ok()) return fail(missing.status().message());
  if (!missing->empty()) {
    fail(absl::StrCat("the command is confined without ", *missing));
  }
  char** const command = argv + kFixed + reads;
  execv(command[0], command);
  return fail(absl::ErrnoToStatus(errno, command[0]).message());
}

}  // namespace hwnas::agent
