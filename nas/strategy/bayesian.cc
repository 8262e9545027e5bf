#include "nas/strategy/bayesian.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_format.h"
#include "nas/fidelity/fidelity_lift.h"
#include "nas/pareto/archive.h"
#include "nas/pareto/constrained.h"
#include "nas/surrogate/fit_sample.h"
#include "nas/surrogate/gaussian_process.h"
#include "nas/surrogate/output_transform.h"

namespace hwnas {
namespace {

// Spaces up to this size are looked at as a whole.
constexpr double kWholeSpace = 20000;
// Candidates that are kept up to date between two fits.
constexpr int kPool = 1500;
// Candidates predicted at once while a whole space is looked at.
constexpr int kChunk = 1024;
// Trials, and steps, by which the scale of an objective is chosen; by which its
// parameters are fitted then; and trials that predictions rest on.
constexpr int kScaleTrials = 80;
constexpr int kScaleIterations = 20;
constexpr int kFitTrials = 160;
constexpr int kFitIterations = 15;
constexpr int kTrials = 400;
// Values that lie so many standard deviations from what all others say are
// believed less; at most this share of them; and steps of fitting after that.
constexpr double kOutlierDeviations = 3;
constexpr double kOutlierValues = 0.15;
constexpr int kDoubts = 2;
constexpr int kDoubtIterations = 8;
// The models are fitted anew when the trials have grown by this share, and by
// at least and at most so many.
constexpr int kGrowth = 6;
constexpr int kGrowthAtLeast = 3;
constexpr int kGrowthAtMost = 128;
// Candidates whose improvement is integrated, and samples of each.
constexpr int kShortlist = 150;
constexpr int kSamples = 64;
constexpr int kRanked = 32;
// Standard deviations better than expected: what candidates are shortlisted by;
// and what a share of the proposals is chosen by, to look where the models may
// be wrong.
constexpr double kHope = 1;
constexpr double kBoldHope = 2.5;
constexpr double kBoldShare = 0.15;
// Latest trials under evaluation that are taken into account.
constexpr int kPending = 32;
// Best trials that a pool is bred from.
constexpr int kParents = 50;
// New candidates after each trial in a space too large to be listed.
constexpr int kBred = 16;

// Streams of randomness beside those of proposals.
constexpr uint64_t kFitStream = uint64_t{1} << 62;
constexpr uint64_t kTakeStream = uint64_t{3} << 61;
constexpr uint64_t kOutlierStream = uint64_t{5} << 61;

// Share of the initial design that are outliers, and the sample they are of.
constexpr int kOutlierShare = 3;
constexpr int kOutlierSample = 400;

double NormalCdf(double x) { return 0.5 * std::erfc(-x * 0.7071067811865476); }

SurrogateInputs Rows(const SurrogateInputs& all, absl::Span<const int> rows) {
  SurrogateInputs some;
  const auto count = static_cast<Eigen::Index>(rows.size());
  some.one_hot.resize(count, all.one_hot.cols());
  some.numeric.resize(count, all.numeric.cols());
  for (Eigen::Index i = 0; i < count; ++i) {
    some.one_hot.row(i) = all.one_hot.row(rows[i]);
    some.numeric.row(i) = all.numeric.row(rows[i]);
  }
  return some;
}

void AppendRows(SurrogateInputs& to, const SurrogateInputs& more) {
  const Eigen::Index before = to.one_hot.rows();
  const Eigen::Index rows = before + more.rows();
  to.one_hot.conservativeResize(rows, more.one_hot.cols());
  to.numeric.conservativeResize(rows, more.numeric.cols());
  to.one_hot.bottomRows(more.rows()) = more.one_hot;
  to.numeric.bottomRows(more.rows()) = more.numeric;
}

Eigen::VectorXd Scaled(const OutputTransform& transform,
                       const std::vector<double>& values) {
  Eigen::VectorXd scaled(static_cast<Eigen::Index>(values.size()));
  for (size_t i = 0; i < values.size(); ++i) {
    scaled[i] = transform.Forward(values[i]);
  }
  return scaled;
}

// Values of some trials as a model sees them.
struct Targets {
  std::vector<int> rows;  // In Search::inputs_.
  std::vector<double> values;
  std::vector<double> deviations;  // Uncertainty of each; may be infinite.
};

Eigen::VectorXd ExtraNoise(const OutputTransform& transform,
                           const Targets& targets) {
  Eigen::VectorXd noise(static_cast<Eigen::Index>(targets.values.size()));
  for (size_t i = 0; i < targets.values.size(); ++i) {
    noise[i] = transform.Variance(targets.values[i], targets.deviations[i]);
  }
  return noise;
}

// An objective, or (last) whether the constraints hold.
struct Model {
  OutputTransform transform;
  std::unique_ptr<SurrogateKernel> kernel;
};

// Architectures that may be proposed, with what is known and believed of them.
struct Pool {
  std::vector<Architecture> architectures;
  SurrogateInputs inputs;
  // From the evidence: objectives (NaN where unknown) and violation.
  std::vector<Evaluation> known;
  absl::flat_hash_map<std::vector<int>, int> index;
  std::vector<CandidatePosterior> posteriors;  // One for each model.
  // Of the posteriors, with what is under way; empty if nothing may be.
  std::vector<PosteriorFork> forks;

