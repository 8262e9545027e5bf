#include "nas/warm_start.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <set>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/rng.h"
#include "nas/pareto/constrained.h"
#include "nas/pareto/subset.h"
#include "nas/surrogate/feature_map.h"
#include "nas/surrogate/fit_sample.h"
#include "nas/surrogate/gaussian_process.h"
#include "nas/surrogate/output_transform.h"

namespace hwnas {
namespace {

// Trials, and steps, by which the scale of a metric is chosen; by which the
// parameters of its model are fitted then; and trials that predictions rest on.
constexpr int kScaleExamples = 80;
constexpr int kScaleIterations = 20;
constexpr int kFitExamples = 160;
constexpr int kFitIterations = 15;
constexpr int kExamples = 400;
constexpr size_t kLeastExamples = 8;

constexpr uint64_t kFitSeed = 0x5eed5a11;

// A trial as the source judged it.
Evaluation EvaluationOf(const SourceTrials& source,
                        const SourceTrials::Trial& trial) {
  std::vector<MetricValue> values;
  for (size_t m = 0; m < source.metrics.size(); ++m) {
    values.push_back({source.metrics[m], trial.values[m]});
  }
  return source.problem.Evaluate(values).Shown();
}

// The first rows.
SurrogateInputs Head(const SurrogateInputs& all, size_t count) {
  const auto rows = std::min(static_cast<Eigen::Index>(count), all.rows());
  return {all.one_hot.topRows(rows), all.numeric.topRows(rows)};
}

// A metric's values as a function of the network. Immutable.
struct MetricModel {
  OutputTransform transform;
  PosteriorMean expected;  // On the scale of the transform.
};

// What is known of a network, and a value to be minimised.
using Example = std::pair<Architecture, double>;

MetricModel Fit(const FeatureMap& features, std::vector<Example> examples) {
  Rng rng(kFitSeed);
  examples = FitSample(std::move(examples), kExamples, rng);
  rng.Shuffle(examples);
  std::vector<Architecture> architectures;
  std::vector<double> values;
  for (auto& [architecture, value] : examples) {
    architectures.push_back(std::move(architecture));
    values.push_back(value);
  }
  const SurrogateInputs x = features.Compute(architectures);
  const auto scaled = [&values](const OutputTransform& transform,
                                size_t count) {
    Eigen::VectorXd y(
        static_cast<Eigen::Index>(std::min(count, values.size())));
    for (Eigen::Index i = 0; i < y.size(); ++i) {
      y[i] = transform.Forward(values[i]);
    }
    return y;
  };

  const SurrogateInputs some = Head(x, kScaleExamples);
  const std::vector<double> some_values(values.begin(),
                                        values.begin() + some.rows());
  const Eigen::VectorXd no_noise = Eigen::VectorXd::Zero(x.rows());
  double best = -std::numeric_limits<double>::infinity();
  using Shape = OutputTransform::Shape;
  Shape chosen = Shape::kIdentity;
  SurrogateKernel kernel(features.layout());
  for (const Shape shape :
       {Shape::kIdentity, Shape::kCompressed, Shape::kLogarithm}) {
    const OutputTransform transform(shape, some_values);
    if (transform.shape() != shape) continue;
    const Eigen::VectorXd y = scaled(transform, kScaleExamples);
    SurrogateKernel fitted(features.layout());
    fitted.Fit(some, y, no_noise.head(y.size()), kScaleIterations);
    const double likelihood =
        fitted.LogPosterior(some, y, no_noise.head(y.size()), nullptr) +
        transform.LogSlope(some_values);
    if (likelihood > best) {
      best = likelihood;
      chosen = shape;
      kernel = std::move(fitted);
    }
  }
  const OutputTransform transform(chosen, values);
  const SurrogateInputs fit = Head(x, kFitExamples);
  kernel.Fit(fit, scaled(transform, kFitExamples), no_noise.head(fit.rows()),
             kFitIterations);
  PosteriorMean expected(std::move(kernel), x, scaled(transform, kExamples));
  return {transform, std::move(expected)};
}

// Whether the larger values of a metric are the better ones.
bool Maximised(const Problem& problem, const MetricKey& key) {
  for (const ObjectiveSpec& objective : problem.objectives) {
    const std::vector<MetricKey> keys = objective.Keys();
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) {
      return objective.maximize;
    }
  }
  const MetricInfo* info = FindMetric(key.metric);
  return info != nullptr && info->higher_is_better;
}

// The trials of a source, best first.
std::vector<const SourceTrials::Trial*> Ranked(const SourceTrials& source,
                                               const SearchSpace& space) {
  std::vector<const SourceTrials::Trial*> trials;
  std::vector<Evaluation> evaluations;
  for (const SourceTrials::Trial& trial : source.trials) {
    if (!space.Validate(trial.architecture).ok()) continue;
    trials.push_back(&trial);
    evaluations.push_back(EvaluationOf(source, trial));
  }
  std::vector<const SourceTrials::Trial*> ranked;
  for (const auto& front : ConstrainedNonDominatedSort(evaluations)) {
    for (const int i : front) ranked.push_back(trials[i]);
  }
  return ranked;
}

// What the models and trials of one source say.
class Source {
 public:
  // Without the metrics that are among `known`.
  Source(const SourceTrials& source, const SearchSpace* space,
         const FeatureMap& features, const std::set<MetricKey>& known) {
    const std::vector<const SourceTrials::Trial*> trials =
        Ranked(source, *space);
    for (size_t m = 0; m < source.metrics.size(); ++m) {
      const MetricKey& key = source.metrics[m];
      if (known.count(key)) continue;
      const double sign = Maximised(source.problem, key) ? -1 : 1;
      absl::flat_hash_map<std::vector<int>, double> values;
      std::vector<Example> examples;
      std::set<double> different;
      for (const SourceTrials::Trial* trial : trials) {
        const double value = sign * trial->values[m];
        if (!std::isfinite(value)) continue;
        const Architecture canonical = space->Canonicalize(trial->architecture);
        if (!values.emplace(canonical.choices, value).second) continue;
        examples.emplace_back(canonical, value);
        different.insert(value);
      }
      if (examples.size() < kLeastExamples || different.size() < 2) continue;
      Metric& metric = metrics_.emplace_back(
          Metric{{key.metric, absl::StrCat(key.device_class, "/", source.name)},
                 Fit(features, std::move(examples)),
                 {}});
      for (const auto& [choices, value] : values) {
        metric.values[choices] = metric.model.transform.Forward(value);
      }
    }
  }

