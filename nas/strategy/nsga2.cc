#include "nas/strategy/nsga2.h"

namespace hwnas {

Nsga2Strategy::Nsga2Strategy(const Nsga2Config& config,
                             const SearchSpace* space, int objectives,
                             uint64_t seed)
    : BasicStrategy(space, objectives, seed, config.population),
      config_(config) {}

void Nsga2Strategy::RankPopulation() {
  std::vector<const Observation*> members;
  members.reserve(population_.size());
  for (const Observation& member : population_) members.push_back(&member);
  order_ = Rank(members);
}

void Nsga2Strategy::Learn(const Observation& observation) {
  const auto earlier = FindEarlier(population_, observation);
  const bool failed = StandingOf(observation.evaluation) == Standing::kFailed;
  if (failed && earlier == population_.end()) return;
  if (earlier != population_.end()) population_.erase(earlier);
  if (!failed) population_.push_back(observation);
  RankPopulation();
  if (static_cast<int>(population_.size()) <= config_.population) return;
  // Of equals the latest leaves.
  int worst = static_cast<int>(population_.size()) - 1;
  for (int i = worst - 1; i >= 0; --i) {
    if (order_.Prefers(worst, i)) worst = i;
  }
  population_.erase(population_.begin() + worst);
  RankPopulation();
}

int Nsga2Strategy::SelectParent(Rng& rng) const {
  const int a = static_cast<int>(rng.Below(population_.size()));
  const int b = static_cast<int>(rng.Below(population_.size()));
  return order_.Prefers(b, a) ? b : a;
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
