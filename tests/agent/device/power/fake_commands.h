// Programs that print what the test says.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "common/command_runner.h"

namespace hwnas::agent {

class FakeCommands final : public CommandRunner {
 public:
  absl::StatusOr<std::string> Run(const std::vector<std::string>& command,
                                  absl::Duration) override {
    ++count;
    const auto it = answers.find(absl::StrJoin(command, " "));
    if (it == answers.end()) {
      return absl::NotFoundError("start " + command[0] + ": no such file");
    }
    return it->second;
  }

  // Command line to output.
  std::map<std::string, std::string> answers;
  int count = 0;
};

}  // namespace hwnas::agent
