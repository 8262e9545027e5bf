#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/convert/convert.h"

namespace hwnas {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsNan;
using ::testing::SizeIs;

v1::StudySpec Spec(int classes = 10) {
  v1::StudySpec spec;
  auto* space = spec.mutable_space()->mutable_nasbench201();
  for (const int size : {3, 32, 32}) space->add_input(size);
  space->set_classes(classes);
  spec.add_objectives()->set_maximize("accuracy");
  auto* latency = spec.add_objectives();
  latency->set_minimize("latency_ms");
  latency->set_device("pi");
  auto* constraint = spec.add_constraints();
  constraint->set_metric("latency_ms");
  constraint->set_device("pi");
  constraint->set_at_most(20);
  spec.mutable_train()->set_dataset(classes == 10 ? "cifar10" : "cifar100");
  spec.mutable_budget()->set_trials(100);
  return spec;
}

v1::Trial Trial(v1::Trial::State state, int first, double accuracy,
                double latency_ms) {
  v1::Trial trial;
  trial.set_state(state);
  for (const int choice : {first % 5, 1, 2, 3, 4, first / 5 % 5}) {
    trial.mutable_architecture()->add_choices(choice);
  }
  if (!std::isnan(latency_ms)) {
    v1::Measurement& m = *trial.add_measurements();
    m.set_metric("latency_ms");
    m.set_device_class("pi");
    m.set_value(latency_ms);
  }
  if (!std::isnan(accuracy)) {
    v1::Measurement& m = *trial.add_measurements();
    m.set_metric("accuracy");
    m.set_value(accuracy);
  }
  v1::Measurement& other = *trial.add_measurements();
  other.set_metric("params_m");
  other.set_value(1);
  return trial;
}

std::vector<std::vector<double>> Values(const v1::SourceTrials& source) {
  std::vector<std::vector<double>> values;
  for (const auto& trial : source.trials()) {
    values.emplace_back(trial.values().begin(), trial.values().end());
  }
  return values;
}

std::unique_ptr<SearchSpace> SpaceOf(const v1::StudySpec& spec) {
  return *CreateSpace(*FromProto(spec.space()));
}

std::string Refused(const v1::SourceTrials& source) {
  const auto space = SpaceOf(Spec(100));
  const auto read = FromProto(*space, source, "studies/a");
  EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(read.status().message());
}

TEST(WarmStartConvert, TakesTheValuesOfTheProblemFromTrialsThatAreDone) {
  const v1::SourceTrials source =
      ToSourceTrials(Spec(), {Trial(v1::Trial::COMPLETED, 0, 90, 10),
                              Trial(v1::Trial::ACTIVE, 1, NAN, 11),
                              Trial(v1::Trial::INFEASIBLE, 2, NAN, 30),
                              Trial(v1::Trial::INFEASIBLE, 3, NAN, NAN)});
  ASSERT_THAT(source.metrics(), SizeIs(2));
  EXPECT_EQ(source.metrics(0).metric(), "accuracy");
  EXPECT_EQ(source.metrics(1).device(), "pi");
  EXPECT_THAT(Values(source),
              ElementsAre(ElementsAre(90, 10), ElementsAre(IsNan(), 30)));
}

TEST(WarmStartConvert, ValuesAfterAPartOfTheTrainingDoNotCount) {
  v1::StudySpec spec = Spec();
  spec.mutable_fidelity()->mutable_asha();
  const v1::SourceTrials source = ToSourceTrials(
      WithDefaults(spec), {Trial(v1::Trial::COMPLETED, 0, 90, 10),
                           Trial(v1::Trial::STOPPED, 1, 60, 11)});
  EXPECT_THAT(Values(source),
              ElementsAre(ElementsAre(90, 10), ElementsAre(IsNan(), 11)));
}

TEST(WarmStartConvert, KeepsTheFrontAndTheLatestOfTooMany) {
  std::vector<v1::Trial> trials(kMaxSourceTrials + 100,
                                Trial(v1::Trial::COMPLETED, 0, 50, 15));
  trials[3] = Trial(v1::Trial::COMPLETED, 1, 90, 15);
  trials[50] = Trial(v1::Trial::COMPLETED, 2, 40, 1);
  trials[60] = Trial(v1::Trial::COMPLETED, 3, 40, 16);  // Neither.
  const v1::SourceTrials source = ToSourceTrials(Spec(), trials);
  ASSERT_THAT(source.trials(), SizeIs(kMaxSourceTrials));
  EXPECT_THAT(source.trials(0).values(), ElementsAre(90, 15));
  EXPECT_THAT(source.trials(1).values(), ElementsAre(40, 1));
  for (int i = 2; i < kMaxSourceTrials; ++i) {
    ASSERT_THAT(source.trials(i).values(), ElementsAre(50, 15));
  }
}

TEST(WarmStartConvert, SurvivesTheWay) {
  const v1::SourceTrials source =
      ToSourceTrials(Spec(), {Trial(v1::Trial::COMPLETED, 7, 90, 10)});
  const auto space = SpaceOf(Spec(100));  // Other classes, same decisions.
  const auto read = FromProto(*space, source, "studies/a");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->name, "studies/a");
  EXPECT_THAT(read->metrics, ElementsAre(MetricKey{"accuracy", ""},
                                         MetricKey{"latency_ms", "pi"}));
  EXPECT_EQ(read->problem.constraints.size(), 1u);
  ASSERT_THAT(read->trials, SizeIs(1));
  EXPECT_THAT(read->trials[0].architecture.choices,
              ElementsAre(2, 1, 2, 3, 4, 1));
  EXPECT_THAT(read->trials[0].values, ElementsAre(90, 10));
}

