#include "nas/pareto/pareto.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>

#include "absl/base/casts.h"
#include "common/rng.h"

namespace hwnas {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Points in one block, `dims` values each: no allocation per point.
struct FlatPoints {
  int dims = 0;
  std::vector<double> values;

  int size() const { return static_cast<int>(values.size()) / dims; }
  const double* operator[](int i) const {
    return values.data() + static_cast<size_t>(i) * dims;
  }
  double* operator[](int i) {
    return values.data() + static_cast<size_t>(i) * dims;
  }
  void Append(const double* point) {
    values.insert(values.end(), point, point + dims);
  }
};

bool WeaklyDominates(const double* a, const double* b, int dims) {
  for (int k = 0; k < dims; ++k) {
    if (a[k] > b[k]) return false;
  }
  return true;
}

bool StrictlyInside(const double* point, const double* reference, int dims) {
  for (int k = 0; k < dims; ++k) {
    if (!(point[k] < reference[k])) return false;
  }
  return true;
}

// Indices in the order of one coordinate.
std::vector<int> OrderBy(const FlatPoints& points, int k, bool descending) {
  std::vector<int> order(points.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    const double x = points[a][k];
    const double y = points[b][k];
    if (x != y) return descending ? x > y : x < y;
    return a < b;
  });
  return order;
}

bool Unbounded(const double* point, int dims) {
  return std::find(point, point + dims, -kInfinity) != point + dims;
}

// What follows expects finite points that are strictly better than the
// reference everywhere.

double Hypervolume1(const FlatPoints& points, const double* reference) {
  double best = reference[0];
  for (int i = 0; i < points.size(); ++i) best = std::min(best, points[i][0]);
  return reference[0] - best;
}

double Hypervolume2(const FlatPoints& points, const double* reference) {
  double area = 0;
  double y = reference[1];
  for (int i : OrderBy(points, 0, /*descending=*/false)) {
    if (points[i][1] >= y) continue;
    area += (reference[0] - points[i][0]) * (y - points[i][1]);
    y = points[i][1];
  }
  return area;
}

// Area dominated by a growing set of points of the plane.
class Staircase {
 public:
  Staircase(double reference_x, double reference_y) {
    steps_[-kInfinity] = reference_y;
    steps_[reference_x] = -kInfinity;
  }

  void Add(double x, double y) {
    auto next = steps_.upper_bound(x);
    auto previous = std::prev(next);
    if (previous->second <= y) return;
    if (previous->first == x) {
      // Replaced by the new point, which dominates it.
      next = previous;
      previous = std::prev(previous);
    }
    double left = x;
    double ceiling = previous->second;
    // Strips above the new point, up to the first step below it.
    while (next->second >= y) {
      area_ += (next->first - left) * (ceiling - y);
      left = next->first;
      ceiling = next->second;
      next = steps_.erase(next);
    }
    area_ += (next->first - left) * (ceiling - y);
    steps_.emplace_hint(next, x, y);
  }

  double area() const { return area_; }

 private:
  // x to y, y falling, between two sentinels.
  std::map<double, double> steps_;
  double area_ = 0;
};

// Dimension sweep along the third objective.
double Hypervolume3(const FlatPoints& points, const double* reference) {
  Staircase slice(reference[0], reference[1]);
  double volume = 0;
  double z = 0;
  for (int i : OrderBy(points, 2, /*descending=*/false)) {
    volume += slice.area() * (points[i][2] - z);
    z = points[i][2];
    slice.Add(points[i][0], points[i][1]);
  }
  return volume + slice.area() * (reference[2] - z);
}

// How much exact computation is worth while, in values looked at. Counted, not
// timed, so that equal points always give equal volumes.
struct Effort {
  int64_t left = std::numeric_limits<int64_t>::max();

  void Spend(int64_t values) { left -= values; }
  bool spent() const { return left < 0; }
};

// Without the points that another one weakly dominates; one of equal points
// stays.
FlatPoints WithoutDominated(const FlatPoints& points, Effort* effort) {
  FlatPoints kept{points.dims, {}};
  kept.values.reserve(points.values.size());
  // In lexicographic order no point is dominated by a later one.
  std::vector<int> order(points.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    return std::lexicographical_compare(points[a], points[a] + points.dims,
                                        points[b], points[b] + points.dims);
  });
  for (int i : order) {
    if (effort->spent()) break;
    bool dominated = false;
    int j = kept.size();
    for (; j > 0 && !dominated; --j) {
      dominated = WeaklyDominates(kept[j - 1], points[i], points.dims);
    }
    effort->Spend(kept.size() - j + 1);
    if (!dominated) kept.Append(points[i]);
  }
  return kept;
}

