#include "nas/fidelity/fidelity_lift.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hwnas {
namespace {

constexpr double kSlopePrior = 2;  // Pairs without change of slope.

}  // namespace

FidelityLift::Values FidelityLift::ValuesOf(const Evaluation& evaluation) {
  Values values = evaluation.objectives;
  values.push_back(evaluation.violation);
  return values;
}

void FidelityLift::Add(int64_t trial, double fidelity,
                       const Evaluation& evaluation) {
  if (!evaluation.complete) return;
  // Most trials of a search without fidelities have only this one result.
  const auto found = results_.find(trial);
  if (found == results_.end() && fidelity >= 1) return;
  auto& results = found == results_.end() ? results_[trial] : found->second;
  Values values = ValuesOf(evaluation);
  for (const auto& [lower, before] : results) {
    if (lower >= fidelity || before.size() != values.size()) continue;
    Step& step = steps_[{lower, fidelity}];
    ++step.pairs;
    step.lines.resize(values.size());
    for (size_t k = 0; k < values.size(); ++k) {
      Line& line = step.lines[k];
      const double x = before[k];
      const double d = values[k] - x;
      const double from_x = x - line.mean_x;
      const double from_d = d - line.mean_d;
      line.mean_x += from_x / step.pairs;
      line.mean_d += from_d / step.pairs;
      line.xx += from_x * (x - line.mean_x);
      line.xd += from_x * (d - line.mean_d);
      line.dd += from_d * (d - line.mean_d);
    }
  }
  results.emplace_back(fidelity, std::move(values));
}

const std::pair<const std::pair<double, double>, FidelityLift::Step>*
FidelityLift::StepFrom(double fidelity) const {
  const std::pair<const std::pair<double, double>, Step>* best = nullptr;
  for (auto it = steps_.lower_bound({fidelity, 0});
       it != steps_.end() && it->first.first == fidelity; ++it) {
    // The furthest that is well supported, else the best supported.
    if (best == nullptr || it->second.pairs >= kMinPairs ||
        it->second.pairs > best->second.pairs) {
      best = &*it;
    }
  }
  return best;
}

FidelityLift::Lifted FidelityLift::Lift(const Evaluation& evaluation,
                                        double fidelity) const {
  Lifted lifted{evaluation, std::vector<double>(evaluation.objectives.size())};
  if (fidelity >= 1 || !evaluation.complete) return lifted;
  Values values = ValuesOf(evaluation);
  std::vector<double> variance(values.size());
  while (fidelity < 1) {
    const auto* step = StepFrom(fidelity);
    if (step == nullptr || step->second.lines.size() != values.size()) {
      for (double& v : variance) v = std::numeric_limits<double>::infinity();
      break;
    }
    const double pairs = step->second.pairs;
    for (size_t k = 0; k < values.size(); ++k) {
      const Line& line = step->second.lines[k];
      const double slope =
          line.xx > 0 ? line.xd / line.xx * pairs / (pairs + kSlopePrior) : 0;
      const double away = values[k] - line.mean_x;
      values[k] += line.mean_d + slope * away;
      if (pairs < kMinPairs || std::isinf(variance[k])) {
        variance[k] = std::numeric_limits<double>::infinity();
        continue;
      }
      // Sum of squared residuals of the line with that slope.
      const double residual =
          line.dd - 2 * slope * line.xd + slope * slope * line.xx;
      // Of one more point: the further from what was seen, the less certain.
      const double leverage =
          1 + 1 / pairs + (line.xx > 0 ? away * away / line.xx : 0);
      variance[k] = variance[k] * (1 + slope) * (1 + slope) +
                    std::max(0.0, residual) / (pairs - 1) * leverage;
    }
    fidelity = step->first.second;
  }
  for (size_t k = 0; k < lifted.evaluation.objectives.size(); ++k) {
    lifted.evaluation.objectives[k] = values[k];
    lifted.deviation[k] = std::sqrt(variance[k]);
  }
  lifted.evaluation.violation = std::max(0.0, values.back());
  lifted.violation_deviation = std::sqrt(variance.back());
  return lifted;
}

}  // namespace hwnas
