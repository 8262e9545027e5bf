// MOEA/D, asynchronous.
#pragma once

#include <optional>
#include <vector>

#include "nas/pareto/pareto.h"
#include "nas/strategy/basic_strategy.h"

namespace hwnas {

// MOEA/D (Zhang and Li, IEEE Transactions on Evolutionary Computation, 2007)
// with the Chebyshev approach: the front is split into one subproblem for each
// weight vector of a SimplexLattice, each with its best trial. Proposal n works
// on subproblem n modulo their number: its parents are the trials of two of its
// neighbours (those with the nearest weights), and when it ends it replaces the
// trials of neighbours for which it is better. As in MOEA/D-DE (Li and Zhang,
// 2009) at most two are replaced, and one proposal in ten looks at all
// subproblems instead of the neighbours, which keeps the trials diverse.
// Objectives are scaled by the ideal point of all trials and the nadir point of
// the present ones.
//
// Variants, all ours: asynchronous, since what a proposal works on follows from
// its number; a feasible trial is better than any other, then the smaller
// violation is; a trial of the initial design replaces all for which it is
// better; with one objective all subproblems are the same. Children are as in
// nas/strategy/nsga2.h. The cost of a trial depends on the population, not on
// the history. Not thread-safe.
class MoeadStrategy final : public BasicStrategy {
 public:
  // `config` must be valid (CreateStrategy). `space` must outlive this.
  MoeadStrategy(const MoeadConfig& config, const SearchSpace* space,
                int objectives, uint64_t seed);

  absl::string_view name() const override { return "moead"; }

 private:
  std::optional<Candidate> Vary(int64_t number, int attempt, Rng& rng) override;
  void Learn(const Observation& observation) override;

  // The subproblems that proposal `number` works on, in random order.
  std::vector<int> Scope(int64_t number) const;
  bool Better(const Evaluation& a, const Evaluation& b,
              const Point& weights) const;
  // The ideal point becomes 0, the nadir point 1.
  Point Scaled(const Point& point) const;
  void UpdateNadir();
  // Gives what an ended trial holds to others.
  void Forget(int64_t number);

  const MoeadConfig config_;
  const std::vector<Point> weights_;
  // Of each subproblem, nearest first; itself is the first.
  const std::vector<std::vector<int>> neighbours_;
  // Of each subproblem, with values at full fidelity; empty before the first
  // trial.
  std::vector<Observation> members_;
  Point ideal_;  // Of all feasible trials.
  Point nadir_;  // Of the feasible members.
};

}  // namespace hwnas
