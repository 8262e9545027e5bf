#include "cli/slurm.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace hwnas::cli {
namespace {

// See JOB STATE CODES in squeue(1).
FleetJob::State StateOf(absl::string_view code, absl::string_view reason) {
  if (code == "PENDING" && reason == "BeginTime") {
    return FleetJob::State::kDelayed;
  }
  if (code == "RUNNING" || code == "SUSPENDED" || code == "STOPPED") {
    return FleetJob::State::kRunning;
  }
  for (const char* waiting :
       {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD",
        "RESV_DEL_HOLD", "SPECIAL_EXIT"}) {
    if (code == waiting) return FleetJob::State::kWaiting;
  }
  return FleetJob::State::kEnding;
}

}  // namespace

std::vector<std::string> SbatchCommand(const SlurmJobOptions& options,
                                       const std::vector<int>& seats) {
  std::vector<std::string> command = {
      "sbatch",
      "--parsable",
      "--job-name=" + options.name,
      "--partition=" + options.partition,
      "--array=" + absl::StrJoin(seats, ","),
      "--chdir=" + options.folder,
      "--output=logs/%x-%a.log",
      absl::StrCat("--export=ALL", options.environment.empty() ? "" : ",",
                   absl::StrJoin(options.environment, ","))};
  command.insert(command.end(), options.more.begin(), options.more.end());
  command.push_back(options.script);
  command.insert(command.end(), options.script_arguments.begin(),
                 options.script_arguments.end());
  return command;
}

std::vector<std::string> ScancelCommand(const std::vector<FleetJob>& jobs) {
  std::vector<std::string> command = {"scancel"};
  for (const FleetJob& job : jobs) command.push_back(job.id);
  return command;
}

std::vector<std::string> SqueueCommand(const std::string& name) {
  return {"squeue",  "--me",           "--noheader",
          "--array", "--name=" + name, "--format=%F|%K|%T|%r"};
}

absl::StatusOr<std::vector<FleetJob>> ParseSqueue(absl::string_view text) {
  std::vector<FleetJob> jobs;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (line.empty()) continue;
    const std::vector<absl::string_view> fields = absl::StrSplit(line, '|');
    int64_t array = 0;
    if (fields.size() != 4 || !absl::SimpleAtoi(fields[0], &array)) {
      return absl::InternalError(
          absl::StrCat("squeue printed \"", line.substr(0, 200),
                       "\": expected JOB|INDEX|STATE|REASON"));
    }
    int seat = 0;
    if (!absl::SimpleAtoi(fields[1], &seat) || seat < 0) continue;  // "N/A".
    jobs.push_back({.id = absl::StrCat(array, "_", seat),
                    .seat = seat,
                    .state = StateOf(fields[2], fields[3])});
  }
  return jobs;
}

std::vector<std::string> ScontrolCommand() {
  return {"scontrol", "show", "config"};
}

std::optional<int> MaxArraySize(absl::string_view text) {
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits('=', 1));
    int size = 0;
    if (absl::StripAsciiWhitespace(parts.first) == "MaxArraySize" &&
        absl::SimpleAtoi(parts.second, &size) && size >= 0) {
      return size;
    }
  }
  return std::nullopt;
}

}  // namespace hwnas::cli
