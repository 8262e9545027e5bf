// How every handler answers.
#pragma once

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "controller/controller_metrics.h"
#include "proto/convert/grpc_status.h"

namespace hwnas::controller {

// The status for the wire, counted if it is an error.
inline grpc::Status Reply(ControllerMetrics* metrics,
                          const absl::Status& status) {
  if (!status.ok()) {
    metrics->RpcError(std::string(absl::StatusCodeToString(status.code())));
  }
  return ToGrpc(status);
}

// The same, moving the value into the response.
template <typename T>
grpc::Status Reply(ControllerMetrics* metrics, absl::StatusOr<T> result,
                   T* response) {
  const absl::Status status = result.status();
  if (status.ok()) *response = *std::move(result);
  return Reply(metrics, status);
}

}  // namespace hwnas::controller