TEST(WarmStartConvert, NamesWhatIsWrong) {
  const v1::SourceTrials good =
      ToSourceTrials(Spec(), {Trial(v1::Trial::COMPLETED, 7, 90, 10)});
  v1::SourceTrials source = good;
  source.mutable_spec()->clear_budget();
  EXPECT_THAT(Refused(source), HasSubstr("spec.budget.trials: is required"));
  source = good;
  source.mutable_spec()->mutable_space()->mutable_nasbench201()->add_operations(
      "none");
  source.mutable_spec()->mutable_space()->mutable_nasbench201()->add_operations(
      "nor_conv_1x1");
  EXPECT_THAT(Refused(source),
              HasSubstr("is a search of another space: its decision 1 is "));
  source = good;
  source.clear_metrics();
  EXPECT_THAT(Refused(source), HasSubstr("has 0 metrics: expected 1 to 256"));
  source = good;
  source.mutable_trials(0)->set_choices(2, 5);
  EXPECT_THAT(Refused(source), HasSubstr("trials[0]: "));
  source = good;
  source.mutable_trials(0)->add_values(1);
  EXPECT_THAT(Refused(source), HasSubstr("trials[0] has 3 values: expected 2"));
  source = good;
  for (int i = 0; i < kMaxSourceTrials; ++i) {
    *source.add_trials() = good.trials(0);
  }
  EXPECT_THAT(Refused(source), HasSubstr("has 5001 trials: expected at most"));
}

TEST(WarmStartConvert, SourcesAreNamedOnceAndInOneWay) {
  const auto errors = [](const v1::StudySpec& spec) {
    return std::string(CheckStudySpec(spec).message());
  };
  v1::StudySpec spec = Spec();
  spec.add_warm_start()->set_study("a");
  spec.add_warm_start()->set_folder("../a");
  EXPECT_EQ(errors(spec), "");
  spec.add_warm_start();
  EXPECT_THAT(errors(spec), HasSubstr("spec.warm_start[2]: names no source"));
  spec.mutable_warm_start(2)->set_study("a");
  EXPECT_THAT(errors(spec),
              HasSubstr("spec.warm_start[2]: \"a\" is listed twice"));
  spec.mutable_warm_start(2)->set_study("A b");
  EXPECT_THAT(errors(spec), HasSubstr("spec.warm_start[2].study: study id"));
  spec.mutable_warm_start(2)->set_folder("b");
  EXPECT_THAT(errors(spec), HasSubstr("has study beside folder"));
  for (int i = 0; i < 6; ++i) spec.add_warm_start();
  EXPECT_THAT(errors(spec), HasSubstr("9 sources are too many"));
}

}  // namespace
}  // namespace hwnas
