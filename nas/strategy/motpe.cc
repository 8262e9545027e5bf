#include "nas/strategy/motpe.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <utility>

#include "nas/pareto/constrained.h"
#include "nas/pareto/pareto.h"
#include "nas/pareto/subset.h"

namespace hwnas {
namespace {

constexpr double kGoodShare = 0.1;
constexpr int kMostGood = 25;
constexpr int kMemory = 1000;
// Latest trials under evaluation that are taken into account.
constexpr size_t kPending = 64;
// Good trials that contribute no hypervolume still count, as this share of the
// one that contributes most.
constexpr double kLeastWeight = 0.3;
// Weight of the next options of an ordered decision in a kernel; that of the
// centre is 1.
constexpr double kStepWeight = 0.2;
// Draws for each candidate wanted, at most.
constexpr int kDraws = 8;

// Streams of randomness beside those of proposals.
constexpr uint64_t kShrinkStream = uint64_t{1} << 62;

}  // namespace

// A density over architectures: a mixture of one kernel for each of some
// architectures and a uniform one of weight 1.
class MotpeStrategy::ParzenEstimator {
 public:
  // What is passed must outlive this. `weights` empty: all 1.
  ParzenEstimator(const SearchSpace& space, bool multivariate,
                  std::vector<const std::vector<int>*> centres,
                  std::vector<double> weights)
      : decisions_(space.decisions()),
        multivariate_(multivariate),
        centres_(std::move(centres)),
        weights_(std::move(weights)) {
    weights_.resize(centres_.size(), 1);
    total_ = 1;
    for (const double weight : weights_) total_ += weight;
    // Weight of every option; that of the centre is 1 more.
    const double spread = 1.0 / static_cast<double>(centres_.size() + 1);
    for (const Decision& decision : decisions_) {
      const int options = static_cast<int>(decision.options.size());
      std::vector<double>& kernel = kernels_.emplace_back();
      for (int centre = 0; centre < options; ++centre) {
        double sum = 0;
        for (int o = 0; o < options; ++o) {
          double value = spread;
          if (o == centre) value += 1;
          if (decision.ordered && std::abs(o - centre) == 1)
            value += kStepWeight;
          kernel.push_back(value);
          sum += value;
        }
        for (int o = 0; o < options; ++o) kernel[centre * options + o] /= sum;
      }
    }
    if (!multivariate_) {
      for (size_t d = 0; d < decisions_.size(); ++d) {
        const size_t options = decisions_[d].options.size();
        std::vector<double>& density = marginals_.emplace_back(
            options, 1 / (total_ * static_cast<double>(options)));
        for (size_t i = 0; i < centres_.size(); ++i) {
          for (size_t o = 0; o < options; ++o) {
            density[o] += weights_[i] / total_ *
                          kernels_[d][(*centres_[i])[d] * options + o];
          }
        }
      }
    } else {
      for (std::vector<double>& kernel : kernels_) {
        std::vector<double>& logs = logs_.emplace_back();
        for (const double value : kernel) logs.push_back(std::log(value));
      }
    }
  }

  double LogDensity(const std::vector<int>& choices) const {
    double log = 0;
    if (!multivariate_) {
      for (size_t d = 0; d < choices.size(); ++d) {
        log += std::log(marginals_[d][choices[d]]);
      }
      return log;
    }
    for (const Decision& decision : decisions_) {
      log -= std::log(static_cast<double>(decision.options.size()));
    }
    std::vector<double> terms = {log};
    double largest = log;
    for (size_t i = 0; i < centres_.size(); ++i) {
      double term = std::log(weights_[i]);
      for (size_t d = 0; d < choices.size(); ++d) {
        term += logs_[d][(*centres_[i])[d] * decisions_[d].options.size() +
                         choices[d]];
      }
      terms.push_back(term);
      largest = std::max(largest, term);
    }
    double sum = 0;
    for (const double term : terms) sum += std::exp(term - largest);
    return largest + std::log(sum / total_);
  }

