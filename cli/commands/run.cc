// hwnas run STUDY.yaml: the whole service on this machine, for one study.
//
// The same programs as on a cluster run as child processes on loopback. All of
// them are started and watched by the main thread, which also redraws the
// display; a second thread only reads the stream of updates.
#include <sys/utsname.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/local_data.h"
#include "cli/results.h"
#include "cli/study_file.h"
#include "cli/study_folder.h"
#include "cli/supervisor.h"
#include "cli/trial_table.h"
#include "common/address.h"
#include "common/clock.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "nas/problem/metered.h"
#include "proto/convert/convert.h"
#include "proto/convert/resource_names.h"

namespace hwnas::cli {
namespace {

namespace fs = std::filesystem;

std::atomic<int> interrupts{0};
void OnInterrupt(int) { interrupts.fetch_add(1); }

struct RunOptions {
  std::string file;
  std::string dir;
  bool fresh = false;
  std::string pick;
  std::string data_dir;
  std::string device_class;
  std::string tables;
};

// What the agent calls this machine by default. Empty where only the agent
// itself can tell (boards have classes of their own).
std::string ObviousDeviceClass() {
  utsname name = {};
  if (uname(&name) != 0) return "";
  return std::string(name.machine) == "x86_64" ? "x86_64" : "";
}

class EmbeddedRun {
 public:
  EmbeddedRun(Context* context, RunOptions options)
      : context_(*context), options_(std::move(options)) {}

  absl::Status Run() {
    LoadedStudy study = LoadedStudy::Load(options_.file);
    std::string dir = options_.dir;
    if (dir.empty()) {
      dir = (fs::path(options_.file).parent_path() / study.id()).string();
    }
    std::error_code error;
    dir = fs::absolute(dir, error).lexically_normal().string();
    while (dir.size() > 1 && dir.back() == '/') dir.pop_back();
    if (study.ok()) CheckThisMachine(&study);
    // A study that has begun keeps what it began with: its sources may be gone.
    const bool begun =
        !options_.fresh && fs::exists(dir + "/study.json", error);
    LoadedStudy copy = study;
    LoadSources(begun ? &copy : &study);
    if (!study.ok()) {
      *context_.err << study.Render();
      context_.exit_code = kExitBadInput;
      return absl::OkStatus();
    }
    for (const char* program :
         {"hwnas-controller", "hwnas-worker", "hwnas-agent"}) {
      if (!Needed(program)) continue;
      if (!fs::exists(Program(program))) {
        return absl::FailedPreconditionError(
            absl::StrCat(program, " is not in ", context_.program_dir,
                         ", beside this program: build or install it there"));
      }
    }
    HWNAS_ASSIGN_OR_RETURN(
        folder_, StudyFolder::Open(dir, study.file(), options_.fresh));

    struct sigaction action = {};
    action.sa_handler = OnInterrupt;
    struct sigaction old_int, old_term;
    interrupts = 0;
    sigaction(SIGINT, &action, &old_int);
    sigaction(SIGTERM, &action, &old_term);
    absl::Cleanup restore = [&] {
      sigaction(SIGINT, &old_int, nullptr);
      sigaction(SIGTERM, &old_term, nullptr);
    };
    absl::Status status = Search(study);
    StopChildren();
    if (interrupts > 0) {
      *context_.err << "\nStopped. Everything finished is kept in "
                    << folder_->path() << "; to go on:\n  hwnas run "
                    << options_.file
                    << (options_.dir.empty() ? "" : " --dir " + options_.dir)
                    << "\n";
      context_.exit_code = kExitInterrupted;
      return absl::OkStatus();
    }
    return status;
  }

