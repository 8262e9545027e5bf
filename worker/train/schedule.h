// Learning rate by step.
#pragma once

#include <cstdint>

namespace hwnas::worker {

// Linear warm-up to `peak`, then half a cosine down to zero (SGDR without
// restarts, arXiv 1608.03983; warm-up after arXiv 1706.02677). Step 0 already
// learns; the last step is just above zero.
class CosineSchedule {
 public:
  // 0 <= warmup_steps <= total_steps, total_steps >= 1.
  CosineSchedule(double peak, int64_t warmup_steps, int64_t total_steps)
      : peak_(peak), warmup_(warmup_steps), total_(total_steps) {}

  // For 0 <= step < total_steps.
  double At(int64_t step) const;

 private:
  const double peak_;
  const int64_t warmup_;
  const int64_t total_;
};

}  // namespace hwnas::worker
