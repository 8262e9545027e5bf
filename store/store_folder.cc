#include "store/store_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/secret_files.h"
#include "common/status_macros.h"

namespace hwnas {

std::string JournalPath(const std::string& folder) {
  return folder + "/journal.db";
}

std::string ArtifactsPath(const std::string& folder) {
  return folder + "/artifacts";
}

absl::StatusOr<StoreFolderLock> StoreFolderLock::Take(
    const std::string& folder) {
  const std::string path = folder + "/lock";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
  StoreFolderLock lock(fd);
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK) {
    return absl::UnavailableError(absl::StrCat(
        "the store ", folder,
        " is in use by another controller: stop it, or give --store another "
        "folder"));
  }
  return absl::ErrnoToStatus(errno, absl::StrCat("lock ", path));
}

StoreFolderLock::~StoreFolderLock() {
  if (fd_ >= 0) close(fd_);
}

absl::Status SyncFolder(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
  absl::Cleanup close_fd = [fd] { close(fd); };
  if (fsync(fd) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("sync ", path));
  }
  return absl::OkStatus();
}

absl::Status PublishFile(const std::string& partial, const std::string& path) {
  const int fd = open(partial.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open ", partial));
  absl::Cleanup close_fd = [fd] { close(fd); };
  // link, unlike rename, never replaces a file.
  if (fsync(fd) != 0 || link(partial.c_str(), path.c_str()) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("write ", path));
  }
  unlink(partial.c_str());
  const std::string folder = std::filesystem::path(path).parent_path();
  return SyncFolder(folder.empty() ? "." : folder);
}

absl::StatusOr<std::string> ReadStoreUrl(const std::string& flag,
                                         const std::string& file) {
  if (file.empty()) {
    // NOLINTNEXTLINE(concurrency-mt-unsafe)
    const char* url = std::getenv("HWNAS_STORE_URL");
    return url == nullptr ? "" : url;
  }
  HWNAS_ASSIGN_OR_RETURN(const std::string text,
                         ReadServiceSecretFile(file, /*max_bytes=*/4096));
  std::string url(absl::StripAsciiWhitespace(text));
  if (url.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, "=", file,
                     " is empty: expected a connection string, for example "
                     "postgresql://hwnas@db/hwnas"));
  }
  return url;
}

}  // namespace hwnas
