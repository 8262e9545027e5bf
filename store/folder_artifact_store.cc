#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/files.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "store/artifact_store.h"
#include "store/store_folder.h"

namespace hwnas {
namespace {

namespace fs = std::filesystem;

// Limits on the size of files count as a full disk.
absl::Status AsStoreError(const absl::Status& status) {
  if (!absl::IsOutOfRange(status) && !absl::IsResourceExhausted(status)) {
    return status;
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("artifact store has no space left: ", status.message(),
                   ": free some on its file system"));
}

absl::Status CheckDigest(absl::string_view digest) {
  if (IsSha256Hex(digest)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("artifact digest of ", digest.size(),
                   " bytes is malformed: expected 64 lower-case hex digits"));
}

// Thread-safe: files appear by rename, and Puts take turns.
class FolderArtifactStore final : public ArtifactStore {
 public:
  explicit FolderArtifactStore(const FolderArtifactOptions& options)
      : folder_(options.folder),
        max_bytes_(options.max_artifact_bytes),
        max_total_bytes_(options.max_total_bytes) {}

  absl::StatusOr<std::string> Put(absl::string_view data) override {
    if (static_cast<int64_t>(data.size()) > max_bytes_) {
      return absl::ResourceExhaustedError(
          absl::StrCat("artifact of ", data.size(),
                       " bytes is too large: expected at most ", max_bytes_));
    }
    const std::string digest = Sha256Hex(data);
    const std::string path = PathOf(digest);
    const std::string parent = fs::path(path).parent_path();
    MutexLock lock(&put_mutex_);
    const absl::StatusOr<std::string> present = ReadFile(path, data.size());
    if (present.ok() && *present == data) {
      // Whoever put it may have crashed before its name was durable.
      HWNAS_RETURN_IF_ERROR(SyncFolder(parent));
      utimensat(AT_FDCWD, path.c_str(), nullptr, 0);  // It was put now.
      return digest;
    }
    HWNAS_RETURN_IF_ERROR(CheckRoom(static_cast<int64_t>(data.size())));
    const int64_t replaced_bytes = SizeOf(path);
    // Absent, or damaged and now repaired.
    if (mkdir(parent.c_str(), 0755) == 0) {
      if (absl::Status status = SyncFolder(folder_); !status.ok()) {
        return AsStoreError(status);
      }
    } else if (errno != EEXIST) {
      return AsStoreError(
          absl::ErrnoToStatus(errno, absl::StrCat("create folder ", parent)));
    }
    if (absl::Status status = WriteFileAtomically(path, data); !status.ok()) {
      return AsStoreError(status);
    }
    total_bytes_ += static_cast<int64_t>(data.size()) - replaced_bytes;
    return digest;
  }

  absl::StatusOr<std::string> Get(absl::string_view digest) override {
    HWNAS_RETURN_IF_ERROR(CheckDigest(digest));
    const std::string path = PathOf(digest);
    absl::StatusOr<std::string> data = ReadFile(path, max_bytes_);
    if (absl::IsNotFound(data.status())) {
      return absl::NotFoundError(absl::StrCat("no artifact ", digest));
    }
    HWNAS_RETURN_IF_ERROR(data.status());
    if (Sha256Hex(*data) != digest) {
      return absl::DataLossError(
          absl::StrCat("artifact ", path,
                       " is damaged: its contents do not match its "
                       "name; delete it"));
    }
    return data;
  }

  absl::Status Delete(absl::string_view digest) override {
    HWNAS_RETURN_IF_ERROR(CheckDigest(digest));
    const std::string path = PathOf(digest);
    MutexLock lock(&put_mutex_);
    const int64_t bytes = SizeOf(path);
    if (unlink(path.c_str()) == 0) {
      total_bytes_ -= bytes;
      return absl::OkStatus();
    }
    if (errno == ENOENT) return absl::OkStatus();
    return absl::ErrnoToStatus(errno, absl::StrCat("delete ", path));
  }

  absl::StatusOr<std::vector<StoredArtifact>> List() override {
    std::vector<StoredArtifact> artifacts;
    HWNAS_RETURN_IF_ERROR(ForEachFile([&](const fs::path& path) {
      const std::string name = path.filename();
      struct stat info;
      if (IsSha256Hex(name) && PathOf(name) == path &&
          stat(path.c_str(), &info) == 0) {
        artifacts.push_back({name, absl::TimeFromTimespec(info.st_mtim)});
      }
    }));
    std::sort(artifacts.begin(), artifacts.end(),
              [](const StoredArtifact& a, const StoredArtifact& b) {
                return a.digest < b.digest;
              });
    return artifacts;
  }

  // Counts what is there.
  absl::Status Measure() {
    int64_t bytes = 0;
    HWNAS_RETURN_IF_ERROR(
        ForEachFile([&](const fs::path& path) { bytes += SizeOf(path); }));
    MutexLock lock(&put_mutex_);
    total_bytes_ = bytes;
    return absl::OkStatus();
  }

  // What a crash in the middle of Put left behind.
  absl::Status RemoveTemporaries() {
    return ForEachFile([](const fs::path& path) {
      if (absl::StrContains(path.filename().string(), ".tmp.")) {
        unlink(path.c_str());
      }
    });
  }

 private:
  // 0 if it is not there.
  static int64_t SizeOf(const std::string& path) {
    struct stat info;
    return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode)
               ? info.st_size
               : 0;
  }

  absl::Status CheckRoom(int64_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(put_mutex_) {
    if (max_total_bytes_ == 0 || total_bytes_ + bytes <= max_total_bytes_) {
      return absl::OkStatus();
    }
    return absl::ResourceExhaustedError(absl::StrCat(
        "artifact store ", folder_, " is full: it has ", total_bytes_, " of ",
        max_total_bytes_, " bytes and ", bytes,
        " more do not fit; allow more, or cancel studies that are not needed"));
  }

  std::string PathOf(absl::string_view digest) const {
    return absl::StrCat(folder_, "/", digest.substr(0, 2), "/", digest);
  }

  template <typename Visit>
  absl::Status ForEachFile(const Visit& visit) const {
    std::error_code error;
    for (fs::directory_iterator outer(folder_, error), end;
         !error && outer != end; outer.increment(error)) {
      std::error_code ignored;  // A stray file, or a folder just deleted.
      if (!outer->is_directory(ignored)) continue;
      for (fs::directory_iterator inner(outer->path(), ignored);
           !ignored && inner != end; inner.increment(ignored)) {
        visit(inner->path());
      }
    }
    if (error) {
      return absl::ErrnoToStatus(error.value(), absl::StrCat("list ", folder_));
    }
    return absl::OkStatus();
  }

  const std::string folder_;
  const int64_t max_bytes_;
  const int64_t max_total_bytes_;
  Mutex put_mutex_;
  int64_t total_bytes_ ABSL_GUARDED_BY(put_mutex_) = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ArtifactStore>> OpenFolderArtifactStore(
    const FolderArtifactOptions& options) {
  if (options.max_artifact_bytes < 1 || options.max_total_bytes < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("artifacts of at most ", options.max_artifact_bytes,
                     " bytes, ", options.max_total_bytes,
                     " bytes together: expected at least 1, and at least 0"));
  }
  HWNAS_RETURN_IF_ERROR(MakeDirectories(options.folder));
  auto store = std::make_unique<FolderArtifactStore>(options);
  if (!options.shared) HWNAS_RETURN_IF_ERROR(store->RemoveTemporaries());
  HWNAS_RETURN_IF_ERROR(store->Measure());
  return store;
}

}  // namespace hwnas
