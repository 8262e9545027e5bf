#include "common/host_cores_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace hwnas {

std::string HostCoresLock::DefaultPath() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe)
  if (const char* path = std::getenv("HWNAS_CORES_LOCK");
      path != nullptr && *path != '\0') {
    return path;
  }
  std::error_code error;
  auto folder = std::filesystem::temp_directory_path(error);
  if (error) folder = "/tmp";
  return folder / "hwnas-cores.lock";
}

absl::StatusOr<std::unique_ptr<HostCoresLock>> HostCoresLock::Open(
    const std::string& path) {
  int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd >= 0) {
    fchmod(fd, 0666);  // Past the umask; fails harmlessly if not the owner.
  } else {
    // Another user's file in a sticky folder may refuse O_CREAT.
    fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  }
  if (fd < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("open cores lock ", path));
  }
  return absl::WrapUnique(new HostCoresLock(fd));
}

HostCoresLock::~HostCoresLock() { close(fd_); }

absl::Status HostCoresLock::Acquire(Mode mode,
                                    const std::function<bool()>& cancelled) {
  const int operation = (mode == kShared ? LOCK_SH : LOCK_EX) | LOCK_NB;
  while (flock(fd_, operation) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return absl::ErrnoToStatus(errno, "lock the cores");
    }
    if (cancelled()) {
      return absl::CancelledError("cancelled while waiting for the cores");
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
  return absl::OkStatus();
}

void HostCoresLock::Release() { flock(fd_, LOCK_UN); }

}  // namespace hwnas
