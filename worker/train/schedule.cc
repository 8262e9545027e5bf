#include "worker/train/schedule.h"

#include <cmath>
#include <numbers>

namespace hwnas::worker {

double CosineSchedule::At(int64_t step) const {
  if (step < warmup_) {
    return peak_ * static_cast<double>(step + 1) / static_cast<double>(warmup_);
  }
  const double part = static_cast<double>(step - warmup_) /
                      static_cast<double>(total_ - warmup_);
  return peak_ * 0.5 * (1 + std::cos(std::numbers::pi * part));
}

}  // namespace hwnas::worker
