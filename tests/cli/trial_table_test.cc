#include "cli/trial_table.h"

#include "gmock/gmock.h"
#include "tests/cli/sample_study.h"

namespace hwnas::cli {
namespace {

using ::testing::HasSubstr;

std::vector<v1::Trial> Front(const ReportInput& input) {
  return {input.front.trials().begin(), input.front.trials().end()};
}

int64_t Picked(const std::string& how) {
  const ReportInput input = SampleResults();
  const std::vector<v1::Trial> front = Front(input);
  const auto index = PickTrial(input.study.spec(), front, how);
  EXPECT_TRUE(index.ok()) << index.status();
  return front[static_cast<size_t>(*index)].number();
}

TEST(PickTrial, FindsTheBestOfAnObjective) {
  EXPECT_EQ(Picked("best"), 7);
  EXPECT_EQ(Picked("accuracy"), 7);
  EXPECT_EQ(Picked("latency_ms@x86_64"), 3);
  EXPECT_EQ(Picked("latency_ms"), 3);
  EXPECT_EQ(Picked("9"), 9);
}

TEST(PickTrial, TheKneeIsNearestToTheIdealPoint) {
  // Scaled distances by hand: trial 2 has ((89.9-84.1)/27.9, (0.44-0.21)/1.01)
  // = (0.208, 0.228), 0.309 away; trial 6 (0.140, 0.307), 0.337 away.
  EXPECT_EQ(Picked("knee"), 2);
}

TEST(PickTrial, NamesTheChoices) {
  const ReportInput input = SampleResults();
  const auto unknown = PickTrial(input.study.spec(), Front(input), "accurcy");
  EXPECT_THAT(std::string(unknown.status().message()),
              HasSubstr("expected knee, best, accuracy or latency_ms@x86_64"));
  EXPECT_TRUE(absl::IsInvalidArgument(
      PickTrial(input.study.spec(), Front(input), "4").status()));
  EXPECT_TRUE(
      absl::IsNotFound(PickTrial(input.study.spec(), {}, "knee").status()));
}

TEST(FrontTable, ListsObjectivesThenConstraintsThenTheRest) {
  const ReportInput input = SampleResults();
  const auto json = FrontTable(input.study.spec(), Front(input)).ToJson();
  ASSERT_EQ(json.size(), 6u);
  std::vector<std::string> keys;
  for (const auto& [key, value] : json[0].items()) keys.push_back(key);
  EXPECT_THAT(keys, ::testing::ElementsAre(
                        "trial", "accuracy", "latency_ms@x86_64", "params_m",
                        "architecture", "digest", "weights_digest", "choices",
                        "measurements"));
  EXPECT_EQ(json[0]["accuracy"], 89.9);
  EXPECT_EQ(json[1]["measurements"][1]["flags"][0], "NOISY: load 3.1");
}

TEST(TrialActivity, NamesTheTrialsThatValuesWereTakenFrom) {
  v1::Trial trial;
  trial.set_state(v1::Trial::COMPLETED);
  EXPECT_EQ(TrialActivity(trial), "");
  trial.add_stages();
  trial.add_stages()->set_reused_from("studies/a/trials/3");
  trial.add_stages()->set_reused_from("studies/a/trials/3");
  EXPECT_EQ(TrialActivity(trial), "values of studies/a/trials/3");
  trial.mutable_stages(2)->set_reused_from("studies/b/trials/9");
  EXPECT_EQ(TrialActivity(trial),
            "values of studies/a/trials/3, studies/b/trials/9");
}

// A study whose trials have scores: accuracy less ten times the latency.
ReportInput Scored() {
  ReportInput input = SampleResults();
  auto& sum = *input.study.mutable_spec()
                   ->mutable_scalarization()
                   ->mutable_weighted_sum();
  sum.add_weights(1);
  sum.add_weights(10);
  const auto score = [](v1::Trial& trial) {
    trial.set_score(trial.measurements(0).value() -
                    10 * trial.measurements(1).value());
  };
  for (v1::Trial& trial : input.trials) score(trial);
  for (v1::Trial& trial : *input.front.mutable_trials()) score(trial);
  return input;
}

TEST(PickTrial, FollowsTheScoreWhereThereIsOne) {
  const ReportInput input = Scored();
  const std::vector<v1::Trial> front = Front(input);
  const auto picked = [&](const std::string& how) {
    return front[static_cast<size_t>(
                     *PickTrial(input.study.spec(), front, how))]
        .number();
  };
  EXPECT_EQ(picked(""), 5);  // 88.3 - 7.1
  EXPECT_EQ(picked("best"), 5);
  EXPECT_EQ(picked("knee"), 2);
  EXPECT_EQ(picked("accuracy"), 7);
  EXPECT_EQ(Picked(""), 2);  // Without a score, the knee.
}

TEST(Tables, HaveAScoreOnlyWhereThereIsOne) {
  const ReportInput input = Scored();
  const auto json = FrontTable(input.study.spec(), Front(input)).ToJson();
  EXPECT_NEAR(json[0]["score"].get<double>(), 89.9 - 12.2, 1e-9);
  EXPECT_TRUE(TrialTable(input.study.spec(), input.trials)
                  .ToJson()[0]
                  .contains("score"));
  const ReportInput plain = SampleResults();
  EXPECT_FALSE(FrontTable(plain.study.spec(), Front(plain))
                   .ToJson()[0]
                   .contains("score"));
}

v1::StudySpec OnTwoDevices(v1::Objective::OverDevices over) {
  v1::StudySpec spec = SampleResults().study.spec();
  v1::Objective& latency = *spec.mutable_objectives(1);
  latency.clear_device();
  latency.add_devices("x86_64");
  latency.add_devices("pi");
  latency.set_over_devices(over);
  return spec;
}

std::vector<std::string> Keys(const std::vector<MetricColumn>& columns) {
  std::vector<std::string> keys;
  for (const MetricColumn& column : columns) keys.push_back(column.key());
  return keys;
}

TEST(ObjectiveColumns, AreThoseOfAFront) {
  using ::testing::ElementsAre;
  const v1::StudySpec each = OnTwoDevices(v1::Objective::EACH);
  EXPECT_THAT(Keys(ObjectiveColumns(each)),
              ElementsAre("accuracy", "latency_ms@x86_64", "latency_ms@pi"));
  EXPECT_THAT(Keys(ObjectiveColumns(each, "pi")),
              ElementsAre("accuracy", "latency_ms@pi"));
  const v1::StudySpec worst = OnTwoDevices(v1::Objective::WORST);
  EXPECT_THAT(Keys(ObjectiveColumns(worst)),
              ElementsAre("accuracy", "latency_ms@worst"));
  // What the worst is made of is shown, too.
  EXPECT_THAT(Keys(MetricColumns(worst, {})),
              ElementsAre("accuracy", "latency_ms@worst", "latency_ms@x86_64",
                          "latency_ms@pi", "params_m"));
}

TEST(FindMeasurement, TakesTheWorstOverDevices) {
  const MetricColumn worst =
      ObjectiveColumns(OnTwoDevices(v1::Objective::WORST))[1];
  v1::Trial trial = SampleTrial(1, 90, 0.5, true);
  EXPECT_EQ(FindMeasurement(trial, worst), nullptr);
  v1::Measurement* pi = trial.add_measurements();
  pi->set_metric("latency_ms");
  pi->set_device_class("pi");
  pi->set_value(0.75);
  EXPECT_EQ(FindMeasurement(trial, worst)->value(), 0.75);
  pi->set_value(0.25);
  EXPECT_EQ(FindMeasurement(trial, worst)->device_class(), "x86_64");
}

TEST(TrialTable, ShowsReasonsAndMarksValuesOfLimitedTrust) {
  const ReportInput input = SampleResults();
  const std::string text =
      TrialTable(input.study.spec(), input.trials).ToText();
  EXPECT_THAT(text, HasSubstr("params_m 0.0481 is above 0.04"));
  EXPECT_THAT(text, HasSubstr("0.71!"));
  EXPECT_THAT(text, HasSubstr("\n! to be trusted less (NOISY)"));
  EXPECT_THAT(text, HasSubstr("latency_ms@x86_64 [ms]"));
}

}  // namespace
}  // namespace hwnas::cli
