#include <unistd.h>

#include <csignal>
#include <iostream>
#include <string>
#include <vector>

#include "cli/context.h"
#include "common/files.h"
#include "common/log.h"

// Without memory it ends either way. NOLINTNEXTLINE(bugprone-exception-escape)
int main(int argc, char** argv) {
  hwnas::SilenceGrpcLog();
  // `hwnas trials x | head` ends quietly, as other tools do.
  std::signal(SIGPIPE, SIG_DFL);
  hwnas::cli::Context context;
  context.out = &std::cout;
  context.err = &std::cerr;
  context.out_is_terminal = isatty(STDOUT_FILENO) == 1;
  context.err_is_terminal = isatty(STDERR_FILENO) == 1;
  if (auto dir = hwnas::ExecutableDirectory(); dir.ok()) {
    context.program_dir = *dir;
  }
  return hwnas::cli::RunCli(std::vector<std::string>(argv + 1, argv + argc),
                            std::move(context));
}
