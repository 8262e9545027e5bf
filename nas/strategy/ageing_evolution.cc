#include "nas/strategy/ageing_evolution.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace hwnas {

AgeingEvolutionStrategy::AgeingEvolutionStrategy(
    const AgeingEvolutionConfig& config, const SearchSpace* space,
    int objectives, uint64_t seed)
    : BasicStrategy(space, objectives, seed, config.population),
      config_(config) {}

void AgeingEvolutionStrategy::Learn(const Observation& observation) {
  order_.reset();
  const bool failed = StandingOf(observation.evaluation) == Standing::kFailed;
  const auto earlier = FindEarlier(living_, observation);
  if (earlier != living_.end()) {
    if (failed) {
      living_.erase(earlier);
    } else {
      *earlier = observation;  // No younger for it.
    }
    return;
  }
  if (failed) return;
  living_.push_back(observation);
  if (static_cast<int>(living_.size()) > config_.population) {
    living_.pop_front();
  }
}

std::optional<BasicStrategy::Candidate> AgeingEvolutionStrategy::Vary(
    int64_t /*number*/, int attempt, Rng& rng) {
  if (living_.empty()) return std::nullopt;
  if (!order_) {
    std::vector<const Observation*> members;
    members.reserve(living_.size());
    for (const Observation& member : living_) members.push_back(&member);
    order_ = Rank(members);
  }
  int best = static_cast<int>(rng.Below(living_.size()));
  for (int i = 1; i < config_.sample_size; ++i) {
    const int other = static_cast<int>(rng.Below(living_.size()));
    if (order_->Prefers(other, best)) best = other;
  }
  const Proposal& parent = living_[best].proposal;
  Architecture child = space().MutateOne(parent.architecture, rng);
  for (int extra = attempt / 8; extra > 0; --extra) {
    child = space().MutateOne(child, rng);
  }
  return Candidate{std::move(child),
                   absl::StrCat("mutation of ", parent.number)};
}

}  // namespace hwnas
