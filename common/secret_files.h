// Files that only their owner may read: keys, tokens.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hwnas {

// As WriteFileAtomically, with mode 0600.
absl::Status WriteSecretFile(const std::string& path,
                             absl::string_view contents);

// As ReadFile. FAILED_PRECONDITION if others than its owner may read it.
absl::StatusOr<std::string> ReadSecretFile(const std::string& path,
                                           size_t max_bytes);

}  // namespace hwnas
