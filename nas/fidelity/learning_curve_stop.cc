#include "nas/fidelity/learning_curve_stop.h"

#include <cmath>
#include <vector>

#include "absl/strings/str_format.h"
#include "nas/fidelity/fidelity_lift.h"
#include "nas/fidelity/improvement.h"

namespace hwnas {
namespace {

// The z that a standard normal value exceeds with probability `chance`, in
// (0, 0.5]: by bisection, far finer than it matters.
double UpperQuantile(double chance) {
  double low = 0, high = 10;
  for (int i = 0; i < 50; ++i) {
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(middle / std::sqrt(2.0)) > chance ? low : high) = middle;
  }
  return low;
}

// The last point not after `epoch`; nullptr if there is none.
const Evaluation* At(const Curve& curve, int epoch) {
  const Evaluation* at = nullptr;
  for (const CurvePoint& point : curve.points) {
    if (point.epoch <= epoch) at = &point.evaluation;
  }
  return at;
}

}  // namespace

std::optional<std::string> LearningCurveReasonToStop(
    const LearningCurveStopConfig& config, const CurveTable& table,
    const Curve& running) {
  if (running.points.empty()) return std::nullopt;
  const int epoch = running.points.back().epoch;
  if (epoch < config.min_epochs || epoch >= table.max_epochs) {
    return std::nullopt;
  }
  const double fidelity = static_cast<double>(epoch) / table.max_epochs;
  FidelityLift lift;
  std::vector<const Evaluation*> final_values;
  int evidence = 0;
  for (const Curve& curve : table.finished) {
    const Evaluation* now = At(curve, epoch);
    if (now == nullptr || curve.points.back().epoch != table.max_epochs) {
      continue;
    }
    const Evaluation* end = &curve.points.back().evaluation;
    if (!now->complete || !end->complete) continue;
    ++evidence;
    lift.Add(curve.trial, fidelity, *now);
    lift.Add(curve.trial, 1, *end);
    final_values.push_back(end);
  }
  if (evidence < config.min_trials) return std::nullopt;
  const Evaluation& now = running.points.back().evaluation;
  if (!now.complete || MayImprove(lift.Lift(now, fidelity), final_values,
                                  UpperQuantile(config.chance))) {
    return std::nullopt;
  }
  return absl::StrFormat(
      "after epoch %d its chance of improving the front is less than %g, by "
      "the curves of %d finished trials",
      epoch, config.chance, evidence);
}

}  // namespace hwnas
