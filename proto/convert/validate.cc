// The rules of study.proto, one function for each message.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/digest.h"
#include "common/rng.h"
#include "proto/convert/convert.h"
#include "proto/convert/nearest_name.h"
#include "proto/convert/resource_names.h"
#include "proto/convert/space_spec.h"

namespace hwnas {
namespace {

constexpr int kMaxObjectives = 8;
constexpr int kMaxConstraints = 32;
constexpr int kMaxChoices = 64;  // In one list of a space.
constexpr int kMaxStages = 16;
constexpr int kMaxImageSide = GraphLimits::kMaxImageSide;
constexpr int kMaxImageChannels = 4096;
constexpr int kMaxClasses = 100'000;
constexpr int kMaxChannels = 4096;  // Of a stem or a stage.
constexpr int kMaxHeadChannels = 8192;
constexpr size_t kMaxPathBytes = 4096;
constexpr int64_t kMaxTrials = 10'000'000;
constexpr int kMaxReplayTables = 16;
constexpr int kMaxReplayKeys = 256;
constexpr int kMaxReplayMetrics = 256;
constexpr int kMaxReplayFidelities = 64;
constexpr int kMaxEpochs = 10000;
constexpr int kMaxSources = 8;
// Enough for any file written by hand; a hostile one gets no longer answer.
constexpr size_t kMaxErrors = 100;

// Runtimes of an agent, the last three of which are commands that hwnas knows;
// others have a name of the agent's own after the prefix.
constexpr absl::string_view kRuntimes[] = {"onnxruntime", "libtorch", "trtexec",
                                           "benchmark_model",
                                           "onnxruntime_perf_test"};
constexpr absl::string_view kOwnRuntimePrefix = "x-";

// Text from outside, fit for one line of a message.
std::string Quoted(absl::string_view text) {
  constexpr size_t kShown = 80;
  return absl::StrCat("\"", absl::CHexEscape(text.substr(0, kShown)),
                      text.size() > kShown ? "..." : "", "\"");
}

// One of `names`, or a message with the nearest.
std::string UnknownName(absl::string_view what, absl::string_view name,
                        absl::Span<const absl::string_view> names) {
  const std::string nearest = NearestName(name, names);
  return absl::StrCat(
      "unknown ", what, " ", Quoted(name),
      nearest.empty()
          ? absl::StrCat(": expected one of ", absl::StrJoin(names, ", "))
          : absl::StrCat("; did you mean ", nearest, "?"));
}

bool OnlyHas(absl::string_view text, absl::string_view extra) {
  return std::all_of(text.begin(), text.end(), [extra](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           extra.find(c) != absl::string_view::npos;
  });
}

std::string Number(double value) { return absl::StrFormat("%.10g", value); }

// A data set that hwnas reads, and the images that it holds.
struct DatasetInfo {
  absl::string_view name;
  TensorShape image;  // Zeros: whatever the files hold.
  int classes = 0;
};
constexpr DatasetInfo kDatasets[] = {
    {"fashion-mnist", {1, 28, 28}, 10}, {"mnist", {1, 28, 28}, 10},
    {"cifar10", {3, 32, 32}, 10},       {"cifar100", {3, 32, 32}, 100},
    {"folder", {0, 0, 0}, 0},
};

const DatasetInfo* FindDataset(absl::string_view name) {
  for (const DatasetInfo& dataset : kDatasets) {
    if (dataset.name == name) return &dataset;
  }
  return nullptr;
}

// Collects what is wrong.
class Checker {
 public:
  void Add(std::string path, std::string message) {
    if (errors_.size() < kMaxErrors) {
      errors_.push_back({std::move(path), std::move(message)});
    }
  }

  void Range(std::string path, int64_t value, int64_t low, int64_t high) {
    if (value >= low && value <= high) return;
    Add(std::move(path),
        absl::StrFormat("%d is out of range: expected %d to %d", value, low,
                        high));
  }

  // 0 means unset, which is fine.
  void RangeIfSet(std::string path, int64_t value, int64_t low, int64_t high) {
    if (value != 0) Range(std::move(path), value, low, high);
  }

  // `ok` is false for NaN in every caller, since comparisons with it are.
  void Require(bool ok, std::string path, double value,
               absl::string_view expected) {
    if (ok && std::isfinite(value)) return;
    Add(std::move(path),
        absl::StrCat(Number(value), " is out of range: expected ", expected));
  }

  void OneOf(std::string path, absl::string_view what, absl::string_view value,
             absl::Span<const absl::string_view> names) {
    if (std::find(names.begin(), names.end(), value) != names.end()) return;
    Add(std::move(path), UnknownName(what, value, names));
  }

  // Valid by protobuf's rules, and longer than nothing. True if it is.
  bool PositiveDuration(std::string path,
                        const google::protobuf::Duration& proto) {
    const bool valid = std::abs(int64_t{proto.nanos()}) <= 999'999'999 &&
                       proto.seconds() <= 315'576'000'000 &&
                       proto.seconds() >= -315'576'000'000 &&
                       (proto.seconds() <= 0 || proto.nanos() >= 0) &&
                       (proto.seconds() >= 0 || proto.nanos() <= 0);
    if (valid && FromProto(proto) > absl::ZeroDuration()) return true;
    Add(std::move(path),
        absl::StrCat(absl::FormatDuration(FromProto(proto)),
                     " is out of range: expected longer than 0, such as "
                     "\"90s\" or \"1.5h\""));
    return false;
  }

  size_t size() const { return errors_.size(); }
  std::vector<FieldError> Take() && { return std::move(errors_); }

