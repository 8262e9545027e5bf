// A clock that the test moves.
#pragma once

#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"

namespace hwnas {

// Thread-safe.
class SimulatedClock final : public Clock {
 public:
  explicit SimulatedClock(absl::Time start = absl::FromUnixSeconds(1700000000))
      : now_(start) {}

  absl::Time Now() const override {
    MutexLock lock(&mutex_);
    return now_;
  }
  absl::Time Steady() const override {
    MutexLock lock(&mutex_);
    return now_ - set_by_;
  }
  void Advance(absl::Duration step) {
    MutexLock lock(&mutex_);
    now_ += step;
  }

  // Somebody sets the wall clock.
  void Set(absl::Duration step) {
    MutexLock lock(&mutex_);
    now_ += step;
    set_by_ += step;
  }

 private:
  mutable Mutex mutex_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_);
  absl::Duration set_by_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace hwnas
