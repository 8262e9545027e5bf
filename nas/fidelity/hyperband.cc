#include "nas/fidelity/hyperband.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "nas/fidelity/rung_ranking.h"

namespace hwnas {
namespace {

// Trials that begin together, by their numbers: [begin, end).
struct Cohort {
  int64_t begin = 1;
  int64_t end = 1;
  int first_rung = 0;
  bool complete = false;  // Every trial of it has begun.
};

// The first `rung` at which the members may be halved: all of them that got
// there have its result or ended, and not enough went on.
std::optional<int64_t> NextOfCohort(const Cohort& cohort,
                                    const RungTable& table, double eta,
                                    FrontOrder order) {
  if (!cohort.complete) return std::nullopt;
  double size = static_cast<double>(cohort.end - cohort.begin);
  for (int rung = cohort.first_rung; rung < table.rungs() - 1; ++rung) {
    std::vector<const Evaluation*> results;
    std::vector<int64_t> numbers;
    for (int64_t n = cohort.begin; n < cohort.end; ++n) {
      const RungTrial& trial = table.trials()[n - 1];
      if (const Evaluation* result = trial.ResultAt(rung)) {
        results.push_back(result);
        numbers.push_back(n);
      } else if (!trial.ended && trial.rung() + 1 == rung && !trial.paused) {
        return std::nullopt;  // Still at work on it.
      }
    }
    // A cohort cut short by the budget still sends on its best.
    size = std::max(1.0, std::floor(size / table.EtaAt(rung, eta) + 1e-9));
    int64_t next = 0;
    for (const int i : BestOfRung(results, static_cast<int>(size), order)) {
      const RungTrial& trial = table.trials()[numbers[i] - 1];
      if (trial.paused && trial.rung() == rung) {
        next = numbers[i];
        break;
      }
    }
    if (next != 0) return next;
  }
  return std::nullopt;
}

// Cuts the trials into cohorts whose kinds and sizes `kind` gives in turn.
template <typename Kind>
std::vector<Cohort> Cohorts(const RungTable& table, bool proposing,
                            const Kind& kind) {
  std::vector<Cohort> cohorts;
  const auto trials = static_cast<int64_t>(table.trials().size());
  for (int64_t begin = 1; begin <= trials;) {
    const auto [first_rung, size] = kind(static_cast<int>(cohorts.size()));
    const int64_t end = std::min(begin + size, trials + 1);
    cohorts.push_back(
        {begin, end, first_rung, end == begin + size || !proposing});
    begin = end;
  }
  return cohorts;
}

template <typename Kind>
std::optional<int64_t> NextPromotionOf(const RungTable& table, bool proposing,
                                       double eta, FrontOrder order,
                                       const Kind& kind) {
  for (const Cohort& cohort : Cohorts(table, proposing, kind)) {
    if (auto next = NextOfCohort(cohort, table, eta, order)) return next;
  }
  return std::nullopt;
}

struct KindAndSize {
  int first_rung;
  int size;
};

int RoundUp(double size) { return static_cast<int>(std::ceil(size - 1e-9)); }

auto HyperbandKinds(const HyperbandConfig& config, const RungTable& table) {
  return [&config, &table](int cohort) {
    const int s = cohort % table.rungs();
    return KindAndSize{s, RoundUp(HyperbandSize(config.eta, table, s))};
  };
}

// Results at rung `s` that let one trial reach the last.
double Halvings(double eta, const RungTable& table, int s) {
  double product = 1;
  for (int rung = s; rung < table.rungs() - 1; ++rung) {
    product *= table.EtaAt(rung, eta);
  }
  return product;
}

}  // namespace

double HyperbandSize(double eta, const RungTable& table, int s) {
  return static_cast<double>(table.rungs()) / (table.rungs() - s) *
         Halvings(eta, table, s);
}

std::optional<int64_t> NextHalvingPromotion(
    const SuccessiveHalvingConfig& config, const RungTable& table,
    bool proposing) {
  const int size = config.cohort > 0 ? config.cohort
                                     : RoundUp(Halvings(config.eta, table, 0));
  return NextPromotionOf(table, proposing, config.eta, config.order,
                         [size](int) {
                           return KindAndSize{0, size};
                         });
}

std::optional<int64_t> NextHyperbandPromotion(const HyperbandConfig& config,
                                              const RungTable& table,
                                              bool proposing) {
  return NextPromotionOf(table, proposing, config.eta, config.order,
                         HyperbandKinds(config, table));
}

int NextHyperbandFirstRung(const HyperbandConfig& config,
                           const RungTable& table) {
  const auto kind = HyperbandKinds(config, table);
  int64_t begin = 0;
  for (int cohort = 0;; ++cohort) {
    const auto [first_rung, size] = kind(cohort);
    begin += size;
    if (begin > static_cast<int64_t>(table.trials().size())) return first_rung;
  }
}

}  // namespace hwnas