 private:
  std::vector<FieldError> errors_;
};

// Objectives and constraints.

void CheckMetricName(const std::string& path, const std::string& metric,
                     Checker* out) {
  if (!metric.empty() && metric.size() <= 64 && OnlyHas(metric, "_")) return;
  out->Add(path, absl::StrCat("metric ", Quoted(metric),
                              " is malformed: expected 1 to 64 of [a-z0-9_]"));
}

void CheckDeviceClass(const std::string& device, const std::string& path,
                      Checker* out) {
  if (!device.empty() && device.size() <= 63 && OnlyHas(device, "_-")) return;
  out->Add(path, absl::StrCat("device class ", Quoted(device),
                              " is malformed: expected 1 to 63 of [a-z0-9_-], "
                              "such as x86_64"));
}

// Follows from the network alone.
bool IsAnalytic(const MetricKey& key) {
  const MetricInfo* info = FindMetric(key.metric);
  return info != nullptr && info->source == MetricSource::kAnalytic &&
         key.device_class.empty();
}

// A metric and its device class. `metric_path` is where the metric's name is.
// `devices` says that the objective is over several classes instead.
void CheckMetric(const v1::StudySpec& spec, const MetricKey& key,
                 const std::string& metric_path, const std::string& path,
                 bool devices, Checker* out) {
  const std::string& device = key.device_class;
  if (!device.empty()) CheckDeviceClass(device, path + ".device", out);
  if (spec.has_external()) {
    // Whatever the user's evaluator reports.
    CheckMetricName(metric_path, key.metric, out);
    return;
  }
  // Counts of networks, if the space has any, need no table.
  if (spec.has_replay() && !(IsAnalytic(key) && ImagesOf(spec.space()))) {
    const auto& given = spec.replay().metrics();
    if (std::none_of(
            given.begin(), given.end(), [&](const v1::ReplayMetric& m) {
              return m.metric() == key.metric && m.device() == key.device_class;
            })) {
      std::vector<std::string> names;
      for (const v1::ReplayMetric& m : given) {
        names.push_back(MetricKey{m.metric(), m.device()}.ToString());
      }
      out->Add(metric_path,
               absl::StrCat(Quoted(key.ToString()),
                            " is not among spec.replay.metrics: ",
                            names.empty()
                                ? "expected a metric that the tables give"
                                : absl::StrCat("expected one of ",
                                               absl::StrJoin(names, ", "))));
    }
    return;
  }
  const MetricInfo* info = FindMetric(key.metric);
  if (info == nullptr) {
    std::vector<absl::string_view> names;
    for (const MetricInfo& metric : KnownMetrics()) {
      names.push_back(metric.name);
    }
    out->Add(metric_path, key.metric.empty()
                              ? absl::StrCat("is required: expected one of ",
                                             absl::StrJoin(names, ", "))
                              : UnknownName("metric", key.metric, names));
    return;
  }
  if (info->per_device && device.empty() && !devices) {
    out->Add(path + ".device",
             absl::StrCat("is required: ", info->name,
                          " depends on the device; expected a device class "
                          "such as x86_64"));
  }
  if (!info->per_device && !device.empty()) {
    out->Add(path + ".device",
             absl::StrCat(Quoted(device), " is not expected: ", info->name,
                          " does not depend on a device"));
  }
  if (!info->per_device && devices) {
    out->Add(path + ".devices", absl::StrCat("is not expected: ", info->name,
                                             " does not depend on a device"));
  }
}

// Several device classes instead of one.
void CheckDevices(const v1::Objective& objective, const std::string& path,
                  Checker* out) {
  const int count = objective.devices_size();
  if (!v1::Objective::OverDevices_IsValid(objective.over_devices())) {
    out->Add(path + ".over_devices",
             absl::StrCat(static_cast<int>(objective.over_devices()),
                          " is unknown: expected each or worst"));
  } else if (count == 0 && objective.over_devices() !=
                               v1::Objective::OVER_DEVICES_UNSPECIFIED) {
    out->Add(path + ".over_devices",
             "is not expected without devices, such as [x86_64, raspberrypi5]");
  }
  if (count == 0) return;
  if (!objective.device().empty()) {
    out->Add(path + ".devices",
             "cannot stand beside device: expected one of the two");
  }
  if (count < 2 || count > kMaxObjectives) {
    out->Add(
        path + ".devices",
        absl::StrCat("has ", count, count == 1 ? " entry" : " entries",
                     ": expected 2 to ", kMaxObjectives, " device classes"));
    return;
  }
  std::set<std::string> seen;
  for (int i = 0; i < count; ++i) {
    const std::string& device = objective.devices(i);
    const std::string item = absl::StrCat(path, ".devices[", i, "]");
    CheckDeviceClass(device, item, out);
    if (!seen.insert(device).second) {
      out->Add(item, absl::StrCat(Quoted(device), " is listed twice"));
    }
  }
}

void CheckObjectives(const v1::StudySpec& spec, Checker* out) {
  if (spec.objectives_size() == 0) {
    out->Add("spec.objectives",
             "is required: expected 1 to 8 objectives, such as "
             "[{maximize: accuracy}]");
  } else if (spec.objectives_size() > kMaxObjectives) {
    out->Add("spec.objectives",
             absl::StrCat(spec.objectives_size(),
                          " objectives are too many: expected 1 to ",
                          kMaxObjectives));
  }
  std::map<MetricKey, int> seen;
  const int count = std::min(spec.objectives_size(), kMaxObjectives);
  for (int i = 0; i < count; ++i) {
    const v1::Objective& objective = spec.objectives(i);
    const std::string path = absl::StrCat("spec.objectives[", i, "]");
    MetricKey key;
    key.device_class = objective.device();
    std::string metric_path;
    switch (objective.goal_case()) {
      case v1::Objective::kMaximize:
        key.metric = objective.maximize();
        metric_path = path + ".maximize";
        break;
      case v1::Objective::kMinimize:
        key.metric = objective.minimize();
        metric_path = path + ".minimize";
        break;
      case v1::Objective::GOAL_NOT_SET:
        out->Add(path,
                 "has no goal: expected maximize or minimize with the "
                 "name of a metric");
        continue;
    }
    if (spec.has_replay() && !objective.devices().empty()) {
      // The tables must know the metric on each of the devices.
      for (const std::string& device : objective.devices()) {
        CheckMetric(spec, {key.metric, device}, metric_path, path,
                    /*devices=*/false, out);
      }
    } else {
      CheckMetric(spec, key, metric_path, path, !objective.devices().empty(),
                  out);
    }
    CheckDevices(objective, path, out);
    if (objective.has_reference() && !std::isfinite(objective.reference())) {
      out->Add(path + ".reference", absl::StrCat(Number(objective.reference()),
                                                 " is not a finite number"));
    }
    if (objective.devices_size() > kMaxObjectives) continue;
    for (const ObjectiveSpec& part : ObjectivesFromProto(objective)) {
      const auto [first, added] = seen.emplace(part.key, i);
      if (added || first->second == i) continue;
      out->Add(metric_path,
               absl::StrCat(Quoted(part.key.ToString()),
                            " is an objective twice: it is already "
                            "spec.objectives[",
                            first->second, "]"));
    }
  }
  const size_t expanded = ProblemFromProto(spec).objectives.size();
  // A list that is too long by itself was named above.
  const bool short_lists = std::none_of(
      spec.objectives().begin(), spec.objectives().end(),
      [](const v1::Objective& o) { return o.devices_size() > kMaxObjectives; });
  if (short_lists && count == spec.objectives_size() &&
      expanded > kMaxObjectives) {
    out->Add("spec.objectives",
             absl::StrCat("are ", expanded,
                          ", counting each device of `devices`: expected at "
                          "most ",
                          kMaxObjectives));
  }
}

void CheckConstraints(const v1::StudySpec& spec, Checker* out) {
  if (spec.constraints_size() > kMaxConstraints) {
    out->Add("spec.constraints",
             absl::StrCat(spec.constraints_size(),
                          " constraints are too many: expected at most ",
                          kMaxConstraints));
  }
  std::map<MetricKey, int> seen;
  const int count = std::min(spec.constraints_size(), kMaxConstraints);
  for (int i = 0; i < count; ++i) {
    const v1::Constraint& constraint = spec.constraints(i);
    const std::string path = absl::StrCat("spec.constraints[", i, "]");
    const MetricKey key{constraint.metric(), constraint.device()};
    CheckMetric(spec, key, path + ".metric", path, /*devices=*/false, out);
    bool finite = true;
    const auto check_limit = [&](bool given, absl::string_view field,
                                 double limit) {
      if (!given || std::isfinite(limit)) return;
      finite = false;
      out->Add(absl::StrCat(path, ".", field),
               absl::StrCat(Number(limit), " is not a finite number"));
    };
    check_limit(constraint.has_at_most(), "at_most", constraint.at_most());
    check_limit(constraint.has_at_least(), "at_least", constraint.at_least());
    if (!constraint.has_at_most() && !constraint.has_at_least()) {
      out->Add(path, "has no limit: expected at_most, at_least or both");
    } else if (finite && constraint.has_at_most() &&
               constraint.has_at_least() &&
               constraint.at_least() > constraint.at_most()) {
      out->Add(path + ".at_least", absl::StrCat(Number(constraint.at_least()),
                                                " contradicts at_most ",
                                                Number(constraint.at_most()),
                                                ": no value satisfies both"));
    } else if (finite && !spec.has_external() && !spec.has_replay() &&
               FindMetric(key.metric) != nullptr) {
      // None of our metrics is ever negative, and accuracy is in percent.
      if (constraint.has_at_most() && constraint.at_most() < 0) {
        out->Add(path + ".at_most",
                 absl::StrCat(Number(constraint.at_most()), " can never hold: ",
                              key.metric, " is not negative"));
      }
      if (key.metric == "accuracy" && constraint.has_at_least() &&
          constraint.at_least() > 100) {
        out->Add(path + ".at_least",
                 absl::StrCat(Number(constraint.at_least()),
                              " can never hold: accuracy is a percentage, 0 "
                              "to 100"));
      }
    }
    const auto [first, added] = seen.emplace(key, i);
    if (!added) {
      out->Add(path + ".metric",
               absl::StrCat(Quoted(key.ToString()),
                            " is constrained twice: put both limits in "
                            "spec.constraints[",
                            first->second, "]"));
    }
  }
}

// Scalarization and preference.

// One entry for each objective, or a message. True if so.
bool CheckCount(const std::string& path, int given, int expected,
                absl::string_view what, Checker* out) {
  if (given == expected) return true;
  out->Add(path,
           given == 0
               ? absl::StrCat("is required: expected ", expected,
                              expected == 1 ? " number" : " numbers",
                              ", one for ", what)
               : absl::StrCat("has ", given, given == 1 ? " entry" : " entries",
                              ": expected ", expected, ", one for ", what));
  return false;
}

void CheckWeights(const v1::StudySpec& spec, const std::string& path,
                  const google::protobuf::RepeatedField<double>& weights,
                  Checker* out) {
  if (!CheckCount(path, weights.size(), spec.objectives_size(),
                  "each objective", out)) {
    return;
  }
  double sum = 0;
  for (int i = 0; i < weights.size(); ++i) {
    const double w = weights[i];
    out->Require(w >= 0 && w <= 1e9, absl::StrCat(path, "[", i, "]"), w,
                 "0 to 1e9: an objective says itself whether more is better");
    sum += w;
  }
  if (sum == 0) out->Add(path, "are all 0: expected at least one above");
}

void CheckFinite(const std::string& path,
                 const google::protobuf::RepeatedField<double>& values,
                 Checker* out) {
  for (int i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    out->Add(absl::StrCat(path, "[", i, "]"),
             absl::StrCat(Number(values[i]), " is not a finite number"));
  }
}

void CheckWeightedProduct(const v1::StudySpec& spec, Checker* out) {
  const std::string path = "spec.scalarization.weighted_product.terms";
  const auto& terms = spec.scalarization().weighted_product().terms();
  const int count = spec.objectives_size();
  if (terms.size() != count) {
    out->Add(path, absl::StrCat("has ", terms.size(),
                                terms.size() == 1 ? " entry" : " entries",
                                ": expected ", count,
                                ", one for each objective, such as "
                                "[{}, {target: 80, alpha: -0.07}]"));
    return;
  }
  bool matters = false;
  for (int i = 0; i < count; ++i) {
    const v1::WeightedProduct::Term& term = terms[i];
    const std::string item = absl::StrCat(path, "[", i, "]");
    const bool maximize =
        spec.objectives(i).goal_case() == v1::Objective::kMaximize;
    if (term.has_target()) {
      out->Require(term.target() > 0, item + ".target", term.target(),
                   "greater than 0");
    }
    const auto check = [&](bool given, absl::string_view field, double value) {
      matters |= !given || value != 0;
      if (!given) return;
      out->Require(
          maximize ? value >= 0 && value <= 10 : value <= 0 && value >= -10,
          absl::StrCat(item, ".", field), value,
          maximize ? "0 to 10, as the objective is maximized"
                   : "-10 to 0, as the objective is minimized");
    };
    check(term.has_alpha(), "alpha", term.alpha());
    // Unset, it is alpha.
    if (term.has_beta()) check(true, "beta", term.beta());
  }
  if (!matters) {
    out->Add(path, "have no exponent but 0: the score would never differ");
  }
}

void CheckChebyshev(const v1::StudySpec& spec, Checker* out) {
  const std::string path = "spec.scalarization.chebyshev";
  const v1::Chebyshev& chebyshev = spec.scalarization().chebyshev();
  CheckWeights(spec, path + ".weights", chebyshev.weights(), out);
  if (chebyshev.ideal().empty()) {
    for (const v1::Objective& objective : spec.objectives()) {
      if (objective.goal_case() == v1::Objective::kMaximize &&
          objective.maximize() != "accuracy") {
        out->Add(path + ".ideal",
                 absl::StrCat("is required, since it is not known how large ",
                              Quoted(objective.maximize()),
                              " can be: expected ", spec.objectives_size(),
                              " numbers, one for each objective"));
        break;
      }
    }
  } else if (CheckCount(path + ".ideal", chebyshev.ideal_size(),
                        spec.objectives_size(), "each objective", out)) {
    CheckFinite(path + ".ideal", chebyshev.ideal(), out);
  }
  if (chebyshev.has_rho()) {
    const double rho = chebyshev.rho();
    out->Require(rho >= 0 && rho <= 1, path + ".rho", rho, "0 to 1");
  }
}

void CheckEpsilonConstraint(const v1::StudySpec& spec, Checker* out) {
  const std::string path = "spec.scalarization.epsilon_constraint";
  const v1::EpsilonConstraint& epsilon =
      spec.scalarization().epsilon_constraint();
  const int kept = OptimizedObjective(spec);
  if (kept < 0) {
    std::vector<std::string> names;
    for (const v1::Objective& objective : spec.objectives()) {
      names.push_back(ObjectivesFromProto(objective)[0].key.ToString());
    }
    out->Add(path + ".optimize",
             absl::StrCat(Quoted(epsilon.optimize()),
                          " names no objective, or several: expected one of ",
                          absl::StrJoin(names, ", ")));
    return;
  }
  if (ObjectivesFromProto(spec.objectives(kept)).size() > 1) {
    out->Add(path + ".optimize",
             "is an objective on each of several devices: expected only one, "
             "or over_devices: worst");
  }
  if (CheckCount(path + ".limits", epsilon.limits_size(),
                 spec.objectives_size() - 1, "each other objective", out)) {
    CheckFinite(path + ".limits", epsilon.limits(), out);
  }
}

// After the objectives, and only if they are sound.
void CheckScalarization(const v1::StudySpec& spec, Checker* out) {
  switch (spec.scalarization().kind_case()) {
    case v1::Scalarization::KIND_NOT_SET:
      if (spec.has_scalarization()) {
        out->Add("spec.scalarization",
                 "is empty: expected weighted_sum, weighted_product, "
                 "chebyshev or epsilon_constraint");
      }
      return;
    case v1::Scalarization::kWeightedSum:
      CheckWeights(spec, "spec.scalarization.weighted_sum.weights",
                   spec.scalarization().weighted_sum().weights(), out);
      return;
    case v1::Scalarization::kWeightedProduct:
      CheckWeightedProduct(spec, out);
      return;
    case v1::Scalarization::kChebyshev:
      CheckChebyshev(spec, out);
      return;
    case v1::Scalarization::kEpsilonConstraint:
      CheckEpsilonConstraint(spec, out);
      return;
  }
}

void CheckPreference(const v1::StudySpec& spec, Checker* out) {
  if (!spec.has_preference()) return;
  const std::string path = "spec.preference";
  const v1::Preference& preference = spec.preference();
  if (spec.has_scalarization()) {
    out->Add(path,
             "cannot stand beside scalarization: expected one of the two");
    return;
  }
  if (preference.has_focus()) {
    const double focus = preference.focus();
    out->Require(focus >= 0 && focus <= 100, path + ".focus", focus,
                 "0 to 100");
  }
  const auto& aspiration = preference.aspiration();
  if (aspiration.empty()) {
    if (preference.has_focus()) {
      out->Add(path + ".focus",
               "is not expected without aspiration: there is nothing to keep "
               "near to");
    }
    bool stated = false;
    for (const v1::Objective& objective : spec.objectives()) {
      stated |= objective.has_reference();
    }
    if (!stated) {
      out->Add(path,
               "says nothing: expected aspiration, or the reference of at "
               "least one objective");
    }
    return;
  }
  if (!CheckCount(path + ".aspiration", aspiration.size(),
                  spec.objectives_size(), "each objective", out)) {
    return;
  }
  for (int i = 0; i < aspiration.size(); ++i) {
    const v1::Objective& objective = spec.objectives(i);
    const std::string item = absl::StrCat(path, ".aspiration[", i, "]");
    if (!std::isfinite(aspiration[i])) {
      out->Add(item,
               absl::StrCat(Number(aspiration[i]), " is not a finite number"));
    } else if (!objective.has_reference()) {
      out->Add(absl::StrCat("spec.objectives[", i, "]"),
               "has no reference: expected the worst value of interest, since "
               "spec.preference states the one wished for");
    } else if (objective.goal_case() == v1::Objective::kMaximize
                   ? aspiration[i] <= objective.reference()
                   : aspiration[i] >= objective.reference()) {
      out->Add(item, absl::StrCat(Number(aspiration[i]),
                                  " is not better than the reference of "
                                  "spec.objectives[",
                                  i, "], ", Number(objective.reference())));
    }
  }
}

// The space.

template <typename List, typename Check>
void CheckChoices(const std::string& path, const List& choices,
                  absl::string_view expected, Check is_valid, Checker* out) {
  if (choices.size() > kMaxChoices) {
    out->Add(path, absl::StrCat(choices.size(),
                                " choices are too many: expected at most ",
                                kMaxChoices));
    return;
  }
  std::set<double> seen;
  for (int i = 0; i < choices.size(); ++i) {
    const double value = choices[i];
    const std::string item = absl::StrCat(path, "[", i, "]");
    if (!(std::isfinite(value) && is_valid(value))) {
      out->Add(item, absl::StrCat(Number(value), " is out of range: expected ",
                                  expected));
    } else if (!seen.insert(value).second) {
      out->Add(item, absl::StrCat(Number(value), " is listed twice"));
    }
  }
}

// Returns whether the input's form is right.
bool CheckInput(const std::string& path, const std::vector<int>& input,
                Checker* out) {
  if (input.size() != 3) {
    out->Add(path, absl::StrCat(
                       input.empty() ? "is required"
                                     : absl::StrCat(input.size(), " numbers"),
                       ": expected channels, height and width of one image, "
                       "such as [3, 32, 32]"));
    return false;
  }
  const size_t before = out->size();
  out->Range(path + "[0]", input[0], 1, kMaxImageChannels);
  out->Range(path + "[1]", input[1], 1, kMaxImageSide);
  out->Range(path + "[2]", input[2], 1, kMaxImageSide);
  return out->size() == before;
}

void CheckNasbench201(const v1::Nasbench201Space& space,
                      const std::string& path, Checker* out) {
  out->RangeIfSet(path + ".channels", space.channels(), 1, 256);
  out->RangeIfSet(path + ".cells", space.cells(), 1, 20);
}

void CheckMobile(const v1::MobileSpace& space, const std::string& path,
                 Checker* out) {
  const auto between = [](double low, double high) {
    return [low, high](double value) { return value >= low && value <= high; };
  };
  CheckChoices(
      path + ".kernel_choices", space.kernel_choices(), "an odd number, 3 to 9",
      [](double v) { return v >= 3 && v <= 9 && std::fmod(v, 2) == 1; }, out);
  CheckChoices(path + ".expansion_choices", space.expansion_choices(),
               "1 to 10", between(1, 10), out);
  CheckChoices(path + ".depth_choices", space.depth_choices(), "1 to 8",
               between(1, 8), out);
  CheckChoices(
      path + ".width_choices", space.width_choices(),
      "a number greater than 0, at most 4",
      [](double v) { return v > 0 && v <= 4; }, out);
  CheckChoices(path + ".resolution_choices", space.resolution_choices(),
               absl::StrCat("1 to ", kMaxImageSide), between(1, kMaxImageSide),
               out);
  out->RangeIfSet(path + ".stem_channels", space.stem_channels(), 1,
                  kMaxChannels);
  out->RangeIfSet(path + ".stem_stride", space.stem_stride(), 1, 2);
  out->RangeIfSet(path + ".head_channels", space.head_channels(), 1,
                  kMaxHeadChannels);
  out->RangeIfSet(path + ".final_expand_channels",
                  space.final_expand_channels(), 1, kMaxHeadChannels);
  if (space.stages_size() > kMaxStages) {
    out->Add(path + ".stages", absl::StrCat(space.stages_size(),
                                            " stages are too many: expected at "
                                            "most ",
                                            kMaxStages));
    return;
  }
  for (int i = 0; i < space.stages_size(); ++i) {
    const std::string stage = absl::StrCat(path, ".stages[", i, "]");
    out->Range(stage + ".channels", space.stages(i).channels(), 1,
               kMaxChannels);
    out->RangeIfSet(stage + ".stride", space.stages(i).stride(), 1, 2);
  }
}

// The space's images are those of the data set.
void CheckFitsDataset(const DatasetInfo& dataset, const std::string& path,
                      const std::vector<int>& input, int classes,
                      Checker* out) {
  if (dataset.classes == 0) return;
  const TensorShape given{input[0], input[1], input[2]};
  if (given != dataset.image) {
    out->Add(path + ".input",
             absl::StrFormat("[%d, %d, %d] does not fit data set %s: expected "
                             "[%d, %d, %d]",
                             given.channels, given.height, given.width,
                             std::string(dataset.name), dataset.image.channels,
                             dataset.image.height, dataset.image.width));
  }
  if (classes != dataset.classes) {
    out->Add(
        path + ".classes",
        absl::StrFormat("%d does not fit data set %s: expected %d", classes,
                        std::string(dataset.name), dataset.classes));
  }
}

// There is such a space, and it has a point that is a network.
absl::Status TryOnePoint(const v1::SpaceSpec& spec) {
  absl::StatusOr<SpaceConfig> config = FromProto(spec);
  if (!config.ok()) return config.status();
  absl::StatusOr<std::unique_ptr<SearchSpace>> space = CreateSpace(*config);
  if (!space.ok()) return space.status();
  if (!ImagesOf(spec)) return absl::OkStatus();  // No networks.
  Rng rng(0);
  return (*space)->Decode((*space)->Sample(rng)).status();
}

void CheckSpace(const v1::StudySpec& spec, Checker* out) {
  const v1::SpaceSpec& space = spec.space();
  const size_t before = out->size();
  if (space.kind_case() == v1::SpaceSpec::KIND_NOT_SET) {
    out->Add("spec.space",
             absl::StrCat("is required: expected ", SpaceKinds(),
                          ", such as {nasbench201: {input: [1, 28, 28], "
                          "classes: 10}}"));
    return;
  }
  const std::string path =
      absl::StrCat("spec.space.", v1::SpaceSpec::descriptor()
                                      ->FindFieldByNumber(space.kind_case())
                                      ->name());
  if (space.has_nasbench201()) CheckNasbench201(space.nasbench201(), path, out);
  if (space.has_mobile()) CheckMobile(space.mobile(), path, out);
  if (const std::optional<SpaceImages> images = ImagesOf(space)) {
    const std::string at = space.has_declared() ? path + ".network" : path;
    const bool input_ok = CheckInput(at + ".input", images->input, out);
    bool classes_ok = true;
    if (images->classes == 0) {
      out->Add(at + ".classes", "is required: expected 2 to 100000");
      classes_ok = false;
    } else if (images->classes < 2 || images->classes > kMaxClasses) {
      out->Range(at + ".classes", images->classes, 2, kMaxClasses);
      classes_ok = false;
    }
    if (input_ok && classes_ok && spec.has_train() && !spec.has_external()) {
      if (const DatasetInfo* dataset = FindDataset(spec.train().dataset())) {
        CheckFitsDataset(*dataset, at, images->input, images->classes, out);
      }
    }
  } else if (!spec.has_external() && !spec.has_replay()) {
    out->Add(path,
             "has no network to train, measure or count: expected external or "
             "replay, which answer trials without one");
  }
  if (out->size() != before) return;
  if (absl::Status status = TryOnePoint(space); !status.ok()) {
    // "mobile.input: ..." names the field already.
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(std::string(status.message()), absl::MaxSplits(": ", 1));
    const bool named = absl::StartsWith("spec.space." + parts.first, path) &&
                       absl::StrContains(status.message(), ": ");
    out->Add(named ? "spec.space." + parts.first : path,
             named ? parts.second : std::string(status.message()));
  }
}

// The rest.

// The fields that all strategies that breed have.
template <typename Proto>
void CheckVariation(const std::string& path, const Proto& proto, Checker* out) {
  out->RangeIfSet(path + ".population", proto.population(), 4, 10000);
  if (proto.has_crossover()) {
    const double p = proto.crossover();
    out->Require(p >= 0 && p <= 1, path + ".crossover", p,
                 "a probability, 0 to 1");
  }
  if (proto.has_mutation()) {
    const double p = proto.mutation();
    out->Require(p > 0 && p <= 1, path + ".mutation", p,
                 "a probability greater than 0, at most 1");
  }
}

void CheckStrategy(const v1::StrategySpec& strategy, Checker* out) {
  switch (strategy.kind_case()) {
    case v1::StrategySpec::KIND_NOT_SET:
    case v1::StrategySpec::kAuto:
    case v1::StrategySpec::kRandom:
    case v1::StrategySpec::kQuasiRandom:
      return;
    case v1::StrategySpec::kAgeingEvolution: {
      const std::string path = "spec.strategy.ageing_evolution";
      const v1::AgeingEvolutionStrategy& ageing = strategy.ageing_evolution();
      const int population = ageing.population() == 0
                                 ? AgeingEvolutionConfig{}.population
                                 : ageing.population();
      const size_t before = out->size();
      out->Range(path + ".population", population, 2, 10000);
      const bool population_ok = out->size() == before;
      if (ageing.sample_size() != 0 && population_ok &&
          (ageing.sample_size() < 1 || ageing.sample_size() > population)) {
        out->Add(path + ".sample_size",
                 absl::StrCat(ageing.sample_size(),
                              " is out of range: expected 1 to ", population,
                              ", the population"));
      }
      return;
    }
    case v1::StrategySpec::kNsga2:
      CheckVariation("spec.strategy.nsga2", strategy.nsga2(), out);
      return;
    case v1::StrategySpec::kNsga3:
      CheckVariation("spec.strategy.nsga3", strategy.nsga3(), out);
      return;
    case v1::StrategySpec::kMoead: {
      const std::string path = "spec.strategy.moead";
      const v1::MoeadStrategy& moead = strategy.moead();
      const size_t before = out->size();
      CheckVariation(path, moead, out);
      if (out->size() != before) return;
      const int population = moead.population() == 0 ? MoeadConfig{}.population
                                                     : moead.population();
      out->RangeIfSet(path + ".neighbours", moead.neighbours(), 2, population);
      return;
    }
    case v1::StrategySpec::kLocalSearch:
      out->RangeIfSet("spec.strategy.local_search.starts",
                      strategy.local_search().starts(), 1, 10000);
      return;
    case v1::StrategySpec::kReinforce: {
      const std::string path = "spec.strategy.reinforce";
      const v1::ReinforceStrategy& reinforce = strategy.reinforce();
      if (reinforce.has_initial_design()) {
        out->Range(path + ".initial_design", reinforce.initial_design(), 0,
                   10000);
      }
      out->RangeIfSet(path + ".directions", reinforce.directions(), 1, 1000);
      if (reinforce.has_learning_rate()) {
        const double rate = reinforce.learning_rate();
        out->Require(rate > 0 && rate <= 10, path + ".learning_rate", rate,
                     "more than 0, at most 10");
      }
      return;
    }
    case v1::StrategySpec::kMotpe: {
      const std::string path = "spec.strategy.motpe";
      const v1::MotpeStrategy& motpe = strategy.motpe();
      out->RangeIfSet(path + ".initial", motpe.initial(), 2, 1000);
      out->RangeIfSet(path + ".candidates", motpe.candidates(), 1, 1000);
      return;
    }
    case v1::StrategySpec::kBayesian:
      out->RangeIfSet("spec.strategy.bayesian.initial",
                      strategy.bayesian().initial(), 2, 1000);
      return;
    case v1::StrategySpec::kMoBananas: {
      const std::string path = "spec.strategy.mo_bananas";
      const v1::MoBananasStrategy& bananas = strategy.mo_bananas();
      out->RangeIfSet(path + ".initial", bananas.initial(), 2, 1000);
      out->RangeIfSet(path + ".networks", bananas.networks(), 2, 100);
      out->RangeIfSet(path + ".candidates", bananas.candidates(), 1, 10000);
      return;
    }
  }
}

// The first metric that only training gives; empty if there is none.
std::string TrainedMetric(const v1::StudySpec& spec) {
  for (const MetricKey& key : ProblemFromProto(spec).Keys()) {
    const MetricInfo* info = FindMetric(key.metric);
    if (info != nullptr && info->source == MetricSource::kTrained) {
      return key.metric;
    }
  }
  return "";
}

// Of the images that a network may be trained on.
int SmallestHeight(const v1::SpaceSpec& space) {
  const SpaceImages images = ImagesOf(space).value_or(SpaceImages{});
  int height = images.input.size() == 3 ? images.input[1] : kMaxImageSide;
  if (!images.resolutions.empty()) {
    height =
        *std::min_element(images.resolutions.begin(), images.resolutions.end());
  }
  // An impossible height is another error.
  return height < 1 ? kMaxImageSide : std::min(height, kMaxImageSide);
}

void CheckTrain(const v1::StudySpec& spec, Checker* out) {
  if (spec.has_replay()) return;  // CheckReplay rejects it.
  const std::string trained = spec.has_external() ? "" : TrainedMetric(spec);
  if (!spec.has_train()) {
    if (!trained.empty()) {
      out->Add("spec.train",
               absl::StrCat("is required: ", trained,
                            " comes from training; expected at least "
                            "{dataset: fashion-mnist}"));
    }
    return;
  }
  const v1::TrainSpec& train = spec.train();
  const std::string path = "spec.train";
  std::vector<absl::string_view> names;
  for (const DatasetInfo& dataset : kDatasets) names.push_back(dataset.name);
  if (!train.dataset().empty()) {
    // An outside evaluator may use any.
    if (!spec.has_external()) {
      out->OneOf(path + ".dataset", "data set", train.dataset(), names);
    }
  } else if (!trained.empty()) {
    out->Add(path + ".dataset", absl::StrCat("is required: expected one of ",
                                             absl::StrJoin(names, ", ")));
  }
  if (train.data_dir().size() > kMaxPathBytes ||
      train.data_dir().find('\0') != std::string::npos) {
    out->Add(path + ".data_dir", absl::StrCat(Quoted(train.data_dir()),
                                              " is not a path of at most ",
                                              kMaxPathBytes, " bytes"));
  }
  const int epochs = train.epochs() == 0 ? 12 : train.epochs();
  out->Range(path + ".epochs", epochs, 1, kMaxEpochs);
  out->RangeIfSet(path + ".batch", train.batch(), 1, 65536);
  if (train.has_data_fraction()) {
    const double v = train.data_fraction();
    out->Require(v > 0 && v <= 1, path + ".data_fraction", v,
                 "greater than 0, at most 1");
  }
  if (train.has_validation_fraction()) {
    const double v = train.validation_fraction();
    out->Require(v > 0 && v <= 0.9, path + ".validation_fraction", v,
                 "greater than 0, at most 0.9");
  }
  if (train.has_learning_rate()) {
    const double v = train.learning_rate();
    out->Require(v > 0, path + ".learning_rate", v, "greater than 0");
  }
  if (train.has_momentum()) {
    const double v = train.momentum();
    out->Require(v >= 0 && v < 1, path + ".momentum", v, "0 to less than 1");
  }
  if (train.has_weight_decay()) {
    const double v = train.weight_decay();
    out->Require(v >= 0, path + ".weight_decay", v, "0 or greater");
  }
  if (train.has_label_smoothing()) {
    const double v = train.label_smoothing();
    out->Require(v >= 0 && v < 1, path + ".label_smoothing", v,
                 "0 to less than 1");
  }
  if (train.has_warmup_epochs()) {
    const double v = train.warmup_epochs();
    out->Require(v >= 0 && v <= epochs, path + ".warmup_epochs", v,
                 absl::StrCat("0 to ", epochs, ", the number of epochs"));
  }
  const int height = SmallestHeight(spec.space());
  if (train.has_crop_padding()) {
    out->Range(path + ".crop_padding", train.crop_padding(), 0, height);
  }
  out->RangeIfSet(path + ".cutout", train.cutout(), 1, 2 * height);
  out->RangeIfSet(path + ".threads", train.threads(), 1, 1024);
}

// nullptr if the tables know no such training.
const v1::ReplayFidelity* FindReplayFidelity(const v1::StudySpec& spec,
                                             int epochs) {
  for (const v1::ReplayFidelity& fidelity : spec.replay().fidelities()) {
    if (fidelity.epochs() == epochs) return &fidelity;
  }
  return nullptr;
}

// What the kinds with rungs have in common.
template <typename Spec>
void CheckRungs(const v1::StudySpec& spec, const Spec& fidelity,
                const std::string& path, Checker* out) {
  const size_t before = out->size();
  const int full = FullEpochs(spec);
  if (fidelity.has_eta()) {
    const double eta = fidelity.eta();
    out->Require(eta > 1 && eta <= 1000, path + ".eta", eta,
                 "more than 1, at most 1000");
  }
  if (!fidelity.front_order().empty()) {
    out->OneOf(path + ".front_order", "order of a front",
               fidelity.front_order(), {kHypervolumeOrder, kEpsilonNetOrder});
  }
  if (full < 2) {
    out->Add(path, absl::StrCat("needs a training that can be cut short, but ",
                                "spec.train.epochs is ", full,
                                ": expected at least 2"));
    return;
  }
  if (fidelity.min_epochs() != 0) {
    out->Range(path + ".min_epochs", fidelity.min_epochs(), 1, full - 1);
    if (!fidelity.rungs().empty()) {
      out->Add(path + ".min_epochs",
               "is not expected with rungs, which say all");
    }
  }
  const auto& rungs = fidelity.rungs();
  constexpr int kMaxRungs = 32;
  if (spec.has_replay() && rungs.empty() && fidelity.min_epochs() != 0) {
    out->Add(path + ".min_epochs",
             "is not expected with replay: name rungs that its tables know");
  }
  if (!rungs.empty() && (rungs.size() < 2 || rungs.size() > kMaxRungs)) {
    out->Add(path + ".rungs",
             absl::StrCat(rungs.size(), " rungs: expected 2 to ", kMaxRungs));
  }
  for (int i = 0; i < std::min(rungs.size(), kMaxRungs); ++i) {
    const std::string rung = absl::StrCat(path, ".rungs[", i, "]");
    const int least = i == 0 ? 1 : rungs[i - 1] + 1;
    if (i + 1 == rungs.size() && rungs[i] != full) {
      out->Add(rung, absl::StrCat(rungs[i],
                                  " is not the whole training: "
                                  "expected ",
                                  full, ", the epochs of train"));
    } else if (rungs[i] < least) {
      out->Add(rung, absl::StrCat(rungs[i], ": expected at least ", least,
                                  i == 0 ? "" : ", more than the rung before"));
    } else if (i + 1 < rungs.size() && spec.has_replay() &&
               FindReplayFidelity(spec, rungs[i]) == nullptr) {
      out->Add(rung, absl::StrCat(rungs[i],
                                  " epochs are not among "
                                  "spec.replay.fidelities"));
    }
  }
  // Else what follows from it is wrong as well.
  if (out->size() == before && RungsOf(spec).size() < 2) {
    out->Add(path, absl::StrCat("has no rung below all ", full, " epochs"));
  }
}

template <typename Spec>
void CheckStop(const v1::StudySpec& spec, const Spec& fidelity,
               const std::string& path, Checker* out) {
  out->RangeIfSet(path + ".min_epochs", fidelity.min_epochs(), 1,
                  std::max(1, FullEpochs(spec)));
  out->RangeIfSet(path + ".min_trials", fidelity.min_trials(), 1, 100'000);
}

void CheckFidelity(const v1::StudySpec& spec, Checker* out) {
  if (!spec.has_fidelity()) return;
  const v1::FidelitySpec& fidelity = spec.fidelity();
  if (fidelity.kind_case() == v1::FidelitySpec::KIND_NOT_SET) {
    out->Add("spec.fidelity",
             "has no kind: expected asha, successive_halving, hyperband, "
             "median_stop or learning_curve_stop");
    return;
  }
  if (spec.has_external()) {
    out->Add("spec.fidelity",
             "is not expected with external: your own program decides how far "
             "it trains");
    return;
  }
  const bool by_curve =
      fidelity.has_median_stop() || fidelity.has_learning_curve_stop();
  if (spec.has_replay() && by_curve) {
    out->Add("spec.fidelity",
             "cannot follow learning curves with replay, which has none: "
             "expected asha, successive_halving or hyperband");
    return;
  }
  if (spec.has_replay() && spec.replay().fidelities().empty()) {
    out->Add("spec.fidelity",
             "needs spec.replay.fidelities: what shorter trainings give");
    return;
  }
  if (!spec.has_replay() && TrainedMetric(spec).empty()) {
    out->Add("spec.fidelity",
             "has nothing to cut short: no objective or constraint comes from "
             "training");
    return;
  }
  switch (fidelity.kind_case()) {
    case v1::FidelitySpec::kAsha: {
      const std::string path = "spec.fidelity.asha";
      const size_t before = out->size();
      CheckRungs(spec, fidelity.asha(), path, out);
      if (out->size() == before) {
        out->RangeIfSet(path + ".brackets", fidelity.asha().brackets(), 1,
                        static_cast<int64_t>(RungsOf(spec).size()));
      }
      return;
    }
    case v1::FidelitySpec::kSuccessiveHalving: {
      const std::string path = "spec.fidelity.successive_halving";
      CheckRungs(spec, fidelity.successive_halving(), path, out);
      out->RangeIfSet(path + ".cohort", fidelity.successive_halving().cohort(),
                      1, 100'000);
      return;
    }
    case v1::FidelitySpec::kHyperband:
      CheckRungs(spec, fidelity.hyperband(), "spec.fidelity.hyperband", out);
      return;
    case v1::FidelitySpec::kMedianStop:
      CheckStop(spec, fidelity.median_stop(), "spec.fidelity.median_stop", out);
      return;
    case v1::FidelitySpec::kLearningCurveStop: {
      const std::string path = "spec.fidelity.learning_curve_stop";
      CheckStop(spec, fidelity.learning_curve_stop(), path, out);
      if (fidelity.learning_curve_stop().has_chance()) {
        const double chance = fidelity.learning_curve_stop().chance();
        out->Require(chance > 0 && chance <= 0.5, path + ".chance", chance,
                     "greater than 0, at most 0.5");
      }
      return;
    }
    case v1::FidelitySpec::KIND_NOT_SET:
      return;
  }
}

void CheckCores(const v1::MeasureSpec& measure, const std::string& path,
                Checker* out) {
  constexpr int kMaxCores = 256;
  constexpr int kMaxCore = 1023;
  if (measure.cores().empty()) return;
  if (measure.cores_size() > kMaxCores) {
    out->Add(path, absl::StrCat("has ", measure.cores_size(),
                                " entries: expected at most ", kMaxCores));
    return;
  }
  for (int i = 0; i < measure.cores_size(); ++i) {
    out->Range(absl::StrCat(path, "[", i, "]"), measure.cores(i), 0, kMaxCore);
  }
  const std::set<int> distinct(measure.cores().begin(), measure.cores().end());
  if (static_cast<int>(distinct.size()) < measure.cores_size()) {
    out->Add(path, "names a core twice: expected different ones");
  } else if (measure.cores_size() < measure.threads()) {
    out->Add(path, absl::StrCat("names ", measure.cores_size(),
                                " cores: expected at least one for each of ",
                                measure.threads(), " threads"));
  }
}

void CheckLabels(const v1::MeasureSpec& measure, const std::string& path,
                 Checker* out) {
  if (measure.labels_size() > kMaxLabels) {
    out->Add(path, absl::StrCat("has ", measure.labels_size(),
                                " entries: expected at most ", kMaxLabels));
    return;
  }
  for (int i = 0; i < measure.labels_size(); ++i) {
    if (IsLabel(measure.labels(i))) continue;
    out->Add(
        absl::StrCat(path, "[", i, "]"),
        absl::StrCat("\"", absl::CHexEscape(measure.labels(i).substr(0, 63)),
                     "\": expected 1 to 63 of [a-z0-9_.-]"));
  }
}

void CheckMeasure(const v1::StudySpec& spec, Checker* out) {
  if (!spec.has_measure() || spec.has_replay()) return;
  const v1::MeasureSpec& measure = spec.measure();
  const std::string path = "spec.measure";
  if (!measure.runtime().empty() &&
      !(IsLabel(measure.runtime()) &&
        absl::StartsWith(measure.runtime(), kOwnRuntimePrefix))) {
    out->OneOf(path + ".runtime", "runtime", measure.runtime(), kRuntimes);
  }
  out->RangeIfSet(path + ".threads", measure.threads(), 1, 1024);
  out->RangeIfSet(path + ".batch", measure.batch(), 1, 4096);
  if (!measure.precision().empty()) {
    out->OneOf(path + ".precision", "precision", measure.precision(),
               {"fp32", "fp16", "int8"});
  }
  if (!measure.profile().empty()) {
    out->OneOf(path + ".profile", "profile", measure.profile(),
               {"as_shipped", "pinned"});
  }
  CheckCores(measure, path + ".cores", out);
  CheckLabels(measure, path + ".labels", out);
  if (measure.has_target_half_width()) {
    const double v = measure.target_half_width();
    out->Require(v > 0 && v <= 1, path + ".target_half_width", v,
                 "greater than 0, at most 1");
  }
  bool times_ok = true;
  if (measure.has_min_time()) {
    times_ok &= out->PositiveDuration(path + ".min_time", measure.min_time());
  }
  if (measure.has_max_time()) {
    times_ok &= out->PositiveDuration(path + ".max_time", measure.max_time());
  }
  if (!times_ok) return;
  const v1::MeasureSpec filled = WithDefaults(spec).measure();
  if (spec.has_external()) return;
  const absl::Duration min_time = FromProto(filled.min_time());
  const absl::Duration max_time = FromProto(filled.max_time());
  if (min_time > max_time) {
    // Blame what was written, not the default.
    const bool blame_max = !measure.has_min_time();
    out->Add(
        path + (blame_max ? ".max_time" : ".min_time"),
        absl::StrCat(
            absl::FormatDuration(blame_max ? max_time : min_time),
            blame_max ? " is less than min_time, " : " is more than max_time, ",
            absl::FormatDuration(blame_max ? min_time : max_time)));
  }
}

void CheckBudget(const v1::StudySpec& spec, Checker* out) {
  if (spec.budget().trials() == 0) {
    out->Add("spec.budget.trials",
             absl::StrCat("is required: expected 1 to ", kMaxTrials));
  } else {
    out->Range("spec.budget.trials", spec.budget().trials(), 1, kMaxTrials);
  }
  if (spec.budget().has_wall_clock()) {
    out->PositiveDuration("spec.budget.wall_clock", spec.budget().wall_clock());
  }
}

// Replay.

void CheckReplayFile(const v1::ReplayFile& file, const std::string& path,
                     Checker* out) {
  const std::vector<absl::string_view> parts = absl::StrSplit(file.path(), '/');
  if (file.path().empty()) {
    out->Add(path + ".path",
             "is required: expected a CSV file, such as cells.csv.gz");
  } else if (file.path().size() > kMaxPathBytes || parts[0].empty() ||
             file.path().find('\0') != std::string::npos ||
             std::find(parts.begin(), parts.end(), "..") != parts.end()) {
    out->Add(path + ".path",
             absl::StrCat(Quoted(file.path()),
                          " is not below the folder of tables: expected a "
                          "relative path without \"..\", at most ",
                          kMaxPathBytes, " bytes"));
  }
  if (!file.sha256().empty() && !IsSha256Hex(file.sha256())) {
    out->Add(path + ".sha256",
             absl::StrCat(Quoted(file.sha256()),
                          " is no SHA-256: expected 64 of [0-9a-f]"));
  }
}

// `read` is what FromProto makes of them.
void CheckReplayMetrics(
    const google::protobuf::RepeatedPtrField<v1::ReplayMetric>& metrics,
    const std::vector<ReplayMetric>& read, const std::string& path,
    bool only_trained, Checker* out) {
  if (metrics.size() > kMaxReplayMetrics) {
    out->Add(path, absl::StrCat(metrics.size(),
                                " metrics are too many: expected at most ",
                                kMaxReplayMetrics));
    return;
  }
  std::map<MetricKey, int> seen;
  for (int i = 0; i < metrics.size(); ++i) {
    const v1::ReplayMetric& metric = metrics[i];
    const std::string item = absl::StrCat(path, "[", i, "]");
    CheckMetricName(item + ".metric", metric.metric(), out);
    if (!metric.device().empty()) {
      CheckDeviceClass(metric.device(), item + ".device", out);
    }
    if (metric.column().empty()) {
      out->Add(item + ".column", "is required: expected the name of a column");
    }
    if (metric.has_scale()) {
      out->Require(metric.scale() != 0, item + ".scale", metric.scale(),
                   "a finite number other than 0");
    }
    const ReplayStage stage = read[i].stage;
    if (stage == ReplayStage::kMeasure && metric.device().empty()) {
      out->Add(item + ".device",
               absl::StrCat("is required: ", metric.metric(),
                            " is measured; expected a device class such as "
                            "raspberrypi5, or stage: screen or train"));
    }
    if (only_trained && stage != ReplayStage::kTrain) {
      out->Add(item, absl::StrCat(metric.metric(),
                                  " does not come from training: expected only "
                                  "metrics that do"));
    }
    const auto [first, added] =
        seen.emplace(MetricKey{metric.metric(), metric.device()}, i);
    if (!added) {
      out->Add(item + ".metric", absl::StrCat(Quoted(first->first.ToString()),
                                              " is given twice: it is already ",
                                              path, "[", first->second, "]"));
    }
  }
}

void CheckReplayCost(const v1::ReplayCost& cost, const std::string& path,
                     Checker* out) {
  if (cost.has_scale()) {
    out->Require(cost.scale() > 0, path + ".scale", cost.scale(),
                 "greater than 0");
    if (cost.column().empty()) {
      out->Add(path + ".column", "is required with scale");
    }
  }
  out->Require(cost.seconds() >= 0, path + ".seconds", cost.seconds(),
               "0 or greater");
}

void CheckReplayKeys(const v1::StudySpec& spec, Checker* out) {
  const v1::ReplaySpec& replay = spec.replay();
  if (replay.architecture().empty() == replay.keys().empty()) {
    out->Add("spec.replay",
             absl::StrCat(replay.keys().empty() ? "does not say" : "says twice",
                          " what a row's architecture is: expected either "
                          "architecture, a column with the space's notation, "
                          "or keys, columns for its decisions"));
    return;
  }
  if (replay.keys().empty()) return;
  if (replay.keys_size() > kMaxReplayKeys) {
    out->Add(
        "spec.replay.keys",
        absl::StrCat(replay.keys_size(),
                     " keys are too many: expected at most ", kMaxReplayKeys));
    return;
  }
  const size_t before = out->size();
  for (int i = 0; i < replay.keys_size(); ++i) {
    const v1::ReplayKey& key = replay.keys(i);
    const std::string path = absl::StrCat("spec.replay.keys[", i, "]");
    if (key.columns().empty()) {
      out->Add(path + ".columns",
               "is required: expected names of columns, such as [op{0..5}]");
    }
    std::set<std::string> codes;
    for (int j = 0; j < key.codes_size(); ++j) {
      if (!codes.insert(key.codes(j)).second) {
        out->Add(absl::StrCat(path, ".codes[", j, "]"),
                 absl::StrCat(Quoted(key.codes(j)), " is listed twice"));
      }
    }
  }
  if (out->size() != before) return;
  const absl::StatusOr<SpaceConfig> config = FromProto(spec.space());
  if (!config.ok()) return;  // CheckSpace says so.
  const absl::StatusOr<std::unique_ptr<SearchSpace>> space =
      CreateSpace(*config);
  if (!space.ok()) return;
  const absl::StatusOr<std::vector<ReplayColumn>> resolved =
      ResolveKeys(FromProto(replay).keys, (*space)->decisions());
  if (resolved.ok()) return;
  const std::pair<std::string, std::string> parts = absl::StrSplit(
      std::string(resolved.status().message()), absl::MaxSplits(": ", 1));
  out->Add("spec.replay." + parts.first, parts.second);
}

void CheckReplay(const v1::StudySpec& spec, Checker* out) {
  if (!spec.has_replay()) return;
  const v1::ReplaySpec& replay = spec.replay();
  const std::string path = "spec.replay";
  const auto stands_alone = [&](bool given, absl::string_view field) {
    if (!given) return;
    out->Add(absl::StrCat("spec.", field),
             "cannot stand beside replay: trials are answered from tables");
  };
  stands_alone(spec.has_external(), "external");
  stands_alone(spec.has_train(), "train");
  stands_alone(spec.has_measure(), "measure");
  if (replay.tables().empty() || replay.tables_size() > kMaxReplayTables) {
    out->Add(path + ".tables",
             absl::StrCat(replay.tables_size(), " files: expected 1 to ",
                          kMaxReplayTables));
  } else {
    for (int i = 0; i < replay.tables_size(); ++i) {
      const std::string item = absl::StrCat(path, ".tables[", i, "]");
      CheckReplayFile(replay.tables(i), item, out);
      if (i == 0 && !replay.tables(0).join().empty()) {
        out->Add(item + ".join",
                 "is not expected: other files are joined to the first");
      }
    }
  }
  CheckReplayKeys(spec, out);
  if (replay.metrics().empty()) {
    out->Add(path + ".metrics",
             "is required: expected what the tables give, such as "
             "[{metric: accuracy, column: test_acc}]");
  }
  const ReplayConfig config = FromProto(replay);
  CheckReplayMetrics(replay.metrics(), config.metrics, path + ".metrics",
                     /*only_trained=*/false, out);
  CheckReplayCost(replay.cost(), path + ".cost", out);
  out->RangeIfSet(path + ".workers", replay.workers(), 1, 10000);
  out->RangeIfSet(path + ".epochs", replay.epochs(), 1, kMaxEpochs);
  if (replay.fidelities().empty()) return;
  if (replay.epochs() == 0) {
    out->Add(path + ".epochs", "is required with fidelities");
  }
  if (replay.fidelities_size() > kMaxReplayFidelities) {
    out->Add(path + ".fidelities",
             absl::StrCat(replay.fidelities_size(),
                          " fidelities are too many: expected at most ",
                          kMaxReplayFidelities));
    return;
  }
  int least = 1;
  for (int i = 0; i < replay.fidelities_size(); ++i) {
    const v1::ReplayFidelity& fidelity = replay.fidelities(i);
    const std::string item = absl::StrCat(path, ".fidelities[", i, "]");
    const int most = replay.epochs() > 0 ? replay.epochs() - 1 : kMaxEpochs - 1;
    if (fidelity.epochs() < least || fidelity.epochs() > most) {
      out->Add(item + ".epochs",
               absl::StrCat(fidelity.epochs(), " is out of range: expected ",
                            least, " to ", most, ", ascending and less than ",
                            path, ".epochs"));
    }
    least = std::max(least, fidelity.epochs() + 1);
    CheckReplayMetrics(fidelity.metrics(), config.fidelities[i].metrics,
                       item + ".metrics", /*only_trained=*/true, out);
    CheckReplayCost(fidelity.cost(), item + ".cost", out);
  }
}

void CheckWarmStart(const v1::StudySpec& spec, Checker* out) {
  if (spec.warm_start_size() > kMaxSources) {
    out->Add(
        "spec.warm_start",
        absl::StrCat(spec.warm_start_size(),
                     " sources are too many: expected at most ", kMaxSources));
    return;
  }
  std::set<std::pair<std::string, std::string>> seen;
  for (int i = 0; i < spec.warm_start_size(); ++i) {
    const v1::WarmStartSource& source = spec.warm_start(i);
    const std::string path = absl::StrCat("spec.warm_start[", i, "]");
    if (source.study().empty() == source.folder().empty()) {
      out->Add(path, source.study().empty()
                         ? "names no source: expected study, the name of a "
                           "study, or folder, that of its results"
                         : "has study beside folder: expected one of the two");
      continue;
    }
    if (!source.study().empty()) {
      if (absl::Status id = CheckStudyId(source.study()); !id.ok()) {
        out->Add(path + ".study", std::string(id.message()));
      }
    } else if (source.folder().size() > kMaxPathBytes ||
               source.folder().find('\0') != std::string::npos) {
      out->Add(path + ".folder", absl::StrCat(Quoted(source.folder()),
                                              " is no path: expected at most ",
                                              kMaxPathBytes, " bytes"));
    }
    if (!seen.insert({source.study(), source.folder()}).second) {
      out->Add(path, absl::StrCat(Quoted(source.study() + source.folder()),
                                  " is listed twice"));
    }
  }
}

}  // namespace

std::vector<FieldError> ValidateStudySpec(const v1::StudySpec& spec) {
  Checker out;
  CheckSpace(spec, &out);
  const size_t before = out.size();
  CheckObjectives(spec, &out);
  if (out.size() == before) {
    CheckScalarization(spec, &out);
    CheckPreference(spec, &out);
  }
  CheckConstraints(spec, &out);
  CheckStrategy(spec.strategy(), &out);
  CheckTrain(spec, &out);
  CheckFidelity(spec, &out);
  CheckMeasure(spec, &out);
  CheckReplay(spec, &out);
  CheckBudget(spec, &out);
  CheckWarmStart(spec, &out);
  if (spec.has_external() && spec.external().has_lease()) {
    out.PositiveDuration("spec.external.lease", spec.external().lease());
  }
  out.Range("spec.priority", spec.priority(), -kMaxPriority, kMaxPriority);
  out.RangeIfSet("spec.max_attempts", spec.max_attempts(), 1, 20);
  out.RangeIfSet("spec.max_parallel_trials", spec.max_parallel_trials(), 1,
                 10000);
  return std::move(out).Take();
}

absl::Status CheckStudySpec(const v1::StudySpec& spec) {
  const std::vector<FieldError> errors = ValidateStudySpec(spec);
  if (errors.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(
      errors, "\n", [](std::string* out, const FieldError& error) {
        absl::StrAppend(out, error.path, ": ", error.message);
      }));
}

absl::Status CheckStudyId(absl::string_view study_id) {
  if (!study_id.empty() && study_id.size() <= 63 && study_id[0] >= 'a' &&
      study_id[0] <= 'z' && OnlyHas(study_id, "-")) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("study id ", Quoted(study_id),
                   " is malformed: expected 1 to 63 of [a-z0-9-], starting "
                   "with a letter"));
}

}  // namespace hwnas
