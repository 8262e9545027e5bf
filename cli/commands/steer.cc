// hwnas cancel, pause, resume STUDY
#include "cli/commands.h"
#include "cli/trial_table.h"
#include "common/status_macros.h"

namespace hwnas::cli {
namespace {

using Method = absl::StatusOr<v1::Study> (Client::*)(const std::string&);

void AddOne(CLI::App* app, Context* context, const std::string& name,
            const std::string& help, Method method, const std::string& done) {
  auto study = std::make_shared<std::string>();
  CLI::App* command = app->add_subcommand(name, help);
  command->add_option("study", *study, "Name of the study")->required();
  AddServerOption(command, context);
  SetExamples(command, {"hwnas " + name + " fashion-mnist",
                        "hwnas " + name + " fashion-mnist --server ctl:7420"});
  SetAction(command, context, [=]() -> absl::Status {
    HWNAS_ASSIGN_OR_RETURN(const std::string full, StudyNameFromUser(*study));
    Client client = context->MakeClient();
    HWNAS_ASSIGN_OR_RETURN(const v1::Study result, (client.*method)(full));
    *context->out << result.name() << " " << done << "; it is "
                  << StudyStateName(result.state()) << "\n";
    return absl::OkStatus();
  });
}

}  // namespace

void AddSteerCommands(CLI::App* app, Context* context) {
  AddOne(app, context, "cancel",
         "Stop a study for good; running attempts are cancelled",
         &Client::CancelStudy, "was told to stop");
  AddOne(app, context, "pause", "Propose nothing more; running attempts finish",
         &Client::PauseStudy, "was told to pause");
  AddOne(app, context, "resume", "Go on with a paused study",
         &Client::ResumeStudy, "was told to go on");
}

}  // namespace hwnas::cli
