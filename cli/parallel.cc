#include "cli/parallel.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "common/mutex.h"

namespace hwnas::cli {

absl::Status RunInParallel(size_t count, int threads,
                           const std::function<absl::Status(size_t)>& job) {
  std::atomic<size_t> next{0};
  Mutex mutex;
  absl::Status first;
  const auto work = [&] {
    for (size_t i = next++; i < count; i = next++) {
      const absl::Status status = job(i);
      if (status.ok()) continue;
      next = count;
      MutexLock lock(&mutex);
      first.Update(status);
    }
  };
  std::vector<std::thread> running;
  const size_t wanted = std::min<size_t>(count, std::max(1, threads));
  for (size_t i = 0; i < wanted; ++i) running.emplace_back(work);
  for (std::thread& thread : running) thread.join();
  return first;
}

int SlotsOf(absl::Span<const v1::Device> devices,
            absl::Span<const std::string> classes) {
  int slots = 0;
  for (const v1::Device& device : devices) {
    const auto& has = device.device_classes();
    if (device.executor().state() != v1::Executor::CONNECTED) continue;
    if (std::find_first_of(has.begin(), has.end(), classes.begin(),
                           classes.end()) == has.end()) {
      continue;
    }
    slots += std::max(1, device.executor().slots());
  }
  return slots;
}

}  // namespace hwnas::cli
