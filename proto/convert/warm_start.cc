#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "nas/pareto/archive.h"
#include "nas/pareto/constrained.h"
#include "proto/convert/convert.h"

namespace hwnas {
namespace {

constexpr int kMaxSourceMetrics = 256;
constexpr size_t kMaxNameBytes = 64;

// Whether values of the metric come from training.
bool IsTrained(const v1::StudySpec& spec, const MetricKey& key) {
  if (spec.has_replay()) {
    for (const ReplayMetric& metric : FromProto(spec.replay()).metrics) {
      if (metric.key == key) return metric.stage == ReplayStage::kTrain;
    }
  }
  const MetricInfo* info = FindMetric(key.metric);
  return info != nullptr && info->source == MetricSource::kTrained;
}

// Indices of the trials to keep: the front, and of the others the latest.
std::vector<int> Chosen(const Problem& problem,
                        const std::vector<MetricKey>& metrics,
                        const v1::SourceTrials& all) {
  ParetoArchive front(static_cast<int>(problem.Searched().objectives.size()));
  for (int i = 0; i < all.trials_size(); ++i) {
    std::vector<MetricValue> values;
    for (size_t m = 0; m < metrics.size(); ++m) {
      values.push_back({metrics[m], all.trials(i).values(static_cast<int>(m))});
    }
    const Evaluation evaluation = problem.Evaluate(values).Shown();
    if (StandingOf(evaluation) != Standing::kFeasible) continue;
    front.Insert(evaluation.objectives, i);
  }
  std::set<int> chosen;
  for (const int64_t id : front.ids()) {
    if (static_cast<int>(chosen.size()) == kMaxSourceTrials) break;
    chosen.insert(static_cast<int>(id));
  }
  for (int i = all.trials_size();
       i-- > 0 && static_cast<int>(chosen.size()) < kMaxSourceTrials;) {
    chosen.insert(i);
  }
  return {chosen.begin(), chosen.end()};
}

std::string TextOf(const Decision& decision) {
  return absl::StrCat("\"", decision.name, "\" (",
                      absl::StrJoin(decision.options, ", "), ")");
}

// INVALID_ARGUMENT names the first decision that differs.
absl::Status CheckSameDecisions(absl::Span<const Decision> theirs,
                                absl::Span<const Decision> ours) {
  for (size_t i = 0; i < std::max(theirs.size(), ours.size()); ++i) {
    const auto text = [i](absl::Span<const Decision> decisions) {
      return i < decisions.size() ? TextOf(decisions[i]) : "none";
    };
    if (i < theirs.size() && i < ours.size() &&
        theirs[i].name == ours[i].name &&
        theirs[i].options == ours[i].options) {
      continue;
    }
    return absl::InvalidArgumentError(
        absl::StrCat("is a search of another space: its decision ", i + 1,
                     " is ", text(theirs), ", expected ", text(ours)));
  }
  return absl::OkStatus();
}

}  // namespace

v1::SourceTrials ToSourceTrials(const v1::StudySpec& spec,
                                absl::Span<const v1::Trial> trials) {
  v1::SourceTrials out;
  *out.mutable_spec() = spec;
  const Problem problem = ProblemFromProto(spec);
  std::vector<MetricKey> metrics;
  std::vector<bool> trained;
  for (const MetricKey& key : problem.Keys()) {
    if (std::find(metrics.begin(), metrics.end(), key) != metrics.end()) {
      continue;
    }
    metrics.push_back(key);
    trained.push_back(IsTrained(spec, key));
    v1::SourceTrials::Metric& metric = *out.add_metrics();
    metric.set_metric(key.metric);
    metric.set_device(key.device_class);
  }
  for (const v1::Trial& trial : trials) {
    if (trial.state() == v1::Trial::ACTIVE) continue;
    // Trained to the end, as far as it is trained at all?
    const bool whole =
        !spec.has_fidelity() || trial.state() == v1::Trial::COMPLETED;
    std::vector<double> values(metrics.size(),
                               std::numeric_limits<double>::quiet_NaN());
    bool any = false;
    for (const v1::Measurement& m : trial.measurements()) {
      for (size_t k = 0; k < metrics.size(); ++k) {
        if (m.metric() != metrics[k].metric ||
            m.device_class() != metrics[k].device_class ||
            (trained[k] && !whole)) {
          continue;
        }
        values[k] = m.value();
        any = true;
      }
    }
    if (!any) continue;
    v1::SourceTrials::Trial& kept = *out.add_trials();
    *kept.mutable_choices() = trial.architecture().choices();
    kept.mutable_values()->Assign(values.begin(), values.end());
  }
  if (out.trials_size() > kMaxSourceTrials) {
    const std::vector<int> chosen = Chosen(problem, metrics, out);
    for (size_t i = 0; i < chosen.size(); ++i) {
      out.mutable_trials()->SwapElements(static_cast<int>(i), chosen[i]);
    }
    out.mutable_trials()->DeleteSubrange(kMaxSourceTrials,
                                         out.trials_size() - kMaxSourceTrials);
  }
  return out;
}

absl::StatusOr<SourceTrials> FromProto(const SearchSpace& space,
                                       const v1::SourceTrials& proto,
                                       std::string name) {
  HWNAS_RETURN_IF_ERROR(CheckStudySpec(proto.spec()));
  HWNAS_ASSIGN_OR_RETURN(const SpaceConfig config, SearchedSpace(proto.spec()));
  HWNAS_ASSIGN_OR_RETURN(const std::unique_ptr<SearchSpace> theirs,
                         CreateSpace(config));
  HWNAS_RETURN_IF_ERROR(
      CheckSameDecisions(theirs->decisions(), space.decisions()));
  if (proto.metrics().empty() || proto.metrics_size() > kMaxSourceMetrics) {
    return absl::InvalidArgumentError(absl::StrCat("has ", proto.metrics_size(),
                                                   " metrics: expected 1 to ",
                                                   kMaxSourceMetrics));
  }
  if (proto.trials_size() > kMaxSourceTrials) {
    return absl::InvalidArgumentError(absl::StrCat("has ", proto.trials_size(),
                                                   " trials: expected at most ",
                                                   kMaxSourceTrials));
  }
  SourceTrials out;
  out.name = std::move(name);
  out.problem = ProblemFromProto(proto.spec());
  for (const v1::SourceTrials::Metric& metric : proto.metrics()) {
    if (metric.metric().size() > kMaxNameBytes ||
        metric.device().size() > kMaxNameBytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          "has a metric with a name of more than ", kMaxNameBytes, " bytes"));
    }
    out.metrics.push_back({metric.metric(), metric.device()});
  }
  for (int i = 0; i < proto.trials_size(); ++i) {
    const v1::SourceTrials::Trial& trial = proto.trials(i);
    Architecture architecture{{trial.choices().begin(), trial.choices().end()}};
    if (absl::Status valid = theirs->Validate(architecture); !valid.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("trials[", i, "]: ", valid.message()));
    }
    if (trial.values_size() != proto.metrics_size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("trials[", i, "] has ", trial.values_size(),
                       " values: expected ", proto.metrics_size()));
    }
    out.trials.push_back({std::move(architecture),
                          {trial.values().begin(), trial.values().end()}});
  }
  return out;
}

}  // namespace hwnas
