#include "nas/strategy/reinforce.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "nas/pareto/constrained.h"
#include "nas/pareto/decomposition.h"

namespace hwnas {
namespace {

// In standard deviations: utilities and advantages beyond it count as it.
constexpr double kClip = 3;
// Of the moving average of rewards: the weight of the past.
constexpr double kBaselineDecay = 0.9;
// Attempts at a new architecture from the policy alone.
constexpr int kPolicyAttempts = 8;

double Clip(double x) { return std::clamp(x, -kClip, kClip); }

}  // namespace

void ReinforceStrategy::Moments::Add(double x) {
  ++count;
  const double before = x - mean;
  mean += before / count;
  m2 += before * (x - mean);
}

double ReinforceStrategy::Moments::Standardized(double x) const {
  const double variance = count > 1 ? m2 / (count - 1) : 0;
  return variance > 0 ? (x - mean) / std::sqrt(variance) : 0;
}

void ReinforceStrategy::Utility::Add(double value) {
  negative |= value <= 0;
  positive |= value >= 0;
  plain.Add(value);
  if (value != 0) log.Add(std::log(std::abs(value)));
}

double ReinforceStrategy::Utility::Of(double value) const {
  if (negative && positive) return Clip(-plain.Standardized(value));
  const double z = log.Standardized(std::log(std::abs(value)));
  return Clip(negative ? z : -z);
}

ReinforceStrategy::ReinforceStrategy(const ReinforceConfig& config,
                                     const SearchSpace* space, int objectives,
                                     uint64_t seed)
    : BasicStrategy(space, objectives, seed, config.initial_design),
      config_(config),
      directions_(SimplexLatticeOfAtMost(objectives, config.directions)),
      utilities_(objectives),
      baselines_(directions_.size()) {
  size_t options = 0;
  for (const Decision& decision : space->decisions()) {
    offsets_.push_back(options);
    options += decision.options.size();
  }
  logits_.assign(objectives, std::vector<double>(options));
}

int ReinforceStrategy::DirectionOf(int64_t number) const {
  return static_cast<int>(static_cast<uint64_t>(number) % directions_.size());
}

void ReinforceStrategy::Probabilities(size_t decision, const Point& weights,
                                      std::vector<double>& out) const {
  const size_t options = space().decisions()[decision].options.size();
  out.assign(options, 0);
  for (size_t k = 0; k < weights.size(); ++k) {
    const double* row = logits_[k].data() + offsets_[decision];
    for (size_t o = 0; o < options; ++o) out[o] += weights[k] * row[o];
  }
  const double largest = *std::max_element(out.begin(), out.end());
  double sum = 0;
  for (double& p : out) sum += p = std::exp(p - largest);
  for (double& p : out) p /= sum;
}

double ReinforceStrategy::Reward(const Evaluation& evaluation,
                                 const Point& weights) const {
  if (evaluation.violation > 0) {
    const double excess = std::log1p(evaluation.violation);
    return -2 * kClip - Clip(log_excess_.Standardized(excess));
  }
  double reward = 0;
  for (size_t k = 0; k < weights.size(); ++k) {
    reward += weights[k] * utilities_[k].Of(evaluation.objectives[k]);
  }
  return reward;
}

void ReinforceStrategy::Update(const Architecture& architecture,
                               const Point& weights, double step) {
  std::vector<double> p;
  for (size_t d = 0; d < offsets_.size(); ++d) {
    Probabilities(d, weights, p);
    for (size_t k = 0; k < weights.size(); ++k) {
      double* row = logits_[k].data() + offsets_[d];
      for (size_t o = 0; o < p.size(); ++o) {
        const double taken = static_cast<int>(o) == architecture.choices[d];
        row[o] += step * weights[k] * (taken - p[o]);
      }
    }
  }
}

void ReinforceStrategy::Learn(const Observation& observation) {
  const int64_t number = observation.proposal.number;
  if (counted_.contains(number)) {
    if (observation.fidelity >= 1) counted_.erase(number);
    return;
  }
  const Evaluation evaluation = AtFullFidelity(observation);
  const Standing standing = StandingOf(evaluation);
  if (standing == Standing::kFailed) return;
  if (observation.fidelity < 1) counted_.insert(number);
  if (standing == Standing::kViolates) {
    log_excess_.Add(std::log1p(evaluation.violation));
  } else {
    for (size_t k = 0; k < utilities_.size(); ++k) {
      utilities_[k].Add(evaluation.objectives[k]);
    }
  }
  const int direction = DirectionOf(number);
  const Point& weights = directions_[direction];
  const double reward = Reward(evaluation, weights);
  std::optional<double>& baseline = baselines_[direction];
  if (!baseline) baseline = reward;
  const double advantage = Clip(reward - *baseline);
  Update(observation.proposal.architecture, weights,
         config_.learning_rate * advantage);
  *baseline += (1 - kBaselineDecay) * (reward - *baseline);
}

std::optional<BasicStrategy::Candidate> ReinforceStrategy::Vary(int64_t number,
                                                                int attempt,
                                                                Rng& rng) {
  const Point& weights = directions_[DirectionOf(number)];
  Architecture drawn;
  std::vector<double> p;
  for (size_t d = 0; d < offsets_.size(); ++d) {
    Probabilities(d, weights, p);
    double u = rng.Uniform();
    int option = 0;
    while (option + 1 < static_cast<int>(p.size()) && u >= p[option]) {
      u -= p[option++];
    }
    drawn.choices.push_back(option);
  }
  if (!space().Validate(drawn).ok()) drawn = space().Sample(rng);
  drawn = space().Canonicalize(drawn);
  for (int i = attempt / kPolicyAttempts; i > 0; --i) {
    drawn = space().MutateOne(drawn, rng);
  }
  return Candidate{std::move(drawn), "policy"};
}

}  // namespace hwnas
