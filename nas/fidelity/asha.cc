#include "nas/fidelity/asha.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "nas/fidelity/hyperband.h"
#include "nas/fidelity/improvement.h"
#include "nas/fidelity/rung_ranking.h"
#include "nas/pareto/constrained.h"

namespace hwnas {
namespace {

// Standard deviations that a candidate is given the benefit of.
constexpr double kDeviations = 1;

// The best trial on the front that is expected when all have their whole
// training, if it has not.
std::optional<int64_t> NextOfExpectedFront(const RungTable& table,
                                           FrontOrder order) {
  std::vector<Evaluation> expected;
  std::vector<int64_t> numbers;  // 0: has its whole training.
  for (size_t i = 0; i < table.trials().size(); ++i) {
    const RungTrial& trial = table.trials()[i];
    const bool full = trial.rung() == table.rungs() - 1;
    // One that works towards its next rung counts as it is expected to end.
    if (trial.results.empty() || (trial.ended && !full)) continue;
    expected.push_back(
        table.lift()
            .Lift(trial.results.back(), table.FidelityOf(trial.rung()))
            .evaluation);
    numbers.push_back(trial.paused ? static_cast<int64_t>(i) + 1 : 0);
  }
  std::vector<const Evaluation*> pointers;
  for (const Evaluation& evaluation : expected) pointers.push_back(&evaluation);
  const auto fronts = ConstrainedNonDominatedSort(pointers);
  if (fronts.empty()) return std::nullopt;
  std::vector<const Evaluation*> front;
  for (const int i : fronts[0]) front.push_back(pointers[i]);
  for (const int i : BestOfRung(front, static_cast<int>(front.size()), order)) {
    if (numbers[fronts[0][i]] != 0) return numbers[fronts[0][i]];
  }
  return std::nullopt;
}

}  // namespace

std::optional<int64_t> NextAshaPromotion(const AshaConfig& config,
                                         const RungTable& table,
                                         bool proposing) {
  const std::vector<const Evaluation*> full = table.FullResults();
  for (int rung = table.rungs() - 2; rung >= 0; --rung) {
    for (int bracket = 0; bracket < std::min(config.brackets, rung + 1);
         ++bracket) {
      std::vector<const Evaluation*> results;
      std::vector<int64_t> numbers;
      for (size_t i = 0; i < table.trials().size(); ++i) {
        const RungTrial& trial = table.trials()[i];
        const Evaluation* result = trial.ResultAt(rung);
        if (result == nullptr || trial.first_rung != bracket) continue;
        results.push_back(result);
        numbers.push_back(static_cast<int64_t>(i) + 1);
      }
      const int count = static_cast<int>(static_cast<double>(results.size()) /
                                         table.EtaAt(rung, config.eta));
      if (count == 0) continue;
      for (const int i : BestOfRung(results, count, config.order)) {
        const RungTrial& trial = table.trials()[numbers[i] - 1];
        if (trial.paused && trial.rung() == rung &&
            MayImprove(table.lift().Lift(*results[i], table.FidelityOf(rung)),
                       full, kDeviations)) {
          return numbers[i];
        }
      }
    }
  }
  if (proposing) return std::nullopt;
  return NextOfExpectedFront(table, config.order);
}

int NextAshaFirstRung(const AshaConfig& config, const RungTable& table) {
  std::vector<double> begun(config.brackets);
  for (const RungTrial& trial : table.trials()) ++begun[trial.first_rung];
  int next = 0;
  for (int s = 1; s < config.brackets; ++s) {
    const double size = HyperbandSize(config.eta, table, s);
    const double best = HyperbandSize(config.eta, table, next);
    if ((begun[s] + 1) / size < (begun[next] + 1) / best) next = s;
  }
  return next;
}

}  // namespace hwnas
