// Content digests.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hwnas {

// SHA-256 as 64 lower-case hex digits. Thread-safe.
std::string Sha256Hex(absl::string_view data);

// Whether `text` has the form of a digest made by Sha256Hex.
bool IsSha256Hex(absl::string_view text);

}  // namespace hwnas
