#include "nas/strategy/quasi_random.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace hwnas {
namespace {

// Between the stretches of the sequence that successive attempts use.
constexpr uint64_t kStretch = 1000003;

}  // namespace

QuasiRandomStrategy::QuasiRandomStrategy(const SearchSpace* space,
                                         int objectives, uint64_t seed)
    : BasicStrategy(space, objectives, seed, /*initial_design=*/0),
      sequence_(static_cast<int>(space->decisions().size()), seed) {}

std::optional<BasicStrategy::Candidate> QuasiRandomStrategy::Vary(
    int64_t number, int attempt, Rng& rng) {
  const uint64_t index = static_cast<uint64_t>(number) - 1 +
                         kStretch * static_cast<uint64_t>(attempt);
  Architecture point;
  for (size_t i = 0; i < space().decisions().size(); ++i) {
    const int options = static_cast<int>(space().decisions()[i].options.size());
    const double u = sequence_.At(index, static_cast<int>(i));
    point.choices.push_back(
        std::min(static_cast<int>(u * options), options - 1));
  }
  if (!space().Validate(point).ok())
    return Candidate{space().Sample(rng), "random"};
  return Candidate{space().Canonicalize(point), "quasi-random"};
}

}  // namespace hwnas
