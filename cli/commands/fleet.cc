// hwnas fleet slurm: as many workers in a Slurm partition as there is work for.
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "cli/commands.h"
#include "cli/slurm.h"
#include "cli/worker_fleet.h"
#include "cli/worker_sbatch.h"
#include "common/command_runner.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "common/text.h"

namespace hwnas::cli {
namespace {

constexpr absl::Duration kSlurmTimeout = absl::Seconds(60);
constexpr int kMaxWorkers = 10000;
// An id of a worker has 63 characters; a seat needs some.
constexpr size_t kMaxNameBytes = 50;

struct Options {
  std::string partition;
  std::string name = "hwnas";
  int min = 0;
  int max = 0;
  int step = 8;
  std::string idle = "2m";
  std::string interval = "15s";
  std::string folder;
  std::string controller;
  std::string program;
  std::string script;
  std::vector<std::string> sbatch;
  std::vector<std::string> worker;
  bool once = false;
  bool dry_run = false;
};

absl::StatusOr<absl::Duration> DurationOf(const std::string& option,
                                          const std::string& text,
                                          absl::Duration least) {
  absl::Duration duration;
  if (absl::ParseDuration(text, &duration) && duration >= least &&
      duration <= absl::Hours(24 * 7)) {
    return duration;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(option, " is \"", text, "\": expected ",
                   absl::FormatDuration(least), " to 168h, for example 90s"));
}

absl::Status Check(const Options& options) {
  if (!IsShortName(options.name, "-") || options.name.size() > kMaxNameBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("--name is \"", options.name,
                     "\": expected 1 to 50 of a-z, 0-9 and -: workers are "
                     "called NAME-0, NAME-1, ..."));
  }
  if (options.min < 0 || options.max < options.min ||
      options.max > kMaxWorkers) {
    return absl::InvalidArgumentError(
        absl::StrCat("--min is ", options.min, " and --max is ", options.max,
                     ": expected 0 <= min <= max <= ", kMaxWorkers));
  }
  if (options.step < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("--step is ", options.step, ": expected at least 1"));
  }
  for (const std::string* value : {&options.program, &options.folder}) {
    if (absl::StrContains(*value, ',')) {
      return absl::InvalidArgumentError(absl::StrCat(
          "\"", *value, "\" has a comma, which Slurm would not take"));
    }
  }
  return absl::OkStatus();
}

// The seat of a worker of the fleet.
std::optional<int> SeatOf(const v1::Executor& worker,
                          const std::string& fleet) {
  absl::string_view name = worker.name();
  int seat = 0;
  if (absl::ConsumePrefix(&name, absl::StrCat("workers/", fleet, "-")) &&
      absl::SimpleAtoi(name, &seat) && absl::StrCat(seat) == name) {
    return seat;
  }
  return std::nullopt;
}

absl::StatusOr<int> QueuedTrainings(Client& client) {
  int queued = 0;
  HWNAS_ASSIGN_OR_RETURN(const std::vector<v1::Study> studies,
                         client.ListStudies());
  for (const v1::Study& study : studies) {
    if (study.state() != v1::Study::RUNNING) continue;
    HWNAS_ASSIGN_OR_RETURN(const std::vector<v1::Trial> trials,
                           client.ListTrials(study.name(), v1::Trial::ACTIVE));
    for (const v1::Trial& trial : trials) {
      for (const v1::TrialStage& stage : trial.stages()) {
        queued += stage.kind() == v1::TRAIN &&
                  stage.state() == v1::TrialStage::QUEUED;
      }
    }
  }
  return queued;
}

class SlurmFleet {
 public:
  SlurmFleet(Options options, Context* context)
      : options_(std::move(options)), context_(*context) {}

  absl::Status Run() {
    HWNAS_RETURN_IF_ERROR(Check(options_));
    HWNAS_ASSIGN_OR_RETURN(
        const absl::Duration idle,
        DurationOf("--idle", options_.idle, absl::ZeroDuration()));
    HWNAS_ASSIGN_OR_RETURN(
        const absl::Duration interval,
        DurationOf("--interval", options_.interval, absl::Seconds(1)));
    HWNAS_RETURN_IF_ERROR(CheckSeats());
    HWNAS_RETURN_IF_ERROR(PrepareJobs());
    FleetPlanner planner({.min = options_.min,
                          .max = options_.max,
                          .step = options_.step,
                          .idle = idle});
    std::string complaint;
    for (;;) {
      const absl::Status status = Turn(planner);
      if (options_.once || options_.dry_run) return status;
      // The first turn shows whether it can work at all; later everything may
      // be away for a while, and the jobs stay as they are.
      if (!status.ok() && !begun_) return status;
      if (status.message() != complaint) {
        complaint = std::string(status.message());
        if (!status.ok()) {
          *context_.err << "hwnas: " << complaint << "; trying again every "
                        << options_.interval << std::endl;
        }
      }
      absl::SleepFor(interval);
    }
  }