double HypervolumeOf(const FlatPoints& points, const double* reference,
                     Effort* effort);

// The points after place `i` of `order`, in all coordinates but the last and no
// better there than the point at that place.
FlatPoints LimitedBy(const FlatPoints& points, const std::vector<int>& order,
                     size_t i) {
  const int last = points.dims - 1;
  const double* point = points[order[i]];
  FlatPoints limited{last, {}};
  limited.values.reserve((order.size() - i - 1) * last);
  for (size_t j = i + 1; j < order.size(); ++j) {
    const double* other = points[order[j]];
    for (int k = 0; k < last; ++k) {
      limited.values.push_back(std::max(point[k], other[k]));
    }
  }
  return limited;
}

double BoxVolume(const double* low, const double* high, int dims) {
  double volume = 1;
  for (int k = 0; k < dims; ++k) volume *= high[k] - low[k];
  return volume;
}

// WFG with slicing along the last objective: worst first, so that each point,
// limited by those after it, spans one slab. Nothing useful once the effort is
// spent.
double HypervolumeWfg(const FlatPoints& points, const double* reference,
                      Effort* effort) {
  const int last = points.dims - 1;
  const std::vector<int> order = OrderBy(points, last, /*descending=*/true);
  double volume = 0;
  for (size_t i = 0; i < order.size() && !effort->spent(); ++i) {
    const double* point = points[order[i]];
    const FlatPoints limited = LimitedBy(points, order, i);
    effort->Spend(static_cast<int64_t>(limited.values.size()));
    volume += (reference[last] - point[last]) *
              (BoxVolume(point, reference, last) -
               HypervolumeOf(limited, reference, effort));
  }
  return volume;
}

double HypervolumeOf(const FlatPoints& points, const double* reference,
                     Effort* effort) {
  if (points.values.empty()) return 0;
  switch (points.dims) {
    case 1:
      return Hypervolume1(points, reference);
    case 2:
      return Hypervolume2(points, reference);
    case 3:
      return Hypervolume3(points, reference);
    default:
      return HypervolumeWfg(WithoutDominated(points, effort), reference,
                            effort);
  }
}

// What a volume in more than 4 dimensions may cost.
struct Precision {
  int64_t exact_effort;   // Beyond it, samples are taken.
  int64_t samples;        // At most.
  int64_t least_samples;  // Even if that is more work than:
  int64_t work;           // Comparisons of a sample with a point.
};
constexpr Precision kFine = {100'000, 4000, 1000, 1'000'000};
constexpr Precision kRough = {300, 64, 64, 0};

// Share of the box from `low` to `high` that none of the points, which lie in
// it, dominates; by sampling (as HypE does; Bader and Zitzler, 2011).
double SampledShare(const double* low, const double* high,
                    const FlatPoints& points, const Precision& precision) {
  const int dims = points.dims;
  // What dominates most comes first: most samples need look no further.
  std::vector<double> dominated(points.size());
  std::vector<int> order(points.size());
  for (int i = 0; i < points.size(); ++i) {
    dominated[i] = BoxVolume(points[i], high, dims);
    order[i] = i;
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return dominated[a] > dominated[b]; });
  FlatPoints sorted{dims, {}};
  sorted.values.reserve(points.values.size());
  for (int i : order) sorted.Append(points[i]);

  // Equal points get equal samples; those of different boxes are independent.
  double seed = 0;
  for (int k = 0; k < dims; ++k) seed += low[k] + high[k];
  Rng rng(absl::bit_cast<uint64_t>(seed), points.size());
  std::vector<double> sample(dims);
  int64_t samples = 0, free = 0, work = 0;
  while (samples < precision.samples &&
         (work < precision.work || samples < precision.least_samples)) {
    ++samples;
    for (int k = 0; k < dims; ++k) {
      sample[k] = low[k] + (high[k] - low[k]) * rng.Uniform();
    }
    int i = 0;
    while (i < sorted.size() &&
           !WeaklyDominates(sorted[i], sample.data(), dims)) {
      ++i;
    }
    free += i == sorted.size();
    work += i + dims;
  }
  return static_cast<double>(free) / static_cast<double>(samples);
}

// Volume of the box from `low` to `high` that none of the points, which lie in
// it, dominates. Exact up to 4 dimensions, and in more as long as that takes
// little effort; else estimated.
double VolumeLeft(const double* low, const double* high,
                  const FlatPoints& points,
                  const Precision& precision = kFine) {
  constexpr int kExactDims = 4;
  const double box = BoxVolume(low, high, points.dims);
  Effort effort;
  if (points.dims > kExactDims) effort.left = precision.exact_effort;
  const double dominated = HypervolumeOf(points, high, &effort);
  if (!effort.spent()) return box - dominated;
  return box * SampledShare(low, high, points, precision);
}

