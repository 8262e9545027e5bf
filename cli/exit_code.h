// How every hwnas command ends. docs/cli.md lists them for scripts.
#pragma once

#include "absl/status/status.h"

namespace hwnas::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailure = 1,        // It was tried and failed.
  kExitBadInput = 2,       // A wrong file, name or option; nothing was started.
  kExitUnreachable = 3,    // No controller answers.
  kExitInterrupted = 130,  // Ctrl-C; the study can be resumed.
};

inline ExitCode ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kOutOfRange:
      return kExitBadInput;
    case absl::StatusCode::kUnavailable:
      return kExitUnreachable;
    case absl::StatusCode::kCancelled:
      return kExitInterrupted;
    default:
      return kExitFailure;
  }
}

}  // namespace hwnas::cli
