#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/convert/convert.h"

namespace hwnas {

namespace {

// The fields that all strategies that breed have.
template <typename Proto, typename Config>
void VariationFromProto(const Proto& in, Config* config) {
  if (in.population() != 0) config->population = in.population();
  if (in.has_crossover()) config->crossover = in.crossover();
  if (in.has_mutation()) config->mutation = in.mutation();
}

}  // namespace

absl::StatusOr<StrategyConfig> FromProto(const v1::StrategySpec& proto) {
  switch (proto.kind_case()) {
    case v1::StrategySpec::KIND_NOT_SET:
    case v1::StrategySpec::kAuto:
      return AutoConfig{};
    case v1::StrategySpec::kRandom:
      return RandomConfig{};
    case v1::StrategySpec::kAgeingEvolution: {
      const v1::AgeingEvolutionStrategy& in = proto.ageing_evolution();
      AgeingEvolutionConfig config;
      if (in.population() != 0) config.population = in.population();
      if (in.sample_size() != 0) {
        config.sample_size = in.sample_size();
      } else {
        config.sample_size = std::min(config.sample_size, config.population);
      }
      return config;
    }
    case v1::StrategySpec::kNsga2: {
      Nsga2Config config;
      VariationFromProto(proto.nsga2(), &config);
      return config;
    }
    case v1::StrategySpec::kQuasiRandom:
      return QuasiRandomConfig{};
    case v1::StrategySpec::kNsga3: {
      Nsga3Config config;
      VariationFromProto(proto.nsga3(), &config);
      return config;
    }
    case v1::StrategySpec::kMoead: {
      const v1::MoeadStrategy& in = proto.moead();
      MoeadConfig config;
      VariationFromProto(in, &config);
      config.neighbours = in.neighbours() != 0
                              ? in.neighbours()
                              : std::min(config.neighbours, config.population);
      return config;
    }
    case v1::StrategySpec::kLocalSearch: {
      const v1::LocalSearchStrategy& in = proto.local_search();
      LocalSearchConfig config;
      if (in.starts() != 0) config.starts = in.starts();
      return config;
    }
    case v1::StrategySpec::kReinforce: {
      const v1::ReinforceStrategy& in = proto.reinforce();
      ReinforceConfig config;
      if (in.has_initial_design()) config.initial_design = in.initial_design();
      if (in.directions() != 0) config.directions = in.directions();
      if (in.has_learning_rate()) config.learning_rate = in.learning_rate();
      return config;
    }
    case v1::StrategySpec::kMotpe: {
      const v1::MotpeStrategy& in = proto.motpe();
      MotpeConfig config;
      if (in.initial() != 0) config.initial = in.initial();
      if (in.candidates() != 0) config.candidates = in.candidates();
      if (in.has_multivariate()) config.multivariate = in.multivariate();
      return config;
    }
    case v1::StrategySpec::kBayesian: {
      BayesianConfig config;
      if (proto.bayesian().initial() != 0) {
        config.initial = proto.bayesian().initial();
      }
      return config;
    }
    case v1::StrategySpec::kMoBananas: {
      const v1::MoBananasStrategy& in = proto.mo_bananas();
      MoBananasConfig config;
      if (in.initial() != 0) config.initial = in.initial();
      if (in.networks() != 0) config.networks = in.networks();
      if (in.candidates() != 0) config.candidates = in.candidates();
      return config;
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("strategy ", static_cast<int>(proto.kind_case()),
                   " is unknown: expected one of those of StrategySpec"));
}

namespace {

// What the lists of a scalarization or a preference say of one objective of the
// file; nothing where a list is too short, which validation reports.
double At(const google::protobuf::RepeatedField<double>& list, int i,
          double otherwise) {
  return i < list.size() ? list[i] : otherwise;
}

WeightedProduct::Term TermFromProto(const v1::WeightedProduct::Term& in,
                                    bool maximize) {
  WeightedProduct::Term out;
  out.maximize = maximize;
  if (in.has_target()) out.target = in.target();
  out.alpha =
      in.has_alpha() ? in.alpha() : WeightedProduct::DefaultExponent(maximize);
  out.beta = in.has_beta() ? in.beta() : out.alpha;
  return out;
}

// `origin` says for each objective of the problem which one of the file it is.
void AddScalarization(const v1::StudySpec& spec, const std::vector<int>& origin,
                      Problem* problem) {
  const v1::Scalarization& in = spec.scalarization();
  const std::vector<ObjectiveSpec>& objectives = problem->objectives;
  const auto each = [&](const auto& of) {
    std::vector<std::decay_t<decltype(of(size_t{0}))>> list;
    for (size_t k = 0; k < objectives.size(); ++k) list.push_back(of(k));
    return list;
  };
  switch (in.kind_case()) {
    case v1::Scalarization::KIND_NOT_SET:
      return;
    case v1::Scalarization::kWeightedSum:
      problem->scalarization = WeightedSum{each([&](size_t k) {
        return At(in.weighted_sum().weights(), origin[k], 0);
      })};
      return;
    case v1::Scalarization::kWeightedProduct:
      problem->scalarization = WeightedProduct{each([&](size_t k) {
        const auto& terms = in.weighted_product().terms();
        return TermFromProto(origin[k] < terms.size()
                                 ? terms[origin[k]]
                                 : v1::WeightedProduct::Term(),
                             objectives[k].maximize);
      })};
      return;
    case v1::Scalarization::kChebyshev: {
      Chebyshev out;
      out.weights = each(
          [&](size_t k) { return At(in.chebyshev().weights(), origin[k], 0); });
      out.ideal = each([&](size_t k) {
        const double ideal = At(in.chebyshev().ideal(), origin[k],
                                DefaultIdeal(spec.objectives(origin[k])));
        return objectives[k].maximize ? -ideal : ideal;
      });
      if (in.chebyshev().has_rho()) out.rho = in.chebyshev().rho();
      problem->scalarization = std::move(out);
      return;
    }
    case v1::Scalarization::kEpsilonConstraint: {
      const v1::EpsilonConstraint& epsilon = in.epsilon_constraint();
      const int kept = std::max(0, OptimizedObjective(spec));
      EpsilonConstraint out;
      for (size_t k = 0; k < objectives.size(); ++k) {
        if (origin[k] == kept) {
          out.objective = static_cast<int>(k);
          continue;
        }
        const int i = origin[k] - (origin[k] > kept ? 1 : 0);
        if (i >= epsilon.limits_size()) continue;
        for (const MetricKey& key : objectives[k].Keys()) {
          ConstraintSpec& limit = problem->constraints.emplace_back();
          limit.key = key;
          (objectives[k].maximize ? limit.at_least : limit.at_most) =
              epsilon.limits(i);
        }
      }
      problem->scalarization = out;
      return;
    }
  }
}

}  // namespace

std::vector<ObjectiveSpec> ObjectivesFromProto(const v1::Objective& in) {
  ObjectiveSpec objective;
  objective.maximize = in.goal_case() == v1::Objective::kMaximize;
  objective.key.metric = objective.maximize ? in.maximize() : in.minimize();
  objective.key.device_class = in.device();
  if (in.has_reference()) objective.reference = in.reference();
  if (in.devices().empty()) return {std::move(objective)};
  if (in.over_devices() == v1::Objective::WORST) {
    objective.key.device_class = "worst";
    objective.worst_of = {in.devices().begin(), in.devices().end()};
    return {std::move(objective)};
  }
  objective.own_front = true;
  std::vector<ObjectiveSpec> each;
  for (const std::string& device : in.devices()) {
    objective.key.device_class = device;
    each.push_back(objective);
  }
  return each;
}

double DefaultIdeal(const v1::Objective& objective) {
  return objective.maximize() == "accuracy" ? 100 : 0;
}

int OptimizedObjective(const v1::StudySpec& spec) {
  const std::string& name =
      spec.scalarization().epsilon_constraint().optimize();
  if (name.empty()) return 0;
  int found = -1;
  for (int i = 0; i < spec.objectives_size(); ++i) {
    const MetricKey key = ObjectivesFromProto(spec.objectives(i))[0].key;
    if (key.ToString() == name) return i;
    if (key.metric != name) continue;
    if (found >= 0) return -1;
    found = i;
  }
  return found;
}

Problem ProblemFromProto(const v1::StudySpec& spec) {
  Problem problem;
  std::vector<int> origin;
  for (int i = 0; i < spec.objectives_size(); ++i) {
    for (ObjectiveSpec& objective : ObjectivesFromProto(spec.objectives(i))) {
      problem.objectives.push_back(std::move(objective));
      origin.push_back(i);
    }
  }
  for (const v1::Constraint& in : spec.constraints()) {
    ConstraintSpec& out = problem.constraints.emplace_back();
    out.key.metric = in.metric();
    out.key.device_class = in.device();
    if (in.has_at_most()) out.at_most = in.at_most();
    if (in.has_at_least()) out.at_least = in.at_least();
  }
  if (problem.objectives.empty()) return problem;
  AddScalarization(spec, origin, &problem);
  if (spec.has_preference()) {
    Preference& out = problem.preference.emplace();
    if (spec.preference().has_focus()) out.focus = spec.preference().focus();
    const auto& aspiration = spec.preference().aspiration();
    for (size_t k = 0; !aspiration.empty() && k < origin.size(); ++k) {
      const double value = At(aspiration, origin[k], 0);
      out.aspiration.push_back(problem.objectives[k].maximize ? -value : value);
    }
  }
  return problem;
}

namespace {

// One stage, or one for each rung.
void AppendTraining(const v1::StudySpec& spec, v1::StageKind kind,
                    std::vector<StageKey>* stages) {
  const std::vector<int> rungs = RungsOf(spec);
  for (const int epochs : rungs) stages->push_back({kind, "", epochs});
  if (rungs.empty()) stages->push_back({kind, ""});
}

}  // namespace

std::vector<StageKey> StagesOf(const v1::StudySpec& spec) {
  if (spec.has_external()) return {{v1::ASK, ""}};
  if (spec.has_replay()) {
    std::set<std::string> measured_on;
    for (const ReplayMetric& metric : FromProto(spec.replay()).metrics) {
      if (metric.stage == ReplayStage::kMeasure) {
        measured_on.insert(metric.key.device_class);
      }
    }
    std::vector<StageKey> stages = {{v1::SCREEN, ""}};
    for (const std::string& device_class : measured_on) {
      stages.push_back({v1::REPLAY, device_class});
    }
    AppendTraining(spec, v1::REPLAY, &stages);
    return stages;
  }
  bool train = false;
  std::set<std::string> device_classes;
  const auto add = [&](const MetricKey& key) {
    const MetricInfo* info = FindMetric(key.metric);
    if (info == nullptr) return;
    if (info->source == MetricSource::kMeasured) {
      device_classes.insert(key.device_class);
    }
    train |= info->source == MetricSource::kTrained;
  };
  const Problem problem = ProblemFromProto(spec);
  for (const MetricKey& key : problem.Keys()) add(key);
  std::vector<StageKey> stages = {{v1::SCREEN, ""}};
  for (const std::string& device_class : device_classes) {
    stages.push_back({v1::MEASURE, device_class});
  }
  if (train) AppendTraining(spec, v1::TRAIN, &stages);
  return stages;
}

}  // namespace hwnas
