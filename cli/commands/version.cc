// hwnas version
#include "common/version.h"

#include "cli/commands.h"

namespace hwnas::cli {

void AddVersionCommand(CLI::App* app, Context* context) {
  CLI::App* command = app->add_subcommand("version", "Print the version");
  SetExamples(command, {"hwnas version"});
  command->callback(
      [context] { *context->out << "hwnas " << kVersion << "\n"; });
}

}  // namespace hwnas::cli