  int size() const { return static_cast<int>(architectures.size()); }
  double variance(int model, int j) const {
    return forks.empty() ? posteriors[model].variance(j)
                         : forks[model].variance(j);
  }
};

}  // namespace

class BayesianStrategy::Search {
 public:
  Search(const BayesianConfig& config, const SearchSpace* space,
         const Problem& problem, Evidence evidence, uint64_t seed,
         absl::Span<const SourceTrials> sources)
      : config_(config),
        space_(space),
        problem_(problem),
        evidence_(evidence),
        seed_(seed),
        searched_(problem.Searched()),
        objectives_(static_cast<int>(searched_.objectives.size())),
        features_(space, WithSources(space, sources, std::move(evidence))),
        front_(objectives_),
        believed_front_(objectives_) {}

  void Learn(const Observation& observation) {
    if (StandingOf(observation.evaluation) == Standing::kFailed) {
      spent_.insert(observation.proposal.architecture.choices);
      return;
    }
    spent_.insert(observation.proposal.architecture.choices);
    observations_.push_back(observation);
  }

  // Networks unlike any in `design` and unlike each other, to begin with.
  std::vector<Architecture> Outliers(const std::vector<Architecture>& design,
                                     int count) const;

  // Brings the models up to date and takes what is pending into account.
  void Begin(const SuggestRequest& request);
  // The candidates to propose, best first; computed when first asked for.
  const std::vector<std::pair<int, double>>& Ranked(Rng& rng);
  const Architecture& architecture(int candidate) const {
    return pool_.architectures[candidate];
  }
  // The architecture is now under evaluation.
  void Believe(const Architecture& architecture);
  bool ready() const { return fitted_ > 0; }

 private:
  int FitPoint() const;
  void Fit(int count);
  void FitModel(int k, Rng& rng);
  bool DoubtOutliers(int k, absl::Span<const int> rows);
  void Condition(Pool& pool) const;
  void Take(int trial);
  void SetReference();

  Evaluation Known(const Architecture& architecture) const {
    if (!evidence_) {
      return {std::vector<double>(objectives_,
                                  std::numeric_limits<double>::quiet_NaN()),
              0, false};
    }
    return problem_.Evaluate(evidence_(architecture)).Shown();
  }
  // A trial as far as it is known, at full fidelity.
  FidelityLift::Lifted Judge(const Observation& observation) const {
    return lift_.Lift(observation.evaluation, observation.fidelity);
  }
  // What model `k` is to predict of it: an objective, or the violation, which
  // where there is none lies on the other side of 0.
  double Target(const Evaluation& evaluation, int k) const {
    if (k < objectives_) return evaluation.objectives[k];
    return evaluation.violation > 0 ? evaluation.violation : -margin_;
  }
  double Deviation(const FidelityLift::Lifted& lifted, int k) const {
    return k < objectives_ ? lifted.deviation[k] : lifted.violation_deviation;
  }
  // Of conditioned_ and some of its rows, those that are known.
  Targets TargetsOf(absl::Span<const int> rows, int k) const;

