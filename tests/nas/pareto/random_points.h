// Points for tests.
#pragma once

#include <cmath>
#include <vector>

#include "common/rng.h"
#include "nas/pareto/pareto.h"

namespace hwnas {

// `levels` > 0 rounds to that many values per objective, which makes ties and
// equal points; 0 leaves them continuous.
inline std::vector<Point> RandomPoints(Rng& rng, int count, int objectives,
                                       int levels) {
  std::vector<Point> points(count, Point(objectives));
  for (Point& point : points) {
    for (double& value : point) {
      value = levels > 0 ? static_cast<double>(rng.Below(levels)) / levels
                         : rng.Uniform();
    }
  }
  return points;
}

// On the positive part of the unit sphere: none dominates another.
inline std::vector<Point> SpherePoints(Rng& rng, int count, int objectives) {
  std::vector<Point> points(count, Point(objectives));
  for (Point& point : points) {
    double norm = 0;
    for (double& value : point) {
      value = std::abs(rng.Normal());
      norm += value * value;
    }
    for (double& value : point) value /= std::sqrt(norm);
  }
  return points;
}

}  // namespace hwnas
