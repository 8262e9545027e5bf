#include "nas/fidelity/median_stop.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nas/pareto/constrained.h"

namespace hwnas {
namespace {

// Mean of the points up to `epoch`; nullopt if there is none.
std::optional<Evaluation> MeanUpTo(const Curve& curve, int epoch) {
  std::optional<Evaluation> sum;
  double count = 0;
  for (const CurvePoint& point : curve.points) {
    if (point.epoch > epoch || !point.evaluation.complete) continue;
    ++count;
    if (!sum) {
      sum = point.evaluation;
      continue;
    }
    for (size_t k = 0; k < sum->objectives.size(); ++k) {
      sum->objectives[k] += point.evaluation.objectives[k];
    }
    sum->violation += point.evaluation.violation;
  }
  if (!sum) return std::nullopt;
  for (double& value : sum->objectives) value /= count;
  sum->violation /= count;
  return sum;
}

// Best of each value; nullopt if there is no point.
std::optional<Evaluation> BestSoFar(const Curve& curve) {
  std::optional<Evaluation> best;
  for (const CurvePoint& point : curve.points) {
    if (!point.evaluation.complete) continue;
    if (!best) {
      best = point.evaluation;
      continue;
    }
    for (size_t k = 0; k < best->objectives.size(); ++k) {
      best->objectives[k] =
          std::min(best->objectives[k], point.evaluation.objectives[k]);
    }
    best->violation = std::min(best->violation, point.evaluation.violation);
  }
  return best;
}

}  // namespace

std::optional<std::string> MedianReasonToStop(const MedianStopConfig& config,
                                              const CurveTable& table,
                                              const Curve& running) {
  if (running.points.empty()) return std::nullopt;
  const int epoch = running.points.back().epoch;
  if (epoch < config.min_epochs || epoch >= table.max_epochs) {
    return std::nullopt;
  }
  const std::optional<Evaluation> best = BestSoFar(running);
  if (!best) return std::nullopt;
  std::vector<Evaluation> all;
  for (const Curve& curve : table.finished) {
    if (auto mean = MeanUpTo(curve, epoch)) all.push_back(*std::move(mean));
  }
  const auto others = static_cast<int>(all.size());
  if (others < config.min_trials) return std::nullopt;
  all.push_back(*best);
  int better = 0;
  for (const std::vector<int>& front : ConstrainedNonDominatedSort(all)) {
    if (std::find(front.begin(), front.end(), others) != front.end()) break;
    better += static_cast<int>(front.size());
  }
  if (2 * better <= others) return std::nullopt;
  return absl::StrCat("after epoch ", epoch, " its best values are behind the ",
                      "mean values of ", better, " of ", others,
                      " finished trials");
}

}  // namespace hwnas
