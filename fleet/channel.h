// How executors reach the controller.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "grpcpp/channel.h"
#include "grpcpp/security/credentials.h"

namespace hwnas::fleet {

// INVALID_ARGUMENT unless `address` is "host:port" with a port of 1 to 65535,
// or several of them with commas between them. FAILED_PRECONDITION if it leads
// beyond this machine, where connections must be encrypted, unless they are or
// need not be.
absl::Status CheckControllerAddress(const std::string& address,
                                    bool insecure_or_tls);

// A channel with our message limits, keep-alive (a peer that vanished without a
// word is noticed within kKeepaliveTimeMs + kKeepaliveTimeoutMs) and quick
// reconnects; the pause between sessions is the FleetClient's. Does not
// connect yet. Of several addresses it follows the one that serves.
// `credentials`: nullptr means in the clear.
std::shared_ptr<grpc::Channel> DialController(
    const std::string& address,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials = nullptr);

}  // namespace hwnas::fleet
