// Runs small jobs one after the other on a thread of its own, so that gRPC
// reactors, which must not block, can hand work to the engine, which may.
#pragma once

#include <deque>
#include <functional>
#include <thread>

#include "common/mutex.h"

namespace hwnas::controller {

// Thread-safe. Callers bound the number of waiting jobs: each stream has at
// most a few.
class SerialQueue {
 public:
  SerialQueue();
  // Runs what was posted before, then ends the thread.
  ~SerialQueue();
  SerialQueue(const SerialQueue&) = delete;
  SerialQueue& operator=(const SerialQueue&) = delete;

  // Jobs run in the order of their posts. Not after destruction has begun,
  // unless from a job.
  void Post(std::function<void()> job);

 private:
  void Loop();

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::function<void()>> jobs_ ABSL_GUARDED_BY(mutex_);
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace hwnas::controller
