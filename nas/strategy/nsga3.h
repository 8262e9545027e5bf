// NSGA-III, steady state.
#pragma once

#include <optional>
#include <vector>

#include "nas/pareto/decomposition.h"
#include "nas/strategy/basic_strategy.h"

namespace hwnas {

// NSGA-III (Deb and Jain, IEEE Transactions on Evolutionary Computation, 2014;
// constraints as in part II, Jain and Deb, same issue), for three and more
// objectives: what survives of the last front is what the niches around the
// fewest survivors hold. A niche belongs to one of the directions of a
// SimplexLattice; a point belongs to the direction nearest to it after the
// objectives have been scaled by the intercepts of the hyperplane through the
// extreme points. Parents are drawn uniformly; of a pair that does not have
// equal standing the feasible one, or the smaller violation, becomes a parent.
//
// Variants, all ours: steady state and asynchronous, so exactly one member
// leaves when a trial has joined. Filling niches up to one place short, as the
// paper does, leaves out a point of the fullest niche among those of the last
// front: that point leaves. Of several the one farthest from its direction
// does, where the paper draws one. Extreme points are kept when their trials
// leave. Children and trials at low fidelity are as in nas/strategy/nsga2.h.
// The cost of a trial depends on the population, not on the history. Not
// thread-safe.
class Nsga3Strategy final : public BasicStrategy {
 public:
  // `config` must be valid (CreateStrategy). `space` must outlive this.
  Nsga3Strategy(const Nsga3Config& config, const SearchSpace* space,
                int objectives, uint64_t seed);

  absl::string_view name() const override { return "nsga3"; }

 private:
  std::optional<Candidate> Vary(int64_t number, int attempt, Rng& rng) override;
  void Learn(const Observation& observation) override;

  const Proposal& SelectParent(Rng& rng) const;

  const Nsga3Config config_;
  const std::vector<Point> directions_;
  std::vector<Observation> population_;
  HyperplaneScale scale_;
};

}  // namespace hwnas
