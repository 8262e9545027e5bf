// Ends trainings whose learning curve promises nothing.
#pragma once

#include <optional>
#include <string>

#include "nas/fidelity/curves.h"
#include "nas/fidelity/fidelity_policy.h"

namespace hwnas {

// The predictive termination criterion of Domhan, Springenberg and Hutter
// (IJCAI 2015): stop a training if the chance that its final value beats the
// best so far is less than `chance`. The final value is predicted as Baker et
// al. do (arXiv 1705.10823): by a regression from the curves of finished trials
// up to the same epoch to their final values; ours is the line of FidelityLift
// with its prediction error. So it needs no model of how curves look, which a
// rate that falls to zero at the end would defeat.
//
// With several objectives "beats the best" means that no finished trial
// dominates or equals it; the chance is that of each value by itself
// (MayImprove). Thread-safe.
std::optional<std::string> LearningCurveReasonToStop(
    const LearningCurveStopConfig& config, const CurveTable& table,
    const Curve& running);

}  // namespace hwnas
