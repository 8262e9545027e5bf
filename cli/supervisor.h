// Keeps a few child processes running.
//
// Each child has a log file, is started again with growing pauses when it ends
// by itself, and dies with this process however that dies (PR_SET_PDEATHSIG).
// A child that keeps dying soon after its start is given up, with the last
// lines of its log in the error.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"

namespace hwnas::cli {

struct ChildSpec {
  std::string name;  // "worker".
  // Program and arguments; asked anew for each start.
  std::function<std::vector<std::string>()> command;
  std::string log_file;  // Appended to.
};

struct SupervisorOptions {
  absl::Duration min_backoff = absl::Milliseconds(200);
  absl::Duration max_backoff = absl::Seconds(10);
  // A child that lives this long has started well: its count of deaths is
  // forgotten.
  absl::Duration healthy_after = absl::Seconds(20);
  // Deaths in a row after which a child is given up.
  int max_fast_deaths = 5;
  // Stop(): time between SIGTERM and SIGKILL.
  absl::Duration stop_grace = absl::Seconds(10);
};

// Owned by the thread that made it, which must live as long as the children
// may: the kernel ties them to the thread. `clock` must outlive it.
class Supervisor {
 public:
  Supervisor(SupervisorOptions options, const Clock* clock);
  // Kills what still runs.
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // Starts a child. NOT_FOUND if there is no such program, else UNKNOWN.
  absl::Status Start(ChildSpec spec);

  // Notices deaths and restarts what is due; call it often. Never blocks.
  // INTERNAL if a child is given up. `notes` gets a line for each event.
  absl::Status Poll(std::vector<std::string>* notes);

  // SIGTERM to the named children, waiting for all of them until the grace
  // ends, then SIGKILL. `hurry` is asked while waiting: true kills at once.
  void Stop(
      const std::vector<std::string>& names,
      const std::function<bool()>& hurry = [] { return false; });

  // -1 if it does not run just now.
  pid_t pid(const std::string& name) const;

 private:
  struct Child {
    ChildSpec spec;
    pid_t pid = -1;
    absl::Time started;
    absl::Time restart_at = absl::InfiniteFuture();
    int fast_deaths = 0;
    std::string last_end;  // "exit code 1", "signal 9".
  };

  absl::Status Spawn(Child& child);

  const SupervisorOptions options_;
  const Clock& clock_;
  std::map<std::string, Child> children_;
};

// The last `count` lines of a file, indented; empty if it cannot be read.
std::string LastLines(const std::string& path, int count);

}  // namespace hwnas::cli
