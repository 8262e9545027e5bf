// Runs other programs, apart so that tests can play them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace hwnas {

// Thread-safe.
class CommandRunner {
 public:
  virtual ~CommandRunner() = default;
  // Standard output of a program found in $PATH. NOT_FOUND if there is none,
  // DEADLINE_EXCEEDED after `timeout` (it is killed then), RESOURCE_EXHAUSTED
  // if it prints too much, UNKNOWN if it ends with another exit code than 0;
  // with what it said on standard error.
  virtual absl::StatusOr<std::string> Run(
      const std::vector<std::string>& command, absl::Duration timeout) = 0;
};

// At most 1 MiB of output. Standard input is /dev/null.
class ProcessRunner final : public CommandRunner {
 public:
  absl::StatusOr<std::string> Run(const std::vector<std::string>& command,
                                  absl::Duration timeout) override;
};

// A running program whose output is read as it comes. Killed, with all that it
// started, when destroyed. Not thread-safe.
class ChildProcess {
 public:
  // Standard input is /dev/null, standard error `error_output`, which stays
  // the caller's; -1: /dev/null.
  static absl::StatusOr<ChildProcess> Start(
      const std::vector<std::string>& command, int error_output = -1);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess();

  // Non-blocking end of its standard output.
  int output() const { return output_; }
  // Waits for its end at most so long; then it is killed. Returns the exit
  // code; 128 + number of the signal that killed it.
  int Wait(absl::Duration timeout);

 private:
  ChildProcess(int pid, int output) : pid_(pid), output_(output) {}
  int pid_;     // 0: none, or waited for.
  int output_;  // -1: none.
};

}  // namespace hwnas