  // Adds what is not in the pool yet.
  void Add(Pool& pool, std::vector<Architecture> more) const;
  void Keep(Pool& pool, absl::Span<const int> kept) const;
  std::vector<Architecture> Breed(absl::Span<const int> parents, int count,
                                  Rng& rng) const;
  Pool WholeSpace(Rng& rng);
  Pool Bred(Rng& rng) const;

  // Objective values with each uncertain one `deviations` from its mean.
  Point PointAt(const Pool& pool, int j, const double* deviations) const;
  double ProbabilityFeasible(const PosteriorFork::Moments& moments) const;
  double Feasibility(const Pool& pool, int j) const;
  // Gain of the candidate if each objective turns out `optimism` standard
  // deviations better than expected.
  double OptimisticGain(const Pool& pool, int j, const ParetoArchive& front,
                        double optimism) const;
  std::vector<int> Best(const Pool& pool, const ParetoArchive& front, int count,
                        double optimism, Rng& rng) const;

  const BayesianConfig config_;
  const SearchSpace* space_;
  const Problem problem_;
  const Evidence evidence_;
  const uint64_t seed_;
  const Problem searched_;
  const int objectives_;
  const FeatureMap features_;

  std::vector<Observation> observations_;  // All that did not fail.
  absl::flat_hash_set<std::vector<int>> spent_;

  // Of a space that is looked at as a whole.
  bool listed_ = false;
  std::vector<Architecture> all_;
  std::vector<Evaluation> all_known_;
  SurrogateInputs all_inputs_;

  int fitted_ = 0;     // Observations at the latest fit.
  int taken_ = 0;      // Observations that the pool knows of.
  FidelityLift lift_;  // As of the latest fit.
  bool constrained_ = false;
  double margin_ = 1;
  std::vector<Model> models_;
  std::vector<int> by_rank_;  // Trials at the latest fit, best first.
  // What the latest fit rests on.
  std::vector<FidelityLift::Lifted> conditioned_;
  SurrogateInputs inputs_;
  Pool pool_;
  ParetoArchive front_;

  // With what is under way, each as if it had ended as expected.
  absl::flat_hash_set<std::vector<int>> under_way_;
  ParetoArchive believed_front_;
  std::optional<std::vector<std::pair<int, double>>> ranked_;
};

std::vector<Architecture> BayesianStrategy::Search::Outliers(
    const std::vector<Architecture>& design, int count) const {
  Rng rng(seed_, kOutlierStream);
  std::vector<Architecture> sample;
  for (int i = 0; i < kOutlierSample; ++i) {
    Architecture architecture = space_->Sample(rng);
    if (Known(architecture).violation > 0) continue;
    sample.push_back(std::move(architecture));
  }
  const Eigen::MatrixXd x = features_.Compute(sample).numeric;
  Eigen::VectorXd nearest = Eigen::VectorXd::Constant(
      x.rows(), std::numeric_limits<double>::infinity());
  const auto include = [&](const Eigen::RowVectorXd& point) {
    nearest = nearest.cwiseMin((x.rowwise() - point).rowwise().squaredNorm());
  };
  const Eigen::MatrixXd taken = features_.Compute(design).numeric;
  for (Eigen::Index i = 0; i < taken.rows(); ++i) include(taken.row(i));
  std::vector<Architecture> outliers;
  Eigen::Index farthest = 0;
  while (static_cast<int>(outliers.size()) < count && x.size() > 0 &&
         nearest.maxCoeff(&farthest) > 0) {
    outliers.push_back(sample[farthest]);
    include(x.row(farthest));
  }
  return outliers;
}

int BayesianStrategy::Search::FitPoint() const {
  const int count = static_cast<int>(observations_.size());
  int point = config_.initial;
  if (count < point) return 0;
  for (;;) {
    const int next =
        point + std::clamp(point / kGrowth, kGrowthAtLeast, kGrowthAtMost);
    if (next > count) return point;
    point = next;
  }
}

Targets BayesianStrategy::Search::TargetsOf(absl::Span<const int> rows,
                                            int k) const {
  Targets targets;
  for (const int row : rows) {
    const double value = Target(conditioned_[row].evaluation, k);
    if (!std::isfinite(value)) continue;
    targets.rows.push_back(row);
    targets.values.push_back(value);
    targets.deviations.push_back(Deviation(conditioned_[row], k));
  }
  return targets;
}

void BayesianStrategy::Search::SetReference() {
  Point reference(objectives_);
  for (int k = 0; k < objectives_; ++k) {
    const ObjectiveSpec& objective = searched_.objectives[k];
    if (objective.reference) {
      reference[k] =
          objective.maximize ? -*objective.reference : *objective.reference;
      continue;
    }
    double worst = -std::numeric_limits<double>::infinity();
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < fitted_; ++i) {
      const double value = observations_[i].evaluation.objectives[k];
      if (!std::isfinite(value)) continue;
      worst = std::max(worst, value);
      best = std::min(best, value);
    }
    reference[k] = worst >= best ? worst + 0.1 * (worst - best) : 0;
  }
  front_ = ParetoArchive(objectives_);
  front_.SetReference(std::move(reference));
}

