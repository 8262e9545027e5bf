// Slurm from the outside: the commands to run, and what they print. Jobs are
// elements of arrays: the job's name is the fleet's, the index its seat.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cli/worker_fleet.h"

namespace hwnas::cli {

struct SlurmJobOptions {
  std::string name;
  std::string partition;
  // The working folder of the jobs; logs go to `logs` in it.
  std::string folder;
  // "NAME=VALUE" each, for the jobs. No commas.
  std::vector<std::string> environment;
  std::vector<std::string> more;              // Options of sbatch.
  std::string script;                         // Path.
  std::vector<std::string> script_arguments;  // Of the script.
};

// Begins a job on each of the seats.
std::vector<std::string> SbatchCommand(const SlurmJobOptions& options,
                                       const std::vector<int>& seats);
// SIGTERM to each, and SIGKILL some time later to those that stay.
std::vector<std::string> ScancelCommand(const std::vector<FleetJob>& jobs);
// Our jobs of that name.
std::vector<std::string> SqueueCommand(const std::string& name);

// What squeue prints then. Jobs that are no elements of an array are left out.
// INTERNAL if it is something else.
absl::StatusOr<std::vector<FleetJob>> ParseSqueue(absl::string_view text);

// How Slurm is configured.
std::vector<std::string> ScontrolCommand();
// From what scontrol prints then: the indices of an array are less than this.
// nullopt if it does not say.
std::optional<int> MaxArraySize(absl::string_view text);

}  // namespace hwnas::cli