// What `point` adds to the points that `other(i)` gives, if that lies in the
// box from it to `corner`; `skip` is left out. `fixed_dims` is the number of
// objectives, or 0 if only `any_dims` knows.
template <int fixed_dims, typename Other>
double VolumeWithin(const double* point, int any_dims, int count, int skip,
                    const double* corner, const Other& other,
                    const Precision& precision = kFine) {
  const int dims = fixed_dims > 0 ? fixed_dims : any_dims;
  if (Unbounded(point, dims)) return kInfinity;
  FlatPoints limited{dims, {}};
  for (int i = 0; i < count; ++i) {
    if (i == skip) continue;
    const double* q = other(i);
    bool inside = true;
    for (int k = 0; k < dims; ++k) inside &= q[k] < corner[k];
    if (!inside) continue;
    for (int k = 0; k < dims; ++k) {
      limited.values.push_back(std::max(point[k], q[k]));
    }
  }
  return VolumeLeft(point, corner, limited, precision);
}

// ExclusiveHypervolume, with the same parameters.
template <int fixed_dims, typename Other>
double ExclusiveVolumeOf(const double* point, int any_dims, int count, int skip,
                         const double* reference, const Other& other,
                         const Precision& precision) {
  const int dims = fixed_dims > 0 ? fixed_dims : any_dims;
  if (!StrictlyInside(point, reference, dims)) return 0;
  // What the point adds lies in the box from it to `corner`: beyond, along
  // objective k, lies a point that is no worse in all other objectives.
  std::vector<double> corner(reference, reference + dims);
  for (int i = 0; i < count; ++i) {
    if (i == skip) continue;
    const double* q = other(i);
    // Without branches: on a front they are a coin's toss.
    int worse = 0;
    int worse_count = 0;
    for (int k = 0; k < dims; ++k) {
      const bool is_worse = q[k] > point[k];
      worse = is_worse ? k : worse;
      worse_count += is_worse;
    }
    if (worse_count == 0) return 0;
    if (worse_count == 1) corner[worse] = std::min(corner[worse], q[worse]);
  }
  return VolumeWithin<fixed_dims>(point, dims, count, skip, corner.data(),
                                  other, precision);
}

template <typename Other>
double ExclusiveVolume(const double* point, int dims, int count, int skip,
                       const double* reference, const Other& other,
                       const Precision& precision = kFine) {
  switch (dims) {
    case 2:
      return ExclusiveVolumeOf<2>(point, dims, count, skip, reference, other,
                                  precision);
    case 3:
      return ExclusiveVolumeOf<3>(point, dims, count, skip, reference, other,
                                  precision);
    default:
      return ExclusiveVolumeOf<0>(point, dims, count, skip, reference, other,
                                  precision);
  }
}

}  // namespace

bool Dominates(absl::Span<const double> a, absl::Span<const double> b) {
  bool better = false;
  bool worse = false;
  for (size_t k = 0; k < a.size(); ++k) {
    worse |= a[k] > b[k];
    better |= a[k] < b[k];
  }
  return better && !worse;
}

std::vector<std::vector<int>> NonDominatedSort(absl::Span<const Point> points) {
  std::vector<int> order(points.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    if (points[a] != points[b]) return points[a] < points[b];
    return a < b;
  });
  // In lexicographic order no point is dominated by a later one. With two
  // objectives the latest of a front dominates whatever any of it dominates.
  const bool plane = !points.empty() && points[0].size() <= 2;
  std::vector<std::vector<int>> fronts;
  auto dominated_by = [&](const std::vector<int>& front, int i) {
    if (plane) return Dominates(points[front.back()], points[i]);
    for (size_t j = front.size(); j > 0; --j) {
      if (Dominates(points[front[j - 1]], points[i])) return true;
    }
    return false;
  };
  for (int i : order) {
    // The first front that does not dominate the point.
    size_t low = 0;
    size_t high = fronts.size();
    while (low < high) {
      const size_t middle = (low + high) / 2;
      if (dominated_by(fronts[middle], i)) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (low == fronts.size()) fronts.emplace_back();
    fronts[low].push_back(i);
  }
  for (std::vector<int>& front : fronts) std::sort(front.begin(), front.end());
  return fronts;
}

