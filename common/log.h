// Structured logs: one line per event, key=value, always the resource name.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "spdlog/spdlog.h"

namespace hwnas {

using Logger = spdlog::logger;

// A thread-safe logger to standard error. `level` is one of trace, debug, info,
// warn, error, off; anything else is INVALID_ARGUMENT.
//   2026-01-31T12:00:00.000Z info controller event=lease task=s/1/train ...
absl::StatusOr<std::shared_ptr<Logger>> CreateLogger(const std::string& program,
                                                     absl::string_view level);

// Keeps gRPC's own log lines out of what the program says, unless
// $GRPC_VERBOSITY asks for them. Sets that variable, which child processes
// inherit: call it first in main(), before any thread starts.
void SilenceGrpcLog();

// Drops everything; for tests.
std::shared_ptr<Logger> NullLogger();

}  // namespace hwnas
