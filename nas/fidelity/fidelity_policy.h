// Decides how far each trial is trained: who goes on to the next rung, and
// whose training ends early. Who is proposed at all is the strategy's business.
//
// Every decision is a pure function of what is in the journal: a table of rung
// results, or the learning curves. Nothing here knows a clock or draws a random
// number, so a search goes on after a restart as if nothing had happened.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "nas/fidelity/curves.h"
#include "nas/fidelity/rung_ranking.h"
#include "nas/fidelity/rung_table.h"

namespace hwnas {

// See nas/fidelity/asha.h.
struct AshaConfig {
  // One of so many goes on from each rung, more than 1; 0: as many as the next
  // rung has more epochs.
  double eta = 0;
  int brackets = 1;  // 1 to the number of rungs.
  FrontOrder order = FrontOrder::kHypervolume;
};
// See nas/fidelity/hyperband.h.
struct SuccessiveHalvingConfig {
  double eta = 0;  // As for ASHA.
  // Trials that begin together; 0: so many that one reaches the last rung.
  int cohort = 0;
  FrontOrder order = FrontOrder::kHypervolume;
};
// See nas/fidelity/hyperband.h.
struct HyperbandConfig {
  double eta = 0;  // As for ASHA.
  FrontOrder order = FrontOrder::kHypervolume;
};
// See nas/fidelity/median_stop.h.
struct MedianStopConfig {
  int min_epochs = 1;  // No decision before.
  int min_trials = 5;  // Nor before so many trials have finished.
};
// See nas/fidelity/learning_curve_stop.h.
struct LearningCurveStopConfig {
  int min_epochs = 1;
  int min_trials = 5;
  // Stops a trial whose chance of improving the front is less than this.
  double chance = 0.05;
};

using FidelityConfig =
    std::variant<AshaConfig, SuccessiveHalvingConfig, HyperbandConfig,
                 MedianStopConfig, LearningCurveStopConfig>;

// Epochs of the rungs min, min * eta, min * eta^2, ... and last max: what a
// rung would have within less than half a step of max is left out, so that the
// last step is never a small one.
std::vector<int> GeometricRungs(int min_epochs, int max_epochs, double eta);

// INVALID_ARGUMENT names the bad parameter.
absl::Status CheckFidelity(const FidelityConfig& config, int rungs);

// Whether trials pause at rungs (else they may be stopped while they train).
bool HasRungs(const FidelityConfig& config);

// The rung at which the next trial begins.
int NextFirstRung(const FidelityConfig& config, const RungTable& table);

// The trial that should go on to its next rung when there is room for work;
// nullopt: rather begin a new one. `proposing` is false once no new trial will
// begin.
std::optional<int64_t> NextPromotion(const FidelityConfig& config,
                                     const RungTable& table, bool proposing);

// Why the training of a trial should end now, after the last epoch of its
// curve; nullopt if it should go on.
std::optional<std::string> ReasonToStop(const FidelityConfig& config,
                                        const CurveTable& finished,
                                        const Curve& running);

}  // namespace hwnas
