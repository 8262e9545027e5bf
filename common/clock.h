// Time comes from a Clock that is passed in, so that tests own it.
#pragma once

#include "absl/time/time.h"

namespace hwnas {

// Wall-clock time. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;

  // The system's clock. Never deleted.
  static Clock* Real();
};

}  // namespace hwnas