void BayesianStrategy::Search::FitModel(int k, Rng& rng) {
  Model& model = models_[k];
  model.kernel = std::make_unique<SurrogateKernel>(features_.layout());
  std::vector<int> rows(conditioned_.size());
  std::iota(rows.begin(), rows.end(), 0);
  const std::vector<int> known = TargetsOf(rows, k).rows;
  if (known.size() < 2) {
    model.transform = OutputTransform();
    return;
  }
  const Targets fit = TargetsOf(FitSample(known, kFitTrials, rng), k);
  const Targets some = TargetsOf(FitSample(fit.rows, kScaleTrials, rng), k);
  const SurrogateInputs x = Rows(inputs_, some.rows);
  double best = -std::numeric_limits<double>::infinity();
  using Shape = OutputTransform::Shape;
  Shape chosen = Shape::kIdentity;
  for (const Shape shape :
       {Shape::kIdentity, Shape::kCompressed, Shape::kLogarithm}) {
    const OutputTransform transform(shape, some.values);
    if (transform.shape() != shape) continue;
    const Eigen::VectorXd y = Scaled(transform, some.values);
    const Eigen::VectorXd noise = ExtraNoise(transform, some);
    SurrogateKernel kernel(features_.layout());
    kernel.Fit(x, y, noise, kScaleIterations);
    const double likelihood = kernel.LogPosterior(x, y, noise, nullptr) +
                              transform.LogSlope(some.values);
    if (likelihood > best) {
      best = likelihood;
      chosen = shape;
      *model.kernel = kernel;
    }
  }
  model.transform = OutputTransform(chosen, fit.values);
  model.kernel->Fit(Rows(inputs_, fit.rows),
                    Scaled(model.transform, fit.values),
                    ExtraNoise(model.transform, fit), kFitIterations);
  for (int round = 0; round < kDoubts && k < objectives_; ++round) {
    if (!DoubtOutliers(k, known)) break;
    const Targets again = TargetsOf(fit.rows, k);
    model.kernel->Fit(Rows(inputs_, again.rows),
                      Scaled(model.transform, again.values),
                      ExtraNoise(model.transform, again), kDoubtIterations);
  }
}

// A measurement that went wrong must not bend the model around it: its
// difference from what all others say becomes its uncertainty. False if there
// is none.
bool BayesianStrategy::Search::DoubtOutliers(int k,
                                             absl::Span<const int> rows) {
  const Model& model = models_[k];
  const Targets targets = TargetsOf(rows, k);
  const Eigen::VectorXd y = Scaled(model.transform, targets.values);
  const SurrogateKernel::LeftOut others = model.kernel->LeaveOneOut(
      Rows(inputs_, targets.rows), y, ExtraNoise(model.transform, targets));
  if (others.mean.size() == 0) return false;
  std::vector<std::pair<double, int>> outliers;
  for (Eigen::Index i = 0; i < y.size(); ++i) {
    const double deviations =
        std::abs(y[i] - others.mean[i]) / std::sqrt(others.variance[i]);
    if (deviations > kOutlierDeviations) {
      outliers.emplace_back(-deviations, static_cast<int>(i));
    }
  }
  std::sort(outliers.begin(), outliers.end());
  const auto most = static_cast<size_t>(kOutlierValues * y.size());
  if (outliers.size() > most) outliers.resize(most);
  for (const auto& [deviations, i] : outliers) {
    double& deviation = conditioned_[targets.rows[i]].deviation[k];
    deviation = std::hypot(
        deviation, targets.values[i] - model.transform.Inverse(others.mean[i]));
  }
  return !outliers.empty();
}

