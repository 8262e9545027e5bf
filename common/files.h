// Small file helpers with messages a person can act on.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hwnas {

// The whole file. NOT_FOUND, PERMISSION_DENIED or UNKNOWN, with the path;
// RESOURCE_EXHAUSTED if it is larger than `max_bytes`.
absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     size_t max_bytes = size_t{1} << 30);

// Writes to a temporary file beside `path`, syncs it, and renames it: readers
// see the old contents or the new, never a part, also after a power cut.
absl::Status WriteFileAtomically(const std::string& path,
                                 absl::string_view contents);

// Creates `path` and its parents if they do not exist.
absl::Status MakeDirectories(const std::string& path);

// The folder of the running executable, from /proc/self/exe.
absl::StatusOr<std::string> ExecutableDirectory();

}  // namespace hwnas
