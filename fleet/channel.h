// How executors reach the controller.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "grpcpp/channel.h"

namespace hwnas::fleet {

// INVALID_ARGUMENT unless `address` is "host:port" with a port of 1 to 65535.
// FAILED_PRECONDITION if it leads beyond this machine and `insecure` is false:
// the connection is not encrypted.
absl::Status CheckControllerAddress(const std::string& address, bool insecure);

// A channel with our message limits, keep-alive (a peer that vanished without a
// word is noticed within kKeepaliveTimeMs + kKeepaliveTimeoutMs) and quick
// reconnects; the pause between sessions is the FleetClient's. Does not
// connect yet.
std::shared_ptr<grpc::Channel> DialController(const std::string& address);

}  // namespace hwnas::fleet
