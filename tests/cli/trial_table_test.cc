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

TEST(TrialTable, ShowsReasonsAndMarksValuesOfLimitedTrust) {
  const ReportInput input = SampleResults();
  const std::string text =
      TrialTable(input.study.spec(), input.trials).ToText();
  EXPECT_THAT(text, HasSubstr("params_m 0.0481 is above 0.04"));
  EXPECT_THAT(text, HasSubstr("0.71!"));
  EXPECT_THAT(text, HasSubstr("latency_ms@x86_64 [ms]"));
}

}  // namespace
}  // namespace hwnas::cli