 private:
  // Before jobs are refused when the fleet has grown. Unless Slurm does not
  // say: whether it is there at all is seen in the first turn.
  absl::Status CheckSeats() {
    const absl::StatusOr<std::string> config = Call(ScontrolCommand());
    if (!config.ok()) return absl::OkStatus();
    const std::optional<int> size = MaxArraySize(*config);
    if (!size || options_.max <= *size) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "--max is ", options_.max, ", but arrays of this Slurm have at most ",
        *size, " elements (MaxArraySize in slurm.conf): give --max ", *size,
        " or less, and for more workers run another fleet with another "
        "--name"));
  }

  absl::Status PrepareJobs() {
    if (options_.folder.empty()) options_.folder = "fleet-" + options_.name;
    std::error_code error;
    options_.folder = std::filesystem::absolute(options_.folder, error);
    if (!options_.dry_run) {
      HWNAS_RETURN_IF_ERROR(MakeDirectories(options_.folder + "/logs"));
    }
    if (options_.program.empty()) {
      const std::string beside = context_.program_dir + "/hwnas-worker";
      if (access(beside.c_str(), X_OK) == 0) options_.program = beside;
    }
    jobs_ = {.name = options_.name,
             .partition = options_.partition,
             .folder = options_.folder,
             .more = options_.sbatch,
             .script = options_.script};
    if (!options_.program.empty()) {
      jobs_.environment.push_back("HWNAS_WORKER=" + options_.program);
    }
    jobs_.script_arguments = {"--controller=" + (options_.controller.empty()
                                                     ? context_.server
                                                     : options_.controller)};
    jobs_.script_arguments.insert(jobs_.script_arguments.end(),
                                  options_.worker.begin(),
                                  options_.worker.end());
    return absl::OkStatus();
  }

  absl::StatusOr<FleetView> Look() {
    // Each time: it also renews a certificate that is due.
    HWNAS_RETURN_IF_ERROR(context_.PrepareToDial());
    Client client = context_.MakeClient();
    FleetView view = {.now = absl::Now()};
    HWNAS_ASSIGN_OR_RETURN(const std::string queue,
                           Call(SqueueCommand(options_.name)));
    HWNAS_ASSIGN_OR_RETURN(view.jobs, ParseSqueue(queue));
    HWNAS_ASSIGN_OR_RETURN(view.queued_trainings, QueuedTrainings(client));
    HWNAS_ASSIGN_OR_RETURN(const std::vector<v1::Executor> workers,
                           client.ListExecutors(v1::WORKER));
    for (const v1::Executor& worker : workers) {
      view.busy_slots += worker.busy_slots();
      if (worker.state() == v1::Executor::LOST) continue;
      if (const std::optional<int> seat = SeatOf(worker, options_.name)) {
        view.busy_by_seat[*seat] = worker.busy_slots();
      } else if (worker.state() == v1::Executor::CONNECTED) {
        view.foreign_slots += worker.slots();
      }
    }
    return view;
  }

  absl::Status Turn(FleetPlanner& planner) {
    HWNAS_ASSIGN_OR_RETURN(const FleetView view, Look());
    const FleetPlan plan = planner.Plan(view);
    Tell(view, plan);
    std::vector<FleetJob> ending = plan.withdrawn;
    ending.insert(ending.end(), plan.dismissed.begin(), plan.dismissed.end());
    if (!ending.empty()) HWNAS_RETURN_IF_ERROR(Do(ScancelCommand(ending)));
    if (!plan.begin.empty()) HWNAS_RETURN_IF_ERROR(Submit(plan.begin));
    begun_ = true;
    return absl::OkStatus();
  }

  absl::Status Submit(const std::vector<int>& seats) {
    if (!options_.script.empty() || options_.dry_run) {
      if (jobs_.script.empty()) jobs_.script = "worker.sbatch";
      return Do(SbatchCommand(jobs_, seats));
    }
    // Slurm copies it while it is submitted.
    jobs_.script = absl::StrCat(options_.folder, "/worker.sbatch.", getpid());
    HWNAS_RETURN_IF_ERROR(WriteFileAtomically(jobs_.script, kWorkerSbatch));
    absl::Cleanup remove = [&] { unlink(jobs_.script.c_str()); };
    return Do(SbatchCommand(jobs_, seats));
  }

  // What changes something; a dry run only says so.
  absl::Status Do(const std::vector<std::string>& command) {
    if (options_.dry_run) {
      *context_.out << absl::StrJoin(command, " ") << std::endl;
      return absl::OkStatus();
    }
    return Call(command).status();
  }

  absl::StatusOr<std::string> Call(const std::vector<std::string>& command) {
    absl::StatusOr<std::string> output = commands_.Run(command, kSlurmTimeout);
    if (!absl::IsNotFound(output.status())) return output;
    return absl::FailedPreconditionError(absl::StrCat(
        command[0],
        " is not in $PATH: run this where jobs can be submitted to Slurm "
        "(Debian's package is slurm-client)"));
  }

  // One line a turn, unless it says what the last one said.
  void Tell(const FleetView& view, const FleetPlan& plan) {
    int waiting = 0, running = 0;
    for (const FleetJob& job : view.jobs) {
      waiting += job.state == FleetJob::State::kWaiting;
      running += job.state == FleetJob::State::kRunning;
    }
    const std::string line = absl::StrCat(
        "queued=", view.queued_trainings, " busy=", view.busy_slots,
        " running=", running, " waiting=", waiting, " wanted=", plan.wanted,
        " begin=", plan.begin.size(), " withdraw=", plan.withdrawn.size(),
        " dismiss=", plan.dismissed.size());
    if (line == last_line_) return;
    last_line_ = line;
    *context_.out << absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", view.now,
                                      absl::UTCTimeZone())
                  << " " << line << std::endl;
    if (plan.paused_until > view.now) {
      *context_.err << "hwnas: the last jobs ended before their workers were "
                       "connected; see "
                    << options_.folder << "/logs. None begins for "
                    << absl::FormatDuration(absl::Ceil(
                           plan.paused_until - view.now, absl::Seconds(1)))
                    << std::endl;
    }
  }

  Options options_;
  Context& context_;
  ProcessRunner commands_;
  SlurmJobOptions jobs_;
  std::string last_line_;
  bool begun_ = false;  // A turn went well.
};

