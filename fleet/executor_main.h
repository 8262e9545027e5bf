// Everything a worker and an agent have in common around their work: identity,
// log, metrics, connection, signals.
//
//   int main(int argc, char** argv) {
//     ... flags into options ...
//     return hwnas::fleet::RunExecutor(
//         options, [&](const ExecutorContext& context) {
//           return std::make_unique<Trainer>(context.logger, ...);
//         });
//   }
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/log.h"
#include "fleet/fleet_client.h"
#include "hwnas/v1/fleet_service.pb.h"
#include "prometheus/registry.h"

namespace hwnas::fleet {

// Where executors keep what must survive them: $HWNAS_STATE_DIR,
// $XDG_STATE_HOME/hwnas, ~/.local/state/hwnas or a temporary folder: the first
// that is set. It need not exist.
std::string StateFolder();

struct ExecutorOptions {
  v1::ExecutorKind kind = v1::EXECUTOR_KIND_UNSPECIFIED;
  // "hwnas-worker": names the process in logs.
  std::string program;
  // host:port of the controller.
  std::string controller = "127.0.0.1:7420";
  // Allows a controller beyond this machine although nothing is encrypted.
  bool insecure = false;
  // Serve /metrics beyond this machine, in the clear; `insecure` does as well.
  bool metrics_insecure = false;
  // Folder of our identity (security/credentials.h), which is kept fresh.
  // Empty: no TLS.
  std::string tls_dir;
  // host:port where to enrol if the folder is empty; see security::EnrollIfNew.
  std::string enroll;
  // 1 to 63 of [a-z0-9-], unique in the fleet. Empty: the name in our
  // certificate, else "worker-{host name}" or "agent-{host name}", with "-2",
  // "-3", ... for further ones of this machine.
  std::string id;
  // Empty: {StateFolder()}/{id}.
  std::string spool_dir;
  // host:port of the metrics page; port 0 takes a free one. Empty: none.
  std::string metrics;
  std::string log_level = "info";
  // Tasks at once.
  int slots = 1;
  // Capabilities; see v1.Hello.
  std::vector<std::string> device_classes;
  std::vector<std::string> runtimes;
  std::vector<std::string> datasets;
  std::vector<std::string> accelerators;
  // Of an agent.
  std::optional<v1::PowerSource> power;
  std::vector<v1::RuntimeCapability> capabilities;
  std::vector<std::string> profiles;
  // Threads the work uses, for the environment in Hello; 0: not known.
  int threads = 0;
  // On SIGTERM: how long running tasks may go on before they are handed back.
  absl::Duration drain_grace = absl::ZeroDuration();
};

// What a runner may use; lives as long as the process.
struct ExecutorContext {
  std::string id;
  // Ours alone; the work may keep folders of its own there.
  std::string spool_dir;
  std::shared_ptr<Logger> logger;
  // The registry behind the metrics page.
  std::shared_ptr<prometheus::Registry> registry;
  // As announced to the controller.
  v1::Environment environment;
};

using TaskRunnerFactory =
    std::function<absl::StatusOr<std::unique_ptr<TaskRunner>>(
        const ExecutorContext&)>;

// Serves until SIGTERM or SIGINT, which hand unfinished work back, or until the
// controller drains it. A second signal ends the process at once. Call it from
// the first thread, before any other has been started: it blocks the signals
// for all of them.
//
// Returns the exit code: 0 after a drain, 2 if an option is wrong, 1 if it
// cannot go on otherwise (the controller refuses it, a port is in use), with
// the reason on standard error.
int RunExecutor(const ExecutorOptions& options,
                const TaskRunnerFactory& create_runner);

}  // namespace hwnas::fleet
