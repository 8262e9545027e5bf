#include "nas/strategy/nsga3.h"

#include <cstddef>

#include "nas/pareto/constrained.h"

namespace hwnas {

Nsga3Strategy::Nsga3Strategy(const Nsga3Config& config,
                             const SearchSpace* space, int objectives,
                             uint64_t seed)
    : BasicStrategy(space, objectives, seed, config.population),
      config_(config),
      directions_(SimplexLatticeOfAtMost(objectives, config.population)),
      scale_(objectives) {}

void Nsga3Strategy::Learn(const Observation& observation) {
  const auto earlier = FindEarlier(population_, observation);
  if (earlier != population_.end()) population_.erase(earlier);
  if (StandingOf(observation.evaluation) == Standing::kFailed) return;
  population_.push_back(observation);
  std::vector<Evaluation> evaluations;
  std::vector<Point> feasible;
  for (const Observation& member : population_) {
    evaluations.push_back(AtFullFidelity(member));
    if (StandingOf(evaluations.back()) == Standing::kFeasible) {
      feasible.push_back(evaluations.back().objectives);
    }
  }
  const std::vector<std::vector<int>> fronts =
      ConstrainedNonDominatedSort(evaluations);
  std::vector<Point> best;
  for (int i : fronts.front()) best.push_back(evaluations[i].objectives);
  if (!feasible.empty()) scale_.Update(feasible, best);
  if (static_cast<int>(population_.size()) <= config_.population) return;

  const std::vector<int>& last = fronts.back();
  int leaver = last.back();
  if (StandingOf(evaluations[leaver]) == Standing::kFeasible) {
    std::vector<Niche> niches(population_.size());
    std::vector<int> members(directions_.size());
    for (size_t i = 0; i < population_.size(); ++i) {
      niches[i] = NearestDirection(scale_.Normalized(evaluations[i].objectives),
                                   directions_);
      ++members[niches[i].direction];
    }
    for (int i : last) {
      const int held = members[niches[i].direction];
      const int most = members[niches[leaver].direction];
      if (held > most ||
          (held == most && niches[i].distance > niches[leaver].distance)) {
        leaver = i;
      }
    }
  }
  population_.erase(population_.begin() + leaver);
}

const Proposal& Nsga3Strategy::SelectParent(Rng& rng) const {
  const Observation& a = population_[rng.Below(population_.size())];
  const Observation& b = population_[rng.Below(population_.size())];
  const bool both_feasible = StandingOf(a.evaluation) == Standing::kFeasible &&
                             StandingOf(b.evaluation) == Standing::kFeasible;
  return !both_feasible && ConstrainedDominates(b.evaluation, a.evaluation)
             ? b.proposal
             : a.proposal;
}

std::optional<BasicStrategy::Candidate> Nsga3Strategy::Vary(int64_t /*number*/,
                                                            int attempt,
                                                            Rng& rng) {
  if (population_.empty()) return std::nullopt;
  const Proposal& mother = SelectParent(rng);
  const Proposal& father = SelectParent(rng);
  return Breed(mother, father, config_.crossover, config_.mutation, attempt,
               rng);
}

}  // namespace hwnas
