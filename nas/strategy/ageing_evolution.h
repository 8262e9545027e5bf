// Regularised (ageing) evolution for several objectives.
#pragma once

#include <deque>
#include <optional>

#include "nas/pareto/constrained.h"
#include "nas/strategy/basic_strategy.h"

namespace hwnas {

// Ageing evolution (Real et al., AAAI 2019, arXiv 1802.01548, algorithm 1):
// the living population is the latest `population` trials; a parent is the best
// of `sample_size` drawn from it with replacement; its child differs by one
// mutation; the oldest dies, however good.
//
// Variants, all ours: "best" is the crowded comparison of NSGA-II (rank by
// constrained non-domination within the living population, then crowding
// distance), which makes it multi-objective; it is asynchronous, a trial
// joining when it ends; failed trials never join; a child seen before is
// mutated once more for every 8 attempts; a trial joins with its first result
// at any fidelity, is ranked as it would stand at full fidelity (FidelityLift),
// ages from then, and joins anew if it comes back after its death. Not
// thread-safe.
class AgeingEvolutionStrategy final : public BasicStrategy {
 public:
  // `config` must be valid (CreateStrategy). `space` must outlive this.
  AgeingEvolutionStrategy(const AgeingEvolutionConfig& config,
                          const SearchSpace* space, int objectives,
                          uint64_t seed);

  absl::string_view name() const override { return "ageing_evolution"; }

 private:
  std::optional<Candidate> Vary(int64_t number, int attempt, Rng& rng) override;
  void Learn(const Observation& observation) override;

  const AgeingEvolutionConfig config_;
  // Oldest first.
  std::deque<Observation> living_;
  // Of `living_`; computed when first needed.
  std::optional<RankAndCrowding> order_;
};

}  // namespace hwnas
