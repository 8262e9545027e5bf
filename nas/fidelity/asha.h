// Asynchronous successive halving with several objectives.
#pragma once

#include <cstdint>
#include <optional>

#include "nas/fidelity/fidelity_policy.h"
#include "nas/fidelity/rung_table.h"

namespace hwnas {

// ASHA (Li et al., MLSys 2020, arXiv 1810.05934, algorithm 2): whenever there
// is room for work, the best trial of the highest rung that is among the best
// 1 / eta of that rung's results and has not been promoted goes on; if there is
// none a new trial begins. "Best" with several objectives is BestOfRung, as in
// MO-ASHA (Schmucker et al., arXiv 2106.12639).
//
// Brackets (asynchronous Hyperband, same paper, section 3.3): trials of bracket
// s begin at rung s, and are compared within their bracket only. A new trial
// joins the bracket that is furthest behind its share; shares are as the sizes
// of Hyperband's brackets.
//
// Variants, both ours. A candidate that by the evidence of earlier promotions
// can hardly improve the front (MayImprove) is passed over: with several
// objectives the best 1 / eta are often more than the front has use for. Once
// no new trial will begin and nothing else is to be promoted, what by the same
// evidence is expected on the front goes on nevertheless, so that a study ends
// with a front, not with a tip of it. Thread-safe.
std::optional<int64_t> NextAshaPromotion(const AshaConfig& config,
                                         const RungTable& table,
                                         bool proposing);

int NextAshaFirstRung(const AshaConfig& config, const RungTable& table);

}  // namespace hwnas
