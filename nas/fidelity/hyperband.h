// Synchronous successive halving, and Hyperband made of it.
#pragma once

#include <cstdint>
#include <optional>

#include "nas/fidelity/fidelity_policy.h"
#include "nas/fidelity/rung_table.h"

namespace hwnas {

// Successive halving (Jamieson and Talwalkar, AISTATS 2016, arXiv 1502.07943):
// `cohort` trials begin together at the first rung; when all of them have its
// result the best 1 / eta go on, and so from rung to rung. "Best" with several
// objectives is BestOfRung. A trial that ended early (it failed, or a
// constraint rejected it) counts as the worst.
//
// Variants, both ours. Nobody waits: while a cohort waits for its last results,
// the next one begins. Once no new trial will begin, the last cohort is
// complete as it is. Thread-safe.
std::optional<int64_t> NextHalvingPromotion(
    const SuccessiveHalvingConfig& config, const RungTable& table,
    bool proposing);

// Hyperband (Li et al., JMLR 2018, arXiv 1603.06560): cohorts of K kinds in
// turn, K the number of rungs; kind s begins at rung s with
// ceil(K / (K - s) * eta^(K - 1 - s)) trials, so many at little training first,
// then fewer at more: at last K trials that have their whole training at once.
// (Where rungs have etas of their own, their product.)
std::optional<int64_t> NextHyperbandPromotion(const HyperbandConfig& config,
                                              const RungTable& table,
                                              bool proposing);
int NextHyperbandFirstRung(const HyperbandConfig& config,
                           const RungTable& table);

// Trials of Hyperband's bracket `s` over the rungs of the table.
double HyperbandSize(double eta, const RungTable& table, int s);

}  // namespace hwnas
