// What a subcommand works with: where it prints, how it dials, and how it ends.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "CLI/App.hpp"
#include "absl/status/status.h"
#include "cli/client.h"
#include "cli/exit_code.h"
#include "cli/table.h"

namespace hwnas::cli {

// Shared by all subcommands of one run; owned by RunCli, one thread.
struct Context {
  // Results go to `out` (and only they), everything else to `err`.
  std::ostream* out = nullptr;
  std::ostream* err = nullptr;
  // Whether `out` and `err` are a person's terminal.
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  // Folder of the sibling programs hwnas-controller, -worker and -agent.
  std::string program_dir;
  // Opens a channel; tests pass an in-process one.
  std::function<std::shared_ptr<grpc::Channel>(const std::string& address)>
      connect = ConnectInTheClear;

  // Set by the options of every command.
  std::string server;
  // Folder of our certificate (security/credentials.h); empty: no TLS.
  std::string tls_dir;
  // Talk to a controller beyond this machine although nothing is encrypted.
  bool insecure = false;
  std::string output = "table";

  // How the command ended; RunCli returns it.
  int exit_code = kExitOk;

  // Checks `server`, and sees to it that channels are encrypted if need be.
  absl::Status PrepareToDial();
  Client MakeClient() const { return Client(connect(server), server); }
  // RunCli has checked the text.
  OutputFormat format() const { return *ParseOutputFormat(output); }

  // Prints "hwnas: <message>" and sets the exit code that belongs to it.
  void Fail(const absl::Status& status) { Fail(status, ExitCodeOf(status)); }
  void Fail(const absl::Status& status, int code);
};

// The options that several commands share.
void AddServerOption(CLI::App* command, Context* context);
void AddOutputOption(CLI::App* command, Context* context);
// Who asks; see DefaultUser.
void AddUserOption(CLI::App* command, std::string* user);

// Gives a command its callback: a function returning a Status. What an option
// says about an address or a format is checked before.
void SetAction(CLI::App* command, Context* context,
               std::function<absl::Status()> action);

// "Examples:" under a command's help, one line each.
void SetExamples(CLI::App* command, const std::vector<std::string>& lines);

// Parses the arguments (without the program's name), runs the subcommand they
// name, and returns the exit code.
int RunCli(std::vector<std::string> arguments, Context context);

}  // namespace hwnas::cli
