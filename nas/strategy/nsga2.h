// NSGA-II, steady state.
#pragma once

#include <optional>
#include <vector>

#include "nas/pareto/constrained.h"
#include "nas/strategy/basic_strategy.h"

namespace hwnas {

// NSGA-II (Deb et al., IEEE Transactions on Evolutionary Computation, 2002) in
// its asynchronous steady-state form (Nebro and Durillo, "On the Effect of
// Applying a Steady-State Selection Scheme in the Multi-Objective Genetic
// Algorithm NSGA-II", 2009): whenever a trial ends it joins the population, and
// if that has grown beyond `population` the worst leaves: the most crowded of
// the last front. Fronts are under constrained domination; failed trials never
// join. A parent wins a binary tournament by rank, then crowding. A child takes
// each choice from either of two parents (with probability `crossover`, else it
// copies one); then each choice mutates with probability `mutation`.
//
// Variants, all ours: children seen before are made anew, with one mutation
// more for every 4 attempts; the cost of a trial depends on the population, not
// on the history. Trials at low fidelity take part as they would stand at full
// fidelity (FidelityLift). Not thread-safe.
class Nsga2Strategy final : public BasicStrategy {
 public:
  // `config` must be valid (CreateStrategy). `space` must outlive this.
  Nsga2Strategy(const Nsga2Config& config, const SearchSpace* space,
                int objectives, uint64_t seed);

  absl::string_view name() const override { return "nsga2"; }

 private:
  std::optional<Candidate> Vary(int64_t number, int attempt, Rng& rng) override;
  void Learn(const Observation& observation) override;

  // Whether a trial is sure to be the worst of the full population and itself:
  // most of a long search are, and need no ranking. False if that is not plain.
  bool IsWorst(const Observation& observation);
  int SelectParent(Rng& rng);
  // Ranks the population, if it has changed since it was ranked last.
  const RankAndCrowding& Order();

  const Nsga2Config config_;
  std::vector<Observation> population_;
  // Of `population_`; nullopt if that has changed.
  std::optional<RankAndCrowding> order_;
};

}  // namespace hwnas
