// Accepts the connections of a gRPC server that strangers can reach.
//
// gRPC's own listener takes any number of peers that have not shown who they
// are, and stops for ever once the process is out of descriptors. This one
// takes a bounded number in the time that a handshake may take, so that no more
// than these can be in the middle of one, and when there are no descriptors it
// waits.
//
//   HWNAS_ASSIGN_OR_RETURN(auto acceptor, Acceptor::Listen(address, {},
//   logger)); auto sink =
//   builder.experimental().AddExternalConnectionAcceptor(...);
//   ... builder.BuildAndStart() ...
//   acceptor->Start(std::move(sink));
//   acceptor = nullptr;  // Before the server is shut down.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/log.h"
#include "common/rate_limit.h"
#include "grpcpp/server_builder.h"

namespace hwnas::controller {

struct AcceptorOptions {
  // How long a handshake may take, and new connections are counted.
  absl::Duration window = absl::Seconds(10);
  // New connections in that time; more are closed at once.
  int max_new = 4096;
  int max_new_per_address = 1000;
};

// Owned by one thread.
class Acceptor {
 public:
  // Listens on "host:port"; port 0 takes a free one. UNAVAILABLE if that cannot
  // be. `option` names the setting in messages.
  static absl::StatusOr<std::unique_ptr<Acceptor>> Listen(
      const std::string& option, const std::string& address,
      const AcceptorOptions& options, std::shared_ptr<Logger> logger);
  // Takes no more connections; those that there are go on.
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  int port() const { return port_; }
  // Hands connections over from now on. Once.
  void Start(std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor>
                 connections);

 private:
  Acceptor(int fd, int wake_fd, int port, const AcceptorOptions& options,
           std::shared_ptr<Logger> logger);

  void Loop();
  // One connection, if there is one. False if the process cannot take any now.
  bool AcceptOne();
  // Whether a new connection from that address may be taken; if so, it counts.
  bool Admit(const std::string& address, absl::Time now);

  const int fd_;
  const int wake_fd_;  // Readable once the thread is to end.
  const int port_;
  const AcceptorOptions options_;
  const std::shared_ptr<Logger> logger_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections_;
  // Of the thread alone: what was taken within the window, oldest first.
  std::deque<std::pair<absl::Time, std::string>> new_;
  std::map<std::string, int> new_by_address_;
  RateLimit lines_;
  std::thread thread_;
};

}  // namespace hwnas::controller
