// How often something may happen.
#pragma once

#include <algorithm>

#include "absl/time/time.h"

namespace hwnas {

// A token bucket: `burst` at once, `per_second` in the long run.
// Thread-compatible.
class RateLimit {
 public:
  RateLimit(double per_second, double burst)
      : per_second_(per_second), burst_(burst), tokens_(burst) {}

  // Whether it may happen now; if so, it counts.
  bool Take(absl::Time now) {
    if (now > last_) {
      const double passed_s = absl::ToDoubleSeconds(now - last_);
      tokens_ = std::min(burst_, tokens_ + passed_s * per_second_);
      last_ = now;
    }
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

 private:
  const double per_second_;
  const double burst_;
  double tokens_;
  absl::Time last_ = absl::InfinitePast();
};

}  // namespace hwnas
