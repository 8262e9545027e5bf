#include "fleet/channel.h"

#include "absl/strings/str_cat.h"
#include "common/address.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"
#include "security/credentials.h"

namespace hwnas::fleet {

absl::Status CheckControllerAddress(const std::string& address,
                                    bool insecure_or_tls) {
  bool loopback = false;
  HWNAS_RETURN_IF_ERROR(
      CheckAddresses("controller address", address, /*min_port=*/1, &loopback));
  if (!loopback && !insecure_or_tls) {
    return absl::FailedPreconditionError(absl::StrCat(
        "controller address \"", address,
        "\" is beyond this machine and the connection is not encrypted: give "
        "--tls_dir, use a tunnel to 127.0.0.1, or give --insecure on a network "
        "you trust"));
  }
  return absl::OkStatus();
}

std::shared_ptr<grpc::Channel> DialController(
    const std::string& address,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  // One process may hold several clients: no sharing of connections, so that
  // one that is stuck does not hold up another.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return security::DialController(address, credentials, arguments);
}

}  // namespace hwnas::fleet
