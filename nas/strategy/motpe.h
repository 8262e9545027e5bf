// Multi-objective tree-structured Parzen estimator.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "nas/strategy/basic_strategy.h"
#include "nas/strategy/trial_memory.h"

namespace hwnas {

// MOTPE (Ozaki et al., GECCO 2020, and Journal of Artificial Intelligence
// Research 73, 2022): the trials are split into a tenth of good ones, at most
// 25, and bad ones. Whole fronts under constrained non-domination are good, as
// long as they fit; of the next one the members that together cover most
// hypervolume, chosen greedily. A Parzen estimator l is fitted to the good
// trials, weighted by the hypervolume that each contributes, and another, g, to
// the bad ones. Of `candidates` architectures drawn from l the one with the
// largest l / g is proposed.
//
// Multivariate (as Falkner et al., ICML 2018, do it for one objective): each
// kernel is a product over the decisions, so that what goes together is learnt;
// otherwise l and g are products of one estimator for each decision.
//
// Variants, all ours: trials under evaluation count as bad; only candidates
// that are new are compared; within one step of an ordered decision a kernel
// has more weight than further away; bad trials have no weights by age; at most
// 2,000 trials are remembered, the best and a sample of the others, so that the
// cost of a proposal does not grow with the history. Trials at low fidelity
// take part as they would stand at full fidelity. Not thread-safe.
class MotpeStrategy final : public BasicStrategy {
 public:
  // `config` must be valid (CreateStrategy). `space` must outlive this.
  MotpeStrategy(const MotpeConfig& config, const SearchSpace* space,
                const Problem& problem, uint64_t seed);
  ~MotpeStrategy() override;

  absl::string_view name() const override { return "motpe"; }
  bool IsSlow() const override { return true; }

 private:
  class ParzenEstimator;

  void BeginSuggest(const SuggestRequest& request) override;
  std::optional<Candidate> Vary(int64_t number, int attempt, Rng& rng) override;
  void OnProposed(const Proposal& proposal) override;
  void Learn(const Observation& observation) override;

  // Of `evaluations`, which are good, best first.
  std::vector<int> Good(const std::vector<Evaluation>& evaluations,
                        const Point& reference) const;
  void Split();
  void Fit();
  // Draws candidates; those that are new, best first.
  std::vector<Architecture> Draw(Rng& rng) const;

  const MotpeConfig config_;
  const Problem problem_;
  TrialMemory memory_;
  // Choices of all trials observed.
  absl::flat_hash_set<std::vector<int>> spent_;

  // Choices of the trials of either kind, and weights of the good ones. Empty
  // if not known since the last observation.
  std::vector<std::vector<int>> good_;
  std::vector<double> weights_;
  std::vector<std::vector<int>> bad_;
  // The latest trials under evaluation.
  std::deque<std::vector<int>> pending_;
  // Of what is above; null if not fitted since it changed.
  std::unique_ptr<ParzenEstimator> l_;
  std::unique_ptr<ParzenEstimator> g_;
  // For the present proposal.
  std::vector<Architecture> drawn_;
};

}  // namespace hwnas
