#include "nas/strategy/nsga2.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"

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
  const auto earlier = std::find_if(population_.begin(), population_.end(),
                                    [&observation](const Observation& member) {
                                      return member.fidelity < 1 &&
                                             member.proposal.number ==
                                                 observation.proposal.number;
                                    });
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

std::optional<BasicStrategy::Candidate> Nsga2Strategy::Vary(int attempt,
                                                            Rng& rng) {
  if (population_.empty()) return std::nullopt;
  const Proposal& mother = population_[SelectParent(rng)].proposal;
  const Proposal& father = population_[SelectParent(rng)].proposal;
  const bool cross = rng.Bernoulli(config_.crossover) && &mother != &father;
  Candidate child;
  if (cross) {
    child.architecture =
        space().Crossover(mother.architecture, father.architecture, rng);
    child.origin =
        absl::StrCat("crossover of ", mother.number, " and ", father.number);
  } else {
    child.architecture = mother.architecture;
    child.origin = absl::StrCat("mutation of ", mother.number);
  }
  const size_t choices = space().decisions().size();
  const double rate = config_.mutation > 0 ? config_.mutation
                                           : 1.0 / static_cast<double>(choices);
  int mutations = attempt / 4;
  for (size_t i = 0; i < choices; ++i) mutations += rng.Bernoulli(rate);
  for (int i = 0; i < mutations; ++i) {
    child.architecture = space().MutateOne(child.architecture, rng);
  }
  return child;
}

}  // namespace hwnas
