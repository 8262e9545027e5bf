// Artifacts in memory.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/digest.h"
#include "common/mutex.h"
#include "store/artifact_store.h"

namespace hwnas {

// Thread-safe. `clock` must outlive it.
class MemoryArtifactStore final : public ArtifactStore {
 public:
  explicit MemoryArtifactStore(const Clock* clock) : clock_(clock) {}

  absl::StatusOr<std::string> Put(absl::string_view data) override {
    MutexLock lock(&mutex_);
    const std::string digest = Sha256Hex(data);
    files_[digest] = {std::string(data), clock_->Now()};
    return digest;
  }
  absl::StatusOr<std::string> Get(absl::string_view digest) override {
    MutexLock lock(&mutex_);
    const auto it = files_.find(std::string(digest));
    if (it == files_.end()) {
      return absl::NotFoundError(absl::StrCat("artifact ", digest));
    }
    return it->second.first;
  }
  absl::Status Delete(absl::string_view digest) override {
    MutexLock lock(&mutex_);
    files_.erase(std::string(digest));
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<StoredArtifact>> List() override {
    MutexLock lock(&mutex_);
    std::vector<StoredArtifact> artifacts;
    for (const auto& [digest, file] : files_) {
      artifacts.push_back({digest, file.second});
    }
    return artifacts;
  }

 private:
  const Clock* const clock_;
  Mutex mutex_;
  // By digest: data, and when it was put.
  std::map<std::string, std::pair<std::string, absl::Time>> files_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace hwnas
