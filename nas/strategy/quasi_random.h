// Quasi-random search.
#pragma once

#include <optional>

#include "nas/strategy/basic_strategy.h"
#include "nas/strategy/halton.h"

namespace hwnas {

// Learns nothing, but fills the space more evenly than random search: proposal
// n is point n of a scrambled Halton sequence with one dimension for each
// decision, cut into as many equal intervals as the decision has options
// ("Critical hyper-parameters: no random, no cry", Bousquet et al., arXiv
// 1706.03200, recommends it over random search for hyper-parameters). A point
// seen before is replaced by one from a far later stretch of the sequence. Not
// thread-safe.
class QuasiRandomStrategy final : public BasicStrategy {
 public:
  // `space` must outlive this.
  QuasiRandomStrategy(const SearchSpace* space, int objectives, uint64_t seed);

  absl::string_view name() const override { return "quasi_random"; }

 private:
  std::optional<Candidate> Vary(int64_t number, int attempt, Rng& rng) override;
  void Learn(const Observation& observation) override {}

  const ScrambledHalton sequence_;
};

}  // namespace hwnas
