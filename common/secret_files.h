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

// As ReadSecretFile, but the group of a file that is root's may read it as well
// (0640, 0440): so do Kubernetes and systemd hand secrets to a service, and so
// does PostgreSQL take keys.
absl::StatusOr<std::string> ReadServiceSecretFile(const std::string& path,
                                                  size_t max_bytes);

}  // namespace hwnas
