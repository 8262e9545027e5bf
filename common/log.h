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

// Drops everything; for tests.
std::shared_ptr<Logger> NullLogger();

}  // namespace hwnas
