#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "proto/convert/convert.h"

namespace hwnas {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::testing::ElementsAre;

TEST(StrategyConversion, UnsetIsAuto) {
  EXPECT_TRUE(
      std::holds_alternative<AutoConfig>(*FromProto(v1::StrategySpec())));
}

TEST(StrategyConversion, TakesEveryKindWithItsDefaults) {
  v1::StrategySpec spec;
  spec.mutable_random();
  EXPECT_TRUE(std::holds_alternative<RandomConfig>(*FromProto(spec)));
  spec.mutable_ageing_evolution();
  auto ageing = std::get<AgeingEvolutionConfig>(*FromProto(spec));
  EXPECT_EQ(ageing.population, 20);
  EXPECT_EQ(ageing.sample_size, 20);
  spec.mutable_ageing_evolution()->set_population(6);
  ageing = std::get<AgeingEvolutionConfig>(*FromProto(spec));
  EXPECT_EQ(ageing.sample_size, 6);  // Never more than the population.
  spec.mutable_nsga2()->set_population(12);
  auto nsga2 = std::get<Nsga2Config>(*FromProto(spec));
  EXPECT_EQ(nsga2.population, 12);
  EXPECT_EQ(nsga2.crossover, 0.9);
  EXPECT_EQ(nsga2.mutation, 0);
  spec.mutable_nsga2()->set_crossover(0);
  spec.mutable_nsga2()->set_mutation(0.25);
  nsga2 = std::get<Nsga2Config>(*FromProto(spec));
  EXPECT_EQ(nsga2.crossover, 0);
  EXPECT_EQ(nsga2.mutation, 0.25);
}

// What a study file leaves out is what the strategy's own default is, and what
// WithDefaults writes.
TEST(StrategyFromProto, TakesDefaultsFromTheStrategies) {
  v1::StudySpec spec;
  spec.mutable_strategy()->mutable_quasi_random();
  EXPECT_TRUE(
      std::holds_alternative<QuasiRandomConfig>(*FromProto(spec.strategy())));

  spec.mutable_strategy()->mutable_nsga3();
  EXPECT_EQ(WithDefaults(spec).strategy().nsga3().population(),
            Nsga3Config{}.population);
  spec.mutable_strategy()->mutable_nsga3()->set_population(12);
  EXPECT_EQ(std::get<Nsga3Config>(*FromProto(spec.strategy())).population, 12);

  spec.mutable_strategy()->mutable_moead();
  EXPECT_EQ(WithDefaults(spec).strategy().moead().neighbours(),
            MoeadConfig{}.neighbours);
  spec.mutable_strategy()->mutable_moead()->set_population(4);
  EXPECT_EQ(std::get<MoeadConfig>(*FromProto(spec.strategy())).neighbours, 4);
  EXPECT_EQ(WithDefaults(spec).strategy().moead().neighbours(), 4);

  spec.mutable_strategy()->mutable_local_search();
  EXPECT_EQ(WithDefaults(spec).strategy().local_search().starts(),
            LocalSearchConfig{}.starts);
  spec.mutable_strategy()->mutable_local_search()->set_starts(3);
  EXPECT_EQ(std::get<LocalSearchConfig>(*FromProto(spec.strategy())).starts, 3);

  v1::ReinforceStrategy& in = *spec.mutable_strategy()->mutable_reinforce();
  const v1::ReinforceStrategy filled =
      WithDefaults(spec).strategy().reinforce();
  const ReinforceConfig defaults;
  EXPECT_EQ(filled.initial_design(), defaults.initial_design);
  EXPECT_EQ(filled.directions(), defaults.directions);
  EXPECT_EQ(filled.learning_rate(), defaults.learning_rate);
  in.set_initial_design(0);
  in.set_directions(4);
  in.set_learning_rate(1);
  const auto reinforce = std::get<ReinforceConfig>(*FromProto(spec.strategy()));
  EXPECT_EQ(reinforce.initial_design, 0);
  EXPECT_EQ(reinforce.directions, 4);
  EXPECT_EQ(reinforce.learning_rate, 1);

  spec.mutable_strategy()->mutable_motpe();
  EXPECT_EQ(WithDefaults(spec).strategy().motpe().candidates(),
            MotpeConfig{}.candidates);
  EXPECT_TRUE(WithDefaults(spec).strategy().motpe().multivariate());
  EXPECT_TRUE(std::get<MotpeConfig>(*FromProto(spec.strategy())).multivariate);
  spec.mutable_strategy()->mutable_motpe()->set_initial(20);
  spec.mutable_strategy()->mutable_motpe()->set_candidates(50);
  spec.mutable_strategy()->mutable_motpe()->set_multivariate(false);
  const auto motpe = std::get<MotpeConfig>(*FromProto(spec.strategy()));
  EXPECT_EQ(motpe.initial, 20);
  EXPECT_EQ(motpe.candidates, 50);
  EXPECT_FALSE(motpe.multivariate);

  spec.mutable_strategy()->mutable_bayesian();
  EXPECT_EQ(WithDefaults(spec).strategy().bayesian().initial(),
            BayesianConfig{}.initial);
  spec.mutable_strategy()->mutable_bayesian()->set_initial(7);
  EXPECT_EQ(std::get<BayesianConfig>(*FromProto(spec.strategy())).initial, 7);

  spec.mutable_strategy()->mutable_mo_bananas();
  EXPECT_EQ(WithDefaults(spec).strategy().mo_bananas().networks(),
            MoBananasConfig{}.networks);
  spec.mutable_strategy()->mutable_mo_bananas()->set_initial(20);
  spec.mutable_strategy()->mutable_mo_bananas()->set_networks(4);
  spec.mutable_strategy()->mutable_mo_bananas()->set_candidates(50);
  const auto bananas = std::get<MoBananasConfig>(*FromProto(spec.strategy()));
  EXPECT_EQ(bananas.initial, 20);
  EXPECT_EQ(bananas.networks, 4);
  EXPECT_EQ(bananas.candidates, 50);
}

v1::StudySpec Spec() {
  v1::StudySpec spec;
  spec.add_objectives()->set_maximize("accuracy");
  v1::Objective& latency = *spec.add_objectives();
  latency.set_minimize("latency_ms");
  latency.set_device("x86_64");
  latency.set_reference(20);
  v1::Constraint& params = *spec.add_constraints();
  params.set_metric("params_m");
  params.set_at_most(0.5);
  return spec;
}

TEST(ProblemFromProto, KeepsOrderSenseAndLimits) {
  const Problem problem = ProblemFromProto(Spec());
  ASSERT_EQ(problem.objectives.size(), 2);
  EXPECT_EQ(problem.objectives[0].key, (MetricKey{"accuracy", ""}));
  EXPECT_TRUE(problem.objectives[0].maximize);
  EXPECT_FALSE(problem.objectives[0].reference.has_value());
  EXPECT_EQ(problem.objectives[1].key, (MetricKey{"latency_ms", "x86_64"}));
  EXPECT_FALSE(problem.objectives[1].maximize);
  EXPECT_EQ(problem.objectives[1].reference, 20);
  ASSERT_EQ(problem.constraints.size(), 1);
  EXPECT_EQ(problem.constraints[0].at_most, 0.5);
  EXPECT_FALSE(problem.constraints[0].at_least.has_value());
}

v1::StudySpec OnTwoDevices(v1::Objective::OverDevices over) {
  v1::StudySpec spec = Spec();
  v1::Objective& latency = *spec.mutable_objectives(1);
  latency.clear_device();
  latency.add_devices("x86_64");
  latency.add_devices("raspberrypi5");
  latency.set_over_devices(over);
  return spec;
}

TEST(ProblemFromProto, MakesAnObjectiveForEachDevice) {
  for (const auto over :
       {v1::Objective::EACH, v1::Objective::OVER_DEVICES_UNSPECIFIED}) {
    const Problem problem = ProblemFromProto(OnTwoDevices(over));
    ASSERT_EQ(problem.objectives.size(), 3);
    EXPECT_FALSE(problem.objectives[0].own_front);
    EXPECT_EQ(problem.objectives[1].key, (MetricKey{"latency_ms", "x86_64"}));
    EXPECT_EQ(problem.objectives[2].key,
              (MetricKey{"latency_ms", "raspberrypi5"}));
    EXPECT_EQ(problem.objectives[2].reference, 20);
    EXPECT_THAT(problem.FrontDevices(), ElementsAre("x86_64", "raspberrypi5"));
  }
}

TEST(ProblemFromProto, MakesOneObjectiveOfTheWorstDevice) {
  const Problem problem = ProblemFromProto(OnTwoDevices(v1::Objective::WORST));
  ASSERT_EQ(problem.objectives.size(), 2);
  EXPECT_EQ(problem.objectives[1].key, (MetricKey{"latency_ms", "worst"}));
  EXPECT_THAT(problem.objectives[1].worst_of,
              ElementsAre("x86_64", "raspberrypi5"));
  EXPECT_TRUE(problem.FrontDevices().empty());
}

TEST(ProblemFromProto, GivesEachDeviceTheEntryOfItsObjective) {
  v1::StudySpec spec = OnTwoDevices(v1::Objective::EACH);
  v1::Scalarization& scalarization = *spec.mutable_scalarization();
  scalarization.mutable_weighted_sum()->add_weights(1);
  scalarization.mutable_weighted_sum()->add_weights(0.5);
  EXPECT_THAT(
      std::get<WeightedSum>(ProblemFromProto(spec).scalarization).weights,
      ElementsAre(1, 0.5, 0.5));
  scalarization.mutable_chebyshev()->add_weights(1);
  scalarization.mutable_chebyshev()->add_weights(2);
  const auto chebyshev =
      std::get<Chebyshev>(ProblemFromProto(spec).scalarization);
  EXPECT_THAT(chebyshev.weights, ElementsAre(1, 2, 2));
  EXPECT_THAT(chebyshev.ideal, ElementsAre(-100, 0, 0));
  EXPECT_EQ(chebyshev.rho, 0.05);
  spec.clear_scalarization();
  spec.mutable_preference()->add_aspiration(90);
  spec.mutable_preference()->add_aspiration(4);
  EXPECT_THAT(ProblemFromProto(spec).preference->aspiration,
              ElementsAre(-90, 4, 4));
  EXPECT_EQ(ProblemFromProto(spec).preference->focus, 0.5);
}

TEST(ProblemFromProto, FillsTheExponentsOfMnasNet) {
  v1::StudySpec spec = Spec();
  auto& product = *spec.mutable_scalarization()->mutable_weighted_product();
  product.add_terms();
  product.add_terms()->set_target(75);
  auto terms =
      std::get<WeightedProduct>(ProblemFromProto(spec).scalarization).terms;
  EXPECT_TRUE(terms[0].maximize);
  EXPECT_EQ(terms[0].alpha, 1);
  EXPECT_EQ(terms[0].beta, 1);
  EXPECT_FALSE(terms[1].maximize);
  EXPECT_EQ(terms[1].target, 75);
  EXPECT_EQ(terms[1].alpha, -0.07);
  EXPECT_EQ(terms[1].beta, -0.07);
  product.mutable_terms(1)->set_alpha(0);
  product.mutable_terms(1)->set_beta(-1);
  terms = std::get<WeightedProduct>(ProblemFromProto(spec).scalarization).terms;
  EXPECT_EQ(terms[1].alpha, 0);
  EXPECT_EQ(terms[1].beta, -1);
}

TEST(ProblemFromProto, TurnsLimitsIntoConstraintsOnEveryDevice) {
  v1::StudySpec spec = OnTwoDevices(v1::Objective::WORST);
  auto& epsilon = *spec.mutable_scalarization()->mutable_epsilon_constraint();
  epsilon.set_optimize("accuracy");
  epsilon.add_limits(10);
  Problem problem = ProblemFromProto(spec);
  EXPECT_EQ(std::get<EpsilonConstraint>(problem.scalarization).objective, 0);
  ASSERT_EQ(problem.constraints.size(), 3);  // That on params_m is first.
  EXPECT_EQ(problem.constraints[1].key, (MetricKey{"latency_ms", "x86_64"}));
  EXPECT_EQ(problem.constraints[1].at_most, 10);
  EXPECT_EQ(problem.constraints[2].key,
            (MetricKey{"latency_ms", "raspberrypi5"}));
  // The other way round, by any name of the objective.
  for (const char* name : {"latency_ms", "latency_ms@worst"}) {
    epsilon.set_optimize(name);
    epsilon.set_limits(0, 85);
    problem = ProblemFromProto(spec);
    EXPECT_EQ(std::get<EpsilonConstraint>(problem.scalarization).objective, 1);
    ASSERT_EQ(problem.constraints.size(), 2);
    EXPECT_EQ(problem.constraints[1].key.metric, "accuracy");
    EXPECT_EQ(problem.constraints[1].at_least, 85);
    EXPECT_FALSE(problem.constraints[1].at_most.has_value());
  }
}

TEST(StagesOf, MeasuresOnEveryDeviceOfAnObjective) {
  for (const auto over : {v1::Objective::EACH, v1::Objective::WORST}) {
    EXPECT_THAT(
        StagesOf(OnTwoDevices(over)),
        ElementsAre(StageKey{v1::SCREEN, ""},
                    StageKey{v1::MEASURE, "raspberrypi5"},
                    StageKey{v1::MEASURE, "x86_64"}, StageKey{v1::TRAIN, ""}));
  }
}

TEST(StagesOf, NeedsOnlyWhatTheMetricsNeed) {
  v1::StudySpec spec;
  spec.add_objectives()->set_minimize("flops_m");
  EXPECT_THAT(StagesOf(spec), ElementsAre(StageKey{v1::SCREEN, ""}));
  spec.add_objectives()->set_maximize("accuracy");
  EXPECT_THAT(StagesOf(spec),
              ElementsAre(StageKey{v1::SCREEN, ""}, StageKey{v1::TRAIN, ""}));
}

TEST(StagesOf, MeasuresOncePerDeviceClassSortedAndBeforeTraining) {
  v1::StudySpec spec = Spec();
  v1::Constraint& energy = *spec.add_constraints();
  energy.set_metric("energy_mj");
  energy.set_device("jetson-orin-nano");
  v1::Constraint& memory = *spec.add_constraints();
  memory.set_metric("peak_memory_mb");
  memory.set_device("x86_64");
  EXPECT_THAT(
      StagesOf(spec),
      ElementsAre(StageKey{v1::SCREEN, ""},
                  StageKey{v1::MEASURE, "jetson-orin-nano"},
                  StageKey{v1::MEASURE, "x86_64"}, StageKey{v1::TRAIN, ""}));
}

TEST(StagesOf, ConstraintAloneCanRequireTraining) {
  v1::StudySpec spec;
  spec.add_objectives()->set_minimize("flops_m");
  spec.add_constraints()->set_metric("validation_loss");
  EXPECT_THAT(StagesOf(spec),
              ElementsAre(StageKey{v1::SCREEN, ""}, StageKey{v1::TRAIN, ""}));
}

TEST(StagesOf, AsksOnlyInAnExternalStudy) {
  v1::StudySpec spec = Spec();
  spec.mutable_external();
  EXPECT_THAT(StagesOf(spec), ElementsAre(StageKey{v1::ASK, ""}));
}

TEST(WithDefaults, FillsEachAsStudyProtoSays) {
  v1::StudySpec spec = Spec();
  v1::Nasbench201Space& space = *spec.mutable_space()->mutable_nasbench201();
  for (const int v : {1, 28, 28}) space.add_input(v);
  spec.mutable_train()->set_dataset("mnist");
  const v1::StudySpec filled = WithDefaults(spec);
  EXPECT_EQ(filled.space().nasbench201().channels(), 16);
  EXPECT_EQ(filled.space().nasbench201().cells(), 5);
  EXPECT_EQ(filled.objectives(0).reference(), 0);
  EXPECT_TRUE(filled.objectives(0).has_reference());
  EXPECT_EQ(filled.objectives(1).reference(), 20);
  EXPECT_TRUE(filled.strategy().has_auto_());
  const v1::TrainSpec& train = filled.train();
  EXPECT_EQ(train.dataset(), "mnist");
  EXPECT_EQ(train.data_dir(), "");
  EXPECT_EQ(train.epochs(), 12);
  EXPECT_EQ(train.batch(), 128);
  EXPECT_EQ(train.data_fraction(), 1);
  EXPECT_EQ(train.validation_fraction(), 0.1);
  EXPECT_EQ(train.learning_rate(), 0.1);
  EXPECT_EQ(train.momentum(), 0.9);
  EXPECT_EQ(train.weight_decay(), 5e-4);
  EXPECT_EQ(train.label_smoothing(), 0.1);
  EXPECT_DOUBLE_EQ(train.warmup_epochs(), 0.6);
  EXPECT_TRUE(train.augment());
  EXPECT_TRUE(train.has_crop_padding());
  EXPECT_EQ(train.crop_padding(), 3);  // 28 / 8, rounded down.
  EXPECT_EQ(train.cutout(), 0);
  EXPECT_EQ(train.threads(), 0);
  const v1::MeasureSpec& measure = filled.measure();
  EXPECT_EQ(measure.runtime(), "onnxruntime");
  EXPECT_EQ(measure.threads(), 1);
  EXPECT_EQ(measure.batch(), 1);
  EXPECT_EQ(measure.precision(), "fp32");
  EXPECT_EQ(measure.target_half_width(), 0.02);
  EXPECT_EQ(FromProto(measure.min_time()), absl::Milliseconds(300));
  EXPECT_EQ(FromProto(measure.max_time()), absl::Seconds(5));
  EXPECT_EQ(filled.max_attempts(), 3);
  EXPECT_EQ(filled.max_parallel_trials(), 0);  // Depends on the fleet.
  EXPECT_FALSE(filled.budget().has_wall_clock());
  EXPECT_FALSE(filled.has_external());
}

TEST(WithDefaults, FillsScalarizationPreferenceAndDevices) {
  v1::StudySpec spec = OnTwoDevices(v1::Objective::OVER_DEVICES_UNSPECIFIED);
  auto& product = *spec.mutable_scalarization()->mutable_weighted_product();
  product.add_terms();
  product.add_terms()->set_target(75);
  v1::StudySpec filled = WithDefaults(spec);
  EXPECT_EQ(filled.objectives(1).over_devices(), v1::Objective::EACH);
  EXPECT_EQ(filled.objectives(0).over_devices(),
            v1::Objective::OVER_DEVICES_UNSPECIFIED);
  const auto& terms = filled.scalarization().weighted_product().terms();
  EXPECT_EQ(terms[0].target(), 1);
  EXPECT_EQ(terms[0].beta(), 1);
  EXPECT_EQ(terms[1].target(), 75);
  EXPECT_EQ(terms[1].beta(), -0.07);
  EXPECT_FALSE(filled.has_preference());

  spec.mutable_scalarization()->mutable_chebyshev();
  filled = WithDefaults(spec);
  EXPECT_THAT(filled.scalarization().chebyshev().ideal(), ElementsAre(100, 0));
  EXPECT_EQ(filled.scalarization().chebyshev().rho(), 0.05);
  EXPECT_TRUE(MessageDifferencer::Equals(WithDefaults(filled), filled));

  spec.clear_scalarization();
  spec.mutable_preference();
  EXPECT_FALSE(WithDefaults(spec).preference().has_focus());
  spec.mutable_preference()->add_aspiration(90);
  EXPECT_EQ(WithDefaults(spec).preference().focus(), 0.5);
  EXPECT_FALSE(WithDefaults(spec).has_scalarization());
}

TEST(WithDefaults, FillsMobileChoicesStrategiesAndLeases) {
  v1::StudySpec spec = Spec();
  v1::MobileSpace& space = *spec.mutable_space()->mutable_mobile();
  for (const int v : {3, 32, 32}) space.add_input(v);
  space.set_classes(10);
  space.add_stages()->set_channels(24);
  spec.mutable_strategy()->mutable_ageing_evolution()->set_population(8);
  spec.mutable_external();
  v1::StudySpec filled = WithDefaults(spec);
  const v1::MobileSpace& mobile = filled.space().mobile();
  EXPECT_THAT(mobile.kernel_choices(), ElementsAre(3, 5, 7));
  EXPECT_THAT(mobile.expansion_choices(), ElementsAre(3, 4, 6));
  EXPECT_THAT(mobile.depth_choices(), ElementsAre(2, 3, 4));
  EXPECT_THAT(mobile.width_choices(), ElementsAre(1.0));
  EXPECT_EQ(mobile.stages(0).stride(), 1);
  EXPECT_EQ(filled.strategy().ageing_evolution().sample_size(), 8);
  EXPECT_EQ(FromProto(filled.external().lease()), absl::Hours(1));
  EXPECT_FALSE(filled.has_measure());  // Nothing is measured by us.
  EXPECT_FALSE(filled.has_train());
  spec.mutable_strategy()->mutable_nsga2();
  filled = WithDefaults(spec);
  EXPECT_EQ(filled.strategy().nsga2().population(), Nsga2Config{}.population);
  EXPECT_EQ(filled.strategy().nsga2().crossover(), 0.9);
}

// A study keeps its network when a later release has another preset.
TEST(WithDefaults, WritesThePresetOutWithoutChangingTheSpace) {
  for (const int side : {28, 32, 64, 224}) {
    for (const bool given : {false, true}) {
      v1::StudySpec spec;
      v1::MobileSpace& space = *spec.mutable_space()->mutable_mobile();
      for (const int v : {3, side, side}) space.add_input(v);
      space.set_classes(10);
      if (given) space.add_stages()->set_channels(24);
      const v1::StudySpec filled = WithDefaults(spec);
      EXPECT_GT(filled.space().mobile().stages_size(), 0);
      EXPECT_GT(filled.space().mobile().stem_stride(), 0);
      EXPECT_EQ((*CreateSpace(*FromProto(filled.space())))->key(),
                (*CreateSpace(*FromProto(spec.space())))->key());
      EXPECT_TRUE(MessageDifferencer::Equals(WithDefaults(filled), filled));
    }
  }
}

TEST(WithDefaults, WritesMacroPresetsOutWithoutChangingTheSpace) {
  for (const char* preset : {"", "nasbench_macro", "transnasbench101"}) {
    v1::StudySpec spec;
    v1::MacroSpace& space = *spec.mutable_space()->mutable_macro();
    for (const int v : {3, 64, 64}) space.add_input(v);
    space.set_classes(10);
    space.set_preset(preset);
    const v1::StudySpec filled = WithDefaults(spec);
    EXPECT_EQ(filled.space().macro().preset(), "");
    EXPECT_GT(filled.space().macro().operators_size(), 0);
    EXPECT_EQ((*CreateSpace(*FromProto(filled.space())))->key(),
              (*CreateSpace(*FromProto(spec.space())))->key());
    EXPECT_TRUE(MessageDifferencer::Equals(WithDefaults(filled), filled));
  }
  v1::StudySpec spec;
  v1::HierarchicalSpace& space = *spec.mutable_space()->mutable_hierarchical();
  for (const int v : {1, 28, 28}) space.add_input(v);
  space.set_classes(10);
  const v1::StudySpec filled = WithDefaults(spec);
  EXPECT_TRUE(filled.space().hierarchical().cell().has_nasbench201());
  EXPECT_EQ(filled.space().hierarchical().cells(), 1);
  EXPECT_EQ((*CreateSpace(*FromProto(filled.space())))->key(),
            (*CreateSpace(*FromProto(spec.space())))->key());
  EXPECT_TRUE(MessageDifferencer::Equals(WithDefaults(filled), filled));
}

TEST(WithDefaults, LeavesThePaddingToTheWorkerWhereResolutionIsSearched) {
  v1::StudySpec spec;
  v1::MobileSpace& space = *spec.mutable_space()->mutable_mobile();
  for (const int v : {3, 224, 224}) space.add_input(v);
  space.set_classes(10);
  space.add_resolution_choices(24);
  spec.mutable_train();
  EXPECT_FALSE(WithDefaults(spec).train().has_crop_padding());
}

TEST(WithDefaults, ChangesNothingThatIsSetAndNothingTwice) {
  v1::StudySpec spec = Spec();
  v1::TrainSpec& train = *spec.mutable_train();
  train.set_dataset("cifar10");
  train.set_epochs(3);
  train.set_validation_fraction(0.25);
  train.set_momentum(0);
  train.set_weight_decay(0);
  train.set_augment(false);
  train.set_crop_padding(0);
  train.set_warmup_epochs(0);
  spec.mutable_measure()->set_runtime("libtorch");
  spec.set_max_attempts(1);
  const v1::StudySpec once = WithDefaults(spec);
  EXPECT_EQ(once.train().epochs(), 3);
  EXPECT_EQ(once.train().validation_fraction(), 0.25);
  EXPECT_EQ(once.train().momentum(), 0);
  EXPECT_EQ(once.train().weight_decay(), 0);
  EXPECT_FALSE(once.train().augment());
  EXPECT_EQ(once.train().crop_padding(), 0);
  EXPECT_EQ(once.train().warmup_epochs(), 0);
  EXPECT_EQ(once.measure().runtime(), "libtorch");
  EXPECT_EQ(once.max_attempts(), 1);
  EXPECT_TRUE(MessageDifferencer::Equals(WithDefaults(once), once));
}

std::vector<int> Rungs(const v1::StudySpec& spec) {
  const v1::StudySpec filled = WithDefaults(spec);
  EXPECT_TRUE(MessageDifferencer::Equals(WithDefaults(filled), filled));
  EXPECT_EQ(RungsOf(filled), RungsOf(spec));
  return RungsOf(filled);
}

TEST(Fidelity, ChoosesRungsByItself) {
  v1::StudySpec spec = Spec();
  EXPECT_THAT(RungsOf(spec), ElementsAre());
  spec.mutable_train()->set_epochs(27);
  v1::AshaFidelity& asha = *spec.mutable_fidelity()->mutable_asha();
  EXPECT_THAT(Rungs(spec), ElementsAre(1, 3, 9, 27));
  spec.mutable_train()->set_epochs(200);
  EXPECT_THAT(Rungs(spec), ElementsAre(8, 24, 72, 200));
  spec.mutable_train()->clear_epochs();
  EXPECT_THAT(Rungs(spec), ElementsAre(1, 3, 12));
  asha.set_min_epochs(2);
  asha.set_eta(2.5);
  EXPECT_THAT(Rungs(spec), ElementsAre(2, 5, 12));
  asha.clear_min_epochs();
  for (const int epochs : {1, 12}) asha.add_rungs(epochs);
  EXPECT_THAT(Rungs(spec), ElementsAre(1, 12));
  spec.mutable_fidelity()->mutable_median_stop();
  EXPECT_THAT(Rungs(spec), ElementsAre());
}

TEST(Fidelity, MakesEachRungAStageOfTraining) {
  v1::StudySpec spec = Spec();
  spec.mutable_train()->set_epochs(9);
  spec.mutable_fidelity()->mutable_hyperband();
  std::vector<StageKey> stages = StagesOf(spec);
  ASSERT_GE(stages.size(), 3u);
  EXPECT_EQ(stages.back(), (StageKey{v1::TRAIN, "", 9}));
  EXPECT_EQ(stages[stages.size() - 3], (StageKey{v1::TRAIN, "", 1}));
  spec.mutable_fidelity()->mutable_median_stop();
  EXPECT_EQ(StagesOf(spec).back(), (StageKey{v1::TRAIN, ""}));
}

TEST(Fidelity, ConvertsEveryKind) {
  v1::StudySpec spec = Spec();
  spec.mutable_train()->set_epochs(25);
  v1::AshaFidelity& asha = *spec.mutable_fidelity()->mutable_asha();
  asha.set_eta(4);
  asha.set_brackets(2);
  asha.set_front_order("epsilon_net");
  const auto config =
      std::get<AshaConfig>(*FidelityFromProto(WithDefaults(spec)));
  EXPECT_EQ(config.eta, 4);
  EXPECT_EQ(config.brackets, 2);
  EXPECT_EQ(config.order, FrontOrder::kEpsilonNet);
  spec.mutable_fidelity()->mutable_successive_halving()->set_cohort(17);
  EXPECT_EQ(std::get<SuccessiveHalvingConfig>(*FidelityFromProto(spec)).cohort,
            17);
  spec.mutable_fidelity()->mutable_hyperband();
  EXPECT_EQ(std::get<HyperbandConfig>(*FidelityFromProto(spec)).eta, 0);
  spec.mutable_fidelity()->mutable_median_stop();
  EXPECT_EQ(std::get<MedianStopConfig>(*FidelityFromProto(spec)).min_epochs, 3);
  v1::LearningCurveStopFidelity& curve =
      *spec.mutable_fidelity()->mutable_learning_curve_stop();
  curve.set_min_trials(8);
  const v1::StudySpec filled = WithDefaults(spec);
  EXPECT_EQ(filled.fidelity().learning_curve_stop().min_epochs(), 3);
  EXPECT_EQ(filled.fidelity().learning_curve_stop().min_trials(), 8);
  EXPECT_EQ(filled.fidelity().learning_curve_stop().chance(), 0.05);
  spec.mutable_fidelity()->clear_kind();
  EXPECT_FALSE(FidelityFromProto(spec).ok());
}

}  // namespace
}  // namespace hwnas