void BayesianStrategy::Search::Condition(Pool& pool) const {
  pool.posteriors.clear();
  std::vector<int> rows(conditioned_.size());
  std::iota(rows.begin(), rows.end(), 0);
  for (size_t k = 0; k < models_.size(); ++k) {
    const Targets known = TargetsOf(rows, static_cast<int>(k));
    const Model& model = models_[k];
    pool.posteriors.emplace_back(model.kernel.get(), Rows(inputs_, known.rows),
                                 Scaled(model.transform, known.values),
                                 ExtraNoise(model.transform, known));
    pool.posteriors.back().Extend(pool.inputs);
  }
}

void BayesianStrategy::Search::Add(Pool& pool,
                                   std::vector<Architecture> more) const {
  std::vector<Architecture> added;
  for (Architecture& architecture : more) {
    if (!pool.index
             .emplace(architecture.choices,
                      pool.size() + static_cast<int>(added.size()))
             .second) {
      continue;
    }
    added.push_back(std::move(architecture));
  }
  if (added.empty()) return;
  const SurrogateInputs inputs = features_.Compute(added);
  AppendRows(pool.inputs, inputs);
  for (CandidatePosterior& posterior : pool.posteriors) {
    posterior.Extend(inputs);
  }
  for (Architecture& architecture : added) {
    pool.known.push_back(Known(architecture));
    pool.architectures.push_back(std::move(architecture));
  }
}

void BayesianStrategy::Search::Keep(Pool& pool,
                                    absl::Span<const int> kept) const {
  Pool smaller;
  for (const int j : kept) {
    smaller.index.emplace(pool.architectures[j].choices, smaller.size());
    smaller.architectures.push_back(std::move(pool.architectures[j]));
    smaller.known.push_back(std::move(pool.known[j]));
  }
  smaller.inputs = Rows(pool.inputs, kept);
  for (CandidatePosterior& posterior : pool.posteriors) posterior.Keep(kept);
  smaller.posteriors = std::move(pool.posteriors);
  pool = std::move(smaller);
}

std::vector<Architecture> BayesianStrategy::Search::Breed(
    absl::Span<const int> parents, int count, Rng& rng) const {
  std::vector<Architecture> children;
  for (int i = 0; i < count; ++i) {
    const auto pick = [&]() -> const Architecture& {
      return observations_[parents[rng.Below(parents.size())]]
          .proposal.architecture;
    };
    Architecture child = pick();
    if (rng.Bernoulli(0.3)) child = space_->Crossover(child, pick(), rng);
    for (uint64_t steps = rng.Below(3) + 1; steps > 0; --steps) {
      child = space_->MutateOne(child, rng);
    }
    children.push_back(std::move(child));
  }
  return children;
}

Point BayesianStrategy::Search::PointAt(const Pool& pool, int j,
                                        const double* deviations) const {
  Point point(objectives_);
  for (int k = 0; k < objectives_; ++k) {
    const double known = pool.known[j].objectives[k];
    if (std::isfinite(known)) {
      point[k] = known;
      continue;
    }
    point[k] = models_[k].transform.Inverse(
        pool.posteriors[k].mean(j) +
        deviations[k] *
            std::sqrt(pool.variance(k, j) + models_[k].kernel->noise()));
  }
  return point;
}

double BayesianStrategy::Search::ProbabilityFeasible(
    const PosteriorFork::Moments& moments) const {
  const Model& model = models_[objectives_];
  return NormalCdf((model.transform.Forward(0) - moments.mean) /
                   std::sqrt(moments.variance + model.kernel->noise() + 1e-9));
}

double BayesianStrategy::Search::Feasibility(const Pool& pool, int j) const {
  if (!constrained_) return 1;
  return ProbabilityFeasible(
      {pool.posteriors[objectives_].mean(j), pool.variance(objectives_, j)});
}

