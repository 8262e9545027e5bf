#include "common/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"

namespace hwnas {
namespace {

std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

absl::StatusOr<pid_t> StartChild(ChildOptions options) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  absl::Cleanup destroy_actions = [&] {
    posix_spawn_file_actions_destroy(&actions);
  };
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null",
                                   O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null",
                                   O_WRONLY, 0);
  int last = STDERR_FILENO;
  for (const auto& [ours, theirs] : options.descriptors) {
    if (ours < 0) {
      posix_spawn_file_actions_addopen(&actions, theirs, "/dev/null", O_RDWR,
                                       0);
    } else {
      posix_spawn_file_actions_adddup2(&actions, ours, theirs);
    }
    last = std::max(last, theirs);
  }
  posix_spawn_file_actions_addclosefrom_np(&actions, last + 1);

  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  absl::Cleanup destroy_attributes = [&] {
    posix_spawnattr_destroy(&attributes);
  };
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP |
                                            POSIX_SPAWN_SETSIGMASK |
                                            POSIX_SPAWN_SETSIGDEF);
  std::string program = options.program;
  if (program.empty()) program = options.arguments.at(0);
  std::vector<char*> environment;
  if (options.environment) environment = Pointers(*options.environment);
  pid_t pid = 0;
  const int error =
      posix_spawnp(&pid, program.c_str(), &actions, &attributes,
                   Pointers(options.arguments).data(),
                   options.environment ? environment.data() : environ);
  if (error != 0) {
    return absl::ErrnoToStatus(error, absl::StrCat("start ", program));
  }
  return pid;
}

std::string SignalName(int signal) {
  const char* name = sigdescr_np(signal);
  return name == nullptr ? absl::StrCat("signal ", signal) : name;
}

}  // namespace hwnas