void AddSlurm(CLI::App* fleet, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = fleet->add_subcommand(
      "slurm",
      "Keep as many workers in a Slurm partition as there are trainings to do: "
      "submits an array of jobs when trainings wait, and ends jobs whose "
      "workers are idle. Goes on until it is stopped; the jobs stay then");
  command
      ->add_option("-p,--partition", options->partition,
                   "Where the jobs are submitted")
      ->required();
  command->add_option("--min", options->min, "Workers there are at least")
      ->capture_default_str();
  command->add_option("--max", options->max, "Workers there are at most")
      ->required();
  command
      ->add_option("--step", options->step, "Jobs that begin at once, at most")
      ->capture_default_str();
  command
      ->add_option("--idle", options->idle,
                   "A worker leaves when it has had nothing to do for so long")
      ->capture_default_str();
  command->add_option("--interval", options->interval, "How often to look")
      ->capture_default_str();
  command
      ->add_option("--name", options->name,
                   "Of the jobs; workers are called NAME-0, NAME-1, ... With "
                   "TLS their certificate is of worker NAME-*")
      ->capture_default_str();
  command->add_option("--dir", options->folder,
                      "Folder that all machines share, for checkpoints, spools "
                      "and logs. Without it fleet-NAME");
  command
      ->add_option("--controller", options->controller,
                   "What the workers dial. Without it --server")
      ->type_name("HOST:PORT");
  command->add_option("--program", options->program,
                      "hwnas-worker on the machines of the partition. Without "
                      "it the one beside this program, else the one in $PATH");
  command
      ->add_option("--sbatch", options->sbatch,
                   "Another option of sbatch, once for each: "
                   "--sbatch=--cpus-per-task=4")
      ->allow_extra_args(false);
  command->add_option("--script", options->script,
                      "Batch script instead of deploy/slurm/worker.sbatch");
  command->add_flag("--once", options->once,
                    "One look, and leave; for cron. Idle workers are then only "
                    "sent away with --idle 0s");
  command->add_flag("--dry-run", options->dry_run,
                    "One look, and print what would be done");
  command->add_option("worker", options->worker,
                      "After --: options of hwnas-worker");
  AddServerOption(command, context);
  SetExamples(
      command,
      {"hwnas fleet slurm -p main --max 20 --server ctl:7420 -- "
       "--tls_dir=/shared/tls",
       "hwnas fleet slurm -p gpu --min 2 --max 64 --sbatch=--gres=gpu:1 "
       "--sbatch=--time=4:00:00",
       "hwnas fleet slurm -p main --max 20 --dry-run"});
  SetAction(command, context, [=]() -> absl::Status {
    return SlurmFleet(*options, context).Run();
  });
}

}  // namespace

void AddFleetCommand(CLI::App* app, Context* context) {
  CLI::App* fleet = app->add_subcommand(
      "fleet", "Workers on a cluster that come and go with the work");
  fleet->require_subcommand(1);
  SetExamples(fleet, {"hwnas fleet slurm --partition main --max 20"});
  AddSlurm(fleet, context);
}

}  // namespace hwnas::cli
