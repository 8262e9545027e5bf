// Real programs under test: started, watched, killed with real signals.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/files.h"

extern char** environ;

namespace hwnas {

// One child process; killed if it still runs when this object goes. Owned by
// one thread.
class Process {
 public:
  // Standard output and error go to `log_path`, appended.
  Process(const std::vector<std::string>& command, const std::string& log_path)
      : log_path_(log_path) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, log_path.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0644);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    std::vector<char*> argv;
    for (const std::string& argument : command) {
      argv.push_back(const_cast<char*>(argument.c_str()));
    }
    argv.push_back(nullptr);
    if (posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environ) !=
        0) {
      pid_ = -1;
    }
    posix_spawn_file_actions_destroy(&actions);
  }
  ~Process() { Kill(SIGKILL); }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  bool started() const { return pid_ > 0; }

  void Signal(int signal) {
    if (pid_ > 0 && !reaped_) kill(pid_, signal);
  }

  // Sends the signal and waits for the end.
  void Kill(int signal) {
    Signal(signal);
    Wait(absl::Seconds(30));
  }

  bool Running() {
    siginfo_t info = {};
    return pid_ > 0 && !reaped_ &&
           waitid(P_PID, static_cast<id_t>(pid_), &info,
                  WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
  }

  // Exit code, 128 + signal, or -1 if it has not ended in time (then killed).
  int Wait(absl::Duration timeout) {
    if (pid_ <= 0) return 127;
    const absl::Time deadline = absl::Now() + timeout;
    while (!reaped_) {
      int status = 0;
      const pid_t done = waitpid(pid_, &status, WNOHANG);
      if (done == pid_) {
        reaped_ = true;
        code_ =
            WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        break;
      }
      if (absl::Now() > deadline) {
        kill(pid_, SIGKILL);
        waitpid(pid_, &status, 0);
        reaped_ = true;
        code_ = -1;
        break;
      }
      absl::SleepFor(absl::Milliseconds(5));
    }
    return code_;
  }

  std::string Log() const {
    auto text = ReadFile(log_path_);
    return text.ok() ? *text : std::string(text.status().message());
  }

 private:
  const std::string log_path_;
  pid_t pid_ = -1;
  bool reaped_ = false;
  int code_ = -1;
};

// Polls until `condition` holds. False when the time is up.
inline bool WaitUntil(absl::Duration timeout,
                      const std::function<bool()>& condition) {
  const absl::Time deadline = absl::Now() + timeout;
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(20));
  }
  return true;
}

// Runs a command to its end and returns its exit code and output.
struct CommandResult {
  int code = -1;
  std::string output;
};
inline CommandResult RunCommand(const std::vector<std::string>& command,
                                const std::string& log_path,
                                absl::Duration timeout = absl::Seconds(60)) {
  unlink(log_path.c_str());
  Process process(command, log_path);
  CommandResult result;
  result.code = process.Wait(timeout);
  result.output = process.Log();
  return result;
}

}  // namespace hwnas
