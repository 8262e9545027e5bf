#include "nas/pareto/subset.h"

#include <algorithm>

#include "nas/pareto/archive.h"

namespace hwnas {

std::vector<int> HypervolumeSubset(absl::Span<const Point> points,
                                   const Point& reference, int count) {
  struct Entry {
    double gain;  // Or more than that.
    int point;
    bool operator<(const Entry& other) const {
      return gain != other.gain ? gain < other.gain : point > other.point;
    }
  };
  ParetoArchive chosen_points(static_cast<int>(reference.size()));
  chosen_points.SetReference(reference);
  std::vector<Entry> heap;
  for (size_t i = 0; i < points.size(); ++i) {
    heap.push_back({chosen_points.RoughGain(points[i]), static_cast<int>(i)});
  }
  std::make_heap(heap.begin(), heap.end());
  std::vector<int> chosen;
  while (static_cast<int>(chosen.size()) < count && !heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    Entry& top = heap.back();
    const double gain = chosen_points.RoughGain(points[top.point]);
    if (gain < top.gain) {
      top.gain = gain;
      std::push_heap(heap.begin(), heap.end());
      continue;
    }
    chosen_points.Insert(points[top.point], top.point);
    chosen.push_back(top.point);
    heap.pop_back();
  }
  return chosen;
}

}  // namespace hwnas