double BayesianStrategy::Search::OptimisticGain(const Pool& pool, int j,
                                                const ParetoArchive& front,
                                                double optimism) const {
  // Until something is feasible, nothing else matters.
  if (constrained_ && front.size() == 0) return Feasibility(pool, j);
  const std::vector<double> deviations(objectives_, -optimism);
  return front.RoughGain(PointAt(pool, j, deviations.data())) *
         Feasibility(pool, j);
}

std::vector<int> BayesianStrategy::Search::Best(const Pool& pool,
                                                const ParetoArchive& front,
                                                int count, double optimism,
                                                Rng& rng) const {
  struct Entry {
    double gain;
    uint64_t tie;
    int candidate;
  };
  std::vector<Entry> entries;
  for (int j = 0; j < pool.size(); ++j) {
    if (pool.known[j].violation > 0 ||
        spent_.contains(pool.architectures[j].choices) ||
        under_way_.contains(pool.architectures[j].choices)) {
      continue;
    }
    entries.push_back(
        {OptimisticGain(pool, j, front, optimism), rng.Next(), j});
  }
  const auto better = [](const Entry& a, const Entry& b) {
    return a.gain != b.gain ? a.gain > b.gain : a.tie < b.tie;
  };
  const int kept = std::min<int>(count, static_cast<int>(entries.size()));
  std::partial_sort(entries.begin(), entries.begin() + kept, entries.end(),
                    better);
  std::vector<int> best;
  for (int i = 0; i < kept; ++i) best.push_back(entries[i].candidate);
  return best;
}

Pool BayesianStrategy::Search::WholeSpace(Rng& rng) {
  // In pieces, so that memory does not grow with the space.
  Pool piece;
  piece.inputs = features_.Compute({});
  Condition(piece);
  Pool best;
  std::vector<int> kept;
  const int size = static_cast<int>(all_.size());
  for (int start = 0; start < size; start += kChunk) {
    const int end = std::min(start + kChunk, size);
    Keep(piece, {});
    std::vector<int> rows;
    for (int i = start; i < end; ++i) {
      if (spent_.contains(all_[i].choices)) continue;
      rows.push_back(i);
      piece.architectures.push_back(all_[i]);
      piece.known.push_back(all_known_[i]);
    }
    piece.inputs = Rows(all_inputs_, rows);
    for (CandidatePosterior& posterior : piece.posteriors) {
      posterior.Extend(piece.inputs);
    }
    const int share = std::max(32, kPool * (end - start) / size);
    for (const int j : Best(piece, front_, share, kHope, rng)) {
      best.index.emplace(piece.architectures[j].choices, best.size());
      best.architectures.push_back(piece.architectures[j]);
      best.known.push_back(piece.known[j]);
      kept.push_back(rows[j]);
    }
  }
  best.inputs = Rows(all_inputs_, kept);
  Condition(best);
  return best;
}

Pool BayesianStrategy::Search::Bred(Rng& rng) const {
  const std::vector<int> parents(
      by_rank_.begin(),
      by_rank_.begin() + std::min<size_t>(kParents, by_rank_.size()));
  Pool pool;
  Add(pool, Breed(parents, kPool / 2, rng));
  std::vector<Architecture> random;
  while (static_cast<int>(random.size()) < kPool / 2) {
    random.push_back(space_->Sample(rng));
  }
  Add(pool, std::move(random));
  Condition(pool);
  for (int round = 0; round < 3; ++round) {
    std::vector<Architecture> children;
    for (const int j : Best(pool, front_, 80, kHope, rng)) {
      for (int c = 0; c < 4; ++c) {
        children.push_back(space_->MutateOne(pool.architectures[j], rng));
      }
    }
    Add(pool, std::move(children));
  }
  Keep(pool, Best(pool, front_, kPool, kHope, rng));
  return pool;
}

