// Reading sensors below /sys. What a file says is not trusted: it is bounded,
// and it is a number or an error.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hwnas::agent {

// `root` and `path` as one path: "/" and "/sys" are "/sys".
std::string BelowRoot(absl::string_view root, absl::string_view path);

// Names in a folder, in order; none if it cannot be read. At most 4096.
std::vector<std::string> ListFolder(const std::string& path);

// First line without white space at its ends, at most 256 bytes.
absl::StatusOr<std::string> ReadSensorText(const std::string& path);

// A whole number. INVALID_ARGUMENT, with the path, for any other text.
absl::StatusOr<int64_t> ReadSensorNumber(const std::string& path);

// Text for a message: at most 80 bytes, printable.
std::string Excerpt(absl::string_view text);

}  // namespace hwnas::agent
