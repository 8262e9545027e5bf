// hwnas-controller: runs studies and serves workers, agents and users.
#include <pthread.h>
#include <signal.h>

#include <iostream>
#include <string>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/version.h"
#include "controller/server.h"

ABSL_FLAG(std::string, listen, "127.0.0.1:7420",
          "Serve gRPC on host:port; port 0 takes a free one");
ABSL_FLAG(std::string, store, "",
          "Folder of the journal and the artifacts; created if missing. "
          "Required. Example: /var/lib/hwnas");
ABSL_FLAG(std::string, metrics, "127.0.0.1:9420",
          "Serve Prometheus metrics on host:port; port 0 takes a free one. "
          "Empty: do not");
ABSL_FLAG(std::string, port_file, "",
          "Once serving, write the addresses to this file as JSON");
ABSL_FLAG(std::string, log_level, "info",
          "trace, debug, info, warn, error or off");
ABSL_FLAG(bool, insecure, false,
          "Listen beyond this machine although connections are not encrypted");
ABSL_FLAG(double, lease_seconds, 30,
          "How long a task stays with a worker or agent that is silent, 0.1 to "
          "86400 s");
ABSL_FLAG(std::string, tables_dir, "",
          "Folder of the benchmark tables that studies with `replay` may name. "
          "Empty: such studies are refused");

namespace {

constexpr char kUsage[] =
    "Runs searches and serves workers, agents and users.\n\n"
    "  hwnas-controller --store=/var/lib/hwnas\n"
    "  hwnas-controller --store=store --listen=127.0.0.1:0 "
    "--port_file=ports.json\n"
    "  hwnas-controller --store=store --listen=0.0.0.0:7420 --insecure\n\n"
    "SIGTERM stops it; studies go on where they were when it starts again.";

}  // namespace

int main(int argc, char** argv) {
  hwnas::SilenceGrpcLog();
  // Before any thread starts, so that all of them leave the signals to sigwait.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  absl::FlagsUsageConfig usage;
  usage.version_string = [] {
    return absl::StrCat("hwnas-controller ", hwnas::kVersion, "\n");
  };
  usage.contains_helpshort_flags = [](absl::string_view file) {
    return absl::StrContains(file, "controller/main.cc");
  };
  usage.contains_help_flags = usage.contains_helpshort_flags;
  absl::SetFlagsUsageConfig(usage);
  absl::SetProgramUsageMessage(kUsage);
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  if (rest.size() > 1) {
    std::cerr << "hwnas-controller: unexpected argument \"" << rest[1]
              << "\"; see --help\n";
    return 2;
  }
  const double lease_seconds = absl::GetFlag(FLAGS_lease_seconds);
  if (!(lease_seconds >= 0.1 && lease_seconds <= 86400)) {
    std::cerr << "hwnas-controller: --lease_seconds=" << lease_seconds
              << " is out of range: expected 0.1 to 86400\n";
    return 2;
  }
  const auto logger =
      hwnas::CreateLogger("controller", absl::GetFlag(FLAGS_log_level));
  if (!logger.ok()) {
    std::cerr << "hwnas-controller: " << logger.status().message() << "\n";
    return 2;
  }
  const auto server = hwnas::controller::Server::Start(
      {.listen = absl::GetFlag(FLAGS_listen),
       .store = absl::GetFlag(FLAGS_store),
       .metrics = absl::GetFlag(FLAGS_metrics),
       .port_file = absl::GetFlag(FLAGS_port_file),
       .insecure = absl::GetFlag(FLAGS_insecure),
       .lease_duration = absl::Seconds(lease_seconds),
       .tables_dir = absl::GetFlag(FLAGS_tables_dir)},
      *logger);
  if (!server.ok()) {
    std::cerr << "hwnas-controller: " << server.status().message() << "\n";
    return 1;
  }
  int signal = 0;
  sigwait(&signals, &signal);
  (*logger)->info("event=stopping signal={}", signal);
  (*server)->Stop();
  return 0;
}