  void Append(const Architecture& architecture, const SurrogateInputs& inputs,
              std::vector<MetricValue>* values) const {
    for (const Metric& metric : metrics_) {
      const auto found = metric.values.find(architecture.choices);
      values->push_back(
          {metric.key, found != metric.values.end()
                           ? found->second
                           : metric.model.expected.At(inputs)[0]});
    }
  }

 private:
  struct Metric {
    MetricKey key;
    MetricModel model;
    // On the scale of the model.
    absl::flat_hash_map<std::vector<int>, double> values;
  };
  std::vector<Metric> metrics_;
};

}  // namespace

Evidence WithSources(const SearchSpace* space,
                     absl::Span<const SourceTrials> sources,
                     Evidence evidence) {
  if (sources.empty()) return evidence;
  std::set<MetricKey> known;
  if (evidence) {
    Rng rng(kFitSeed);
    for (const MetricValue& value : evidence(space->Sample(rng))) {
      known.insert(value.key);
    }
  }
  struct Models {
    FeatureMap features;
    std::vector<Source> sources;
  };
  auto models = std::make_shared<Models>(Models{FeatureMap(space, {}), {}});
  for (const SourceTrials& source : sources) {
    models->sources.emplace_back(source, space, models->features, known);
  }
  return [evidence = std::move(evidence),
          models = std::shared_ptr<const Models>(std::move(models))](
             const Architecture& architecture) {
    std::vector<MetricValue> values;
    if (evidence) values = evidence(architecture);
    const SurrogateInputs inputs = models->features.Compute({architecture});
    for (const Source& source : models->sources) {
      source.Append(architecture, inputs, &values);
    }
    return values;
  };
}

std::vector<Architecture> BestOfSources(const SearchSpace& space,
                                        absl::Span<const SourceTrials> sources,
                                        int count) {
  // The best of each source, best first.
  std::vector<std::vector<Architecture>> best;
  size_t longest = 0;
  for (const SourceTrials& source : sources) {
    std::vector<Architecture> networks;
    std::vector<Evaluation> evaluations;
    absl::flat_hash_set<std::vector<int>> distinct;
    for (const SourceTrials::Trial& trial : source.trials) {
      if (!space.Validate(trial.architecture).ok()) continue;
      Evaluation evaluation = EvaluationOf(source, trial);
      if (StandingOf(evaluation) != Standing::kFeasible) continue;
      Architecture network = space.Canonicalize(trial.architecture);
      if (!distinct.insert(network.choices).second) continue;
      networks.push_back(std::move(network));
      evaluations.push_back(std::move(evaluation));
    }
    best.emplace_back();
    if (evaluations.empty()) continue;
    const Point reference = ReferenceOf(source.problem.Searched(), evaluations);
    for (const auto& front : ConstrainedNonDominatedSort(evaluations)) {
      const int wanted = count - static_cast<int>(best.back().size());
      if (wanted <= 0) break;
      std::vector<Point> points;
      for (const int i : front) points.push_back(evaluations[i].objectives);
      for (const int i : HypervolumeSubset(points, reference, wanted)) {
        best.back().push_back(networks[front[i]]);
      }
    }
    longest = std::max(longest, best.back().size());
  }
  std::vector<Architecture> chosen;
  absl::flat_hash_set<std::vector<int>> seen;
  for (size_t i = 0; i < longest; ++i) {
    for (const std::vector<Architecture>& of_source : best) {
      if (i >= of_source.size() || static_cast<int>(chosen.size()) >= count ||
          !seen.insert(of_source[i].choices).second) {
        continue;
      }
      chosen.push_back(of_source[i]);
    }
  }
  return chosen;
}

}  // namespace hwnas
