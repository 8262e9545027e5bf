// A clock for timing: monotonic, fine, and passed in so that tests own it.
#pragma once

#include <chrono>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace hwnas::agent {

// Thread-safe.
class SteadyClock {
 public:
  virtual ~SteadyClock() = default;
  // Since some moment in the past.
  virtual absl::Duration Now() = 0;
  // Does nothing for so long.
  virtual void SleepFor(absl::Duration duration) = 0;
};

class RealSteadyClock final : public SteadyClock {
 public:
  absl::Duration Now() override {
    return absl::FromChrono(
        std::chrono::steady_clock::now().time_since_epoch());
  }
  void SleepFor(absl::Duration duration) override { absl::SleepFor(duration); }
};

}  // namespace hwnas::agent
