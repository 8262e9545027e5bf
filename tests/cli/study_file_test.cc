#include "cli/study_file.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "cli/yaml_tree.h"
#include "gmock/gmock.h"

namespace hwnas::cli {
namespace {

using ::testing::HasSubstr;

constexpr char kGood[] = R"(apiVersion: hwnas/v1
kind: Study
metadata: {name: tiny}
spec:
  space: {nasbench201: {input: [1, 28, 28], channels: 4, cells: 1, classes: 10}}
  objectives:
    - {maximize: accuracy}
    - {minimize: latency_ms, device: x86_64}
  constraints:
    - {metric: params_m, at_most: 0.5}
  strategy: nsga2
  train: {dataset: fashion-mnist, epochs: 1, data_fraction: 0.01, augment: false}
  measure: {min_time: 50ms, max_time: 1.5s}
  budget: {trials: 10, wall_clock: 8h}
  seed: 3
)";

std::string Replaced(const std::string& from, const std::string& to) {
  EXPECT_THAT(kGood, HasSubstr(from));
  return absl::StrReplaceAll(kGood, {{from, to}});
}

TEST(StudyFile, ReadsEveryKindOfField) {
  const LoadedStudy study = LoadedStudy::Parse("s.yaml", kGood);
  ASSERT_TRUE(study.ok()) << study.Render();
  EXPECT_EQ(study.id(), "tiny");
  const v1::StudySpec& spec = study.spec();
  EXPECT_EQ(spec.space().nasbench201().input_size(), 3);
  EXPECT_EQ(spec.objectives(1).minimize(), "latency_ms");
  EXPECT_EQ(spec.constraints(0).at_most(), 0.5);
  EXPECT_TRUE(spec.strategy().has_nsga2());
  EXPECT_TRUE(spec.train().has_augment());
  EXPECT_FALSE(spec.train().augment());
  EXPECT_EQ(spec.measure().min_time().nanos(), 50'000'000);
  EXPECT_EQ(spec.measure().max_time().seconds(), 1);
  EXPECT_EQ(spec.budget().wall_clock().seconds(), 8 * 3600);
  EXPECT_EQ(spec.seed(), 3u);
}

TEST(StudyFile, ABareNameMeansTheSameAsAnEmptyMap) {
  const LoadedStudy bare = LoadedStudy::Parse("s.yaml", kGood);
  const LoadedStudy map = LoadedStudy::Parse(
      "s.yaml", Replaced("strategy: nsga2", "strategy: {nsga2: {}}"));
  const LoadedStudy null = LoadedStudy::Parse(
      "s.yaml", Replaced("strategy: nsga2", "strategy: {nsga2: }"));
  ASSERT_TRUE(bare.ok() && map.ok() && null.ok()) << null.Render();
  EXPECT_EQ(bare.file().SerializeAsString(), map.file().SerializeAsString());
  EXPECT_EQ(bare.file().SerializeAsString(), null.file().SerializeAsString());
}

struct BadFile {
  const char* from;  // In kGood; nullptr: `to` is the whole file.
  const char* to;
  const char* first_line;  // Exactly, of what is printed.
};

class BadStudyFile : public ::testing::TestWithParam<BadFile> {};

TEST_P(BadStudyFile, SaysWhatIsWrongAndWhere) {
  const BadFile& bad = GetParam();
  const LoadedStudy study = LoadedStudy::Parse(
      "s.yaml", bad.from == nullptr ? bad.to : Replaced(bad.from, bad.to));
  EXPECT_FALSE(study.ok());
  const std::string text = study.Render();
  EXPECT_EQ(text.substr(0, text.find('\n')), bad.first_line) << text;
  EXPECT_EQ(study.errors().size(), 1u) << text;
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadStudyFile,
    ::testing::Values(
        BadFile{"epochs: 1", "epoch: 1",
                "s.yaml:12:35: error: spec.train: unknown key 'epoch'; did you "
                "mean 'epochs'?"},
        BadFile{"objectives:", "objectivs:",
                "s.yaml:6:3: error: spec: unknown key 'objectivs'; did you "
                "mean 'objectives'?"},
        BadFile{"trials: 10", "trials: 10, zzz: 1",
                "s.yaml:14:24: error: spec.budget: unknown key 'zzz': expected "
                "trials or wall_clock"},
        BadFile{"epochs: 1", "epochs: one",
                "s.yaml:12:43: error: spec.train.epochs: expected an integer, "
                "found 'one'"},
        BadFile{"epochs: 1", "epochs: \"1\"",
                "s.yaml:12:43: error: spec.train.epochs: expected an integer, "
                "found the text \"1\": remove the quotes"},
        BadFile{"epochs: 1", "epochs: 1.0",
                "s.yaml:12:43: error: spec.train.epochs: expected an integer, "
                "found '1.0': write 1"},
        BadFile{"epochs: 1", "epochs: 3000000000",
                "s.yaml:12:43: error: spec.train.epochs: 3000000000 is out of "
                "range: expected an integer from -2147483648 to 2147483647"},
        BadFile{"seed: 3", "seed: -3",
                "s.yaml:15:9: error: spec.seed: -3 is out of range: expected "
                "an integer from 0 to 18446744073709551615"},
        BadFile{"seed: 3", "seed: 3\n  seed: 4",
                "s.yaml:16:3: error: spec.seed: given twice: first on line 15"},
        BadFile{"maximize: accuracy", "maximize: accuracy, minimize: flops_m",
                "s.yaml:7:28: error: spec.objectives[0].minimize: cannot stand "
                "beside 'maximize' on line 7: expected exactly one of maximize "
                "or minimize"},
        BadFile{"max_time: 1.5s", "max_time: 5",
                "s.yaml:13:39: error: spec.measure.max_time: expected a "
                "duration such as 90s, 1.5h or 8h, found '5': add a unit, such "
                "as 5s"},
        BadFile{"max_time: 1.5s", "max_time: soon",
                "s.yaml:13:39: error: spec.measure.max_time: expected a "
                "duration such as 90s, 1.5h or 8h, found 'soon'"},
        BadFile{"wall_clock: 8h", "wall_clock: -8h",
                "s.yaml:14:36: error: spec.budget.wall_clock: -8h is out of "
                "range: expected a duration from 0s to 10000 years"},
        BadFile{"strategy: nsga2", "strategy: nsgaa2",
                "s.yaml:11:13: error: spec.strategy: unknown kind 'nsgaa2': "
                "expected auto, random, ageing_evolution, nsga2, quasi_random, "
                "nsga3, moead, local_search, reinforce, motpe, bayesian or "
                "mo_bananas; did you mean 'nsga2'?"},
        BadFile{"strategy: nsga2", "strategy: {kind: nsga2}",
                "s.yaml:11:14: error: spec.strategy: unknown key 'kind': "
                "expected the kind itself as the key, 'nsga2: {...}', one of "
                "auto, random, ageing_evolution, nsga2, quasi_random, nsga3, "
                "moead, local_search, reinforce, motpe, bayesian or "
                "mo_bananas"},
        BadFile{"device: x86_64}", "devices: [x86_64]}",
                "s.yaml:8:30: error: spec.objectives[1].devices: has 1 entry: "
                "expected 2 to 8 device classes"},
        BadFile{"device: x86_64}", "devices: [x86_64, x86_64]}",
                "s.yaml:8:48: error: spec.objectives[1].devices[1]: \"x86_64\" "
                "is listed twice"},
        BadFile{"device: x86_64}", "devices: [a, b], over_devices: wurst}",
                "s.yaml:8:61: error: spec.objectives[1].over_devices: expected "
                "each or worst, found 'wurst'; did you mean 'worst'?"},
        BadFile{"strategy: nsga2",
                "scalarization: {weighted_sum: {weights: [1]}}",
                "s.yaml:11:34: error: spec.scalarization.weighted_sum.weights: "
                "has 1 entry: expected 2, one for each objective"},
        BadFile{"strategy: nsga2",
                "scalarization: {weighted_product: {terms: [{}, {alpha: 1}]}}",
                "s.yaml:11:58: error: spec.scalarization.weighted_product."
                "terms[1].alpha: 1 is out of range: expected -10 to 0, as the "
                "objective is minimized"},
        BadFile{"strategy: nsga2",
                "scalarization: {epsilon_constraint: {optimize: acuracy}}",
                "s.yaml:11:50: error: spec.scalarization.epsilon_constraint."
                "optimize: \"acuracy\" names no objective, or several: "
                "expected one of accuracy, latency_ms@x86_64"},
        BadFile{"strategy: nsga2", "preference: {aspiration: [90]}",
                "s.yaml:11:16: error: spec.preference.aspiration: has 1 entry: "
                "expected 2, one for each objective"},
        BadFile{"input: [1, 28, 28]", "input: 28",
                "s.yaml:5:32: error: spec.space.nasbench201.input: expected a "
                "list, found '28': write [28]"},
        BadFile{"train: {", "train: [] # {",
                "s.yaml:12:3: error: spec.train: expected a map, found a list; "
                "its keys are dataset, data_dir, epochs, batch, data_fraction, "
                "validation_fraction, learning_rate, momentum, weight_decay, "
                "label_smoothing, warmup_epochs, augment, crop_padding, "
                "cutout or threads"},
        BadFile{"augment: false", "augment: no",
                "s.yaml:12:76: error: spec.train.augment: expected true or "
                "false, found 'no'"},
        BadFile{"data_fraction: 0.01", "data_fraction: .inf",
                "s.yaml:12:61: error: spec.train.data_fraction: expected a "
                "number, found '.inf'"},
        BadFile{"data_fraction: 0.01", "data_fraction: [0.01]",
                "s.yaml:12:61: error: spec.train.data_fraction: expected a "
                "number, found a list: only one value is allowed here"},
        BadFile{"seed: 3", "seed:",
                "s.yaml:15:3: error: spec.seed: expected an integer, found "
                "nothing"},
        BadFile{"kind: Study", "kind: Studdy",
                "s.yaml:2:7: error: kind: 'Studdy' is unknown: expected Study"},
        BadFile{"apiVersion: hwnas/v1\n", "",
                "s.yaml: error: apiVersion: apiVersion is missing: expected "
                "'apiVersion: hwnas/v1'"},
        BadFile{"seed: 3", "seed: *x",
                "s.yaml:15:9: error: not valid YAML: the referenced anchor is "
                "not defined"},
        BadFile{"seed: 3", "seed: &x 3\n  max_attempts: *x",
                "s.yaml:16:17: error: aliases (*name) are not supported: write "
                "the value out"},
        BadFile{"seed: 3", "seed: !!int 3",
                "s.yaml:15:9: error: the tag tag:yaml.org,2002:int is not "
                "supported: expected a plain value"},
        BadFile{"seed: 3", "seed: 3\n---\na: b",
                "s.yaml:16:1: error: a second document: expected one study in "
                "a file"},
        BadFile{nullptr, "",
                "s.yaml: error: the file is empty: expected a study (see "
                "docs/study-file.md)"},
        BadFile{nullptr, "- a\n- b\n",
                "s.yaml:1:1: error: expected a map with the keys apiVersion, "
                "kind, metadata and spec, found a list"}));

TEST(StudyFile, PlacesWhatTheDomainRejects) {
  const LoadedStudy study = LoadedStudy::Parse(
      "s.yaml", Replaced("minimize: latency_ms", "minimize: latncy_ms"));
  ASSERT_FALSE(study.ok());
  const std::string text = study.Render();
  EXPECT_THAT(text, HasSubstr("s.yaml:8:18: error: spec.objectives[1]"));
  EXPECT_THAT(text, HasSubstr("latency_ms"));
  EXPECT_THAT(text,
              HasSubstr("     8 |     - {minimize: latncy_ms, device: x86_64}\n"
                        "       |                  ^~~~~~~~~\n"));
}

TEST(StudyFile, ReportsEverythingAtOnceInOrder) {
  const LoadedStudy study = LoadedStudy::Parse(
      "s.yaml", absl::StrReplaceAll(kGood, {{"name: tiny", "name: Tiny"},
                                            {"seed: 3", "seeds: 3"},
                                            {"channels: 4", "channels: 999"},
                                            {"epochs: 1", "epochs: x"}}));
  const std::string text = study.Render();
  EXPECT_EQ(study.errors().size(), 4u) << text;
  size_t last = 0;
  for (const char* place :
       {"s.yaml:3:", "s.yaml:5:", "s.yaml:12:", "s.yaml:15:"}) {
    const size_t at = text.find(place);
    ASSERT_NE(at, std::string::npos) << place << "\n" << text;
    EXPECT_GE(at, last);
    last = at;
  }
}

TEST(StudyFile, CountsColumnsInCharacters) {
  const LoadedStudy study = LoadedStudy::Parse(
      "s.yaml", Replaced("metadata: {name: tiny}",
                         "metadata: {description: \"größe\", nam: tiny}"));
  EXPECT_THAT(study.Render(),
              HasSubstr("s.yaml:3:34: error: metadata: unknown key 'nam'"));
}

TEST(StudyFile, RefusesWhatIsTooDeepOrTooLarge) {
  const LoadedStudy deep = LoadedStudy::Parse(
      "s.yaml", "a: " + std::string(40, '[') + std::string(40, ']'));
  ASSERT_EQ(deep.errors().size(), 1u);
  EXPECT_THAT(deep.Render(), HasSubstr("nested deeper than 32 levels"));
  EXPECT_FALSE(
      LoadedStudy::Parse("s.yaml", "a: " + std::string(5000, '[')).ok());
  const LoadedStudy large =
      LoadedStudy::Parse("s.yaml", std::string(kMaxStudyFileBytes + 1, ' '));
  EXPECT_THAT(large.Render(), HasSubstr("larger than 1048576 bytes"));
}

TEST(StudyFile, SurvivesRandomBytes) {
  uint64_t state = 1;
  for (int round = 0; round < 300; ++round) {
    std::string text = kGood;
    for (int i = 0; i < 5; ++i) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      text[(state >> 33) % text.size()] = static_cast<char>(state >> 25);
    }
    LoadedStudy::Parse("s.yaml", text).Render();  // Whatever it says.
  }
}

TEST(StudyFile, SaysThatAFileIsMissing) {
  const LoadedStudy study = LoadedStudy::Load("/nonexistent/s.yaml");
  EXPECT_EQ(study.Render(),
            "/nonexistent/s.yaml: error: no such file: expected the path of a "
            "study file\n");
}

TEST(StudyFile, EveryExampleIsValid) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(
           std::string(HWNAS_SOURCE_DIR) + "/examples")) {
    if (entry.path().extension() != ".yaml") continue;
    const LoadedStudy study = LoadedStudy::Load(entry.path());
    EXPECT_TRUE(study.ok()) << study.Render();
    ++count;
  }
  EXPECT_GE(count, 4);
}

TEST(Diagnostics, ShowAWindowOfALongLine) {
  const std::string source(5000, 'a');
  const std::string text =
      RenderDiagnostics("f", source, {{1, 3000, 4, "", "wrong"}});
  EXPECT_LT(text.size(), 400u);
  EXPECT_THAT(text, HasSubstr("^~~~"));
}

}  // namespace
}  // namespace hwnas::cli
