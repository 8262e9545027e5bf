// Starts other programs.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace hwnas {

struct ChildOptions {
  // The first is looked for in PATH unless it has a slash.
  std::vector<std::string> arguments;
  // The program to run, if it is not the first argument.
  std::string program;
  // "NAME=value" each; unset: ours.
  std::optional<std::vector<std::string>> environment;
  // Of ours, and what each is in the child; -1: /dev/null. Standard input and
  // output are /dev/null unless they are named, standard error is ours; the
  // child has no others.
  std::vector<std::pair<int, int>> descriptors;
};

// The process leads a group of its own, so that what it starts can be killed
// with it and Ctrl-C is ours to handle; no signal is blocked or ignored there.
// Any thread. The caller waits for it.
absl::StatusOr<pid_t> StartChild(ChildOptions options);

// "Segmentation fault". Any thread.
std::string SignalName(int signal);

}  // namespace hwnas