 private:
  // What a worker or an agent of this machine could not do.
  void CheckThisMachine(LoadedStudy* study) {
    const std::string here = options_.device_class.empty()
                                 ? ObviousDeviceClass()
                                 : options_.device_class;
    if (study->spec().has_replay()) {
      std::error_code error;
      tables_dir_ = fs::absolute(TablesDir(options_.tables, options_.file,
                                           study->spec().replay()),
                                 error)
                        .lexically_normal()
                        .string();
      LoadLocalTables(study, tables_dir_);
    }
    for (const MetricKey& key : ProblemFromProto(study->spec()).Keys()) {
      if (IsMetered(key.metric)) metered_.push_back(key);
    }
    for (const StageKey& stage : StagesOf(study->spec())) {
      stages_.push_back(stage);
      if (stage.kind == v1::TRAIN) {
        const absl::Status data =
            CheckLocalData(study->spec().train(), options_.data_dir);
        if (!data.ok()) {
          const bool named = !study->spec().train().data_dir().empty();
          study->AddError(named ? "spec.train.data_dir" : "spec.train.dataset",
                          std::string(data.message()));
        }
      }
      if (stage.kind == v1::MEASURE && !here.empty() &&
          stage.device_class != here) {
        for (int i = 0; i < study->spec().objectives_size(); ++i) {
          const v1::Objective& objective = study->spec().objectives(i);
          const std::string path = absl::StrCat("spec.objectives[", i, "]");
          if (objective.device() == stage.device_class) {
            study->AddError(path + ".device",
                            ElsewhereMessage(stage.device_class, here));
          }
          for (int j = 0; j < objective.devices_size(); ++j) {
            if (objective.devices(j) == stage.device_class) {
              study->AddError(absl::StrCat(path, ".devices[", j, "]"),
                              ElsewhereMessage(stage.device_class, here));
            }
          }
        }
        for (int i = 0; i < study->spec().constraints_size(); ++i) {
          if (study->spec().constraints(i).device() == stage.device_class) {
            study->AddError(absl::StrCat("spec.constraints[", i, "].device"),
                            ElsewhereMessage(stage.device_class, here));
          }
        }
      }
    }
  }
  void LoadSources(LoadedStudy* study) {
    for (int i = 0; study->ok() && i < study->spec().warm_start_size(); ++i) {
      if (study->spec().warm_start(i).study().empty()) continue;
      study->AddError(absl::StrCat("spec.warm_start[", i, "].study"),
                      "'hwnas run' has a controller of its own, without other "
                      "studies: expected folder, that of the results of '" +
                          study->spec().warm_start(i).study() + "'");
    }
    sources_ = LoadLocalSources(study, options_.file);
  }
  static std::string ElsewhereMessage(const std::string& wanted,
                                      const std::string& here) {
    return absl::StrCat("'hwnas run' measures on this machine, an ", here,
                        ", not on '", wanted, "': expected ", here,
                        "; or start a controller, an agent on the device, and "
                        "'hwnas submit' this file");
  }

  bool Needed(absl::string_view program) const {
    if (program == "hwnas-controller") return true;
    const v1::StageKind kind =
        program == "hwnas-worker" ? v1::TRAIN : v1::MEASURE;
    for (const StageKey& stage : stages_) {
      if (stage.kind == kind) return true;
    }
    return false;
  }
  std::string Program(absl::string_view name) const {
    return absl::StrCat(context_.program_dir, "/", name);
  }
  std::string Log(const std::string& name) const {
    return folder_->Path(absl::StrCat("logs/", name, ".log"));
  }

