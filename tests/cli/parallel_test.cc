#include "cli/parallel.h"

#include <atomic>
#include <set>

#include "common/mutex.h"
#include "gtest/gtest.h"

namespace hwnas::cli {
namespace {

TEST(RunInParallel, DoesEachJobOnce) {
  Mutex mutex;
  std::multiset<size_t> done;
  EXPECT_TRUE(RunInParallel(100, 4, [&](size_t i) {
                MutexLock lock(&mutex);
                done.insert(i);
                return absl::OkStatus();
              }).ok());
  EXPECT_EQ(done.size(), 100u);
  EXPECT_EQ(std::set<size_t>(done.begin(), done.end()).size(), 100u);
}

TEST(RunInParallel, HasSoManyInHand) {
  Mutex mutex;
  CondVar changed;
  int inside = 0;
  // Each waits for the other two.
  EXPECT_TRUE(RunInParallel(3, 3, [&](size_t) {
                MutexLock lock(&mutex);
                ++inside;
                changed.SignalAll();
                while (inside < 3) changed.Wait(&mutex);
                return absl::OkStatus();
              }).ok());
}

TEST(RunInParallel, BeginsNothingAfterAnError) {
  std::atomic<int> begun{0};
  const absl::Status status = RunInParallel(50, 1, [&](size_t i) {
    ++begun;
    return i == 7 ? absl::UnavailableError("gone") : absl::OkStatus();
  });
  EXPECT_EQ(status.message(), "gone");
  EXPECT_EQ(begun, 8);
  EXPECT_TRUE(
      RunInParallel(0, 4, [](size_t) { return absl::UnknownError(""); }).ok());
}

TEST(SlotsOf, CountsConnectedDevicesOfTheClasses) {
  std::vector<v1::Device> devices(4);
  for (v1::Device& device : devices) {
    device.mutable_executor()->set_state(v1::Executor::CONNECTED);
    device.mutable_executor()->set_slots(3);
    device.add_device_classes("pi");
  }
  devices[1].mutable_executor()->set_state(v1::Executor::LOST);
  devices[2].set_device_classes(0, "x86_64");
  devices[3].add_device_classes("x86_64");
  EXPECT_EQ(SlotsOf(devices, {"pi"}), 6);
  EXPECT_EQ(SlotsOf(devices, {"pi", "x86_64"}), 9);
  EXPECT_EQ(SlotsOf(devices, {"jetson"}), 0);
}

}  // namespace
}  // namespace hwnas::cli
