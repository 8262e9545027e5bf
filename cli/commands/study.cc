// hwnas submit, watch, show, trials, front: one study on a controller
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/local_data.h"
#include "cli/study_file.h"
#include "cli/trial_table.h"
#include "common/status_macros.h"
#include "google/protobuf/util/json_util.h"
#include "proto/convert/convert.h"
#include "proto/convert/resource_names.h"

namespace hwnas::cli {
namespace {

// The front as people read it, below a finished watch.
absl::Status PrintFront(Client* client, const v1::Study& study,
                        std::ostream* out) {
  HWNAS_ASSIGN_OR_RETURN(const v1::Front front, client->GetFront(study.name()));
  const std::vector<v1::Trial> trials(front.trials().begin(),
                                      front.trials().end());
  *out << FrontTable(study.spec(), trials).Render(OutputFormat::kTable);
  for (const std::string& device_class :
       ProblemFromProto(study.spec()).FrontDevices()) {
    HWNAS_ASSIGN_OR_RETURN(const v1::Front of_device,
                           client->GetFront(study.name(), device_class));
    *out << "\n" << DeviceFrontText(study.spec(), of_device);
  }
  return absl::OkStatus();
}

absl::Status Watch(Context* context, Client* client, const std::string& name) {
  LiveDisplay display(context->out, context->out_is_terminal);
  HWNAS_ASSIGN_OR_RETURN(const v1::Study study,
                         FollowStudy(client, name, &display, {}));
  *context->out << "\nstudy " << StudyStateName(study.state()) << "; front:\n";
  return PrintFront(client, study, context->out);
}

CLI::App* AddStudyCommand(CLI::App* app, const std::string& name,
                          const std::string& help, std::string* study) {
  CLI::App* command = app->add_subcommand(name, help);
  command->add_option("study", *study, "Name of the study")->required();
  return command;
}

}  // namespace

void AddSubmitCommand(CLI::App* app, Context* context) {
  struct Options {
    std::string file;
    std::string user;
    bool watch = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app->add_subcommand(
      "submit", "Check a study file and start it on a controller");
  command->add_option("file", options->file, "Study file")->required();
  command->add_flag("-w,--watch", options->watch, "Then watch it to its end");
  AddUserOption(command, &options->user);
  AddServerOption(command, context);
  SetExamples(command, {"hwnas submit study.yaml",
                        "hwnas submit study.yaml --server ctl:7420 --watch",
                        "Submitting the same file again is harmless."});
  SetAction(command, context, [=]() -> absl::Status {
    LoadedStudy study = LoadedStudy::Load(options->file);
    const std::vector<v1::SourceTrials> sources =
        LoadLocalSources(&study, options->file);
    if (!study.ok()) {
      *context->err << study.Render();
      context->exit_code = kExitBadInput;
      return absl::OkStatus();
    }
    Client client = context->MakeClient();
    v1::CreateStudyRequest request;
    request.set_study_id(study.id());
    *request.mutable_spec() = study.spec();
    request.set_description(study.file().metadata().description());
    request.set_user(options->user);
    request.mutable_source_trials()->Assign(sources.begin(), sources.end());
    HWNAS_ASSIGN_OR_RETURN(const v1::Study created,
                           client.CreateStudy(request));
    *context->out << created.name() << " is " << StudyStateName(created.state())
                  << "; follow it with 'hwnas watch " << study.id() << "'\n";
    if (!options->watch) return absl::OkStatus();
    return Watch(context, &client, created.name());
  });
}

void AddWatchCommand(CLI::App* app, Context* context) {
  auto study = std::make_shared<std::string>();
  CLI::App* command = AddStudyCommand(
      app, "watch", "Follow a study live, until it ends", study.get());
  AddServerOption(command, context);
  SetExamples(command,
              {"hwnas watch fashion-mnist",
               "hwnas watch fashion-mnist | tee search.log   # a line an event",
               "It goes on when the controller restarts."});
  SetAction(command, context, [=]() -> absl::Status {
    HWNAS_ASSIGN_OR_RETURN(const std::string name, StudyNameFromUser(*study));
    Client client = context->MakeClient();
    return Watch(context, &client, name);
  });
}

void AddShowCommand(CLI::App* app, Context* context) {
  auto study = std::make_shared<std::string>();
  CLI::App* command = AddStudyCommand(
      app, "show", "State, counters and settings of one study", study.get());
  command->alias("status");
  AddServerOption(command, context);
  AddOutputOption(command, context);
  SetExamples(command, {"hwnas show fashion-mnist",
                        "hwnas status fashion-mnist --output json"});
  SetAction(command, context, [=]() -> absl::Status {
    HWNAS_ASSIGN_OR_RETURN(const std::string name, StudyNameFromUser(*study));
    Client client = context->MakeClient();
    HWNAS_ASSIGN_OR_RETURN(const v1::Study found, client.GetStudy(name));
    google::protobuf::util::JsonPrintOptions json_options;
    json_options.preserve_proto_field_names = true;
    json_options.add_whitespace = true;
    std::string json;
    if (context->format() == OutputFormat::kJson) {
      (void)google::protobuf::util::MessageToJsonString(found, &json,
                                                        json_options);
      *context->out << json;
      return absl::OkStatus();
    }
    if (context->format() == OutputFormat::kCsv) {
      *context->out << StudyTable({found}).ToCsv();
      return absl::OkStatus();
    }
    ProgressState state;
    v1::StudyUpdate update;
    *update.mutable_study() = found;
    state.Apply(update);
    ViewOptions view;
    view.width = context->out_is_terminal ? TerminalWidth() : 120;
    for (const std::string& line : RenderProgress(state, view)) {
      *context->out << line << "\n";
    }
    (void)google::protobuf::util::MessageToJsonString(found.spec(), &json,
                                                      json_options);
    *context->out << "\nspecification, defaults filled in:\n" << json;
    return absl::OkStatus();
  });
}

void AddTrialsCommand(CLI::App* app, Context* context) {
  struct Options {
    std::string study;
    std::string state;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      AddStudyCommand(app, "trials", "List a study's trials", &options->study);
  command->add_option("--state", options->state, "Only trials of this state")
      ->check(CLI::IsMember(
          {"active", "completed", "infeasible", "cancelled", "stopped"}));
  AddServerOption(command, context);
  AddOutputOption(command, context);
  SetExamples(command,
              {"hwnas trials fashion-mnist",
               "hwnas trials fashion-mnist --state infeasible",
               "hwnas trials fashion-mnist --output csv > trials.csv",
               "A value marked ! carries a remark; see --output json."});
  SetAction(command, context, [=]() -> absl::Status {
    HWNAS_ASSIGN_OR_RETURN(const std::string name,
                           StudyNameFromUser(options->study));
    Client client = context->MakeClient();
    HWNAS_ASSIGN_OR_RETURN(const v1::Study study, client.GetStudy(name));
    v1::Trial::State state = v1::Trial::STATE_UNSPECIFIED;
    for (v1::Trial::State candidate :
         {v1::Trial::ACTIVE, v1::Trial::COMPLETED, v1::Trial::INFEASIBLE,
          v1::Trial::CANCELLED, v1::Trial::STOPPED}) {
      if (TrialStateName(candidate) == options->state) state = candidate;
    }
    HWNAS_ASSIGN_OR_RETURN(const std::vector<v1::Trial> trials,
                           client.ListTrials(name, state));
    *context->out << TrialTable(study.spec(), trials).Render(context->format());
    return absl::OkStatus();
  });
}

void AddSamplesCommand(CLI::App* app, Context* context) {
  struct Options {
    std::string study;
    int64_t trial = 0;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = AddStudyCommand(
      app, "samples", "The raw samples behind a trial's measurements",
      &options->study);
  command->add_option("trial", options->trial, "Number of the trial")
      ->required()
      ->check(CLI::PositiveNumber);
  AddServerOption(command, context);
  AddOutputOption(command, context);
  SetExamples(command, {"hwnas samples fashion-mnist 17",
                        "hwnas samples fashion-mnist 17 --output csv > 17.csv",
                        "JSON also has the environment of each measurement."});
  SetAction(command, context, [=]() -> absl::Status {
    HWNAS_ASSIGN_OR_RETURN(const std::string study,
                           StudyNameFromUser(options->study));
    Client client = context->MakeClient();
    HWNAS_ASSIGN_OR_RETURN(const v1::TrialSamples samples,
                           client.GetTrialSamples(absl::StrCat(
                               study, "/trials/", options->trial)));
    if (context->format() == OutputFormat::kJson) {
      google::protobuf::util::JsonPrintOptions json_options;
      json_options.preserve_proto_field_names = true;
      json_options.add_whitespace = true;
      std::string json;
      (void)google::protobuf::util::MessageToJsonString(samples, &json,
                                                        json_options);
      *context->out << json;
      return absl::OkStatus();
    }
    Table table({{"device", "device"},
                 {"device_class", "class"},
                 {"phase", "phase"},
                 {"block", "block", true},
                 {"latency_ms", "latency [ms]", true}});
    for (const v1::StageSamples& stage : samples.stages()) {
      const auto add = [&](const char* phase, const auto& blocks) {
        for (int i = 0; i < blocks.size(); ++i) {
          table.Add({stage.device(), stage.device_class(), phase,
                     Cell::Integer(i + 1), Cell::Number(blocks[i], 6)});
        }
      };
      add("warm-up", stage.latency_samples().warmup_block_latency_ms());
      add("steady", stage.latency_samples().block_latency_ms());
    }
    *context->out << table.Render(context->format());
    return absl::OkStatus();
  });
}

void AddFrontCommand(CLI::App* app, Context* context) {
  auto study = std::make_shared<std::string>();
  auto device = std::make_shared<std::string>();
  CLI::App* command = AddStudyCommand(
      app, "front", "The non-dominated feasible trials", study.get());
  command->add_option("--device", *device,
                      "The front of this device class, which a study has for "
                      "each of an objective's `devices`");
  AddServerOption(command, context);
  AddOutputOption(command, context);
  SetExamples(command, {"hwnas front fashion-mnist",
                        "hwnas front fashion-mnist --output json",
                        "hwnas front two-boards --device raspberrypi5"});
  SetAction(command, context, [=]() -> absl::Status {
    HWNAS_ASSIGN_OR_RETURN(const std::string name, StudyNameFromUser(*study));
    Client client = context->MakeClient();
    HWNAS_ASSIGN_OR_RETURN(const v1::Study found, client.GetStudy(name));
    HWNAS_ASSIGN_OR_RETURN(const v1::Front front,
                           client.GetFront(name, *device));
    const std::vector<v1::Trial> trials(front.trials().begin(),
                                        front.trials().end());
    *context->out << FrontTable(found.spec(), trials).Render(context->format());
    return absl::OkStatus();
  });
}

}  // namespace hwnas::cli
