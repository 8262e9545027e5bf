// What a search is for: objectives and constraints over named metrics.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "nas/problem/scalarization.h"

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
  std::optional<double> reference = {};  // In the metric's own sense.
  // Not empty: the value is the worst over these device classes, and
  // `key.device_class` is "worst".
  std::vector<std::string> worst_of = {};
  // One of several device classes, each of which has a front of its own: of
  // this objective, but not of those of the other classes.
  bool own_front = false;

  // The metrics that give the value.
  std::vector<MetricKey> Keys() const;
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

// Where on the front a search looks.
struct Preference {
  // What is wished for, one value for each objective, negated where it is
  // maximised; or nothing. Each is better than its objective's reference.
  std::vector<double> aspiration = {};
  // How strongly the search keeps near the aspiration; at least 0. See
  // docs/problems.md.
  double focus = 0.5;
};

// A trial judged. Internally everything is minimised: a maximised objective is
// negated.
struct Evaluation {
  // What a strategy minimises: one value for each objective of
  // Problem::Searched(); NaN where unknown.
  std::vector<double> objectives;
  // Sum over constraints of the relative excess over the limit,
  // |value - limit| / max(|limit|, 1e-12). 0 if all known constraints hold.
  double violation = 0;
  // Every objective and constraint has its value.
  bool complete = false;
  // What people see: one value for each objective of the problem; NaN where
  // unknown. The same as `objectives` unless the problem has a scalarization or
  // a preference.
  std::vector<double> declared = {};
  // The larger the better; unset without a scalarization and an aspiration, or
  // while values are missing.
  std::optional<double> score = {};
  // Sum over objectives of the excess over the reference, if the problem has a
  // preference: a trial beyond the bounds of interest is no failure, but to a
  // strategy it counts as a violation.
  double beyond = 0;

  // What a strategy is shown.
  Evaluation Shown() const;
};

// Immutable value.
struct Problem {
  std::vector<ObjectiveSpec> objectives;
  std::vector<ConstraintSpec> constraints;
  // At most one of the two is set.
  Scalarization scalarization = {};
  std::optional<Preference> preference = {};

  // Values that no objective or constraint names are ignored. A non-finite
  // value counts as missing. Of several values of one key the last counts.
  Evaluation Evaluate(absl::Span<const MetricValue> values) const;

  // Every metric that an objective or a constraint needs; some twice.
  std::vector<MetricKey> Keys() const;

  bool scalarized() const {
    return !std::holds_alternative<std::monostate>(scalarization);
  }
  // Whether trials have a score.
  bool scored() const {
    return scalarized() || (preference && !preference->aspiration.empty());
  }

  // Of finite values, one for each objective, as Evaluation::declared has them.
  // Only if scored().
  double Score(absl::Span<const double> minimised) const;

  // The problem as a strategy sees it, without scalarization and preference:
  // its objectives are those of Evaluation::objectives. Of a scalarized problem
  // there is one, named "score", which is minimised (negated).
  Problem Searched() const;

  // The device classes with a front of their own, in order; and the objectives
  // of such a front, by index.
  std::vector<std::string> FrontDevices() const;
  std::vector<int> FrontObjectives(absl::string_view device_class) const;
};

}  // namespace hwnas