  std::vector<int> Sample(Rng& rng) const {
    std::vector<int> choices;
    int centre = DrawCentre(rng);
    for (size_t d = 0; d < decisions_.size(); ++d) {
      if (d > 0 && !multivariate_) centre = DrawCentre(rng);
      const int options = static_cast<int>(decisions_[d].options.size());
      if (centre < 0) {
        choices.push_back(static_cast<int>(rng.Below(options)));
        continue;
      }
      const double* kernel =
          kernels_[d].data() + (*centres_[centre])[d] * options;
      double u = rng.Uniform();
      int option = 0;
      while (option + 1 < options && u >= kernel[option]) u -= kernel[option++];
      choices.push_back(option);
    }
    return choices;
  }

 private:
  // -1: the uniform one.
  int DrawCentre(Rng& rng) const {
    double u = rng.Uniform() * total_;
    for (size_t i = 0; i < centres_.size(); ++i) {
      if (u < weights_[i]) return static_cast<int>(i);
      u -= weights_[i];
    }
    return -1;
  }

  const absl::Span<const Decision> decisions_;
  const bool multivariate_;
  const std::vector<const std::vector<int>*> centres_;
  std::vector<double> weights_;
  double total_;
  // For each decision, from each option to each option; and, if multivariate,
  // their logarithms.
  std::vector<std::vector<double>> kernels_;
  std::vector<std::vector<double>> logs_;
  // Unless multivariate: the density of each decision.
  std::vector<std::vector<double>> marginals_;
};

MotpeStrategy::MotpeStrategy(const MotpeConfig& config,
                             const SearchSpace* space, const Problem& problem,
                             uint64_t seed)
    : BasicStrategy(space,
                    static_cast<int>(problem.Searched().objectives.size()),
                    seed, config.initial),
      config_(config),
      problem_(problem.Searched()),
      memory_(kMemory) {}

MotpeStrategy::~MotpeStrategy() = default;

void MotpeStrategy::Learn(const Observation& observation) {
  spent_.insert(observation.proposal.architecture.choices);
  memory_.Take(observation);
  if (memory_.full()) {
    memory_.Shrink(Rank(memory_.pointers()),
                   Rng(seed(), kShrinkStream + memory_.total()));
  }
  good_.clear();
}

std::vector<int> MotpeStrategy::Good(const std::vector<Evaluation>& evaluations,
                                     const Point& reference) const {
  const int count = std::min(
      kMostGood, static_cast<int>(std::ceil(
                     kGoodShare * static_cast<double>(memory_.total()))));
  std::vector<int> good;
  for (const std::vector<int>& front :
       ConstrainedNonDominatedSort(evaluations)) {
    const int room = count - static_cast<int>(good.size());
    if (room <= 0) break;
    if (static_cast<int>(front.size()) <= room) {
      good.insert(good.end(), front.begin(), front.end());
    } else if (StandingOf(evaluations[front[0]]) == Standing::kFeasible) {
      std::vector<Point> points;
      for (const int i : front) points.push_back(evaluations[i].objectives);
      for (const int i : HypervolumeSubset(points, reference, room)) {
        good.push_back(front[i]);
      }
    } else {
      good.insert(good.end(), front.begin(), front.begin() + room);
    }
  }
  return good;
}

void MotpeStrategy::Split() {
  bad_.clear();
  weights_.clear();
  const std::vector<Observation>& trials = memory_.trials();
  std::vector<Evaluation> evaluations;
  evaluations.reserve(trials.size());
  for (const Observation& trial : trials) {
    evaluations.push_back(AtFullFidelity(trial));
  }
  const Point reference = ReferenceOf(problem_, evaluations);
  const std::vector<int> good = Good(evaluations, reference);
  std::vector<Point> points;
  for (const int trial : good) {
    if (StandingOf(evaluations[trial]) == Standing::kFeasible) {
      points.push_back(evaluations[trial].objectives);
    }
  }
  // Feasible ones come first.
  std::vector<double> weights = HypervolumeContributions(points, reference);
  const double most =
      weights.empty() ? 0 : *std::max_element(weights.begin(), weights.end());
  weights.resize(good.size());
  for (const double weight : weights) {
    weights_.push_back(most > 0 ? std::max(weight / most, kLeastWeight) : 1);
  }
  std::vector<bool> is_good(trials.size());
  for (const int trial : good) {
    is_good[trial] = true;
    good_.push_back(trials[trial].proposal.architecture.choices);
  }
  for (size_t i = 0; i < trials.size(); ++i) {
    if (!is_good[i]) bad_.push_back(trials[i].proposal.architecture.choices);
  }
}

void MotpeStrategy::Fit() {
  if (good_.empty()) {
    Split();
    l_.reset();
    g_.reset();
  }
  const auto pointers = [](const auto& all) {
    std::vector<const std::vector<int>*> pointers;
    for (const std::vector<int>& one : all) pointers.push_back(&one);
    return pointers;
  };
  if (!l_) {
    l_ = std::make_unique<ParzenEstimator>(space(), config_.multivariate,
                                           pointers(good_), weights_);
  }
  if (!g_) {
    std::vector<const std::vector<int>*> centres = pointers(bad_);
    for (const std::vector<int>& one : pending_) centres.push_back(&one);
    g_ = std::make_unique<ParzenEstimator>(space(), config_.multivariate,
                                           std::move(centres),
                                           std::vector<double>());
  }
}

void MotpeStrategy::BeginSuggest(const SuggestRequest& request) {
  g_.reset();
  pending_.clear();
  const size_t count = request.pending.size();
  for (size_t i = count > kPending ? count - kPending : 0; i < count; ++i) {
    pending_.push_back(request.pending[i].architecture.choices);
  }
}

void MotpeStrategy::OnProposed(const Proposal& proposal) {
  g_.reset();
  pending_.push_back(proposal.architecture.choices);
  if (pending_.size() > kPending) pending_.pop_front();
}

std::vector<Architecture> MotpeStrategy::Draw(Rng& rng) const {
  absl::flat_hash_set<std::vector<int>> seen(pending_.begin(), pending_.end());
  struct Drawn {
    double score;
    Architecture architecture;
  };
  std::vector<Drawn> drawn;
  for (int i = 0; i < kDraws * config_.candidates &&
                  static_cast<int>(drawn.size()) < config_.candidates;
       ++i) {
    Architecture architecture{l_->Sample(rng)};
    if (!space().Validate(architecture).ok()) continue;
    architecture = space().Canonicalize(architecture);
    if (spent_.contains(architecture.choices) ||
        !seen.insert(architecture.choices).second) {
      continue;
    }
    const double score = l_->LogDensity(architecture.choices) -
                         g_->LogDensity(architecture.choices);
    drawn.push_back({score, std::move(architecture)});
  }
  std::stable_sort(
      drawn.begin(), drawn.end(),
      [](const Drawn& a, const Drawn& b) { return a.score > b.score; });
  std::vector<Architecture> best;
  for (Drawn& one : drawn) best.push_back(std::move(one.architecture));
  return best;
}

std::optional<BasicStrategy::Candidate> MotpeStrategy::Vary(int64_t /*number*/,
                                                            int attempt,
                                                            Rng& rng) {
  if (memory_.trials().empty()) return std::nullopt;
  if (attempt == 0) {
    Fit();
    drawn_ = Draw(rng);
  }
  if (attempt < static_cast<int>(drawn_.size())) {
    return Candidate{drawn_[attempt], "Parzen estimators"};
  }
  // Everything near the good trials is known.
  Architecture child{good_[rng.Below(good_.size())]};
  for (int steps = 1 + attempt / 8; steps > 0; --steps) {
    child = space().MutateOne(child, rng);
  }
  return Candidate{std::move(child), "mutation of a good trial"};
}

}  // namespace hwnas
