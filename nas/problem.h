// What a search is for: objectives and constraints over named metrics.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace hwnas {

// Where a metric's value comes from, cheapest first: the order of the stages of
// a trial.
enum class MetricSource { kAnalytic, kMeasured, kTrained, kExternal };

// What is known about a metric. docs/metrics.md lists them.
struct MetricInfo {
  absl::string_view name;  // "latency_ms".
  absl::string_view unit;  // "ms".
  MetricSource source;
  bool higher_is_better;
  bool per_device;  // An objective on it names a device class.
  absl::string_view description;
};

// All metrics that hwnas itself produces.
absl::Span<const MetricInfo> KnownMetrics();
// nullptr if unknown.
const MetricInfo* FindMetric(absl::string_view name);

// A metric, and the device class it is about (empty if it depends on none).
struct MetricKey {
  std::string metric;
  std::string device_class;

  // "latency_ms@x86_64", or just "accuracy".
  std::string ToString() const;
  friend bool operator==(const MetricKey&, const MetricKey&) = default;
  friend auto operator<=>(const MetricKey&, const MetricKey&) = default;
};

struct ObjectiveSpec {
  MetricKey key;
  bool maximize = false;
  std::optional<double> reference;  // In the metric's own sense.
};

struct ConstraintSpec {
  MetricKey key;
  std::optional<double> at_most;
  std::optional<double> at_least;
};

struct MetricValue {
  MetricKey key;
  double value = 0;
};

// A trial judged. Internally everything is minimised: a maximised objective is
// negated.
struct Evaluation {
  // One value per objective; NaN where unknown.
  std::vector<double> objectives;
  // Sum over constraints of the relative excess over the limit,
  // |value - limit| / max(|limit|, 1e-12). 0 if all known constraints hold.
  double violation = 0;
  // Every objective and constraint has its value.
  bool complete = false;
};

// Immutable value.
struct Problem {
  std::vector<ObjectiveSpec> objectives;
  std::vector<ConstraintSpec> constraints;

  // Values that no objective or constraint names are ignored. A non-finite
  // value counts as missing. Of several values of one key the last counts.
  Evaluation Evaluate(absl::Span<const MetricValue> values) const;
};

}  // namespace hwnas
