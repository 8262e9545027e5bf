// Keeps training and measurement on one machine apart.
//
// A latency measured while something else uses the same cores is wrong, and
// nobody would know. The scheduler avoids it by policy; this lock makes it
// certain, also across controllers: a worker holds the lock shared while it
// trains, an agent holds it exclusively while it measures. The kernel frees it
// when a process dies, however it dies.
//
//   HWNAS_ASSIGN_OR_RETURN(auto lock, HostCoresLock::Open(path));
//   HWNAS_RETURN_IF_ERROR(lock->Acquire(HostCoresLock::kExclusive, cancelled));
//   ... measure ...
//   lock->Release();
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace hwnas {

// Not thread-safe: each task opens its own.
class HostCoresLock {
 public:
  enum Mode { kShared, kExclusive };

  // The file that all workers and agents on this machine share by default:
  // $HWNAS_CORES_LOCK, else hwnas-cores.lock in the system's temporary folder.
  static std::string DefaultPath();

  // Creates the file if needed, writable for every user.
  static absl::StatusOr<std::unique_ptr<HostCoresLock>> Open(
      const std::string& path = DefaultPath());

  ~HostCoresLock();
  HostCoresLock(const HostCoresLock&) = delete;
  HostCoresLock& operator=(const HostCoresLock&) = delete;

  // Waits for the lock; asks `cancelled` every 20 ms and gives up with
  // CANCELLED when it returns true.
  absl::Status Acquire(Mode mode, const std::function<bool()>& cancelled);
  void Release();

 private:
  explicit HostCoresLock(int fd) : fd_(fd) {}
  const int fd_;
};

}  // namespace hwnas
