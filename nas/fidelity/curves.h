// How the values of trials moved while they trained.
#pragma once

#include <cstdint>
#include <vector>

#include "nas/problem.h"

namespace hwnas {

struct CurvePoint {
  int epoch = 0;  // Finished epochs, from 1.
  Evaluation evaluation;
};

// Points by epoch, ascending; some epochs may be missing.
struct Curve {
  int64_t trial = 0;
  std::vector<CurvePoint> points;
};

struct CurveTable {
  int max_epochs = 1;
  // Of the trials whose whole training is finished, in journal order.
  std::vector<Curve> finished;
};

}  // namespace hwnas
