// Every "unset means" of study.proto, in its order.
#include <algorithm>
#include <optional>
#include <variant>
#include <vector>

#include "nas/space/macro.h"
#include "nas/space/mobile.h"
#include "proto/convert/convert.h"
#include "proto/convert/space_spec.h"

namespace hwnas {
namespace {

template <typename In, typename Out>
void FillIfEmpty(const In& defaults, Out* field) {
  if (!field->empty()) return;
  for (const auto& value : defaults) *field->Add() = value;
}

template <typename Out>
void FillSkeleton(const MacroConfig& defaults, Out* out) {
  FillIfEmpty(defaults.channel_choices, out->mutable_channel_choices());
  out->set_stem_stride(defaults.stem_stride);
  FillIfEmpty(defaults.depth_choices, out->mutable_depth_choices());
  if (!defaults.layers.empty()) return;  // Nothing to bound.
  out->set_min_doublings(*defaults.min_doublings);
  out->set_max_doublings(*defaults.max_doublings);
  out->set_min_halvings(*defaults.min_halvings);
  out->set_max_halvings(*defaults.max_halvings);
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
  } else if (space->has_macro()) {
    const absl::StatusOr<SpaceConfig> given = FromProto(*space);
    if (!given.ok()) return;
    const MacroConfig defaults = WithPreset(std::get<MacroConfig>(*given));
    v1::MacroSpace& out = *space->mutable_macro();
    // Written out; of an unknown one there is nothing.
    if (defaults.preset.empty() || IsMacroPreset(defaults.preset)) {
      out.clear_preset();
    }
    FillSkeleton(defaults, &out);
    FillIfEmpty(defaults.operators, out.mutable_operators());
    out.clear_layers();
    for (const MacroLayerConfig& in : defaults.layers) {
      v1::MacroLayer& layer = *out.add_layers();
      layer.set_channels(in.channels);
      layer.set_stride(in.stride);
    }
    out.set_blocks(defaults.blocks);
    out.set_final_channels(defaults.final_channels);
  } else if (space->has_dag()) {
    const absl::StatusOr<SpaceConfig> given = FromProto(*space);
    if (!given.ok()) return;
    const DagConfig& defaults = std::get<DagConfig>(*given);
    v1::DagSpace& out = *space->mutable_dag();
    out.set_channels(defaults.channels);
    out.set_stacks(defaults.stacks);
    out.set_cells(defaults.cells);
    out.set_nodes(defaults.cell.nodes);
    out.set_max_edges(defaults.cell.max_edges);
  } else if (space->has_ofa()) {
    v1::OfaSpace& out = *space->mutable_ofa();
    FillIfEmpty(std::vector<double>{1}, out.mutable_width_choices());
    FillIfEmpty(OfaResolutions(out), out.mutable_resolution_choices());
  } else if (space->has_hierarchical()) {
    const absl::StatusOr<SpaceConfig> given = FromProto(*space);
    if (!given.ok()) return;
    const MacroConfig defaults = WithPreset(std::get<MacroConfig>(*given));
    v1::HierarchicalSpace& out = *space->mutable_hierarchical();
    FillSkeleton(defaults, &out);
    out.set_cells(defaults.blocks);
    if (out.cell().has_dag()) {
      const DagCellConfig& cell = std::get<DagCellConfig>(*defaults.cell);
      out.mutable_cell()->mutable_dag()->set_nodes(cell.nodes);
      out.mutable_cell()->mutable_dag()->set_max_edges(cell.max_edges);
    }
    if (out.cell().kind_case() == v1::CellSpec::KIND_NOT_SET) {
      out.mutable_cell()->mutable_nasbench201();
    }
  }
}

// `mutation` stays unset: the strategy knows the number of choices.
template <typename Config, typename Proto>
void FillVariation(const Config& defaults, Proto* out) {
  if (out->population() == 0) out->set_population(defaults.population);
  if (!out->has_crossover()) out->set_crossover(defaults.crossover);
}

void FillStrategy(v1::StrategySpec* strategy) {
  switch (strategy->kind_case()) {
    case v1::StrategySpec::KIND_NOT_SET:
      strategy->mutable_auto_();
      break;
    case v1::StrategySpec::kAuto:
    case v1::StrategySpec::kRandom:
    case v1::StrategySpec::kQuasiRandom:
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
    case v1::StrategySpec::kNsga2:
      FillVariation(Nsga2Config{}, strategy->mutable_nsga2());
      break;
    case v1::StrategySpec::kNsga3:
      FillVariation(Nsga3Config{}, strategy->mutable_nsga3());
      break;
    case v1::StrategySpec::kMoead: {
      const MoeadConfig defaults;
      v1::MoeadStrategy& out = *strategy->mutable_moead();
      FillVariation(defaults, &out);
      if (out.neighbours() == 0) {
        out.set_neighbours(std::min(defaults.neighbours, out.population()));
      }
      break;
    }
    case v1::StrategySpec::kLocalSearch: {
      v1::LocalSearchStrategy& out = *strategy->mutable_local_search();
      if (out.starts() == 0) out.set_starts(LocalSearchConfig{}.starts);
      break;
    }
    case v1::StrategySpec::kReinforce: {
      const ReinforceConfig defaults;
      v1::ReinforceStrategy& out = *strategy->mutable_reinforce();
      if (!out.has_initial_design()) {
        out.set_initial_design(defaults.initial_design);
      }
      if (out.directions() == 0) out.set_directions(defaults.directions);
      if (!out.has_learning_rate()) {
        out.set_learning_rate(defaults.learning_rate);
      }
      break;
    }
    case v1::StrategySpec::kMotpe: {
      const MotpeConfig defaults;
      v1::MotpeStrategy& out = *strategy->mutable_motpe();
      if (out.initial() == 0) out.set_initial(defaults.initial);
      if (out.candidates() == 0) out.set_candidates(defaults.candidates);
      if (!out.has_multivariate()) out.set_multivariate(defaults.multivariate);
      break;
    }
    case v1::StrategySpec::kBayesian: {
      v1::BayesianStrategy& out = *strategy->mutable_bayesian();
      if (out.initial() == 0) out.set_initial(BayesianConfig{}.initial);
      break;
    }
    case v1::StrategySpec::kMoBananas: {
      const MoBananasConfig defaults;
      v1::MoBananasStrategy& out = *strategy->mutable_mo_bananas();
      if (out.initial() == 0) out.set_initial(defaults.initial);
      if (out.networks() == 0) out.set_networks(defaults.networks);
      if (out.candidates() == 0) out.set_candidates(defaults.candidates);
      break;
    }
  }
}

void FillScalarization(v1::StudySpec* spec) {
  v1::Scalarization& out = *spec->mutable_scalarization();
  if (out.has_weighted_product()) {
    auto& terms = *out.mutable_weighted_product()->mutable_terms();
    for (int i = 0; i < terms.size() && i < spec->objectives_size(); ++i) {
      const bool maximize =
          spec->objectives(i).goal_case() == v1::Objective::kMaximize;
      if (!terms[i].has_target()) terms[i].set_target(1);
      if (!terms[i].has_alpha()) {
        terms[i].set_alpha(WeightedProduct::DefaultExponent(maximize));
      }
      if (!terms[i].has_beta()) terms[i].set_beta(terms[i].alpha());
    }
  } else if (out.has_chebyshev()) {
    v1::Chebyshev& chebyshev = *out.mutable_chebyshev();
    if (chebyshev.ideal().empty()) {
      for (const v1::Objective& objective : spec->objectives()) {
        chebyshev.add_ideal(DefaultIdeal(objective));
      }
    }
    if (!chebyshev.has_rho()) chebyshev.set_rho(Chebyshev().rho);
  }
}

// Height of the images that are trained on; unknown if it is searched.
std::optional<int> ImageHeight(const v1::SpaceSpec& space) {
  const std::optional<SpaceImages> images = ImagesOf(space);
  if (!images || !images->resolutions.empty()) return std::nullopt;
  if (images->input.size() != 3) return std::nullopt;
  return images->input[1];
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

template <typename Spec>
void FillRungs(const std::vector<int>& rungs, Spec* fidelity) {
  if (fidelity->front_order().empty()) {
    fidelity->set_front_order(kHypervolumeOrder);
  }
  // Written out, so that the study stays the same when a later release chooses
  // others.
  fidelity->mutable_rungs()->Assign(rungs.begin(), rungs.end());
  fidelity->clear_min_epochs();
  // `eta` stays unset: it follows from the rungs.
}

template <typename Spec, typename Config>
void FillStop(const Config& filled, Spec* fidelity) {
  fidelity->set_min_epochs(filled.min_epochs);
  fidelity->set_min_trials(filled.min_trials);
}

// After what the whole training is about.
void FillFidelity(v1::StudySpec* spec) {
  const std::vector<int> rungs = RungsOf(*spec);
  const absl::StatusOr<FidelityConfig> filled = FidelityFromProto(*spec);
  v1::FidelitySpec* fidelity = spec->mutable_fidelity();
  switch (fidelity->kind_case()) {
    case v1::FidelitySpec::kAsha:
      FillRungs(rungs, fidelity->mutable_asha());
      if (fidelity->asha().brackets() == 0) {
        fidelity->mutable_asha()->set_brackets(AshaConfig{}.brackets);
      }
      break;
    case v1::FidelitySpec::kSuccessiveHalving:
      FillRungs(rungs, fidelity->mutable_successive_halving());
      break;
    case v1::FidelitySpec::kHyperband:
      FillRungs(rungs, fidelity->mutable_hyperband());
      break;
    case v1::FidelitySpec::kMedianStop:
      FillStop(std::get<MedianStopConfig>(*filled),
               fidelity->mutable_median_stop());
      break;
    case v1::FidelitySpec::kLearningCurveStop: {
      const auto& config = std::get<LearningCurveStopConfig>(*filled);
      FillStop(config, fidelity->mutable_learning_curve_stop());
      fidelity->mutable_learning_curve_stop()->set_chance(config.chance);
      break;
    }
    case v1::FidelitySpec::KIND_NOT_SET:
      break;
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
    if (!objective.devices().empty() &&
        objective.over_devices() == v1::Objective::OVER_DEVICES_UNSPECIFIED) {
      objective.set_over_devices(v1::Objective::EACH);
    }
  }
  if (out.has_scalarization()) FillScalarization(&out);
  if (out.has_preference() && !out.preference().aspiration().empty() &&
      !out.preference().has_focus()) {
    out.mutable_preference()->set_focus(Preference().focus);
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
  if (out.has_fidelity()) FillFidelity(&out);
  if (out.max_attempts() == 0) out.set_max_attempts(3);
  // `max_parallel_trials` stays unset: the fleet's size is not known here.
  return out;
}

}  // namespace hwnas
