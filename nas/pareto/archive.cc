#include "nas/pareto/archive.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace hwnas {

void ParetoArchive::SetReference(Point reference) {
  reference_ = std::move(reference);
  std::vector<Point> front;
  front.reserve(ids_.size());
  for (int i = 0; i < size(); ++i) {
    front.emplace_back(point(i).begin(), point(i).end());
  }
  hypervolume_ = Hypervolume(front, reference_);
}

bool ParetoArchive::WouldJoin(absl::Span<const double> point) const {
  if (static_cast<int>(point.size()) != objectives_) return false;
  for (double value : point) {
    if (!std::isfinite(value)) return false;
  }
  const double* other = values_.data();
  for (int i = 0; i < size(); ++i, other += objectives_) {
    if (Dominates({other, point.size()}, point)) return false;
  }
  return true;
}

double ParetoArchive::Gain(absl::Span<const double> point) const {
  if (reference_.empty()) return 0;
  return ExclusiveHypervolumeOfRows(point, values_, reference_);
}

bool ParetoArchive::Insert(absl::Span<const double> point, int64_t id) {
  if (!WouldJoin(point)) return false;
  hypervolume_ += Gain(point);
  size_t kept = 0;
  for (int i = 0; i < size(); ++i) {
    if (Dominates(point, this->point(i))) continue;
    if (kept != static_cast<size_t>(i)) {
      std::copy_n(values_.begin() + static_cast<ptrdiff_t>(i) * objectives_,
                  objectives_,
                  values_.begin() + static_cast<ptrdiff_t>(kept) * objectives_);
      ids_[kept] = ids_[i];
    }
    ++kept;
  }
  values_.resize(kept * objectives_);
  ids_.resize(kept);
  values_.insert(values_.end(), point.begin(), point.end());
  ids_.push_back(id);
  return true;
}

}  // namespace hwnas
