// Directions that cover an objective space evenly, and what a point is worth in
// one of them. All objectives are minimised. Free functions; thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "nas/pareto/pareto.h"

namespace hwnas {

// Number of points of SimplexLattice: C(divisions + objectives - 1, divisions).
// Saturates at the largest int64_t.
int64_t SimplexLatticeSize(int objectives, int divisions);

// The structured directions of Das and Dennis (SIAM Journal on Optimization,
// 1998): all vectors of `objectives` multiples of 1 / divisions that sum to 1,
// in lexicographic order. At least 1 objective and 1 division.
std::vector<Point> SimplexLattice(int objectives, int divisions);

// The largest SimplexLattice of at most `count` points, but at least that with
// one division: a direction along each objective.
std::vector<Point> SimplexLatticeOfAtMost(int objectives, int64_t count);

// Weighted Chebyshev distance from the origin: the largest over the objectives
// of weight * |value| (Zhang and Li, 2007). A weight of 0 counts as 1e-6, so
// that of two points equal elsewhere the better one wins.
double ChebyshevDistance(absl::Span<const double> point,
                         absl::Span<const double> weights);

// Distance of `point` from the ray through the origin along `direction`, which
// is not zero.
double PerpendicularDistance(absl::Span<const double> point,
                             absl::Span<const double> direction);

// Index of the direction with the smallest PerpendicularDistance; the first of
// equals. At least one direction.
struct Niche {
  int direction = 0;
  double distance = 0;
};
Niche NearestDirection(absl::Span<const double> point,
                       absl::Span<const Point> directions);

// How NSGA-III (Deb and Jain, 2014) makes objectives comparable: the ideal
// point becomes the origin, and each axis is divided by where the hyperplane
// through the extreme points cuts it. Not thread-safe.
class HyperplaneScale {
 public:
  // At least one objective.
  explicit HyperplaneScale(int objectives);

  // Takes a population in, with those of it that no other dominates. The ideal
  // point is that of all points so far. The extreme point of an axis has the
  // smallest of all points so far of max_k (f_k - ideal_k) / w_k, where w is 1
  // on the axis and 1e-6 elsewhere. If the extreme points have no hyperplane
  // that cuts every axis beyond the ideal point, the largest values among
  // `front` are used.
  void Update(absl::Span<const Point> points, absl::Span<const Point> front);

  // After the first Update.
  Point Normalized(absl::Span<const double> point) const;
  const Point& ideal() const { return ideal_; }
  // Distances from the ideal point.
  const Point& intercepts() const { return intercepts_; }

 private:
  bool FitHyperplane();

  Point ideal_;
  std::vector<Point> extremes_;  // One per axis, once there is a point.
  Point intercepts_;
};

}  // namespace hwnas
