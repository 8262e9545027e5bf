#include "common/metrics_server.h"

#include <exception>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/address.h"
#include "common/status_macros.h"
#include "prometheus/exposer.h"

namespace hwnas {

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(
    const std::string& address, std::shared_ptr<prometheus::Registry> registry,
    bool insecure) {
  bool loopback = false;
  HWNAS_RETURN_IF_ERROR(
      CheckAddress("metrics address", address, /*min_port=*/0, &loopback));
  // No TLS: with the packaged civetweb and OpenSSL 3 the first scrape crashes.
  if (!loopback && !insecure) {
    return absl::FailedPreconditionError(absl::StrCat(
        "metrics address \"", address,
        "\" is beyond this machine and the page is not encrypted: "
        "use 127.0.0.1 behind a proxy, or --metrics_insecure on a network you "
        "trust"));
  }
  try {
    auto exposer = std::make_unique<prometheus::Exposer>(address, 1);
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
