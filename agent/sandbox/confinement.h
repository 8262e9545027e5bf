// Takes from this process all that running a model does not need.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace hwnas::agent {

struct ConfinementOptions {
  // The only connection that may be used.
  int socket = -1;
  // Open files, beside standard error, that may be written to.
  std::vector<int> writable;
  // Of data, stacks and whatever else is mapped and can be written.
  int64_t max_memory_bytes = 0;
  // Of all threads together; the kernel kills the process after it.
  absl::Duration max_cpu_time = absl::InfiniteDuration();
};

// From here on, for the calling thread and those it starts: limits on memory,
// processor time and open files; no core dump; no file may grow; no
// capabilities and no new privileges; no new process or program; no network; no
// file but those below /proc and /sys may be opened, and none to be written.
// System calls that ONNX Runtime does not need fail with EPERM (seccomp). First
// when memory runs short. Dies with the thread that started the process.
//
// Call it before a second thread exists. Returns what this system cannot do,
// for people; empty if all is in place (an emulator or an old kernel may lack
// seccomp or Landlock). An error if the limits cannot be set.
absl::StatusOr<std::string> ConfineThisProcess(
    const ConfinementOptions& options);

struct CommandConfinementOptions {
  // Where it may write and work.
  std::string folder;
  // Files and folders that it may read and execute, beside the system's.
  std::vector<std::string> reads;
  // Of each process alone.
  int64_t max_memory_bytes = 0;
  absl::Duration max_cpu_time = absl::InfiniteDuration();
};

// The looser kind, for a foreign program that is to be executed next, and all
// that it starts. It may read the system's programs and libraries, /proc and
// /sys, use graphics cards and other accelerators in /dev, write to `folder`,
// and start processes. It may not open a connection, read homes or
// configuration, signal the process that started this one, leave its process
// group (so that it can be killed with all that it started), or change the
// system (mount, trace, load modules...). Limits, death and result as above.
absl::StatusOr<std::string> ConfineForCommand(
    const CommandConfinementOptions& options);

}  // namespace hwnas::agent