  // Starts the controller and waits until it says where it listens.
  absl::Status StartController() {
    const std::string port_file = folder_->Path("store/ports.json");
    std::error_code error;
    fs::remove(port_file, error);
    // Its store is this folder, whatever a cluster's is. No other thread runs
    // yet. NOLINTNEXTLINE(concurrency-mt-unsafe)
    unsetenv("HWNAS_STORE_URL");
    HWNAS_RETURN_IF_ERROR(supervisor_.Start(
        {"controller",
         [this, port_file] {
           std::vector<std::string> command = {
               Program("hwnas-controller"),
               absl::StrCat("--store=", folder_->Path("store")),
               // After a crash at the same address, where all others look.
               absl::StrCat("--listen=",
                            address_.empty() ? "127.0.0.1:0" : address_),
               "--metrics=", absl::StrCat("--port_file=", port_file),
               // One machine, whose numbers are compared with each other only.
               "--anchor_interval=0"};
           if (!tables_dir_.empty()) {
             command.push_back("--tables_dir=" + tables_dir_);
           }
           return command;
         },
         Log("controller")}));
    const absl::Time deadline = absl::Now() + absl::Seconds(60);
    for (;;) {
      HWNAS_RETURN_IF_ERROR(Tick());
      const absl::StatusOr<std::string> text = ReadFile(port_file, 4096);
      if (text.ok()) {
        const auto ports = nlohmann::json::parse(*text, nullptr, false);
        if (ports.is_object() && ports.contains("grpc") &&
            ports["grpc"].is_string()) {
          address_ = ports["grpc"].get<std::string>();
          bool loopback = false;
          return CheckAddress("controller address", address_, /*min_port=*/1,
                              &loopback);
        }
      }
      if (absl::Now() > deadline) {
        return absl::InternalError(absl::StrCat(
            "the controller did not start within a minute. The end of its "
            "log, ",
            Log("controller"), ":\n", LastLines(Log("controller"), 10)));
      }
      absl::SleepFor(absl::Milliseconds(20));
    }
  }

  absl::Status StartExecutors() {
    if (Needed("hwnas-worker")) {
      HWNAS_RETURN_IF_ERROR(supervisor_.Start(
          {"worker",
           [this] {
             std::vector<std::string> command = {
                 Program("hwnas-worker"), "--controller=" + address_,
                 "--id=local-worker",
                 "--spool_dir=" + folder_->Path("spool/worker"), "--metrics="};
             if (!options_.data_dir.empty()) {
               command.push_back("--data_dir=" + options_.data_dir);
             }
             return command;
           },
           Log("worker")}));
      running_.push_back("worker");
    }
    if (Needed("hwnas-agent")) {
      HWNAS_RETURN_IF_ERROR(supervisor_.Start(
          {"agent",
           [this] {
             std::vector<std::string> command = {
                 Program("hwnas-agent"), "--controller=" + address_,
                 "--id=local-agent",
                 "--spool_dir=" + folder_->Path("spool/agent"), "--metrics=",
                 // A training that waits for the cores waits for one network.
                 "--interleave=1"};
             if (!options_.device_class.empty()) {
               command.push_back("--device_class=" + options_.device_class);
             }
             return command;
           },
           Log("agent")}));
      running_.push_back("agent");
    }
    return absl::OkStatus();
  }

  // Interrupts, and children that died.
  absl::Status Tick() {
    if (interrupts > 0) return absl::CancelledError("interrupted");
    std::vector<std::string> notes;
    const absl::Status status = supervisor_.Poll(&notes);
    for (const std::string& note : notes) {
      if (display_ != nullptr) {
        display_->Print(note, absl::Now());
      } else {
        *context_.err << "hwnas: " << note << "\n";
      }
    }
    return status;
  }

