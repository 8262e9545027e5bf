#include "nas/pareto/archive.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

namespace hwnas {

namespace {

// Index of the first row from `first` on for which one side is better than the
// other somewhere and worse nowhere; the number of rows if there is none.
// Without branches inside a row: on a front they are a coin's toss.
template <int fixed_dims, bool rows_dominate>
int FindDominanceIn(const std::vector<double>& rows, int any_dims,
                    const double* point, int first) {
  const int dims = fixed_dims > 0 ? fixed_dims : any_dims;
  const int count = static_cast<int>(rows.size()) / dims;
  const double* row = rows.data() + static_cast<ptrdiff_t>(first) * dims;
  for (int i = first; i < count; ++i, row += dims) {
    bool lower = false;
    bool higher = false;
    for (int k = 0; k < dims; ++k) {
      lower |= row[k] < point[k];
      higher |= row[k] > point[k];
    }
    if (rows_dominate ? (lower & !higher) : (higher & !lower)) return i;
  }
  return count;
}

template <bool rows_dominate>
int FindDominance(const std::vector<double>& rows, int dims,
                  const double* point, int first) {
  switch (dims) {
    case 2:
      return FindDominanceIn<2, rows_dominate>(rows, dims, point, first);
    case 3:
      return FindDominanceIn<3, rows_dominate>(rows, dims, point, first);
    default:
      return FindDominanceIn<0, rows_dominate>(rows, dims, point, first);
  }
}

// What one pass over the rows says about a point.
struct Comparison {
  bool dominated = false;
  bool equal = false;       // To some row.
  int first_dominated = 0;  // The number of rows if there is none.
};

// Lowers `corner` to that of the box that the point can add to the rows, and
// collects in `near` those that may take a part of that box, and a few more.
template <int fixed_dims>
Comparison CompareIn(const std::vector<double>& rows, int any_dims,
                     const double* point, double* corner,
                     std::vector<double>* near) {
  const int dims = fixed_dims > 0 ? fixed_dims : any_dims;
  const int count = static_cast<int>(rows.size()) / dims;
  Comparison found{false, false, count};
  // A copy that cannot be one of the rows.
  double copy[std::max(fixed_dims, 1)] = {};
  double* const low = fixed_dims > 0 ? copy : corner;
  if constexpr (fixed_dims > 0) std::copy_n(corner, fixed_dims, copy);
  const double* row = rows.data();
  for (int i = 0; i < count; ++i, row += dims) {
    int worse = 0;
    bool better = false;
    bool within = true;
    for (int k = 0; k < dims; ++k) {
      worse += row[k] > point[k];
      better |= row[k] < point[k];
      within &= row[k] < low[k];
    }
    if (within) near->insert(near->end(), row, row + dims);
    for (int k = 0; k < dims; ++k) {
      const bool limits = (worse == 1) & (row[k] > point[k]);
      low[k] = std::min(low[k], limits ? row[k] : low[k]);
    }
    if (worse > 0 && better) continue;
    if (better) {
      found.dominated = true;
      return found;
    }
    if (worse == 0) {
      found.equal = true;
    } else if (found.first_dominated == count) {
      found.first_dominated = i;
    }
  }
  if constexpr (fixed_dims > 0) std::copy_n(copy, fixed_dims, corner);
  return found;
}

Comparison Compare(const std::vector<double>& rows, int dims,
                   const double* point, double* corner,
                   std::vector<double>* near) {
  switch (dims) {
    case 2:
      return CompareIn<2>(rows, dims, point, corner, near);
    case 3:
      return CompareIn<3>(rows, dims, point, corner, near);
    default:
      return CompareIn<0>(rows, dims, point, corner, near);
  }
}

}  // namespace

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
  return FindDominance<true>(values_, objectives_, point.data(), 0) == size();
}

double ParetoArchive::Gain(absl::Span<const double> point) const {
  if (reference_.empty()) return 0;
  return ExclusiveHypervolumeOfRows(point, values_, reference_);
}

double ParetoArchive::RoughGain(absl::Span<const double> point) const {
  if (reference_.empty()) return 0;
  return RoughExclusiveHypervolumeOfRows(point, values_, reference_);
}

bool ParetoArchive::Insert(absl::Span<const double> point, int64_t id) {
  if (static_cast<int>(point.size()) != objectives_) return false;
  bool inside = !reference_.empty();
  for (int k = 0; k < objectives_; ++k) {
    if (!std::isfinite(point[k])) return false;
    inside = inside && point[k] < reference_[k];
  }
  // Nothing lies in an empty box.
  Point corner =
      inside ? reference_
             : Point(objectives_, -std::numeric_limits<double>::infinity());
  std::vector<double> near;
  const Comparison found =
      Compare(values_, objectives_, point.data(), corner.data(), &near);
  if (found.dominated) return false;
  if (inside && !found.equal) {
    hypervolume_ += ExclusiveHypervolumeWithin(point, near, corner);
  }
  // The last row takes the place of a dominated one.
  for (int i = found.first_dominated; i < size();
       i = FindDominance<false>(values_, objectives_, point.data(), i)) {
    const size_t last = values_.size() - objectives_;
    for (int k = 0; k < objectives_; ++k) {
      values_[static_cast<size_t>(i) * objectives_ + k] = values_[last + k];
    }
    values_.resize(last);
    ids_[i] = ids_.back();
    ids_.pop_back();
  }
  values_.insert(values_.end(), point.begin(), point.end());
  ids_.push_back(id);
  return true;
}

}  // namespace hwnas
