// The folder of a store: journal.db (SQLite), artifacts/, lock.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace hwnas {

// Of the SQLite journal in the folder of a store.
std::string JournalPath(const std::string& folder);
std::string ArtifactsPath(const std::string& folder);

// Held by whoever writes to the folder: two controllers on one store would each
// believe itself alone. Released when the object or the process goes.
class StoreFolderLock {
 public:
  // UNAVAILABLE if another process holds it.
  static absl::StatusOr<StoreFolderLock> Take(const std::string& folder);
  ~StoreFolderLock();
  StoreFolderLock(StoreFolderLock&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)) {}
  StoreFolderLock& operator=(StoreFolderLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

 private:
  explicit StoreFolderLock(int fd) : fd_(fd) {}

  int fd_ = -1;
};

// Makes the names in a folder durable.
absl::Status SyncFolder(const std::string& path);

// Gives a complete file its final name: syncs `partial` and renames it to
// `path`. Never replaces a file: ALREADY_EXISTS.
absl::Status PublishFile(const std::string& partial, const std::string& path);

// Connection string of a store in PostgreSQL: the contents of `file`, or
// $HWNAS_STORE_URL if `file` is empty; empty if there is neither. `flag` names
// the file in messages; the string itself is a secret: FAILED_PRECONDITION if
// others may read the file (ReadServiceSecretFile).
absl::StatusOr<std::string> ReadStoreUrl(const std::string& flag,
                                         const std::string& file);

}  // namespace hwnas
