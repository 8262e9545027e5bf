#include "nas/strategy/nsga2.h"

#include <algorithm>

namespace hwnas {

Nsga2Strategy::Nsga2Strategy(const Nsga2Config& config,
                             const SearchSpace* space, int objectives,
                             uint64_t seed)
    : BasicStrategy(space, objectives, seed, config.population),
      config_(config) {}

const RankAndCrowding& Nsga2Strategy::Order() {
  if (order_) return *order_;
  std::vector<const Observation*> members;
  members.reserve(population_.size());
  for (const Observation& member : population_) members.push_back(&member);
  order_ = Rank(members);
  return *order_;
}

void Nsga2Strategy::Learn(const Observation& observation) {
  const auto earlier = FindEarlier(population_, observation);
  const bool failed = StandingOf(observation.evaluation) == Standing::kFailed;
  if (failed && earlier == population_.end()) return;
  if (!failed && earlier == population_.end() && IsWorst(observation)) return;
  if (earlier != population_.end()) population_.erase(earlier);
  if (!failed) population_.push_back(observation);
  order_.reset();
  if (static_cast<int>(population_.size()) <= config_.population) return;
  // Of equals the latest leaves.
  int worst = static_cast<int>(population_.size()) - 1;
  for (int i = worst - 1; i >= 0; --i) {
    if (Order().Prefers(worst, i)) worst = i;
  }
  population_.erase(population_.begin() + worst);
  order_.reset();
}

bool Nsga2Strategy::IsWorst(const Observation& observation) {
  if (static_cast<int>(population_.size()) < config_.population ||
      observation.fidelity < 1) {
    return false;
  }
  const std::vector<int>& rank = Order().rank;
  const int last = *std::max_element(rank.begin(), rank.end());
  // What one of the last front dominates is alone on a front behind it: all
  // that it dominates itself would be, too.
  bool dominated = false;
  for (size_t i = 0; i < population_.size(); ++i) {
    if (population_[i].fidelity < 1) return false;
    dominated = dominated || (rank[i] == last &&
                              ConstrainedDominates(population_[i].evaluation,
                                                   observation.evaluation));
  }
  return dominated;
}

int Nsga2Strategy::SelectParent(Rng& rng) {
  const int a = static_cast<int>(rng.Below(population_.size()));
  const int b = static_cast<int>(rng.Below(population_.size()));
  return Order().Prefers(b, a) ? b : a;
}

std::optional<BasicStrategy::Candidate> Nsga2Strategy::Vary(int64_t /*number*/,
                                                            int attempt,
                                                            Rng& rng) {
  if (population_.empty()) return std::nullopt;
  const Proposal& mother = population_[SelectParent(rng)].proposal;
  const Proposal& father = population_[SelectParent(rng)].proposal;
  return Breed(mother, father, config_.crossover, config_.mutation, attempt,
               rng);
}

}  // namespace hwnas
