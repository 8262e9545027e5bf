// Files named by their content: trained weights.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace hwnas {

struct StoredArtifact {
  std::string digest;
  absl::Time put_time;  // When it was put last.
};

// Thread-safe.
class ArtifactStore {
 public:
  virtual ~ArtifactStore() = default;
  // Durable when it returns OK. Returns the SHA-256 digest. Repeats are
  // harmless. RESOURCE_EXHAUSTED if the disk or the store is full, or data is
  // too large.
  virtual absl::StatusOr<std::string> Put(absl::string_view data) = 0;
  // NOT_FOUND if absent; DATA_LOSS if the contents do not match the digest;
  // INVALID_ARGUMENT if `digest` is none.
  virtual absl::StatusOr<std::string> Get(absl::string_view digest) = 0;
  // OK also if it is not there.
  virtual absl::Status Delete(absl::string_view digest) = 0;
  // By digest.
  virtual absl::StatusOr<std::vector<StoredArtifact>> List() = 0;
};

struct FolderArtifactOptions {
  std::string folder;  // Created if missing.
  int64_t max_artifact_bytes = int64_t{1} << 30;
  // Of all artifacts together; 0: as much as the disk has.
  int64_t max_total_bytes = 0;
  // Another process puts artifacts there: what looks half written is left.
  bool shared = false;
};

// A folder, two levels deep: ab/abcdef...
absl::StatusOr<std::unique_ptr<ArtifactStore>> OpenFolderArtifactStore(
    const FolderArtifactOptions& options);

}  // namespace hwnas
