// Bayesian optimisation by expected hypervolume improvement.
#pragma once

#include <memory>
#include <optional>

#include "nas/strategy/basic_strategy.h"
#include "nas/surrogate/feature_map.h"

namespace hwnas {

// One Gaussian process for each objective (nas/surrogate/gaussian_process.h),
// and the candidate with the largest expected hypervolume improvement (Emmerich
// et al., 2006), by Monte Carlo as in qEHVI (Daulton et al., NeurIPS 2020,
// arXiv 2006.05078). Trials under evaluation count as if they had ended with
// their expected values (Kriging believer; Ginsbourger et al., 2010).
//
// Variants, all ours:
// - a third of the initial design are networks whose features lie farthest from
//   those of the rest (greedy maximin; Johnson et al., 1990): what is unlike
//   all others is often an end of the front;
// - one proposal in seven is the one whose gain would be largest if all its
//   values were 2.5 standard deviations better than expected (SMS-EGO;
//   Ponweiser et al., 2008): it looks where the models may be wrong;
// - candidates are all networks of a space of at most 20,000, else a pool bred
//   around the front and kept up to date;
// - each objective is modelled on the scale (as it is, logarithmic, bad values
//   drawn together) under which its values are likeliest; the improvement is
//   always in the objective's own units;
// - an objective that the evidence knows is taken from there, and a candidate
//   that the evidence shows to violate a constraint is not proposed; other
//   constraints enter as the probability that they hold;
// - a value far from what all others say of it (three standard deviations of
//   the leave-one-out prediction) is believed less: measurements are wrong now
//   and then, and one such would bend the model around it;
// - the models are fitted anew whenever the trials have grown by a sixth, and
//   otherwise only conditioned on each trial as it ends, so that the median
//   proposal takes milliseconds. At most 400 trials, those near the front
//   first, are conditioned on: the cost of a proposal does not grow with the
//   history.
//
// Not thread-safe.
class BayesianStrategy final : public BasicStrategy {
 public:
  // `config` must be valid (CreateStrategy). `space` must outlive this.
  BayesianStrategy(const BayesianConfig& config, const SearchSpace* space,
                   const Problem& problem, Evidence evidence, uint64_t seed,
                   absl::Span<const SourceTrials> sources = {});
  ~BayesianStrategy() override;

  absl::string_view name() const override { return "bayesian"; }
  bool IsSlow() const override { return true; }

 private:
  class Search;

  void BeginSuggest(const SuggestRequest& request) override;
  std::optional<Candidate> Vary(int64_t number, int attempt, Rng& rng) override;
  void OnProposed(const Proposal& proposal) override;
  void Learn(const Observation& observation) override;

  std::unique_ptr<Search> search_;
};

}  // namespace hwnas