void BayesianStrategy::Search::Fit(int count) {
  Rng rng(seed_, kFitStream + static_cast<uint64_t>(count));
  fitted_ = count;
  taken_ = count;
  // The latest result of each trial.
  absl::flat_hash_map<int64_t, int> latest;
  lift_ = FidelityLift();
  for (int i = 0; i < count; ++i) {
    const Observation& observation = observations_[i];
    lift_.Add(observation.proposal.number, observation.fidelity,
              observation.evaluation);
    latest[observation.proposal.number] = i;
  }
  SetReference();
  std::vector<int> trials;
  std::vector<FidelityLift::Lifted> judged;
  std::vector<double> violations;
  for (int i = 0; i < count; ++i) {
    const Observation& observation = observations_[i];
    if (latest[observation.proposal.number] != i) continue;
    trials.push_back(i);
    judged.push_back(Judge(observation));
    const Evaluation& evaluation = judged.back().evaluation;
    if (evaluation.violation > 0) violations.push_back(evaluation.violation);
    if (observation.fidelity == 1 &&
        StandingOf(evaluation) == Standing::kFeasible) {
      front_.Insert(evaluation.objectives, i);
    }
  }
  constrained_ = !violations.empty();
  if (constrained_) {
    const auto middle = violations.begin() + violations.size() / 4;
    std::nth_element(violations.begin(), middle, violations.end());
    margin_ = *middle;
  }
  std::vector<const Evaluation*> evaluations;
  for (const FidelityLift::Lifted& lifted : judged) {
    evaluations.push_back(&lifted.evaluation);
  }
  by_rank_.clear();
  for (const std::vector<int>& front :
       ConstrainedNonDominatedSort(evaluations)) {
    by_rank_.insert(by_rank_.end(), front.begin(), front.end());
  }
  conditioned_.clear();
  std::vector<Architecture> architectures;
  for (const int trial : FitSample(by_rank_, kTrials, rng)) {
    conditioned_.push_back(judged[trial]);
    architectures.push_back(observations_[trials[trial]].proposal.architecture);
  }
  for (int& trial : by_rank_) trial = trials[trial];
  inputs_ = features_.Compute(architectures);
  models_.clear();
  models_.resize(objectives_ + (constrained_ ? 1 : 0));
  for (size_t k = 0; k < models_.size(); ++k) {
    FitModel(static_cast<int>(k), rng);
  }

  if (!listed_) {
    listed_ = true;
    std::optional<std::vector<Architecture>> all =
        space_->Enumerate(kWholeSpace);
    if (all) {
      all_ = *std::move(all);
      for (const Architecture& architecture : all_) {
        all_known_.push_back(Known(architecture));
      }
      all_inputs_ = features_.Compute(all_);
    }
  }
  pool_ = all_.empty() ? Bred(rng) : WholeSpace(rng);
}

void BayesianStrategy::Search::Take(int trial) {
  const Observation& observation = observations_[trial];
  const SurrogateInputs input =
      features_.Compute({observation.proposal.architecture});
  const FidelityLift::Lifted lifted = Judge(observation);
  for (size_t i = 0; i < models_.size(); ++i) {
    const int k = static_cast<int>(i);
    const double value = Target(lifted.evaluation, k);
    if (!std::isfinite(value)) continue;
    const OutputTransform& transform = models_[k].transform;
    pool_.posteriors[k].Observe(
        input, transform.Forward(value),
        transform.Variance(value, Deviation(lifted, k)));
  }
  if (observation.fidelity == 1 &&
      StandingOf(lifted.evaluation) == Standing::kFeasible) {
    front_.Insert(lifted.evaluation.objectives, trial);
  }
  if (!all_.empty()) return;
  Rng rng(seed_, kTakeStream + static_cast<uint64_t>(trial));
  std::vector<int> parents;
  for (const int64_t id : front_.ids()) parents.push_back(static_cast<int>(id));
  if (parents.empty()) parents.push_back(trial);
  Add(pool_, Breed(parents, kBred, rng));
  if (pool_.size() > 2 * kPool)
    Keep(pool_, Best(pool_, front_, kPool, kHope, rng));
}

void BayesianStrategy::Search::Begin(const SuggestRequest& request) {
  ranked_.reset();
  under_way_.clear();
  pool_.forks.clear();
  const int point = FitPoint();
  if (point == 0) return;
  if (point != fitted_) Fit(point);
  for (; taken_ < static_cast<int>(observations_.size()); ++taken_) {
    Take(taken_);
  }
  for (const CandidatePosterior& posterior : pool_.posteriors) {
    pool_.forks.emplace_back(&posterior);
  }
  believed_front_ = front_;
  const size_t count = request.pending.size();
  for (size_t i = count > kPending ? count - kPending : 0; i < count; ++i) {
    Believe(request.pending[i].architecture);
  }
}

