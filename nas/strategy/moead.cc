#include "nas/strategy/moead.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>

#include "nas/pareto/constrained.h"
#include "nas/pareto/decomposition.h"

namespace hwnas {
namespace {

// MOEA/D-DE's delta and n_r.
constexpr double kLocality = 0.9;
constexpr int kMostReplaced = 2;

// Streams of Rng that no proposal has.
constexpr uint64_t kScopeStream = uint64_t{1} << 63;

std::vector<Point> Weights(int objectives, int population) {
  if (objectives == 1) return std::vector<Point>(population, Point{1});
  return SimplexLatticeOfAtMost(objectives, population);
}

std::vector<std::vector<int>> Neighbours(const std::vector<Point>& weights,
                                         int count) {
  std::vector<std::vector<int>> all;
  for (const Point& from : weights) {
    std::vector<double> distance2;
    for (const Point& to : weights) {
      double sum = 0;
      for (size_t k = 0; k < to.size(); ++k) {
        sum += (to[k] - from[k]) * (to[k] - from[k]);
      }
      distance2.push_back(sum);
    }
    std::vector<int> order(weights.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return distance2[a] < distance2[b]; });
    order.resize(std::min<size_t>(order.size(), count));
    all.push_back(std::move(order));
  }
  return all;
}

}  // namespace

MoeadStrategy::MoeadStrategy(const MoeadConfig& config,
                             const SearchSpace* space, int objectives,
                             uint64_t seed)
    : BasicStrategy(space, objectives, seed, config.population),
      config_(config),
      weights_(Weights(objectives, config.population)),
      neighbours_(Neighbours(weights_, config.neighbours)),
      ideal_(objectives, std::numeric_limits<double>::infinity()),
      nadir_(objectives, std::numeric_limits<double>::infinity()) {}

std::vector<int> MoeadStrategy::Scope(int64_t number) const {
  Rng rng(seed(), kScopeStream | static_cast<uint64_t>(number));
  std::vector<int> scope;
  if (rng.Bernoulli(kLocality)) {
    scope = neighbours_[static_cast<uint64_t>(number) % weights_.size()];
  } else {
    scope.resize(weights_.size());
    std::iota(scope.begin(), scope.end(), 0);
  }
  rng.Shuffle(scope);
  return scope;
}

bool MoeadStrategy::Better(const Evaluation& a, const Evaluation& b,
                           const Point& weights) const {
  if (StandingOf(a) != Standing::kFeasible ||
      StandingOf(b) != Standing::kFeasible) {
    return ConstrainedDominates(a, b);
  }
  return ChebyshevDistance(Scaled(a.objectives), weights) <
         ChebyshevDistance(Scaled(b.objectives), weights);
}

Point MoeadStrategy::Scaled(const Point& point) const {
  Point scaled(point.size());
  for (size_t k = 0; k < point.size(); ++k) {
    const double range = nadir_[k] - ideal_[k];
    scaled[k] = (point[k] - ideal_[k]) / (range > 0 ? range : 1);
  }
  return scaled;
}

void MoeadStrategy::UpdateNadir() {
  nadir_ = ideal_;
  for (const Observation& member : members_) {
    if (StandingOf(member.evaluation) != Standing::kFeasible) continue;
    for (size_t k = 0; k < nadir_.size(); ++k) {
      nadir_[k] = std::max(nadir_[k], member.evaluation.objectives[k]);
    }
  }
}

void MoeadStrategy::Forget(int64_t number) {
  std::vector<Observation> others;
  for (const Observation& member : members_) {
    if (member.proposal.number != number) others.push_back(member);
  }
  if (others.empty()) {
    members_.clear();
    return;
  }
  for (size_t i = 0; i < members_.size(); ++i) {
    if (members_[i].proposal.number != number) continue;
    const Observation* best = &others[0];
    for (const Observation& other : others) {
      if (Better(other.evaluation, best->evaluation, weights_[i])) {
        best = &other;
      }
    }
    members_[i] = *best;
  }
}

void MoeadStrategy::Learn(const Observation& observation) {
  const int64_t number = observation.proposal.number;
  if (FindEarlier(members_, observation) != members_.end()) Forget(number);
  const Observation lifted{observation.proposal, AtFullFidelity(observation),
                           observation.fidelity};
  const Evaluation& evaluation = lifted.evaluation;
  const Standing standing = StandingOf(evaluation);
  if (standing == Standing::kFailed) return;
  if (standing == Standing::kFeasible) {
    for (size_t k = 0; k < ideal_.size(); ++k) {
      ideal_[k] = std::min(ideal_[k], evaluation.objectives[k]);
      // Members that are all alike give no scale: the new trial does.
      if (!(nadir_[k] > ideal_[k])) nadir_[k] = evaluation.objectives[k];
    }
  }
  if (members_.empty()) {
    members_.assign(weights_.size(), lifted);
  } else if (number <= config_.population) {
    for (size_t i = 0; i < members_.size(); ++i) {
      if (Better(evaluation, members_[i].evaluation, weights_[i])) {
        members_[i] = lifted;
      }
    }
  } else {
    int replaced = 0;
    for (int i : Scope(number)) {
      if (!Better(evaluation, members_[i].evaluation, weights_[i])) continue;
      members_[i] = lifted;
      if (++replaced == kMostReplaced) break;
    }
  }
  UpdateNadir();
}

std::optional<BasicStrategy::Candidate> MoeadStrategy::Vary(int64_t number,
                                                            int attempt,
                                                            Rng& rng) {
  if (members_.empty()) return std::nullopt;
  const std::vector<int> scope = Scope(number);
  const Proposal& mother = members_[scope[rng.Below(scope.size())]].proposal;
  const Proposal& father = members_[scope[rng.Below(scope.size())]].proposal;
  return Breed(mother, father, config_.crossover, config_.mutation, attempt,
               rng);
}

}  // namespace hwnas
