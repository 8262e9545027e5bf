#include "nas/strategy/mo_bananas.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include "nas/surrogate/fit_sample.h"

namespace hwnas {
namespace {

constexpr int kMemory = 1000;
// Trials that the networks are fitted to; by which the scale of an objective is
// chosen.
constexpr int kExamples = 256;
constexpr int kScaleExamples = 80;
// The examples are taken when the trials have grown by this share.
constexpr int kGrowth = 20;
// Best trials that candidates are bred from.
constexpr int kParents = 20;
constexpr double kCrossover = 0.3;
// Mutations of a candidate: 1 to this.
constexpr int kMutations = 3;
// Attempts for each candidate wanted, at most.
constexpr int kAttempts = 3;
// Latest trials under evaluation that are taken into account.
constexpr size_t kPending = 32;
// Candidates that are offered for one proposal.
constexpr size_t kOffered = 32;
constexpr size_t kMostDescriptions = 20000;

// Streams of randomness beside those of proposals.
constexpr uint64_t kFitStream = uint64_t{1} << 62;
constexpr uint64_t kShrinkStream = uint64_t{3} << 61;

}  // namespace

MoBananasStrategy::MoBananasStrategy(const MoBananasConfig& config,
                                     const SearchSpace* space,
                                     const Problem& problem, Evidence evidence,
                                     uint64_t seed,
                                     absl::Span<const SourceTrials> sources)
    : BasicStrategy(space,
                    static_cast<int>(problem.Searched().objectives.size()),
                    seed, config.initial),
      config_(config),
      problem_(problem),
      evidence_(evidence),
      features_(space, WithSources(space, sources, std::move(evidence))),
      memory_(kMemory),
      next_fit_(config.initial),
      front_(objectives()),
      believed_front_(objectives()) {}

void MoBananasStrategy::Learn(const Observation& observation) {
  spent_.insert(observation.proposal.architecture.choices);
  memory_.Take(observation);
  if (memory_.full()) {
    memory_.Shrink(Rank(memory_.pointers()),
                   Rng(seed(), kShrinkStream + memory_.total()));
  }
  best_.clear();
  if (++observed_ < next_fit_) return;
  next_fit_ += std::max<int64_t>(1, next_fit_ / kGrowth);
  due_ = observed_;
  examples_.clear();
  for (const Observation& trial : memory_.trials()) {
    examples_.push_back({trial.proposal.architecture.choices, Lifted(trial)});
  }
}

const MoBananasStrategy::Description& MoBananasStrategy::Describe(
    const std::vector<int>& choices) {
  const auto found = descriptions_.find(choices);
  if (found != descriptions_.end()) return found->second;
  const Architecture architecture{choices};
  const SurrogateInputs inputs = features_.Compute({architecture});
  Description description;
  description.features.resize(inputs.one_hot.cols() + inputs.numeric.cols());
  description.features << inputs.one_hot.row(0), inputs.numeric.row(0);
  if (evidence_) {
    description.known = problem_.Evaluate(evidence_(architecture)).Shown();
  } else {
    description.known = {
        Point(objectives(), std::numeric_limits<double>::quiet_NaN()), 0,
        false};
  }
  return descriptions_.emplace(choices, std::move(description)).first->second;
}

Eigen::MatrixXd MoBananasStrategy::FeaturesOf(
    absl::Span<const std::vector<int>* const> architectures) {
  Eigen::MatrixXd features(
      static_cast<Eigen::Index>(architectures.size()),
      features_.layout().one_hot_width() + features_.layout().numeric);
  for (size_t i = 0; i < architectures.size(); ++i) {
    features.row(static_cast<Eigen::Index>(i)) =
        Describe(*architectures[i]).features;
  }
  return features;
}

double MoBananasStrategy::Target(const Example& example, int k) const {
  const Evaluation& evaluation = example.lifted.evaluation;
  if (k < objectives()) return evaluation.objectives[k];
  return evaluation.violation > 0 ? evaluation.violation : -margin_;
}

void MoBananasStrategy::Fit() {
  fitted_ = due_;
  Rng rng(seed(), kFitStream + static_cast<uint64_t>(due_));
  std::vector<Evaluation> evaluations;
  std::vector<double> violations;
  for (const Example& example : examples_) {
    evaluations.push_back(example.lifted.evaluation);
    if (evaluations.back().violation > 0) {
      violations.push_back(evaluations.back().violation);
    }
  }
  constrained_ = !violations.empty();
  if (constrained_) {
    const auto middle = violations.begin() + violations.size() / 4;
    std::nth_element(violations.begin(), middle, violations.end());
    margin_ = *middle;
  }
  std::vector<int> by_rank;
  for (const std::vector<int>& front :
       ConstrainedNonDominatedSort(evaluations)) {
    by_rank.insert(by_rank.end(), front.begin(), front.end());
  }
  const std::vector<int> rows = FitSample(std::move(by_rank), kExamples, rng);
  std::vector<const std::vector<int>*> architectures;
  for (const int row : rows) architectures.push_back(&examples_[row].choices);
  const Eigen::MatrixXd features = FeaturesOf(architectures);
  predictors_.clear();
  predictors_.resize(objectives() + (constrained_ ? 1 : 0));
  for (size_t k = 0; k < predictors_.size(); ++k) {
    FitPredictor(static_cast<int>(k), rows, features, rng);
  }
}

void MoBananasStrategy::FitPredictor(int k, absl::Span<const int> rows,
                                     const Eigen::MatrixXd& features,
                                     Rng& rng) {
  std::vector<double> values, deviations;
  std::vector<int> known;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Example& example = examples_[rows[i]];
    const double value = Target(example, k);
    if (!std::isfinite(value)) continue;
    known.push_back(static_cast<int>(i));
    values.push_back(value);
    deviations.push_back(k < objectives() ? example.lifted.deviation[k]
                                          : example.lifted.violation_deviation);
  }
  Predictor& predictor = predictors_[k];
  if (known.size() < 2) return;
  // Fits `members` networks to some of the values on some scale.
  const uint64_t networks = rng.Next();
  const auto fit = [&](const OutputTransform& transform, int members,
                       absl::Span<const int> some) {
    const auto count = static_cast<Eigen::Index>(some.size());
    Eigen::MatrixXd inputs(count, features.cols());
    Eigen::VectorXd targets(count), noise(count);
    for (Eigen::Index i = 0; i < count; ++i) {
      inputs.row(i) = features.row(known[some[i]]);
      targets[i] = transform.Forward(values[some[i]]);
      noise[i] = transform.Variance(values[some[i]], deviations[some[i]]);
    }
    return NetworkEnsemble(members, inputs, targets, noise, Rng(networks));
  };
  std::vector<int> all(values.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
  const std::vector<int> some = FitSample(all, kScaleExamples, rng);
  std::vector<double> some_values;
  for (const int i : some) some_values.push_back(values[i]);
  double best = -std::numeric_limits<double>::infinity();
  using Shape = OutputTransform::Shape;
  Shape chosen = Shape::kIdentity;
  for (const Shape shape :
       {Shape::kIdentity, Shape::kCompressed, Shape::kLogarithm}) {
    const OutputTransform transform(shape, some_values);
    if (transform.shape() != shape) continue;
    const double likelihood = fit(transform, 1, some).log_likelihood() +
                              transform.LogSlope(some_values);
    if (likelihood > best) {
      best = likelihood;
      chosen = shape;
    }
  }
  predictor.transform = OutputTransform(chosen, values);
  predictor.ensemble = fit(predictor.transform, config_.networks, all);
}

void MoBananasStrategy::RankTrials() {
  const std::vector<Observation>& trials = memory_.trials();
  std::vector<Evaluation> evaluations;
  for (const Observation& trial : trials) {
    evaluations.push_back(AtFullFidelity(trial));
  }
  front_ = ParetoArchive(objectives());
  front_.SetReference(ReferenceOf(problem_.Searched(), evaluations));
  for (const std::vector<int>& front :
       ConstrainedNonDominatedSort(evaluations)) {
    for (const int i : front) {
      if (static_cast<int>(best_.size()) < kParents) best_.push_back(i);
    }
  }
  for (size_t i = 0; i < trials.size(); ++i) {
    if (StandingOf(evaluations[i]) == Standing::kFeasible) {
      front_.Insert(evaluations[i].objectives, static_cast<int64_t>(i));
    }
  }
}

void MoBananasStrategy::BeginSuggest(const SuggestRequest& request) {
  under_way_.clear();
  if (due_ == 0 || memory_.trials().empty()) return;
  if (descriptions_.size() > kMostDescriptions) descriptions_.clear();
  if (fitted_ != due_) Fit();
  if (best_.empty()) RankTrials();
  believed_front_ = front_;
  const size_t count = request.pending.size();
  for (size_t i = count > kPending ? count - kPending : 0; i < count; ++i) {
    Believe(request.pending[i].architecture.choices);
  }
}

void MoBananasStrategy::OnProposed(const Proposal& proposal) {
  Believe(proposal.architecture.choices);
}

void MoBananasStrategy::Believe(const std::vector<int>& choices) {
  if (best_.empty()) return;
  under_way_.insert(choices);
  const Eigen::MatrixXd features = FeaturesOf({&choices});
  Point expected = Describe(choices).known.objectives;
  for (size_t k = 0; k < predictors_.size(); ++k) {
    const Predictor& predictor = predictors_[k];
    if (!predictor.ensemble) continue;
    const double mean = predictor.transform.Inverse(
        predictor.ensemble->Predict(features).mean[0]);
    if (static_cast<int>(k) == objectives()) {
      if (mean > 0) return;
    } else if (!std::isfinite(expected[k])) {
      expected[k] = mean;
    }
  }
  believed_front_.Insert(expected, -1);
}

std::vector<Architecture> MoBananasStrategy::Breed(Rng& rng) {
  absl::flat_hash_set<std::vector<int>> seen;
  std::vector<Architecture> bred;
  const auto parent = [&]() -> const Architecture& {
    return memory_.trials()[best_[rng.Below(best_.size())]]
        .proposal.architecture;
  };
  for (int i = 0; i < kAttempts * config_.candidates &&
                  static_cast<int>(bred.size()) < config_.candidates;
       ++i) {
    Architecture child = parent();
    if (rng.Bernoulli(kCrossover)) {
      child = space().Crossover(child, parent(), rng);
    }
    for (uint64_t steps = rng.Below(kMutations) + 1; steps > 0; --steps) {
      child = space().MutateOne(child, rng);
    }
    if (spent_.contains(child.choices) || under_way_.contains(child.choices) ||
        !seen.insert(child.choices).second) {
      continue;
    }
    if (Describe(child.choices).known.violation > 0) continue;
    bred.push_back(std::move(child));
  }
  return bred;
}

std::vector<Architecture> MoBananasStrategy::Draw(Rng& rng) {
  std::vector<Architecture> bred = Breed(rng);
  std::vector<const std::vector<int>*> choices;
  std::vector<Evaluation> draws;
  for (const Architecture& architecture : bred) {
    choices.push_back(&architecture.choices);
    Evaluation draw = Describe(architecture.choices).known;
    draw.complete = true;
    draws.push_back(std::move(draw));
  }
  const Eigen::MatrixXd features = FeaturesOf(choices);
  for (int k = 0; k < static_cast<int>(predictors_.size()); ++k) {
    const Predictor& predictor = predictors_[k];
    NetworkEnsemble::Prediction prediction;
    if (predictor.ensemble) prediction = predictor.ensemble->Predict(features);
    for (size_t i = 0; i < draws.size(); ++i) {
      const double normal = rng.Normal();
      double drawn = 0;
      if (predictor.ensemble) {
        const auto row = static_cast<Eigen::Index>(i);
        drawn = predictor.transform.Inverse(prediction.mean[row] +
                                            normal * prediction.deviation[row]);
      }
      if (k == objectives()) {
        draws[i].violation = std::max(drawn, 0.0);
      } else if (!std::isfinite(draws[i].objectives[k])) {
        draws[i].objectives[k] = drawn;
      }
    }
  }
  std::vector<Architecture> offered;
  for (const std::vector<int>& front : ConstrainedNonDominatedSort(draws)) {
    std::vector<std::pair<double, int>> order;
    for (const int i : front) {
      order.emplace_back(-believed_front_.RoughGain(draws[i].objectives), i);
    }
    std::sort(order.begin(), order.end());
    for (const auto& [loss, i] : order) {
      if (offered.size() >= kOffered) return offered;
      offered.push_back(std::move(bred[i]));
    }
  }
  return offered;
}

std::optional<BasicStrategy::Candidate> MoBananasStrategy::Vary(
    int64_t /*number*/, int attempt, Rng& rng) {
  if (best_.empty()) return std::nullopt;
  if (attempt == 0) drawn_ = Draw(rng);
  if (attempt >= static_cast<int>(drawn_.size())) return std::nullopt;
  return Candidate{drawn_[attempt], "Thompson sample"};
}

}  // namespace hwnas