void BayesianStrategy::Search::Believe(const Architecture& architecture) {
  ranked_.reset();
  if (!ready()) return;
  under_way_.insert(architecture.choices);
  const SurrogateInputs input = features_.Compute({architecture});
  Point expected = Known(architecture).objectives;
  for (size_t k = 0; k < models_.size(); ++k) {
    const PosteriorFork::Moments moments = pool_.forks[k].Believe(input);
    if (static_cast<int>(k) == objectives_) {
      if (ProbabilityFeasible(moments) < 0.5) return;
    } else if (!std::isfinite(expected[k])) {
      expected[k] = models_[k].transform.Inverse(moments.mean);
    }
  }
  believed_front_.Insert(expected, -1);
}

const std::vector<std::pair<int, double>>& BayesianStrategy::Search::Ranked(
    Rng& rng) {
  if (ranked_) return *ranked_;
  ranked_.emplace();
  if (rng.Bernoulli(kBoldShare)) {
    for (const int j : Best(pool_, believed_front_, kRanked, kBoldHope, rng)) {
      ranked_->emplace_back(
          j, OptimisticGain(pool_, j, believed_front_, kBoldHope));
    }
    return *ranked_;
  }
  // The same deviations for every candidate, in pairs of opposite sign.
  std::vector<double> deviations(static_cast<size_t>(kSamples) * objectives_);
  const size_t half = deviations.size() / 2;
  for (size_t i = 0; i < half; ++i) {
    deviations[i] = rng.Normal();
    deviations[half + i] = -deviations[i];
  }
  for (const int j : Best(pool_, believed_front_, kShortlist, kHope, rng)) {
    double sum = 0;
    if (constrained_ && believed_front_.size() == 0) {
      ranked_->emplace_back(j, Feasibility(pool_, j));
      continue;
    }
    for (int s = 0; s < kSamples; ++s) {
      sum += believed_front_.RoughGain(
          PointAt(pool_, j, deviations.data() + s * objectives_));
    }
    ranked_->emplace_back(j, sum / kSamples * Feasibility(pool_, j));
  }
  std::stable_sort(
      ranked_->begin(), ranked_->end(),
      [](const auto& a, const auto& b) { return a.second > b.second; });
  return *ranked_;
}

BayesianStrategy::BayesianStrategy(const BayesianConfig& config,
                                   const SearchSpace* space,
                                   const Problem& problem, Evidence evidence,
                                   uint64_t seed,
                                   absl::Span<const SourceTrials> sources)
    : BasicStrategy(space,
                    static_cast<int>(problem.Searched().objectives.size()),
                    seed, config.initial),
      search_(std::make_unique<Search>(config, space, problem,
                                       std::move(evidence), seed, sources)) {
  const int outliers = config.initial / kOutlierShare;
  std::vector<Architecture> design = initial_design();
  design.resize(design.size() - outliers);
  SpecialiseInitialDesign(search_->Outliers(design, outliers));
}

BayesianStrategy::~BayesianStrategy() = default;

void BayesianStrategy::BeginSuggest(const SuggestRequest& request) {
  search_->Begin(request);
}

std::optional<BasicStrategy::Candidate> BayesianStrategy::Vary(
    int64_t /*number*/, int attempt, Rng& rng) {
  if (!search_->ready()) return std::nullopt;
  const auto& ranked = search_->Ranked(rng);
  if (attempt >= static_cast<int>(ranked.size())) return std::nullopt;
  const auto& [candidate, gain] = ranked[attempt];
  return Candidate{search_->architecture(candidate),
                   absl::StrFormat("expected hypervolume gain %.4g", gain)};
}

void BayesianStrategy::OnProposed(const Proposal& proposal) {
  search_->Believe(proposal.architecture);
}

void BayesianStrategy::Learn(const Observation& observation) {
  search_->Learn(observation);
}

}  // namespace hwnas
