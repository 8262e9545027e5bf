// Reinforcement learning: a policy over choices, trained by REINFORCE.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "nas/pareto/pareto.h"
#include "nas/strategy/basic_strategy.h"

namespace hwnas {

// REINFORCE with a baseline (Williams, Machine Learning, 1992) on a policy that
// draws each decision independently (a softmax over its options, as in TuNAS:
// Bender et al., CVPR 2020), rewarded in the manner of MnasNet (Tan et al.,
// CVPR 2019): by a weighted product of the objectives, accuracy^a / latency^b.
// What MnasNet sets by hand, the weights, is swept, so that one study yields a
// front: proposal n gets vector n modulo their number of a SimplexLattice of
// weights, and the policy is conditioned on it: its logits are a weighted sum
// of one table for each objective. (If every objective is a sum of what each
// choice adds, the best policy of a given entropy has exactly that form.)
//
// The reward is the weighted sum of the objectives' logarithms, each in units
// of its standard deviation so far; an objective whose values are not all
// positive enters without logarithm. A trial that violates constraints gets
// less than any feasible one, by log(1 + violation) in the same units: with one
// constraint latency <= T that is log(latency / T), MnasNet's penalty with
// alpha = 0 and beta = -1. The baseline of each weight vector is a moving
// average of its rewards. Failed trials teach nothing.
//
// Asynchronous: a trial updates the policy as it is when the trial ends, not as
// it was when it was drawn. The first result of a trial counts, at low fidelity
// as it would stand at full fidelity (FidelityLift). Children seen before are
// drawn again, then mutated. A trial costs time linear in the options of the
// space, whatever the history. Not thread-safe.
class ReinforceStrategy final : public BasicStrategy {
 public:
  // `config` must be valid (CreateStrategy). `space` must outlive this.
  ReinforceStrategy(const ReinforceConfig& config, const SearchSpace* space,
                    int objectives, uint64_t seed);

  absl::string_view name() const override { return "reinforce"; }

 private:
  // Mean and variance of a stream (Welford, 1962).
  struct Moments {
    double count = 0;
    double mean = 0;
    double m2 = 0;
    void Add(double x);
    double Standardized(double x) const;
  };
  // How good values of one objective are, in standard deviations above the
  // mean.
  struct Utility {
    bool negative = false;  // Some minimised value was at most 0.
    bool positive = false;  // Some minimised value was at least 0.
    Moments plain;
    Moments log;
    void Add(double value);
    double Of(double value) const;
  };

  std::optional<Candidate> Vary(int64_t number, int attempt, Rng& rng) override;
  void Learn(const Observation& observation) override;

  int DirectionOf(int64_t number) const;
  // Of one decision, for one weight vector.
  void Probabilities(size_t decision, const Point& weights,
                     std::vector<double>& out) const;
  double Reward(const Evaluation& evaluation, const Point& weights) const;
  void Update(const Architecture& architecture, const Point& weights,
              double step);

  const ReinforceConfig config_;
  const std::vector<Point> directions_;
  // Where the options of each decision start in a table.
  std::vector<size_t> offsets_;
  // One for each objective.
  std::vector<std::vector<double>> logits_;
  std::vector<Utility> utilities_;
  Moments log_excess_;  // Of log(1 + violation) where there is any.
  // One for each direction, once it has a reward.
  std::vector<std::optional<double>> baselines_;
  // Trials that counted at low fidelity and have not come back at full.
  absl::flat_hash_set<int64_t> counted_;
};

}  // namespace hwnas
