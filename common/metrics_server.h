// The /metrics page of a daemon.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/process_metrics.h"
#include "prometheus/registry.h"

namespace prometheus {
class Exposer;
}

namespace hwnas {

// Serves a registry, and the standard process_* metrics, in Prometheus' text
// format until destroyed. Thread-safe.
class MetricsServer {
 public:
  // `address` is "host:port"; port 0 takes a free one. The page is never
  // encrypted: FAILED_PRECONDITION beyond this machine unless `insecure`.
  // UNAVAILABLE if the port is in use, with a sentence a person can act on.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(
      const std::string& address,
      std::shared_ptr<prometheus::Registry> registry, bool insecure = false);
  ~MetricsServer();

  int port() const { return port_; }

 private:
  MetricsServer(std::shared_ptr<prometheus::Registry> registry,
                std::shared_ptr<ProcessMetrics> process,
                std::unique_ptr<prometheus::Exposer> exposer, int port);

  // The exposer keeps weak pointers to both.
  const std::shared_ptr<prometheus::Registry> registry_;
  const std::shared_ptr<ProcessMetrics> process_;
  const std::unique_ptr<prometheus::Exposer> exposer_;
  const int port_;
};

}  // namespace hwnas
