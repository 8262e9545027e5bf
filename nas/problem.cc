#include "nas/problem.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hwnas {
namespace {

constexpr MetricInfo kMetrics[] = {
    {"params_m", "1e6", MetricSource::kAnalytic, false, false,
     "Trainable parameters, in millions"},
    {"flops_m", "1e6", MetricSource::kAnalytic, false, false,
     "Multiply-accumulate operations of one inference, in millions"},
    {"model_size_mb", "MB", MetricSource::kAnalytic, false, false,
     "Size of the stored weights, in megabytes (1e6 bytes)"},
    {"peak_activation_mb", "MB", MetricSource::kAnalytic, false, false,
     "Largest sum of activations alive at once in one inference, in megabytes "
     "(1e6 bytes)"},
    {"logsynflow_m", "1e6", MetricSource::kAnalytic, true, false,
     "Expected LogSynFlow, a zero-cost score of the untrained network, in "
     "millions"},
    {"latency_ms", "ms", MetricSource::kMeasured, false, true,
     "Median time of one inference on the device, in milliseconds"},
    {"latency_p90_ms", "ms", MetricSource::kMeasured, false, true,
     "90th percentile of the time of one inference on the device, in "
     "milliseconds"},
    {"latency_p99_ms", "ms", MetricSource::kMeasured, false, true,
     "99th percentile of the time of one inference on the device, in "
     "milliseconds"},
    {"latency_warmup_ms", "ms", MetricSource::kMeasured, false, true,
     "Median time of one inference on the device before it has settled, in "
     "milliseconds"},
    {"latency_first_ms", "ms", MetricSource::kMeasured, false, true,
     "Time of the first inference on the device after loading, in "
     "milliseconds"},
    {"load_ms", "ms", MetricSource::kMeasured, false, true,
     "Time to load the model on the device, in milliseconds"},
    {"peak_memory_mb", "MB", MetricSource::kMeasured, false, true,
     "Largest resident memory of the inference process on the device, in "
     "megabytes (1e6 bytes)"},
    {"energy_mj", "mJ", MetricSource::kMeasured, false, true,
     "Energy that one inference adds to what the idle device takes, in "
     "millijoules"},
    {"energy_gross_mj", "mJ", MetricSource::kMeasured, false, true,
     "Energy of the device during one inference, in millijoules"},
    {"power_w", "W", MetricSource::kMeasured, false, true,
     "Mean power of the device while it infers, in watts"},
    {"accuracy", "%", MetricSource::kTrained, true, false,
     "Share of validation images classified correctly, in percent"},
    {"validation_loss", "nats", MetricSource::kTrained, false, false,
     "Mean cross-entropy on the validation images"},
};

double RelativeExcess(double value, double limit) {
  return std::abs(value - limit) / std::max(std::abs(limit), 1e-12);
}

}  // namespace

absl::Span<const MetricInfo> KnownMetrics() { return kMetrics; }

const MetricInfo* FindMetric(absl::string_view name) {
  for (const MetricInfo& metric : kMetrics) {
    if (metric.name == name) return &metric;
  }
  return nullptr;
}

std::string MetricKey::ToString() const {
  return device_class.empty() ? metric
                              : absl::StrCat(metric, "@", device_class);
}

std::vector<MetricKey> ObjectiveSpec::Keys() const {
  if (worst_of.empty()) return {key};
  std::vector<MetricKey> keys;
  for (const std::string& device_class : worst_of) {
    keys.push_back({key.metric, device_class});
  }
  return keys;
}

Evaluation Evaluation::Shown() const {
  Evaluation shown = *this;
  shown.violation += beyond;
  return shown;
}

namespace {

// How far each objective may fall behind what is wished for: to its reference.
std::vector<double> Scales(const Problem& problem) {
  const std::vector<double>& aspiration = problem.preference->aspiration;
  std::vector<double> scales;
  for (size_t k = 0; k < problem.objectives.size(); ++k) {
    const ObjectiveSpec& objective = problem.objectives[k];
    const double reference = objective.reference.value_or(0);
    const double minimised = objective.maximize ? -reference : reference;
    scales.push_back(aspiration.empty() ? std::abs(minimised)
                                        : minimised - aspiration[k]);
    if (!(scales.back() > 0)) scales.back() = 1;
  }
  return scales;
}

double BeyondReferences(const Problem& problem,
                        absl::Span<const double> minimised) {
  const std::vector<double> scales = Scales(problem);
  double beyond = 0;
  for (size_t k = 0; k < minimised.size(); ++k) {
    const ObjectiveSpec& objective = problem.objectives[k];
    if (!objective.reference || std::isnan(minimised[k])) continue;
    const double reference =
        objective.maximize ? -*objective.reference : *objective.reference;
    beyond += std::max(0.0, minimised[k] - reference) / scales[k];
  }
  return beyond;
}

// Pulls the front together around what is nearest to the aspiration: with
// u = (value - aspiration) / scale, each objective becomes u + focus * max u.
// What dominates another still does.
std::vector<double> Focused(const Problem& problem,
                            absl::Span<const double> minimised) {
  const Preference& preference = *problem.preference;
  const std::vector<double> scales = Scales(problem);
  std::vector<double> focused;
  double largest = -std::numeric_limits<double>::infinity();
  for (size_t k = 0; k < minimised.size(); ++k) {
    focused.push_back((minimised[k] - preference.aspiration[k]) / scales[k]);
    if (std::isnan(focused[k])) {
      return std::vector<double>(minimised.size(), focused[k]);
    }
    largest = std::max(largest, focused[k]);
  }
  for (double& u : focused) u += preference.focus * largest;
  return focused;
}

}  // namespace

