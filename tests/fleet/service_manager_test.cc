#include "fleet/service_manager.h"

#include <unistd.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_service_manager.h"

namespace hwnas::fleet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string SocketPath() {
  return absl::StrCat(::testing::TempDir(), "/notify.", getpid());
}

TEST(ServiceManager, IsToldOfBeginningAndEnd) {
  FakeServiceManager manager(SocketPath());
  ASSERT_TRUE(manager.bound());
  ServiceManager service(manager.name());
  EXPECT_EQ(service.Ready(), absl::OkStatus());
  EXPECT_EQ(service.Describe("connected to\nctl:7420"), absl::OkStatus());
  EXPECT_EQ(service.Describe("connected to\nctl:7420"), absl::OkStatus());
  EXPECT_EQ(service.Stopping(), absl::OkStatus());
  EXPECT_THAT(
      manager.Heard(),
      ElementsAre("READY=1", "STATUS=connected to ctl:7420", "STOPPING=1"));
}

TEST(ServiceManager, IsToldOfLifeThriceInTheWatchdogsTime) {
  FakeServiceManager manager(SocketPath());
  ServiceManager service(manager.name(), absl::Seconds(30));
  ServiceManager::Time now;
  for (int second = 0; second < 30; ++second) {
    EXPECT_EQ(service.Alive(now), absl::OkStatus());
    now += std::chrono::seconds(1);
  }
  EXPECT_THAT(manager.Heard(),
              ElementsAre("WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"));
}

TEST(ServiceManager, IsNotToldOfLifeWithoutAWatchdog) {
  FakeServiceManager manager(SocketPath());
  ServiceManager service(manager.name());
  EXPECT_EQ(service.Alive(), absl::OkStatus());
  EXPECT_THAT(manager.Heard(), IsEmpty());
}

TEST(ServiceManager, MayHaveAnAbstractName) {
  FakeServiceManager manager(absl::StrCat("@hwnas-notify-", getpid()));
  ASSERT_TRUE(manager.bound());
  EXPECT_EQ(ServiceManager(manager.name()).Ready(), absl::OkStatus());
  EXPECT_THAT(manager.Heard(), ElementsAre("READY=1"));
}

TEST(ServiceManager, TakesItsSettingsOutOfTheEnvironment) {
  FakeServiceManager manager(SocketPath());
  setenv("NOTIFY_SOCKET", manager.name().c_str(), 1);
  setenv("WATCHDOG_USEC", "3000000", 1);
  setenv("WATCHDOG_PID", absl::StrCat(getpid()).c_str(), 1);
  ServiceManager service = ServiceManager::FromEnvironment();
  EXPECT_EQ(getenv("NOTIFY_SOCKET"), nullptr);
  EXPECT_EQ(getenv("WATCHDOG_USEC"), nullptr);
  EXPECT_EQ(getenv("WATCHDOG_PID"), nullptr);
  EXPECT_EQ(service.Alive(), absl::OkStatus());
  EXPECT_THAT(manager.Heard(), ElementsAre("WATCHDOG=1"));
  // Another process is watched.
  setenv("NOTIFY_SOCKET", manager.name().c_str(), 1);
  setenv("WATCHDOG_USEC", "3000000", 1);
  setenv("WATCHDOG_PID", absl::StrCat(getpid() + 1).c_str(), 1);
  EXPECT_EQ(ServiceManager::FromEnvironment().Alive(), absl::OkStatus());
  EXPECT_THAT(manager.Heard(), IsEmpty());
}

TEST(ServiceManager, WithoutAManagerNothingHappens) {
  ServiceManager service = ServiceManager::FromEnvironment();
  EXPECT_EQ(service.Ready(), absl::OkStatus());
  EXPECT_EQ(service.Describe("x"), absl::OkStatus());
  EXPECT_EQ(service.Alive(), absl::OkStatus());
}

TEST(ServiceManager, TriesAgainWhatCouldNotBeTold) {
  ServiceManager service(SocketPath(), absl::Seconds(30));
  EXPECT_FALSE(service.Ready().ok());
  EXPECT_FALSE(service.Describe("x").ok());
  EXPECT_FALSE(service.Alive().ok());
  FakeServiceManager manager(SocketPath());
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(service.Ready(), absl::OkStatus());
    EXPECT_EQ(service.Describe("x"), absl::OkStatus());
    EXPECT_EQ(service.Alive(), absl::OkStatus());
  }
  EXPECT_THAT(manager.Heard(),
              ElementsAre("READY=1", "STATUS=x", "WATCHDOG=1"));
}

TEST(ServiceManager, SaysWhoCouldNotBeTold) {
  EXPECT_THAT(ServiceManager("/nowhere/socket").Ready().message(),
              HasSubstr("/nowhere/socket"));
  EXPECT_THAT(ServiceManager("relative").Ready().message(),
              HasSubstr("expected an absolute path"));
  EXPECT_THAT(ServiceManager("/" + std::string(200, 'x')).Ready().message(),
              HasSubstr("expected an absolute path"));
}

}  // namespace
}  // namespace hwnas::fleet
