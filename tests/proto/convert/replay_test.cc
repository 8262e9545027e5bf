// The rules of a study that is answered from tables, and what becomes of it.
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/convert/convert.h"

namespace hwnas {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

v1::StudySpec Valid() {
  v1::StudySpec spec;
  v1::Nasbench201Space& space = *spec.mutable_space()->mutable_nasbench201();
  for (const int v : {3, 32, 32}) space.add_input(v);
  space.set_classes(100);
  spec.add_objectives()->set_maximize("accuracy");
  v1::Objective& latency = *spec.add_objectives();
  latency.set_minimize("latency_ms");
  latency.set_device("raspberrypi5");
  spec.add_objectives()->set_minimize("flops_m");  // From the network.
  v1::ReplaySpec& replay = *spec.mutable_replay();
  replay.add_tables()->set_path("nasbench201/cells.csv.gz");
  replay.add_keys()->add_columns("op{0..5}");
  v1::ReplayMetric& accuracy = *replay.add_metrics();
  accuracy.set_metric("accuracy");
  accuracy.set_column("cifar100_test_200ep");
  v1::ReplayMetric& measured = *replay.add_metrics();
  measured.set_metric("latency_ms");
  measured.set_device("raspberrypi5");
  measured.set_column("latency");
  v1::ReplayMetric& own = *replay.add_metrics();
  own.set_metric("fps");
  own.set_device("zcu102");
  own.set_column("fps");
  v1::ReplayMetric& score = *replay.add_metrics();
  score.set_metric("naswot");
  score.set_column("naswot");
  score.set_stage(v1::ReplayMetric::SCREEN);
  replay.mutable_cost()->set_column("train_s");
  spec.mutable_budget()->set_trials(100);
  return spec;
}

std::string Text(const std::vector<FieldError>& errors) {
  return absl::StrJoin(errors, "\n",
                       [](std::string* out, const FieldError& error) {
                         absl::StrAppend(out, error.path, ": ", error.message);
                       });
}

TEST(ReplaySpec, IsAcceptedAndHasItsStages) {
  const v1::StudySpec spec = Valid();
  EXPECT_THAT(Text(ValidateStudySpec(spec)), IsEmpty());
  EXPECT_THAT(StagesOf(spec), ElementsAre(StageKey{v1::SCREEN, ""},
                                          StageKey{v1::REPLAY, "raspberrypi5"},
                                          StageKey{v1::REPLAY, "zcu102"},
                                          StageKey{v1::REPLAY, ""}));
  // Filling in the defaults changes nothing about it.
  const v1::StudySpec filled = WithDefaults(spec);
  EXPECT_THAT(Text(ValidateStudySpec(filled)), IsEmpty());
  EXPECT_EQ(StagesOf(filled), StagesOf(spec));
  EXPECT_EQ(filled.replay().workers(), 1);
  EXPECT_EQ(filled.replay().metrics(2).stage(), v1::ReplayMetric::MEASURE);
  EXPECT_FALSE(filled.has_measure());
}

TEST(ReplaySpec, BecomesAConfiguration) {
  v1::StudySpec spec = Valid();
  spec.mutable_replay()->mutable_metrics(0)->set_scale(100);
  spec.mutable_replay()->mutable_keys(0)->set_absent("");
  const ReplayConfig config = FromProto(spec.replay());
  ASSERT_EQ(config.metrics.size(), 4u);
  EXPECT_EQ(config.metrics[0].scale, 100);
  EXPECT_EQ(config.metrics[0].unit, "%");
  EXPECT_EQ(config.metrics[0].stage, ReplayStage::kTrain);
  EXPECT_EQ(config.metrics[1].stage, ReplayStage::kMeasure);
  EXPECT_EQ(config.metrics[2].stage, ReplayStage::kMeasure);
  EXPECT_EQ(config.metrics[3].stage, ReplayStage::kScreen);
  EXPECT_EQ(config.keys[0].absent, "");
  EXPECT_EQ(config.cost.seconds, 0);
  EXPECT_EQ(config.workers, 1);
  // Without a cost every trial takes a second.
  spec.mutable_replay()->clear_cost();
  EXPECT_EQ(FromProto(spec.replay()).cost.seconds, 1);
  EXPECT_EQ(FromProto(WithDefaults(spec).replay()).cost.seconds, 1);
}

struct BadReplay {
  const char* name;
  std::function<void(v1::StudySpec*)> spoil;
  const char* path;
  const char* message;
};

TEST(ReplaySpec, EachRuleSaysWhatIsWrong) {
  const BadReplay cases[] = {
      {"metric", [](auto* s) { s->mutable_objectives(0)->set_maximize("acc"); },
       "spec.objectives[0].maximize",
       "\"acc\" is not among spec.replay.metrics: expected one of accuracy, "
       "latency_ms@raspberrypi5, fps@zcu102, naswot"},
      {"device", [](auto* s) { s->mutable_objectives(1)->set_device("pi4"); },
       "spec.objectives[1].minimize", "\"latency_ms@pi4\" is not among"},
      {"no tables", [](auto* s) { s->mutable_replay()->clear_tables(); },
       "spec.replay.tables", "0 files: expected 1 to 16"},
      {"no path",
       [](auto* s) { s->mutable_replay()->mutable_tables(0)->clear_path(); },
       "spec.replay.tables[0].path", "is required"},
      {"absolute",
       [](auto* s) {
         s->mutable_replay()->mutable_tables(0)->set_path("/etc/passwd");
       },
       "spec.replay.tables[0].path", "is not below the folder of tables"},
      {"outside",
       [](auto* s) {
         s->mutable_replay()->mutable_tables(0)->set_path("a/../../b");
       },
       "spec.replay.tables[0].path", "is not below the folder of tables"},
      {"join",
       [](auto* s) { s->mutable_replay()->mutable_tables(0)->set_join("id"); },
       "spec.replay.tables[0].join", "joined to the first"},
      {"digest",
       [](auto* s) {
         s->mutable_replay()->mutable_tables(0)->set_sha256("abc");
       },
       "spec.replay.tables[0].sha256", "expected 64 of [0-9a-f]"},
      {"no key", [](auto* s) { s->mutable_replay()->clear_keys(); },
       "spec.replay", "does not say what a row's architecture is"},
      {"two keys",
       [](auto* s) { s->mutable_replay()->set_architecture("cell"); },
       "spec.replay", "says twice what a row's architecture is"},
      {"too many columns",
       [](auto* s) {
         s->mutable_replay()->mutable_keys(0)->add_columns("op6");
       },
       "spec.replay.keys[0].columns", "no decision is left for column op6"},
      {"too few columns",
       [](auto* s) {
         s->mutable_replay()->mutable_keys(0)->set_columns(0, "op{0..4}");
       },
       "spec.replay.keys", "decision edge_2_3 has no column"},
      {"bad braces",
       [](auto* s) {
         s->mutable_replay()->mutable_keys(0)->set_columns(0, "op{0-5}");
       },
       "spec.replay.keys[0].columns[0]", "\"op{0-5}\" is malformed"},
      {"code twice",
       [](auto* s) {
         for (const char* code : {"0", "1", "2", "3", "3"}) {
           s->mutable_replay()->mutable_keys(0)->add_codes(code);
         }
       },
       "spec.replay.keys[0].codes[4]", "\"3\" is listed twice"},
      {"too few codes",
       [](auto* s) { s->mutable_replay()->mutable_keys(0)->add_codes("0"); },
       "spec.replay.keys[0].codes", "1 codes, but decision"},
      {"no column",
       [](auto* s) { s->mutable_replay()->mutable_metrics(0)->clear_column(); },
       "spec.replay.metrics[0].column", "is required"},
      {"scale",
       [](auto* s) { s->mutable_replay()->mutable_metrics(0)->set_scale(0); },
       "spec.replay.metrics[0].scale", "0 is out of range"},
      {"metric twice",
       [](auto* s) {
         *s->mutable_replay()->add_metrics() = s->replay().metrics(0);
       },
       "spec.replay.metrics[4].metric",
       "\"accuracy\" is given twice: it is already spec.replay.metrics[0]"},
      {"measured nowhere",
       [](auto* s) {
         s->mutable_replay()->mutable_metrics(3)->set_stage(
             v1::ReplayMetric::MEASURE);
       },
       "spec.replay.metrics[3].device", "is required: naswot is measured"},
      {"cost",
       [](auto* s) { s->mutable_replay()->mutable_cost()->set_scale(-1); },
       "spec.replay.cost.scale", "-1 is out of range"},
      {"seconds",
       [](auto* s) { s->mutable_replay()->mutable_cost()->set_seconds(-1); },
       "spec.replay.cost.seconds", "-1 is out of range"},
      {"workers", [](auto* s) { s->mutable_replay()->set_workers(20000); },
       "spec.replay.workers", "20000 is out of range: expected 1 to 10000"},
      {"train", [](auto* s) { s->mutable_train()->set_dataset("mnist"); },
       "spec.train", "cannot stand beside replay"},
      {"measure", [](auto* s) { s->mutable_measure()->set_threads(2); },
       "spec.measure", "cannot stand beside replay"},
      {"external", [](auto* s) { s->mutable_external(); }, "spec.external",
       "cannot stand beside replay"},
      {"fidelity without epochs",
       [](auto* s) { s->mutable_replay()->add_fidelities()->set_epochs(12); },
       "spec.replay.epochs", "is required with fidelities"},
      {"fidelities not ascending",
       [](auto* s) {
         s->mutable_replay()->set_epochs(200);
         s->mutable_replay()->add_fidelities()->set_epochs(50);
         s->mutable_replay()->add_fidelities()->set_epochs(12);
       },
       "spec.replay.fidelities[1].epochs",
       "12 is out of range: expected 51 to 199"},
      {"fidelity of a measured metric",
       [](auto* s) {
         s->mutable_replay()->set_epochs(200);
         v1::ReplayFidelity& f = *s->mutable_replay()->add_fidelities();
         f.set_epochs(12);
         *f.add_metrics() = s->replay().metrics(1);
       },
       "spec.replay.fidelities[0].metrics[0]",
       "latency_ms does not come from training"},
      {"fidelity without what it is for",
       [](auto* s) {
         s->mutable_replay()->set_epochs(200);
         s->mutable_replay()->add_fidelities()->set_epochs(12);
         s->mutable_fidelity()->mutable_asha();
       },
       "spec.replay.fidelities[0].metrics",
       "lacks accuracy, by which spec.fidelity compares trials"},
  };
  for (const BadReplay& bad : cases) {
    v1::StudySpec spec = Valid();
    bad.spoil(&spec);
    EXPECT_THAT(Text(ValidateStudySpec(spec)),
                HasSubstr(absl::StrCat(bad.path, ": ")))
        << bad.name;
    EXPECT_THAT(Text(ValidateStudySpec(spec)), HasSubstr(bad.message))
        << bad.name;
  }
}

TEST(ReplaySpec, SurvivesValuesThatNoVersionKnows) {
  v1::StudySpec spec = Valid();
  spec.mutable_replay()->mutable_metrics(0)->set_stage(
      static_cast<v1::ReplayMetric::Stage>(77));
  EXPECT_THAT(Text(ValidateStudySpec(spec)), IsEmpty());
  EXPECT_EQ(FromProto(spec.replay()).metrics[0].stage, ReplayStage::kTrain);
}

}  // namespace
}  // namespace hwnas
