#include "nas/problem.h"

#include <algorithm>
#include <cmath>
#include <limits>

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
    {"latency_ms", "ms", MetricSource::kMeasured, false, true,
     "Median time of one inference on the device, in milliseconds"},
    {"latency_p90_ms", "ms", MetricSource::kMeasured, false, true,
     "90th percentile of the time of one inference on the device, in "
     "milliseconds"},
    {"peak_memory_mb", "MB", MetricSource::kMeasured, false, true,
     "Largest resident memory of the inference process on the device, in "
     "megabytes (1e6 bytes)"},
    {"energy_mj", "mJ", MetricSource::kMeasured, false, true,
     "Energy of one inference on the device, in millijoules"},
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

Evaluation Problem::Evaluate(absl::Span<const MetricValue> values) const {
  // The last finite value of the key, or NaN.
  auto find = [&values](const MetricKey& key) {
    for (size_t i = values.size(); i > 0; --i) {
      const MetricValue& value = values[i - 1];
      if (value.key == key && std::isfinite(value.value)) return value.value;
    }
    return std::numeric_limits<double>::quiet_NaN();
  };

  Evaluation evaluation;
  evaluation.complete = true;
  evaluation.objectives.reserve(objectives.size());
  for (const ObjectiveSpec& objective : objectives) {
    const double value = find(objective.key);
    if (std::isnan(value)) evaluation.complete = false;
    evaluation.objectives.push_back(objective.maximize ? -value : value);
  }
  for (const ConstraintSpec& constraint : constraints) {
    const double value = find(constraint.key);
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
  return evaluation;
}

}  // namespace hwnas
