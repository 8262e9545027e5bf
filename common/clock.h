// Time comes from a Clock that is passed in, so that tests own it.
#pragma once

#include "absl/time/time.h"

namespace hwnas {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // What the wall clock says: for people and for records. Somebody may set it.
  virtual absl::Time Now() const = 0;
  // Goes on evenly whatever the wall clock does; only differences of it mean
  // anything, and only in this process. For deadlines.
  virtual absl::Time Steady() const = 0;

  // The system's clock. Never deleted.
  static Clock* Real();
};

}  // namespace hwnas
