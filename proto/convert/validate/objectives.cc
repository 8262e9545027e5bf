// Objectives, constraints, scalarization and preference.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/convert/convert.h"
#include "proto/convert/space_spec.h"
#include "proto/convert/validate/checker.h"
#include "proto/convert/validate/rules.h"

namespace hwnas {
namespace {

constexpr int kMaxObjectives = 8;
constexpr int kMaxConstraints = 32;

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

}  // namespace

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
namespace {

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

}  // namespace

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
namespace {

// The space.

}  // namespace

}  // namespace hwnas
