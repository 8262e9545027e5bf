// A real hwnas-controller under a benchmark: started, watched, killed.
#pragma once

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "tests/integration/process.h"

namespace hwnas::bench {

// Seconds of a clock that only goes forward.
inline double Now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Owned by one thread; what it tells of the process may be asked by any.
class ControllerProcess {
 public:
  struct Options {
    std::string folder;   // The store goes to {folder}/store.
    std::string program;  // Empty: hwnas-controller beside this program.
    std::vector<std::string> flags;
    int core = -1;  // The only one that it may use; -1: all.
  };

  explicit ControllerProcess(Options options) : options_(std::move(options)) {
    if (options_.program.empty()) {
      options_.program =
          std::filesystem::read_symlink("/proc/self/exe").parent_path() /
          "hwnas-controller";
    }
  }

  // Returns the seconds until it serves.
  absl::StatusOr<double> Start() {
    const std::string& program = options_.program;
    const std::string port_file = options_.folder + "/ports.json";
    unlink(port_file.c_str());
    std::vector<std::string> command;
    if (options_.core >= 0) {
      command = {"taskset", "--cpu-list", absl::StrCat(options_.core)};
    }
    command.insert(
        command.end(),
        {program, "--store=" + options_.folder + "/store",
         "--listen=127.0.0.1:0", "--metrics=", "--port_file=" + port_file});
    command.insert(command.end(), options_.flags.begin(), options_.flags.end());
    const double begin = Now();
    process_ =
        std::make_unique<Process>(command, options_.folder + "/controller.log");
    constexpr double kPatienceS = 1800;
    while (!std::filesystem::exists(port_file)) {
      if (!process_->Running() || Now() - begin > kPatienceS) {
        return absl::UnavailableError(
            absl::StrCat(program, " does not serve:\n", process_->Log()));
      }
      absl::SleepFor(absl::Milliseconds(2));
    }
    const double seconds = Now() - begin;
    HWNAS_ASSIGN_OR_RETURN(const std::string ports, ReadFile(port_file));
    address_ = nlohmann::json::parse(ports)["grpc"].get<std::string>();
    return seconds;
  }

  // Waits for its end.
  void Kill(int signal = SIGKILL) { process_->Kill(signal); }
  const std::string& address() const { return address_; }
  const std::string& program() const { return options_.program; }

  double rss_mb() const {
    std::ifstream status(absl::StrCat("/proc/", process_->pid(), "/status"));
    for (std::string line; std::getline(status, line);) {
      int64_t kb = 0;
      if (absl::StartsWith(line, "VmRSS:") &&
          std::sscanf(line.c_str(), "VmRSS: %ld", &kb) == 1) {
        return static_cast<double>(kb) / 1024;
      }
    }
    return 0;
  }

  // Processor seconds that it has used.
  double cpu_s() const {
    std::ifstream stat(absl::StrCat("/proc/", process_->pid(), "/stat"));
    std::string text;
    std::getline(stat, text);
    unsigned long user = 0, system = 0;
    std::sscanf(text.c_str() + text.rfind(')') + 1,
                " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                &system);
    return static_cast<double>(user + system) /
           static_cast<double>(sysconf(_SC_CLK_TCK));
  }

 private:
  Options options_;
  std::string address_;
  std::unique_ptr<Process> process_;
};

}  // namespace hwnas::bench
