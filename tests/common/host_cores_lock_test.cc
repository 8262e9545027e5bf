#include "common/host_cores_lock.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace hwnas {
namespace {

bool Always() { return true; }
bool Never() { return false; }

std::string Path(const char* name) {
  return ::testing::TempDir() + "/" + name + "." + std::to_string(getpid());
}

TEST(HostCoresLock, SharedHoldersCoexistAndExcludeAnExclusiveOne) {
  const std::string path = Path("shared");
  auto a = *HostCoresLock::Open(path), b = *HostCoresLock::Open(path),
       c = *HostCoresLock::Open(path);
  EXPECT_TRUE(a->Acquire(HostCoresLock::kShared, Never).ok());
  EXPECT_TRUE(b->Acquire(HostCoresLock::kShared, Never).ok());
  EXPECT_EQ(c->Acquire(HostCoresLock::kExclusive, Always).code(),
            absl::StatusCode::kCancelled);
  a->Release();
  b.reset();
  EXPECT_TRUE(c->Acquire(HostCoresLock::kExclusive, Never).ok());
  EXPECT_EQ(a->Acquire(HostCoresLock::kShared, Always).code(),
            absl::StatusCode::kCancelled);
}

TEST(HostCoresLock, IsFreedWhenItsHolderIsKilled) {
  const std::string path = Path("killed");
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    auto lock = *HostCoresLock::Open(path);
    if (!lock->Acquire(HostCoresLock::kExclusive, Never).ok()) _exit(1);
    if (write(ready[1], "x", 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  auto lock = *HostCoresLock::Open(path);
  EXPECT_FALSE(lock->Acquire(HostCoresLock::kShared, Always).ok());
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(lock->Acquire(HostCoresLock::kShared, Always).ok());
}

}  // namespace
}  // namespace hwnas
