#include "cli/context.h"

#include <algorithm>
#include <utility>

#include "CLI/CLI.hpp"  // Its inline definitions live in one file: here.
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/commands.h"
#include "cli/diagnostic.h"
#include "common/address.h"
#include "common/status_macros.h"
#include "security/credentials.h"
#include "security/enrolment.h"

namespace hwnas::cli {

void Context::Fail(const absl::Status& status, int code) {
  if (code == kExitOk) return;
  std::string message(status.message());
  if (message.empty()) message = absl::StatusCodeToString(status.code());
  if (absl::IsUnavailable(status) && !tls_dir.empty()) {
    // From here the two look alike.
    absl::StrAppend(&message, "; or it refuses the certificate in ", tls_dir);
  }
  *err << "hwnas: " << message << "\n";
  exit_code = code;
}

void AddServerOption(CLI::App* command, Context* context) {
  command
      ->add_option("-s,--server", context->server,
                   "Controller to talk to, HOST:PORT; several that share a "
                   "store with commas between them. Without it "
                   "$HWNAS_SERVER, else 127.0.0.1:7420")
      ->type_name("HOST:PORT");
  command
      ->add_option("--tls-dir", context->tls_dir,
                   "Folder of your certificate, from 'hwnas ca enroll'. "
                   "Without it $HWNAS_TLS_DIR, else no TLS")
      ->type_name("DIR");
  command->add_flag("--insecure", context->insecure,
                    "Although the controller is beyond this machine and the "
                    "connection not encrypted");
}

absl::Status Context::PrepareToDial() {
  bool loopback = false;
  HWNAS_RETURN_IF_ERROR(CheckAddresses("controller address", server,
                                       /*min_port=*/1, &loopback));
  if (tls_dir.empty()) {
    if (loopback || insecure) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(
        "the controller at ", server,
        " is beyond this machine and the connection is not encrypted: give "
        "--tls-dir, or --insecure on a network you trust"));
  }
  const absl::Time now = absl::Now();
  HWNAS_RETURN_IF_ERROR(security::ReadIdentity(tls_dir, now).status());
  HWNAS_ASSIGN_OR_RETURN(const auto credentials,
                         security::ChannelCredentials(tls_dir));
  connect = [credentials](const std::string& address) {
    return Connect(address, credentials);
  };
  // The present one is still good if this fails.
  if (const auto renewed = security::RenewIfDue(tls_dir, connect(server), now);
      !renewed.ok()) {
    *err << "hwnas: the certificate in " << tls_dir
         << " was not renewed: " << Printable(renewed.status().message(), 400)
         << "\n";
  }
  return absl::OkStatus();
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
  command->callback([command, context, action = std::move(action)] {
    const bool dials = command->get_option_no_throw("--server") != nullptr;
    absl::Status status = dials ? context->PrepareToDial() : absl::OkStatus();
    if (status.ok()) status = ParseOutputFormat(context->output).status();
    if (status.ok()) status = action();
    if (!status.ok()) context->Fail(status);
  });
}

void SetExamples(CLI::App* command, const std::vector<std::string>& lines) {
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
  if (const char* dir = std::getenv("HWNAS_TLS_DIR");
      context.tls_dir.empty() && dir != nullptr) {
    context.tls_dir = dir;
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
               "'hwnas COMMAND --help' explains a command. Exit codes:",
               "0 done, 1 failed, 2 bad input or usage, 3 no controller",
               "answers, 130 interrupted."});
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
  AddFleetCommand(&app, &context);
  AddDeviceCommand(&app, &context);
  AddProfileCommand(&app, &context);
  AddStoreCommand(&app, &context);
  AddShareCommand(&app, &context);
  AddCaCommand(&app, &context);
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