  absl::Status Search(const LoadedStudy& study) {
    const absl::Time begun = absl::Now();
    HWNAS_RETURN_IF_ERROR(StartController());
    Client client(context_.connect(address_), address_);
    v1::CreateStudyRequest request;
    request.set_study_id(study.id());
    *request.mutable_spec() = study.spec();
    request.set_description(study.file().metadata().description());
    request.mutable_source_trials()->Assign(sources_.begin(), sources_.end());
    // Harmless to repeat, should the controller end and be started again.
    absl::StatusOr<v1::Study> created = client.CreateStudy(request);
    const absl::Time deadline = absl::Now() + absl::Seconds(60);
    while (absl::IsUnavailable(created.status()) && absl::Now() < deadline) {
      HWNAS_RETURN_IF_ERROR(Tick());
      absl::SleepFor(absl::Milliseconds(100));
      created = client.CreateStudy(request);
    }
    HWNAS_ASSIGN_OR_RETURN(v1::Study found, std::move(created));
    if (found.state() == v1::Study::PAUSED) {
      HWNAS_ASSIGN_OR_RETURN(found, client.ResumeStudy(found.name()));
    }
    const int64_t done = found.progress().completed_count() +
                         found.progress().infeasible_count();
    const bool ended = found.state() == v1::Study::COMPLETED ||
                       found.state() == v1::Study::CANCELLED;
    if (ended) {
      *context_.out << "The study " << study.id() << " is "
                    << (found.state() == v1::Study::COMPLETED
                            ? "already finished"
                            : "finished: it was cancelled")
                    << " (" << done << " trials). Its results again; --fresh "
                    << "searches anew.\n";
    } else {
      HWNAS_RETURN_IF_ERROR(StartExecutors());
      *context_.out << (FromProto(found.create_time()) < begun ? "Resuming"
                                                               : "Searching")
                    << " " << study.id() << " in " << folder_->path()
                    << " (controller at " << address_
                    << "; Ctrl-C stops, to be resumed later)\n";
      for (const StageKey& stage : stages_) {
        if (stage.kind == v1::ASK) {
          *context_.out << "Trials wait for your own evaluator: ask for them "
                           "at "
                        << address_ << "\n";
        }
      }
      context_.out->flush();
      LiveDisplay display(context_.out, context_.out_is_terminal);
      display_ = &display;
      absl::Cleanup forget = [&] { display_ = nullptr; };
      FollowOptions follow;
      follow.wait_for_controller = true;
      follow.on_tick = [&]() -> absl::Status {
        HWNAS_RETURN_IF_ERROR(Tick());
        return CheckDevices(&client);
      };
      HWNAS_ASSIGN_OR_RETURN(
          found, FollowStudy(&client, found.name(), &display, follow));
    }
    return Conclude(&client, study, found.name());
  }

  // Once the agent is there: does it measure for the classes that are asked?
  absl::Status CheckDevices(Client* client) {
    if (devices_checked_ || !Needed("hwnas-agent") ||
        absl::Now() < next_device_check_) {
      return absl::OkStatus();
    }
    next_device_check_ = absl::Now() + absl::Seconds(1);
    const absl::StatusOr<std::vector<v1::Device>> devices =
        client->ListDevices();
    if (!devices.ok() || devices->empty()) return absl::OkStatus();
    devices_checked_ = true;
    std::vector<std::string> classes;
    for (const v1::Device& device : *devices) {
      classes.insert(classes.end(), device.device_classes().begin(),
                     device.device_classes().end());
    }
    for (const StageKey& stage : stages_) {
      if (stage.kind != v1::MEASURE) continue;
      if (std::find(classes.begin(), classes.end(), stage.device_class) ==
          classes.end()) {
        return absl::InvalidArgumentError(
            ElsewhereMessage(stage.device_class, absl::StrJoin(classes, ", ")));
      }
      HWNAS_RETURN_IF_ERROR(CheckPower(*devices, stage));
    }
    return absl::OkStatus();
  }

  // Whether a device can measure the energy that the study asks for.
  absl::Status CheckPower(const std::vector<v1::Device>& devices,
                          const StageKey& stage) const {
    for (const MetricKey& key : metered_) {
      if (key.device_class != stage.device_class) continue;
      std::string why;
      bool found = false;
      for (const v1::Device& device : devices) {
        const v1::PowerSource& power = device.executor().power();
        found |= !power.name().empty();
        why = power.why_none();
      }
      if (found) continue;
      return absl::FailedPreconditionError(absl::StrCat(
          key.ToString(),
          " cannot be measured: this machine has no power "
          "source (",
          Printable(why, 400), "). docs/power.md lists what can be one"));
    }
    return absl::OkStatus();
  }

