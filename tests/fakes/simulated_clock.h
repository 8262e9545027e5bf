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
  void Advance(absl::Duration step) {
    MutexLock lock(&mutex_);
    now_ += step;
  }

 private:
  mutable Mutex mutex_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace hwnas
