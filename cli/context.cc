#include "cli/context.h"

#include <algorithm>
#include <utility>

#include "CLI/CLI.hpp"  // Its inline definitions live in one file: here.
#include "absl/strings/str_cat.h"
#include "cli/commands.h"
#include "cli/diagnostic.h"

namespace hwnas::cli {

void Context::Fail(const absl::Status& status, int code) {
  if (code == kExitOk) return;
  std::string message(status.message());
  if (message.empty()) message = absl::StatusCodeToString(status.code());
  *err << "hwnas: " << message << "\n";
  exit_code = code;
}

void AddServerOption(CLI::App* command, Context* context) {
  command
      ->add_option("-s,--server", context->server,
                   "Controller to talk to, HOST:PORT. Without it "
                   "$HWNAS_SERVER, else 127.0.0.1:7420")
      ->type_name("HOST:PORT");
}

void AddOutputOption(CLI::App* command, Context* context) {
  command
      ->add_option("-o,--output", context->output,
                   "table for people, json or csv for programs")
      ->type_name("table|json|csv")
      ->capture_default_str();
}

void AddUserOption(CLI::App* command, std::string* user) {
  *user = DefaultUser();
  command
      ->add_option("--user", *user,
                   "Who asks: shares, quotas and reservations are by user. "
                   "Without it $HWNAS_USER, else your login name")
      ->type_name("NAME");
}

void SetAction(CLI::App* command, Context* context,
               std::function<absl::Status()> action) {
  command->callback([context, action = std::move(action)] {
    absl::Status status = CheckAddress(context->server);
    if (status.ok()) status = ParseOutputFormat(context->output).status();
    if (status.ok()) status = action();
    if (!status.ok()) context->Fail(status);
  });
}

void SetExamples(CLI::App* command, std::vector<std::string> lines) {
  std::string text = "Examples:";
  for (const std::string& line : lines) absl::StrAppend(&text, "\n  ", line);
  command->footer(text);
}

int RunCli(std::vector<std::string> arguments, Context context) {
  if (context.server.empty()) {
    const char* server = std::getenv("HWNAS_SERVER");
    context.server =
        server != nullptr && *server != '\0' ? server : "127.0.0.1:7420";
  }
  CLI::App app(
      "Searches for neural networks that are accurate and cheap on the "
      "hardware they will run on.",
      "hwnas");
  app.require_subcommand(1);
  app.get_formatter()->column_width(32);
  SetExamples(&app,
              {"hwnas run examples/fashion_mnist.yaml   # all on this machine",
               "hwnas validate study.yaml               # explain every error",
               "hwnas submit study.yaml --server ctl:7420",
               "hwnas watch my-study", "hwnas front my-study --output csv",
               "hwnas profile model.onnx --device x86_64", "",
               "'hwnas COMMAND --help' explains a command. Exit codes: 0 done, "
               "1 failed, 2 bad",
               "input or usage, 3 no controller answers, 130 interrupted."});
  AddRunCommand(&app, &context);
  AddValidateCommand(&app, &context);
  AddSubmitCommand(&app, &context);
  AddWatchCommand(&app, &context);
  AddListCommand(&app, &context);
  AddShowCommand(&app, &context);
  AddTrialsCommand(&app, &context);
  AddFrontCommand(&app, &context);
  AddSamplesCommand(&app, &context);
  AddExportCommand(&app, &context);
  AddSteerCommands(&app, &context);
  AddTrainCommand(&app, &context);
  AddWorkerCommand(&app, &context);
  AddDeviceCommand(&app, &context);
  AddProfileCommand(&app, &context);
  AddStoreCommand(&app, &context);
  AddVersionCommand(&app, &context);

  try {
    std::reverse(arguments.begin(), arguments.end());  // As CLI11 wants them.
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error, *context.out, *context.err);
    return code == 0 ? kExitOk : kExitBadInput;
  }
  return context.exit_code;
}

}  // namespace hwnas::cli
