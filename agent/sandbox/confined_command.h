// Runs a foreign program so that whatever it does costs one measurement and
// never the agent: it hangs, floods its output, starts processes, eats memory.
//
//   agent -> launcher (this program again): limits, confinement -> exec
//
// The launcher is what makes the rules: between fork and exec a process with
// threads may not do much.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace hwnas::agent {

// The first argument of a program that is to call RunCommandLauncher.
inline constexpr char kCommandLauncherArgument[] = "--command-launcher";

struct ConfinedCommandOptions {
  // A command that calls RunCommandLauncher() if kCommandLauncherArgument
  // follows.
  std::vector<std::string> launcher = {"/proc/self/exe"};
  // It works here, and may write here alone. Also its home and its place for
  // temporary files.
  std::string folder;
  // Files and folders that it may read beside the system's.
  std::vector<std::string> reads;
  // Then it is killed with all that it started.
  absl::Duration time_limit = absl::Minutes(2);
  // Of each of its processes; 0: no limit.
  int64_t max_memory_bytes = 0;
  // Cores that it may keep busy for all of its time.
  int cores = 1;
  // Of standard output and of standard error each; with more it is killed.
  size_t max_output_bytes = size_t{8} << 20;
  std::function<bool()> cancelled = [] { return false; };
};

struct ConfinedCommandResult {
  std::string out;
  std::string err;
  // Of it and those of its children that it waited for.
  absl::Duration cpu_time;
  int64_t preemptions = 0;
};

// Runs `command`, whose first word is a path, to its end. Nothing that it has
// started survives. INTERNAL with the last lines that it printed: another exit
// code than 0, or killed by a signal; DEADLINE_EXCEEDED, CANCELLED;
// RESOURCE_EXHAUSTED: it printed too much. The calling thread waits.
absl::StatusOr<ConfinedCommandResult> RunConfinedCommand(
    const std::vector<std::string>& command,
    const ConfinedCommandOptions& options);

// Does what main() was started for. Returns only if that fails. Call it before
// a second thread exists.
int RunCommandLauncher(int argc, char** argv);

}  // namespace hwnas::agent
