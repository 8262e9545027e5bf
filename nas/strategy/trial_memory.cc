#include "nas/strategy/trial_memory.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "nas/strategy/basic_strategy.h"

namespace hwnas {

void TrialMemory::Take(const Observation& observation) {
  const auto earlier = FindEarlier(trials_, observation);
  const bool failed = StandingOf(observation.evaluation) == Standing::kFailed;
  if (earlier == trials_.end()) {
    if (failed) return;
    trials_.push_back(observation);
    ++total_;
  } else if (failed) {
    trials_.erase(earlier);
    --total_;
  } else {
    *earlier = observation;
  }
}

void TrialMemory::Shrink(const RankAndCrowding& order, Rng rng) {
  std::vector<int> kept(trials_.size());
  std::iota(kept.begin(), kept.end(), 0);
  std::stable_sort(kept.begin(), kept.end(),
                   [&order](int a, int b) { return order.Prefers(a, b); });
  const int best = capacity_ / 2;
  std::vector<int> others(kept.begin() + best, kept.end());
  rng.Shuffle(others);
  std::copy(others.begin(), others.end(), kept.begin() + best);
  kept.resize(capacity_);
  std::sort(kept.begin(), kept.end());
  std::vector<Observation> trials;
  trials.reserve(kept.size());
  for (const int i : kept) trials.push_back(std::move(trials_[i]));
  trials_ = std::move(trials);
}

std::vector<const Observation*> TrialMemory::pointers() const {
  std::vector<const Observation*> pointers;
  pointers.reserve(trials_.size());
  for (const Observation& trial : trials_) pointers.push_back(&trial);
  return pointers;
}

}  // namespace hwnas