Evaluation Problem::Evaluate(absl::Span<const MetricValue> values) const {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  // The last finite value of the metric, or NaN.
  auto find = [&values](absl::string_view metric,
                        absl::string_view device_class) {
    for (size_t i = values.size(); i > 0; --i) {
      const MetricValue& value = values[i - 1];
      if (value.key.metric == metric &&
          value.key.device_class == device_class &&
          std::isfinite(value.value)) {
        return value.value;
      }
    }
    return kNan;
  };
  // Of an objective, minimised.
  auto minimised = [&find](const ObjectiveSpec& objective) {
    const double sign = objective.maximize ? -1 : 1;
    if (objective.worst_of.empty()) {
      return sign * find(objective.key.metric, objective.key.device_class);
    }
    double worst = -std::numeric_limits<double>::infinity();
    for (const std::string& device_class : objective.worst_of) {
      const double value = sign * find(objective.key.metric, device_class);
      if (std::isnan(value)) return kNan;
      worst = std::max(worst, value);
    }
    return worst;
  };

  Evaluation evaluation;
  bool all_known = true;
  evaluation.declared.reserve(objectives.size());
  for (const ObjectiveSpec& objective : objectives) {
    evaluation.declared.push_back(minimised(objective));
    if (std::isnan(evaluation.declared.back())) all_known = false;
  }
  evaluation.complete = all_known;
  for (const ConstraintSpec& constraint : constraints) {
    const double value =
        find(constraint.key.metric, constraint.key.device_class);
    if (std::isnan(value)) {
      evaluation.complete = false;
      continue;
    }
    if (constraint.at_most && value > *constraint.at_most) {
      evaluation.violation += RelativeExcess(value, *constraint.at_most);
    }
    if (constraint.at_least && value < *constraint.at_least) {
      evaluation.violation += RelativeExcess(value, *constraint.at_least);
    }
  }

  if (scalarized()) {
    const auto* one = std::get_if<EpsilonConstraint>(&scalarization);
    const bool known = one != nullptr
                           ? !std::isnan(evaluation.declared[one->objective])
                           : all_known;
    if (known) evaluation.score = Score(evaluation.declared);
    evaluation.objectives = {evaluation.score ? -*evaluation.score : kNan};
    return evaluation;
  }
  evaluation.objectives = evaluation.declared;
  if (!preference) return evaluation;
  evaluation.beyond = BeyondReferences(*this, evaluation.declared);
  if (preference->aspiration.empty()) return evaluation;
  evaluation.objectives = Focused(*this, evaluation.declared);
  if (all_known) evaluation.score = Score(evaluation.declared);
  return evaluation;
}

std::vector<MetricKey> Problem::Keys() const {
  std::vector<MetricKey> keys;
  for (const ObjectiveSpec& objective : objectives) {
    for (MetricKey& key : objective.Keys()) keys.push_back(std::move(key));
  }
  for (const ConstraintSpec& constraint : constraints) {
    keys.push_back(constraint.key);
  }
  return keys;
}

double Problem::Score(absl::Span<const double> minimised) const {
  if (const auto* sum = std::get_if<WeightedSum>(&scalarization)) {
    return sum->Score(minimised);
  }
  if (const auto* product = std::get_if<WeightedProduct>(&scalarization)) {
    std::vector<double> values(minimised.begin(), minimised.end());
    for (size_t k = 0; k < values.size(); ++k) {
      if (objectives[k].maximize) values[k] = -values[k];
    }
    return product->Score(values);
  }
  if (const auto* distance = std::get_if<Chebyshev>(&scalarization)) {
    return distance->Score(minimised);
  }
  if (const auto* one = std::get_if<EpsilonConstraint>(&scalarization)) {
    return one->Score(minimised);
  }
  // The achievement: 0 at the aspiration, -1 at the reference.
  Chebyshev achievement{{}, preference->aspiration, /*rho=*/1e-4};
  for (const double scale : Scales(*this)) {
    achievement.weights.push_back(1 / scale);
  }
  return achievement.Score(minimised);
}

Problem Problem::Searched() const {
  Problem searched;
  searched.objectives = objectives;
  searched.constraints = constraints;
  if (scalarized()) {
    searched.objectives = {ObjectiveSpec{{"score", ""}}};
  } else if (scored()) {
    for (ObjectiveSpec& objective : searched.objectives) {
      objective = {objective.key};
      objective.reference = 1 + preference->focus;
    }
  }
  return searched;
}

std::vector<std::string> Problem::FrontDevices() const {
  std::vector<std::string> devices;
  for (const ObjectiveSpec& objective : objectives) {
    if (objective.own_front &&
        std::find(devices.begin(), devices.end(), objective.key.device_class) ==
            devices.end()) {
      devices.push_back(objective.key.device_class);
    }
  }
  return devices;
}

std::vector<int> Problem::FrontObjectives(
    absl::string_view device_class) const {
  std::vector<int> indices;
  for (size_t k = 0; k < objectives.size(); ++k) {
    if (!objectives[k].own_front ||
        objectives[k].key.device_class == device_class) {
      indices.push_back(static_cast<int>(k));
    }
  }
  return indices;
}

}  // namespace hwnas
