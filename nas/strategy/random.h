// Random search.
#pragma once

#include <optional>

#include "nas/strategy/basic_strategy.h"

namespace hwnas {

// Independent uniform samples, each architecture once. Learns nothing: the
// baseline that any other strategy has to beat. Not thread-safe.
class RandomStrategy final : public BasicStrategy {
 public:
  // `space` must outlive this.
  RandomStrategy(const SearchSpace* space, int objectives, uint64_t seed)
      : BasicStrategy(space, objectives, seed, /*initial_design=*/0) {}

  absl::string_view name() const override { return "random"; }

 private:
  std::optional<Candidate> Vary(int64_t number, int attempt,
                                Rng& rng) override {
    return std::nullopt;
  }
  void Learn(const Observation& observation) override {}
};

}  // namespace hwnas
