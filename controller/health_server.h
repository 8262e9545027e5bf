// Health of a controller for those that cannot have a certificate, such as the
// probes of Kubernetes: grpc.health.v1 in the clear on a port of its own, and
// nothing else. It tells one bit, so it may listen beyond this machine.
//
//   service ""      SERVING while this controller leads and serves
//   service "live"  SERVING while the process lives
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "grpcpp/generic/async_generic_service.h"
#include "grpcpp/grpcpp.h"

namespace hwnas::controller {

// Thread-safe.
class HealthServer {
 public:
  // Listens on `address` ("host:port"; port 0 takes a free one) until it is
  // destroyed; not serving at first. UNAVAILABLE if the port is in use.
  static absl::StatusOr<std::unique_ptr<HealthServer>> Start(
      const std::string& address);
  ~HealthServer();

  void SetServing(bool serving);
  int port() const { return port_; }

 private:
  HealthServer() = default;

  grpc::CallbackGenericService others_;  // Says UNIMPLEMENTED to all else.
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace hwnas::controller