  absl::Status Conclude(Client* client, const LoadedStudy& study,
                        const std::string& name) {
    HWNAS_ASSIGN_OR_RETURN(ReportInput results, FetchResults(client, name));
    if (absl::StatusOr<std::string> text = ReadFile(options_.file); text.ok()) {
      results.study_text = *std::move(text);
    }
    const std::vector<v1::Trial> members(results.front.trials().begin(),
                                         results.front.trials().end());
    const v1::StudyProgress progress = results.study.progress();
    *context_.out << "\nfinished: " << results.trials.size() << " trials in "
                  << FormatSeconds(progress.elapsed_seconds()) << ", "
                  << SimulatedText(results.study) << progress.infeasible_count()
                  << " infeasible, " << members.size()
                  << " on the front, hypervolume "
                  << FormatNumber(results.front.hypervolume(), 5) << "\n\n"
                  << FrontTable(results.study.spec(), members).ToText();
    for (const v1::Front& front : results.device_fronts) {
      *context_.out << "\n" << DeviceFrontText(results.study.spec(), front);
    }
    HWNAS_ASSIGN_OR_RETURN(const WrittenResults written,
                           WriteResults(client, std::move(results),
                                        folder_->path(), options_.pick));
    *context_.out << "\nWrote to " << folder_->path() << ":\n";
    if (!written.why_no_model.empty()) {
      *context_.out << "  (no best.onnx: " << written.why_no_model << ")\n";
    }
    for (const std::string& file : written.files) {
      *context_.out << "  " << file;
      const auto describe = [&](int64_t trial, bool trained) {
        *context_.out << "  (trial " << trial << ", "
                      << (options_.pick.empty() ? "" : options_.pick + ", ")
                      << (trained ? "trained" : "random") << " weights)";
      };
      if (file == "best.onnx") {
        describe(written.chosen_trial, written.trained);
      }
      for (const WrittenResults::OfDevice& device : written.of_devices) {
        if (file == device.file) describe(device.chosen_trial, device.trained);
      }
      *context_.out << "\n";
    }
    if (written.chosen_trial > 0 && Needed("hwnas-worker")) {
      *context_.out << "Train a member of the front to the end with: hwnas "
                       "train --study "
                    << folder_->path() << " --trial best\n";
    }
    return absl::OkStatus();
  }

  void StopChildren() {
    const auto hurry = [] { return interrupts > 1; };
    if (interrupts > 0) {
      *context_.err << "\nStopping: work in hand is given back (Ctrl-C again "
                       "to stop at once)"
                    << std::endl;
    }
    // Those who report first, then the one they report to.
    supervisor_.Stop(running_, hurry);
    supervisor_.Stop({"controller"}, hurry);
  }

  Context& context_;
  const RunOptions options_;
  std::vector<StageKey> stages_;
  // What only a power meter gives.
  std::vector<MetricKey> metered_;
  std::string tables_dir_;  // Of a replay; else empty.
  std::vector<v1::SourceTrials> sources_;
  std::unique_ptr<StudyFolder> folder_;
  std::string address_;
  std::vector<std::string> running_;
  LiveDisplay* display_ = nullptr;
  bool devices_checked_ = false;
  absl::Time next_device_check_ = absl::InfinitePast();
  Supervisor supervisor_{SupervisorOptions(), Clock::Real()};
};

}  // namespace

void AddRunCommand(CLI::App* app, Context* context) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app->add_subcommand(
      "run", "Run a whole study on this machine: controller, worker, agent");
  command->add_option("file", options->file, "Study file")->required();
  command->add_option("-d,--dir", options->dir,
                      "Folder for everything. Without it <name>/ beside the "
                      "study file");
  command->add_flag("--fresh", options->fresh,
                    "Delete what an earlier run left in the folder");
  command
      ->add_option("--pick", options->pick,
                   "Front member to write as best.onnx: knee, best, or an "
                   "objective such as accuracy. Without it best if the study "
                   "has a score, else knee")
      ->type_name("PICK");
  command->add_option("--data-dir", options->data_dir,
                      "Where the worker finds data sets. Without it the "
                      "system's packages");
  command->add_option("--tables", options->tables,
                      "Where the tables of a study with replay lie. Without it "
                      "beside the study file, else $HWNAS_DATA_DIR");
  command->add_option("--device-class", options->device_class,
                      "What to call this machine. Without it, detected");
  SetExamples(command,
              {"hwnas run examples/fashion_mnist.yaml",
               "hwnas run study.yaml --dir results --pick accuracy",
               "hwnas run study.yaml --fresh          # start over",
               "hwnas run examples/replay_nasbench201.yaml --tables tables",
               "Run it again to resume, or to see the results again."});
  SetAction(command, context, [context, options] {
    return EmbeddedRun(context, *options).Run();
  });
}

}  // namespace hwnas::cli
