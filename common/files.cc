#include "common/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/secret_files.h"
#include "common/status_macros.h"

namespace hwnas {
namespace {

constexpr mode_t kSecretMode = 0600;

absl::Status WriteAtomically(const std::string& path,
                             absl::string_view contents, mode_t mode) {
  const std::string temporary = absl::StrCat(path, ".tmp.", getpid());
  // One left behind could be open to all.
  if (mode == kSecretMode) unlink(temporary.c_str());
  const int fd =
      open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("create ", temporary));
  }
  absl::Cleanup remove_temporary = [&] { unlink(temporary.c_str()); };
  {
    absl::Cleanup close_fd = [fd] { close(fd); };
    while (!contents.empty()) {
      const ssize_t n = write(fd, contents.data(), contents.size());
      if (n < 0) {
        if (errno == EINTR) continue;
        return absl::ErrnoToStatus(errno, absl::StrCat("write ", temporary));
      }
      contents.remove_prefix(n);
    }
    if (fdatasync(fd) != 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("sync ", temporary));
    }
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("rename to ", path));
  }
  std::move(remove_temporary).Cancel();
  // Make the rename itself durable.
  const std::string parent = std::filesystem::path(path).parent_path();
  const int dir = open(parent.empty() ? "." : parent.c_str(),
                       O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir >= 0) {
    fsync(dir);
    close(dir);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     size_t max_bytes) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
  absl::Cleanup close_fd = [fd] { close(fd); };
  struct stat info;
  if (fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is a folder, not a file"));
  }
  std::string contents;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = read(fd, buffer, sizeof(buffer));
    if (n == 0) return contents;
    if (n < 0) {
      if (errno == EINTR) continue;
      return absl::ErrnoToStatus(errno, absl::StrCat("read ", path));
    }
    if (contents.size() + n > max_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat(path, " is larger than ", max_bytes, " bytes"));
    }
    contents.append(buffer, n);
  }
}

absl::Status WriteFileAtomically(const std::string& path,
                                 absl::string_view contents) {
  return WriteAtomically(path, contents, 0644);
}

absl::Status WriteSecretFile(const std::string& path,
                             absl::string_view contents) {
  return WriteAtomically(path, contents, kSecretMode);
}

namespace {

// `of_root`: the bits that a file of root's must not have either.
absl::Status CheckSecret(const std::string& path, mode_t of_root) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return absl::OkStatus();
  if ((info.st_mode & (info.st_uid == 0 ? of_root : 077)) == 0) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      path, " holds a secret and others may read it: chmod 600 ", path));
}

}  // namespace

absl::StatusOr<std::string> ReadSecretFile(const std::string& path,
                                           size_t max_bytes) {
  HWNAS_RETURN_IF_ERROR(CheckSecret(path, 077));
  return ReadFile(path, max_bytes);
}

absl::StatusOr<std::string> ReadServiceSecretFile(const std::string& path,
                                                  size_t max_bytes) {
  HWNAS_RETURN_IF_ERROR(CheckSecret(path, 037));
  return ReadFile(path, max_bytes);
}

absl::Status MakeDirectories(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    return absl::ErrnoToStatus(error.value(),
                               absl::StrCat("create folder ", path));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ExecutableDirectory() {
  std::error_code error;
  const auto exe = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) {
    return absl::ErrnoToStatus(error.value(), "read /proc/self/exe");
  }
  return exe.parent_path().string();
}

}  // namespace hwnas
