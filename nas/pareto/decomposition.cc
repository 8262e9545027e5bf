#include "nas/pareto/decomposition.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

namespace hwnas {
namespace {

constexpr double kSmallWeight = 1e-6;
// Smaller intercepts and pivots, relative to the spread, count as none.
constexpr double kDegenerate = 1e-10;

// Appends all points that begin with `point[0, k)`, which has used up all but
// `left` of the divisions.
void Extend(int k, int left, int divisions, Point& point,
            std::vector<Point>& out) {
  if (k + 1 == static_cast<int>(point.size())) {
    point[k] = static_cast<double>(left) / divisions;
    out.push_back(point);
    return;
  }
  for (int i = 0; i <= left; ++i) {
    point[k] = static_cast<double>(i) / divisions;
    Extend(k + 1, left - i, divisions, point, out);
  }
}

}  // namespace

int64_t SimplexLatticeSize(int objectives, int divisions) {
  // C(n + i, i) for i = 1, 2, ...: each product is divisible.
  const int64_t n = objectives - 1;
  int64_t size = 1;
  for (int64_t i = 1; i <= divisions; ++i) {
    if (size > std::numeric_limits<int64_t>::max() / (n + i)) {
      return std::numeric_limits<int64_t>::max();
    }
    size = size * (n + i) / i;
  }
  return size;
}

std::vector<Point> SimplexLattice(int objectives, int divisions) {
  std::vector<Point> lattice;
  lattice.reserve(SimplexLatticeSize(objectives, divisions));
  Point point(objectives);
  Extend(0, divisions, divisions, point, lattice);
  return lattice;
}

std::vector<Point> SimplexLatticeOfAtMost(int objectives, int64_t count) {
  int divisions = 1;
  while (objectives > 1 &&
         SimplexLatticeSize(objectives, divisions + 1) <= count) {
    ++divisions;
  }
  return SimplexLattice(objectives, divisions);
}

double ChebyshevDistance(absl::Span<const double> point,
                         absl::Span<const double> weights) {
  double worst = 0;
  for (size_t k = 0; k < point.size(); ++k) {
    const double weight = weights[k] > 0 ? weights[k] : kSmallWeight;
    worst = std::max(worst, weight * std::abs(point[k]));
  }
  return worst;
}

double PerpendicularDistance(absl::Span<const double> point,
                             absl::Span<const double> direction) {
  double along = 0;
  double length2 = 0;
  for (size_t k = 0; k < point.size(); ++k) {
    along += point[k] * direction[k];
    length2 += direction[k] * direction[k];
  }
  double distance2 = 0;
  for (size_t k = 0; k < point.size(); ++k) {
    const double off = point[k] - along / length2 * direction[k];
    distance2 += off * off;
  }
  return std::sqrt(distance2);
}

Niche NearestDirection(absl::Span<const double> point,
                       absl::Span<const Point> directions) {
  Niche nearest{0, PerpendicularDistance(point, directions[0])};
  for (size_t i = 1; i < directions.size(); ++i) {
    const double distance = PerpendicularDistance(point, directions[i]);
    if (distance < nearest.distance) {
      nearest = {static_cast<int>(i), distance};
    }
  }
  return nearest;
}

HyperplaneScale::HyperplaneScale(int objectives)
    : ideal_(objectives, std::numeric_limits<double>::infinity()),
      intercepts_(objectives, 1) {}

void HyperplaneScale::Update(absl::Span<const Point> points,
                             absl::Span<const Point> front) {
  const int dims = static_cast<int>(ideal_.size());
  for (const Point& point : points) {
    for (int k = 0; k < dims; ++k) ideal_[k] = std::min(ideal_[k], point[k]);
  }
  if (extremes_.empty() && !points.empty()) extremes_.assign(dims, points[0]);
  for (int axis = 0; axis < static_cast<int>(extremes_.size()); ++axis) {
    const auto reach = [&](const Point& point) {
      double worst = 0;
      for (int k = 0; k < dims; ++k) {
        const double weight = k == axis ? 1 : kSmallWeight;
        worst = std::max(worst, (point[k] - ideal_[k]) / weight);
      }
      return worst;
    };
    double best = reach(extremes_[axis]);
    for (const Point& point : points) {
      const double candidate = reach(point);
      if (candidate < best) {
        best = candidate;
        extremes_[axis] = point;
      }
    }
  }
  if (FitHyperplane()) return;
  for (int k = 0; k < dims; ++k) {
    double worst = ideal_[k];
    for (const Point& point : front) worst = std::max(worst, point[k]);
    intercepts_[k] = worst > ideal_[k] ? worst - ideal_[k] : 1;
  }
}

// Solves sum_k (extreme_k - ideal_k) x_k = 1 for all extremes, by Gaussian
// elimination with row pivoting; the intercepts are 1 / x_k.
bool HyperplaneScale::FitHyperplane() {
  const int n = static_cast<int>(ideal_.size());
  if (static_cast<int>(extremes_.size()) != n) return false;
  std::vector<Point> rows(n, Point(n + 1, 1));
  Point spread(n);
  for (int i = 0; i < n; ++i) {
    for (int k = 0; k < n; ++k) {
      spread[k] = std::max(spread[k], extremes_[i][k] - ideal_[k]);
    }
  }
  for (int i = 0; i < n; ++i) {
    for (int k = 0; k < n; ++k) {
      if (!(spread[k] > 0)) return false;
      rows[i][k] = (extremes_[i][k] - ideal_[k]) / spread[k];
    }
  }
  for (int column = 0; column < n; ++column) {
    int pivot = column;
    for (int i = column + 1; i < n; ++i) {
      if (std::abs(rows[i][column]) > std::abs(rows[pivot][column])) pivot = i;
    }
    if (std::abs(rows[pivot][column]) < kDegenerate) return false;
    std::swap(rows[column], rows[pivot]);
    for (int i = 0; i < n; ++i) {
      if (i == column) continue;
      const double factor = rows[i][column] / rows[column][column];
      for (int k = column; k <= n; ++k) rows[i][k] -= factor * rows[column][k];
    }
  }
  Point intercepts(n);
  for (int k = 0; k < n; ++k) {
    const double x = rows[k][n] / rows[k][k];
    if (!(x > kDegenerate)) return false;
    intercepts[k] = spread[k] / x;
  }
  intercepts_ = std::move(intercepts);
  return true;
}

Point HyperplaneScale::Normalized(absl::Span<const double> point) const {
  Point normalized(point.size());
  for (size_t k = 0; k < point.size(); ++k) {
    normalized[k] = (point[k] - ideal_[k]) / intercepts_[k];
  }
  return normalized;
}

}  // namespace hwnas
