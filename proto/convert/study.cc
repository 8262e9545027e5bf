#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/convert/convert.h"

namespace hwnas {

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
      const v1::Nsga2Strategy& in = proto.nsga2();
      Nsga2Config config;
      if (in.population() != 0) config.population = in.population();
      if (in.has_crossover()) config.crossover = in.crossover();
      if (in.has_mutation()) config.mutation = in.mutation();
      return config;
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("strategy ", static_cast<int>(proto.kind_case()),
                   " is unknown: expected auto, random, ageing_evolution or "
                   "nsga2"));
}

Problem ProblemFromProto(const v1::StudySpec& spec) {
  Problem problem;
  for (const v1::Objective& in : spec.objectives()) {
    ObjectiveSpec& out = problem.objectives.emplace_back();
    out.maximize = in.goal_case() == v1::Objective::kMaximize;
    out.key.metric = out.maximize ? in.maximize() : in.minimize();
    out.key.device_class = in.device();
    if (in.has_reference()) out.reference = in.reference();
  }
  for (const v1::Constraint& in : spec.constraints()) {
    ConstraintSpec& out = problem.constraints.emplace_back();
    out.key.metric = in.metric();
    out.key.device_class = in.device();
    if (in.has_at_most()) out.at_most = in.at_most();
    if (in.has_at_least()) out.at_least = in.at_least();
  }
  return problem;
}

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
    stages.push_back({v1::REPLAY, ""});
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
  for (const ObjectiveSpec& objective : problem.objectives) add(objective.key);
  for (const ConstraintSpec& constraint : problem.constraints) {
    add(constraint.key);
  }
  std::vector<StageKey> stages = {{v1::SCREEN, ""}};
  for (const std::string& device_class : device_classes) {
    stages.push_back({v1::MEASURE, device_class});
  }
  if (train) stages.push_back({v1::TRAIN, ""});
  return stages;
}

}  // namespace hwnas
