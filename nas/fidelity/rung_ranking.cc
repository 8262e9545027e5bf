#include "nas/fidelity/rung_ranking.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <queue>
#include <utility>

#include "nas/pareto/archive.h"
#include "nas/pareto/constrained.h"
#include "nas/pareto/pareto.h"

namespace hwnas {
namespace {

constexpr double kReferenceMargin = 0.1;

// Objectives of the feasible ones on [0, 1].
class Scale {
 public:
  explicit Scale(absl::Span<const Evaluation* const> evaluations) {
    for (const Evaluation* evaluation : evaluations) {
      if (StandingOf(*evaluation) != Standing::kFeasible) continue;
      const Point& point = evaluation->objectives;
      if (low_.empty()) low_ = high_ = point;
      for (size_t k = 0; k < point.size(); ++k) {
        low_[k] = std::min(low_[k], point[k]);
        high_[k] = std::max(high_[k], point[k]);
      }
    }
  }

  Point Apply(const Point& point) const {
    Point scaled(point.size());
    for (size_t k = 0; k < point.size(); ++k) {
      const double range = high_[k] - low_[k];
      scaled[k] = range > 0 ? (point[k] - low_[k]) / range : 0;
    }
    return scaled;
  }

 private:
  Point low_;
  Point high_;
};

// The first `count` of a front. What a point adds never grows as others are
// taken, so an old value is an upper bound ("lazy" greedy).
std::vector<int> OrderByHypervolume(absl::Span<const Point> front, int count) {
  const int objectives = static_cast<int>(front[0].size());
  ParetoArchive taken(objectives);
  taken.SetReference(Point(objectives, 1 + kReferenceMargin));
  struct Entry {
    double gain;
    int index;
    int taken;  // When the gain was computed.
    bool operator<(const Entry& other) const {
      return gain != other.gain ? gain < other.gain : index > other.index;
    }
  };
  std::priority_queue<Entry> queue;
  for (size_t i = 0; i < front.size(); ++i) {
    queue.push({taken.RoughGain(front[i]), static_cast<int>(i), 0});
  }
  std::vector<int> ordered;
  while (static_cast<int>(ordered.size()) < count && !queue.empty()) {
    Entry best = queue.top();
    queue.pop();
    const int now = static_cast<int>(ordered.size());
    if (best.taken != now) {
      best.gain = taken.RoughGain(front[best.index]);
      best.taken = now;
      queue.push(best);
      continue;
    }
    taken.Insert(front[best.index], best.index);
    ordered.push_back(best.index);
  }
  return ordered;
}

std::vector<int> OrderByDistance(absl::Span<const Point> front, int count) {
  std::vector<double> distance(front.size(),
                               std::numeric_limits<double>::infinity());
  size_t next = 0;
  for (size_t i = 1; i < front.size(); ++i) {
    if (front[i][0] < front[next][0]) next = i;
  }
  std::vector<int> ordered;
  while (static_cast<int>(ordered.size()) < count &&
         ordered.size() < front.size()) {
    ordered.push_back(static_cast<int>(next));
    distance[next] = -1;
    size_t furthest = next;
    for (size_t i = 0; i < front.size(); ++i) {
      if (distance[i] < 0) continue;
      double square = 0;
      for (size_t k = 0; k < front[i].size(); ++k) {
        const double d = front[i][k] - front[next][k];
        square += d * d;
      }
      distance[i] = std::min(distance[i], square);
      if (distance[furthest] < 0 || distance[i] > distance[furthest]) {
        furthest = i;
      }
    }
    next = furthest;
  }
  return ordered;
}

}  // namespace

std::vector<int> BestOfRung(absl::Span<const Evaluation* const> evaluations,
                            int count, FrontOrder order) {
  std::vector<int> best;
  const Scale scale(evaluations);
  for (const std::vector<int>& front :
       ConstrainedNonDominatedSort(evaluations)) {
    const int wanted = count - static_cast<int>(best.size());
    const Standing standing = StandingOf(*evaluations[front[0]]);
    if (wanted <= 0 || standing == Standing::kFailed) break;
    if (standing == Standing::kViolates) {
      best.insert(
          best.end(), front.begin(),
          front.begin() + std::min<ptrdiff_t>(wanted, std::ssize(front)));
      continue;
    }
    std::vector<Point> points;
    points.reserve(front.size());
    for (const int i : front) {
      points.push_back(scale.Apply(evaluations[i]->objectives));
    }
    for (const int i : order == FrontOrder::kHypervolume
                           ? OrderByHypervolume(points, wanted)
                           : OrderByDistance(points, wanted)) {
      best.push_back(front[i]);
    }
  }
  return best;
}

}  // namespace hwnas
