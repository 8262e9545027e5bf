#include "nas/pareto/archive.h"

#include <cmath>
#include <cstddef>
#include <utility>

namespace hwnas {

void ParetoArchive::SetReference(Point reference) {
  reference_ = std::move(reference);
  hypervolume_ = Hypervolume(points_, reference_);
}

bool ParetoArchive::WouldJoin(absl::Span<const double> point) const {
  if (static_cast<int>(point.size()) != objectives_) return false;
  for (double value : point) {
    if (!std::isfinite(value)) return false;
  }
  for (const Point& other : points_) {
    if (Dominates(other, point)) return false;
  }
  return true;
}

double ParetoArchive::Gain(absl::Span<const double> point) const {
  if (reference_.empty()) return 0;
  return ExclusiveHypervolume(point, points_, reference_);
}

bool ParetoArchive::Insert(absl::Span<const double> point, int64_t id) {
  if (!WouldJoin(point)) return false;
  hypervolume_ += Gain(point);
  size_t kept = 0;
  for (size_t i = 0; i < points_.size(); ++i) {
    if (Dominates(point, points_[i])) continue;
    if (kept != i) {
      points_[kept] = std::move(points_[i]);
      ids_[kept] = ids_[i];
    }
    ++kept;
  }
  points_.resize(kept);
  ids_.resize(kept);
  points_.emplace_back(point.begin(), point.end());
  ids_.push_back(id);
  return true;
}

}  // namespace hwnas
