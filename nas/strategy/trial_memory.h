// The trials that a model is made from.
#pragma once

#include <cstdint>
#include <vector>

#include "common/rng.h"
#include "nas/pareto/constrained.h"
#include "nas/strategy/strategy.h"

namespace hwnas {

// The latest result of each trial that did not fail; of a long search only the
// best trials and a sample of the others, so that what is made from them has a
// bounded cost. Not thread-safe.
//
//   memory.Take(observation);
//   if (memory.full()) memory.Shrink(Rank(memory.pointers()), rng);
class TrialMemory {
 public:
  // Holds between `capacity`, at least 2, and twice as many once it has been
  // full.
  explicit TrialMemory(int capacity) : capacity_(capacity) {}

  void Take(const Observation& observation);

  bool full() const {
    return static_cast<int>(trials_.size()) >= 2 * capacity_;
  }
  // Keeps the best half of `capacity` and as many of the others, in their
  // order. `order` is of trials().
  void Shrink(const RankAndCrowding& order, Rng rng);

  // Oldest first.
  const std::vector<Observation>& trials() const { return trials_; }
  std::vector<const Observation*> pointers() const;
  // Trials taken so far that did not fail.
  int64_t total() const { return total_; }

 private:
  const int capacity_;
  std::vector<Observation> trials_;
  int64_t total_ = 0;
};

}  // namespace hwnas
