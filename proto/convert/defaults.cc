// Every "unset means" of study.proto, in its order.
#include <algorithm>
#include <optional>

#include "nas/space/mobile.h"
#include "proto/convert/convert.h"

namespace hwnas {
namespace {

template <typename In, typename Out>
void FillIfEmpty(const In& defaults, Out* field) {
  if (!field->empty()) return;
  for (const auto value : defaults) field->Add(value);
}

void FillSpace(v1::SpaceSpec* space) {
  if (space->has_nasbench201()) {
    const Nasbench201Config defaults;
    v1::Nasbench201Space& out = *space->mutable_nasbench201();
    if (out.channels() == 0) out.set_channels(defaults.channels);
    if (out.cells() == 0) out.set_cells(defaults.cells);
  } else if (space->has_mobile()) {
    v1::MobileSpace& out = *space->mutable_mobile();
    // The preset depends on the image: without one there is none.
    const absl::StatusOr<SpaceConfig> given = FromProto(*space);
    if (!given.ok()) return;
    const MobileConfig defaults = WithPreset(std::get<MobileConfig>(*given));
    FillIfEmpty(defaults.kernel_choices, out.mutable_kernel_choices());
    FillIfEmpty(defaults.expansion_choices, out.mutable_expansion_choices());
    FillIfEmpty(defaults.depth_choices, out.mutable_depth_choices());
    FillIfEmpty(defaults.width_choices, out.mutable_width_choices());
    out.set_stem_channels(defaults.stem_channels);
    out.set_stem_stride(defaults.stem_stride);
    out.clear_stages();
    for (const MobileStageConfig& in : defaults.stages) {
      v1::MobileStage& stage = *out.add_stages();
      stage.set_channels(in.channels);
      stage.set_stride(in.stride);
      stage.set_squeeze_excite(in.squeeze_excite);
      stage.set_hard_swish(in.hard_swish);
    }
    out.set_head_channels(defaults.head_channels);
    out.set_final_expand_channels(defaults.final_expand_channels);
  }
}

void FillStrategy(v1::StrategySpec* strategy) {
  switch (strategy->kind_case()) {
    case v1::StrategySpec::KIND_NOT_SET:
      strategy->mutable_auto_();
      break;
    case v1::StrategySpec::kAuto:
    case v1::StrategySpec::kRandom:
      break;
    case v1::StrategySpec::kAgeingEvolution: {
      const AgeingEvolutionConfig defaults;
      v1::AgeingEvolutionStrategy& out = *strategy->mutable_ageing_evolution();
      if (out.population() == 0) out.set_population(defaults.population);
      if (out.sample_size() == 0) {
        out.set_sample_size(std::min(defaults.sample_size, out.population()));
      }
      break;
    }
    case v1::StrategySpec::kNsga2: {
      const Nsga2Config defaults;
      v1::Nsga2Strategy& out = *strategy->mutable_nsga2();
      if (out.population() == 0) out.set_population(defaults.population);
      if (!out.has_crossover()) out.set_crossover(defaults.crossover);
      // `mutation` stays unset: the strategy knows the number of choices.
      break;
    }
  }
}

// Height of the images that are trained on; unknown if it is searched.
std::optional<int> ImageHeight(const v1::SpaceSpec& space) {
  if (!space.mobile().resolution_choices().empty()) return std::nullopt;
  const auto& input =
      space.has_mobile() ? space.mobile().input() : space.nasbench201().input();
  if (input.size() != 3) return std::nullopt;
  return input[1];
}

void FillTrain(std::optional<int> image_height, v1::TrainSpec* train) {
  if (train->epochs() == 0) train->set_epochs(12);
  if (train->batch() == 0) train->set_batch(128);
  if (!train->has_data_fraction()) train->set_data_fraction(1);
  if (!train->has_validation_fraction()) train->set_validation_fraction(0.1);
  if (!train->has_learning_rate()) train->set_learning_rate(0.1);
  if (!train->has_momentum()) train->set_momentum(0.9);
  if (!train->has_weight_decay()) train->set_weight_decay(5e-4);
  if (!train->has_label_smoothing()) train->set_label_smoothing(0.1);
  if (!train->has_warmup_epochs()) {
    train->set_warmup_epochs(0.05 * train->epochs());
  }
  if (!train->has_augment()) train->set_augment(true);
  // Else the worker, which knows the resolution of each network, does it.
  if (!train->has_crop_padding() && image_height.has_value()) {
    train->set_crop_padding(*image_height / 8);
  }
}

void FillMeasure(v1::MeasureSpec* measure) {
  if (measure->runtime().empty()) measure->set_runtime("onnxruntime");
  if (measure->threads() == 0) measure->set_threads(1);
  if (measure->batch() == 0) measure->set_batch(1);
  if (measure->precision().empty()) measure->set_precision("fp32");
  if (!measure->has_target_half_width()) measure->set_target_half_width(0.02);
  if (!measure->has_min_time()) {
    *measure->mutable_min_time() = ToProto(absl::Milliseconds(300));
  }
  if (!measure->has_max_time()) {
    *measure->mutable_max_time() = ToProto(absl::Seconds(5));
  }
}

v1::ReplayMetric::Stage ToProto(ReplayStage stage) {
  switch (stage) {
    case ReplayStage::kScreen:
      return v1::ReplayMetric::SCREEN;
    case ReplayStage::kMeasure:
      return v1::ReplayMetric::MEASURE;
    case ReplayStage::kTrain:
      return v1::ReplayMetric::TRAIN;
  }
  return v1::ReplayMetric::STAGE_UNSPECIFIED;
}

void FillReplayMetrics(
    google::protobuf::RepeatedPtrField<v1::ReplayMetric>* metrics) {
  for (v1::ReplayMetric& metric : *metrics) {
    if (!metric.has_scale()) metric.set_scale(1);
    if (metric.stage() == v1::ReplayMetric::STAGE_UNSPECIFIED) {
      metric.set_stage(
          ToProto(DefaultReplayStage({metric.metric(), metric.device()})));
    }
  }
}

// Of a ReplaySpec or a ReplayFidelity.
template <typename Message>
void FillReplayCost(Message* message) {
  const bool given = message->has_cost();
  v1::ReplayCost* cost = message->mutable_cost();
  if (!given) cost->set_seconds(1);
  if (!cost->column().empty() && !cost->has_scale()) cost->set_scale(1);
}

void FillReplay(v1::ReplaySpec* replay) {
  FillReplayMetrics(replay->mutable_metrics());
  FillReplayCost(replay);
  for (v1::ReplayFidelity& fidelity : *replay->mutable_fidelities()) {
    FillReplayMetrics(fidelity.mutable_metrics());
    FillReplayCost(&fidelity);
  }
  if (replay->workers() == 0) replay->set_workers(ReplayConfig{}.workers);
}

}  // namespace

v1::StudySpec WithDefaults(const v1::StudySpec& spec) {
  v1::StudySpec out = spec;
  if (out.has_space()) FillSpace(out.mutable_space());
  for (v1::Objective& objective : *out.mutable_objectives()) {
    if (objective.goal_case() == v1::Objective::kMaximize &&
        !objective.has_reference()) {
      objective.set_reference(0);
    }
  }
  FillStrategy(out.mutable_strategy());
  if (out.has_train()) {
    FillTrain(ImageHeight(out.space()), out.mutable_train());
  }
  if (out.has_replay()) {
    FillReplay(out.mutable_replay());
  } else if (!out.has_external()) {
    FillMeasure(out.mutable_measure());
  } else if (!out.external().has_lease()) {
    *out.mutable_external()->mutable_lease() = ToProto(absl::Hours(1));
  }
  if (out.max_attempts() == 0) out.set_max_attempts(3);
  // `max_parallel_trials` stays unset: the fleet's size is not known here.
  return out;
}

}  // namespace hwnas
