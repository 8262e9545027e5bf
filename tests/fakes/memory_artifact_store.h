// Artifacts in memory.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/mutex.h"
#include "store/artifact_store.h"

namespace hwnas {

// Thread-safe.
class MemoryArtifactStore final : public ArtifactStore {
 public:
  absl::StatusOr<std::string> Put(absl::string_view data) override {
    MutexLock lock(&mutex_);
    const std::string digest = Sha256Hex(data);
    files_[digest] = std::string(data);
    return digest;
  }
  absl::StatusOr<std::string> Get(absl::string_view digest) override {
    MutexLock lock(&mutex_);
    const auto it = files_.find(std::string(digest));
    if (it == files_.end()) {
      return absl::NotFoundError(absl::StrCat("artifact ", digest));
    }
    return it->second;
  }
  absl::Status Delete(absl::string_view digest) override {
    MutexLock lock(&mutex_);
    files_.erase(std::string(digest));
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<std::string>> List() override {
    MutexLock lock(&mutex_);
    std::vector<std::string> digests;
    for (const auto& [digest, data] : files_) digests.push_back(digest);
    return digests;
  }

 private:
  Mutex mutex_;
  std::map<std::string, std::string> files_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace hwnas
