// Pareto local search with restarts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nas/strategy/basic_strategy.h"

namespace hwnas {

// Pareto local search (Paquete, Chiarandini and Stuetzle, in "Metaheuristics
// for Multiobjective Optimisation", Springer 2004), for architectures as in
// "Local search is state of the art for NAS benchmarks" (White et al., UAI
// 2021): an archive of trials that none dominates, each of which has all its
// neighbours evaluated, in random order; a neighbour that joins the archive
// gets its own neighbours evaluated. When all neighbours of the whole archive
// have ended, it is a Pareto local optimum: the search restarts with an empty
// archive from a random point. With one objective this is hill climbing. The
// neighbours of a network are those that differ in one decision.
//
// Variants, all ours: the archive starts as the best of `starts` trials of the
// initial design; it is asynchronous, each proposal being a neighbour of one
// of two members drawn from those that have some left, the less crowded one;
// domination is constrained; a trial equal to a member in all objectives does
// not join; a trial at low fidelity joins as it would stand at full fidelity
// (FidelityLift) when it is observed. A trial costs time linear in the archive;
// one that joins, linear in the number of its neighbours. Not thread-safe.
class LocalSearchStrategy final : public BasicStrategy {
 public:
  // `config` must be valid (CreateStrategy). `space` must outlive this.
  LocalSearchStrategy(const LocalSearchConfig& config, const SearchSpace* space,
                      int objectives, uint64_t seed);

  absl::string_view name() const override { return "local_search"; }

 private:
  struct Neighbour {
    Architecture architecture;
    std::string digest;
  };
  struct Member {
    int64_t number = 0;
    double fidelity = 1;    // At which it was observed.
    Evaluation evaluation;  // At full fidelity.
    // In random order.
    std::vector<Neighbour> neighbours;
    // Of the first neighbour not observed; their number if all are.
    size_t next = 0;
  };

  std::optional<Candidate> Vary(int64_t number, int attempt, Rng& rng) override;
  void Learn(const Observation& observation) override;

  // Unless some member keeps it out. `evaluation` is at full fidelity.
  void Join(const Observation& observation, const Evaluation& evaluation);
  // Those not observed, in random order.
  std::vector<Neighbour> NeighboursOf(const Proposal& proposal) const;

  std::vector<Member> archive_;
  // Members that have neighbours left.
  std::vector<int> open_;
  // Crowding distances of the archive; computed when first needed.
  std::optional<std::vector<double>> crowding_;
};

}  // namespace hwnas
