#include "common/metrics_server.h"

#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/address.h"
#include "common/status_macros.h"
#include "prometheus/exposer.h"

namespace hwnas {

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(
    const std::string& address, std::shared_ptr<prometheus::Registry> registry,
    const std::string& tls_dir, bool insecure) {
  bool loopback = false;
  HWNAS_RETURN_IF_ERROR(
      CheckAddress("metrics address", address, /*min_port=*/0, &loopback));
  std::vector<std::string> options = {"num_threads", "1", "listening_ports"};
  if (loopback || (insecure && tls_dir.empty())) {
    options.push_back(address);
  } else if (!tls_dir.empty()) {
    options.insert(options.end(),
                   {address + "s", "ssl_certificate", tls_dir + "/identity.pem",
                    "ssl_ca_file", tls_dir + "/ca.pem", "ssl_verify_peer",
                    "yes", "ssl_verify_depth", "1",
                    // The files are read again when they change.
                    "ssl_short_trust", "yes"});
  } else {
    return absl::FailedPreconditionError(absl::StrCat(
        "metrics address \"", address,
        "\" is beyond this machine and connections are not encrypted: use "
        "127.0.0.1, give --tls_dir, or --insecure on a network you trust"));
  }
  try {
    auto exposer = std::make_unique<prometheus::Exposer>(std::move(options));
    auto process = std::make_shared<ProcessMetrics>();
    exposer->RegisterCollectable(registry);
    exposer->RegisterCollectable(process);
    const int port = exposer->GetListeningPorts().at(0);
    return absl::WrapUnique(new MetricsServer(
        std::move(registry), std::move(process), std::move(exposer), port));
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat(
        "cannot serve metrics on ", address,
        ": is the port in use, or the address not of this machine? (",
        error.what(), ")"));
  }
}

MetricsServer::MetricsServer(std::shared_ptr<prometheus::Registry> registry,
                             std::shared_ptr<ProcessMetrics> process,
                             std::unique_ptr<prometheus::Exposer> exposer,
                             int port)
    : registry_(std::move(registry)),
      process_(std::move(process)),
      exposer_(std::move(exposer)),
      port_(port) {}

MetricsServer::~MetricsServer() = default;

}  // namespace hwnas