std::vector<int> NonDominated(absl::Span<const Point> points) {
  std::vector<int> order(points.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](int a, int b) { return points[a] < points[b]; });
  const bool plane = !points.empty() && points[0].size() <= 2;
  std::vector<int> front;
  for (int i : order) {
    bool dominated = false;
    for (size_t j = front.size(); j > 0 && !dominated; --j) {
      dominated = Dominates(points[front[j - 1]], points[i]);
      if (plane) break;
    }
    if (!dominated) front.push_back(i);
  }
  std::sort(front.begin(), front.end());
  return front;
}

std::vector<double> CrowdingDistance(absl::Span<const Point> front) {
  const size_t n = front.size();
  std::vector<double> distance(n, n <= 2 ? kInfinity : 0);
  if (n <= 2) return distance;
  std::vector<int> order(n);
  for (size_t k = 0; k < front[0].size(); ++k) {
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int a, int b) {
      if (front[a][k] != front[b][k]) return front[a][k] < front[b][k];
      return a < b;
    });
    const double range = front[order.back()][k] - front[order.front()][k];
    if (!(range > 0)) continue;
    distance[order.front()] = kInfinity;
    distance[order.back()] = kInfinity;
    for (size_t i = 1; i + 1 < n; ++i) {
      distance[order[i]] +=
          (front[order[i + 1]][k] - front[order[i - 1]][k]) / range;
    }
  }
  return distance;
}

double Hypervolume(absl::Span<const Point> points,
                   absl::Span<const double> reference) {
  FlatPoints inside{static_cast<int>(reference.size()), {}};
  for (const Point& point : points) {
    if (StrictlyInside(point.data(), reference.data(), inside.dims)) {
      if (Unbounded(point.data(), inside.dims)) return kInfinity;
      inside.Append(point.data());
    }
  }
  Effort unlimited;
  if (inside.values.empty() || inside.dims <= 4) {
    return HypervolumeOf(inside, reference.data(), &unlimited);
  }
  // As HypervolumeWfg, but with an effort for each slab.
  const FlatPoints front = WithoutDominated(inside, &unlimited);
  const int last = front.dims - 1;
  const std::vector<int> order = OrderBy(front, last, /*descending=*/true);
  double volume = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const double* point = front[order[i]];
    volume += (reference[last] - point[last]) *
              VolumeLeft(point, reference.data(), LimitedBy(front, order, i));
  }
  return volume;
}

double ExclusiveHypervolume(absl::Span<const double> point,
                            absl::Span<const Point> others,
                            absl::Span<const double> reference) {
  return ExclusiveVolume(point.data(), static_cast<int>(reference.size()),
                         static_cast<int>(others.size()), /*skip=*/-1,
                         reference.data(),
                         [&](int i) { return others[i].data(); });
}

double ExclusiveHypervolumeOfRows(absl::Span<const double> point,
                                  absl::Span<const double> others,
                                  absl::Span<const double> reference) {
  const size_t dims = reference.size();
  return ExclusiveVolume(point.data(), static_cast<int>(dims),
                         static_cast<int>(others.size() / dims), /*skip=*/-1,
                         reference.data(),
                         [&](int i) { return others.data() + i * dims; });
}

double RoughExclusiveHypervolumeOfRows(absl::Span<const double> point,
                                       absl::Span<const double> others,
                                       absl::Span<const double> reference) {
  const size_t dims = reference.size();
  return ExclusiveVolume(
      point.data(), static_cast<int>(dims),
      static_cast<int>(others.size() / dims), /*skip=*/-1, reference.data(),
      [&](int i) { return others.data() + i * dims; }, kRough);
}

double ExclusiveHypervolumeWithin(absl::Span<const double> point,
                                  absl::Span<const double> others,
                                  absl::Span<const double> corner) {
  const size_t dims = corner.size();
  const int count = static_cast<int>(others.size() / dims);
  const auto row = [&](int i) { return others.data() + i * dims; };
  switch (dims) {
    case 2:
      return VolumeWithin<2>(point.data(), 2, count, -1, corner.data(), row);
    case 3:
      return VolumeWithin<3>(point.data(), 3, count, -1, corner.data(), row);
    default:
      return VolumeWithin<0>(point.data(), static_cast<int>(dims), count, -1,
                             corner.data(), row);
  }
}

std::vector<double> HypervolumeContributions(
    absl::Span<const Point> points, absl::Span<const double> reference) {
  std::vector<double> contributions(points.size());
  for (size_t i = 0; i < points.size(); ++i) {
    contributions[i] = ExclusiveVolume(
        points[i].data(), static_cast<int>(reference.size()),
        static_cast<int>(points.size()), static_cast<int>(i), reference.data(),
        [&](int j) { return points[j].data(); });
  }
  return contributions;
}

}  // namespace hwnas
