// What a controller shows of itself while another one leads: it listens, its
// health is NOT_SERVING, and every call is UNAVAILABLE. Clients that check
// health, or retry, go to the leader.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "grpcpp/grpcpp.h"

namespace hwnas::controller {

// Owned by one thread.
class StandbyServer {
 public:
  // Listens on `address` ("host:port"; port 0 takes a free one) until it is
  // destroyed. UNAVAILABLE if the port is in use.
  static absl::StatusOr<std::unique_ptr<StandbyServer>> Start(
      const std::string& address,
      std::shared_ptr<grpc::ServerCredentials> credentials);
  ~StandbyServer();

  int port() const { return port_; }

 private:
  class Refusals;

  StandbyServer();

  std::unique_ptr<Refusals> refusals_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace hwnas::controller
