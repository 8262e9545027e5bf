// Every shipped replay study on the public tables: a few values of each, the
// hypervolume of the whole table, and what a search finds of it.
#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/study_file.h"
#include "estimator/replay_table.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/pareto/pareto.h"
#include "nas/space/space_factory.h"
#include "tests/controller/study/engine_harness.h"
#include "tests/fakes/benchmark_data.h"

namespace hwnas {
namespace {

using controller::EngineHarness;

// The value of a metric of one row of the files.
struct Known {
  const char* metric;
  double value;
};

struct TableCase {
  const char* study;  // examples/replay_{study}.yaml
  int64_t rows;
  int networks;  // Different ones.
  // A row of the files by its choices, and what it holds.
  std::vector<int> choices;
  std::vector<Known> known;
  double cost_s;
  // Row of oracles.csv with the same objectives; "" if there is none.
  const char* oracle;
  // Of the true front's hypervolume: what one row for each network misses, and
  // what 500 trials of random search may miss.
  double missing;
  double regret;
};

void PrintTo(const TableCase& table, std::ostream* out) { *out << table.study; }

const TableCase kCases[] = {
    {"nasbench201",
     15625,
     6466,
     {3, 3, 3, 3, 3, 3},
     {{"accuracy", 71.1066667},
      {"latency_ms@raspberrypi5", 13.3674875},
      {"energy_mj@raspberrypi5", 19.500113},
      {"naswot", 830.230591},
      {"logsynflow", 11594845.1}},
     200 * 34.6083154,
     "nb201_cifar100_pi5_litert_2obj",
     0.005,
     0.03},
    {"nasbench201_devices",
     15625,
     6466,
     {3, 3, 3, 3, 3, 3},
     {{"accuracy", 71.1066667},
      {"latency_ms@1080ti_256", 35.5842686},
      {"latency_ms@titan_rtx_32", 10.4905462},
      {"latency_ms@pixel3", 32.9928},
      {"latency_ms@essential_ph_1", 33},
      {"latency_ms@silver_4210r", 33.8340092}},
     200 * 34.6083154,
     "",
     0,
     0},
    // Row 1000: resolution 176; five stages of depth, then kernel and expansion
    // of four blocks, of which those beyond the depth are the first options.
    {"ofa",
     5000,
     5000,
     {12, 1, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0, 1, 0, 0, 2,
      2,  0, 2, 0, 0, 1, 2, 0, 2, 0, 1, 1, 0, 0, 1, 1, 2, 1, 2, 1, 2, 0, 0},
     {{"flops_m", 248.2722},
      {"latency_ms@v100_64", 18.164897},
      {"latency_ms@2080ti_1", 10.1173067},
      {"latency_ms@titan_xp_32", 19.6232271}},
     1,
     "",
     0,
     0},
    {"tnb101_micro",
     4096,
     1236,
     {3, 3, 3, 3, 3, 3},
     {{"top1", 62.6393318}, {"flops_m", 8469.8726}},
     11744,
     "tnb101_micro_class_scene",
     0.02,
     0.1},
    {"tnb101_macro",
     3256,
     3256,
     {2, 3, 0, 0, 0, 0, 2},
     {{"miou", 28.037113}, {"flops_m", 3197.6325}},
     21038,
     "tnb101_macro_segmentsemantic",
     1e-9,
     0.1},
    {"nasbench_macro",
     6561,
     3969,
     {1, 2, 1, 2, 1, 2, 1, 2},
     {{"accuracy", 92.4466629}, {"flops_m", 80.617984}, {"params_m", 2.330186}},
     1,
     "macro_flops_params",
     0.02,
     0.1},
    {"accel_nasbench",
     5138,
     5125,
     {0, 1, 0, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 1,
      0, 0, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0},
     {{"accuracy", 53.456},
      {"latency_ms@zcu102", 1.87896697},
      {"params_m", 2.304144}},
     1243.12211,
     "accel_zcu102_latency_params",
     0.02,
     0.2},
    {"nasbench_graph",
     26206,
     26206,
     {0, 0, 0, 1, 2, 1, 4, 6},
     {{"accuracy", 67.8901851},
      {"latency_ms@gpu", 47.7265517},
      {"params_m", 0.15428}},
     1,
     "",
     0,
     0},
    {"fbnet",
     5000,
     5000,
     // Row 1000, with the layer that does nothing behind the one that does.
     {1, 1, 5, 3, 2, 1, 2, 5, 6, 0, 5, 4, 3, 1, 0, 1, 4, 7, 2, 1, 8, 8},
     {{"flops_m", 50.14413}, {"latency_ms@pixel3", 14.3921976}},
     1,
     "",
     0,
     0},
};

class ReplayTablesTest : public ::testing::TestWithParam<TableCase> {};

// hv_raw of a problem.
double OracleHypervolume(const std::string& dir, const std::string& id) {
  const CsvTable oracles = ReadCsv(dir + "/oracles.csv");
  for (const auto& row : oracles.rows) {
    double hypervolume = 0;
    if (row[0] == id &&
        absl::SimpleAtod(row[oracles.Column("hv_raw")], &hypervolume)) {
      return hypervolume;
    }
  }
  ADD_FAILURE() << "no oracle " << id;
  return 1;
}

TEST_P(ReplayTablesTest, AnswersWhatTheFilesHold) {
  HWNAS_REQUIRE_DATA(dir);
  const TableCase& expected = GetParam();
  const cli::LoadedStudy study = cli::LoadedStudy::Load(absl::StrCat(
      HWNAS_SOURCE_DIR, "/examples/replay_", expected.study, ".yaml"));
  ASSERT_TRUE(study.ok()) << study.Render();
  const v1::StudySpec& spec = study.spec();
  const auto space = CreateSpace(*SearchedSpace(spec));
  ASSERT_TRUE(space.ok()) << space.status();
  const Problem problem = ProblemFromProto(spec);
  const auto table =
      ReplayTable::Load(FromProto(spec.replay()), dir, problem, **space);
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ((*table)->file_rows(), expected.rows);
  EXPECT_EQ((*table)->size(), expected.networks);

  // Everything the table says of a row.
  const auto values_of = [&](int row) {
    std::vector<ReplayValue> all;
    const auto add = [&](ReplayStage stage, const std::string& device) {
      auto values = (*table)->Values(row, stage, device);
      EXPECT_TRUE(values.ok()) << values.status();
      if (values.ok()) all.insert(all.end(), values->begin(), values->end());
    };
    add(ReplayStage::kScreen, "");
    for (const std::string& device : (*table)->measured_on()) {
      add(ReplayStage::kMeasure, device);
    }
    add(ReplayStage::kTrain, "");
    return all;
  };
  const Architecture canonical =
      (*space)->Canonicalize(Architecture{expected.choices});
  ASSERT_EQ(canonical.choices, expected.choices);
  const int row = (*table)->Find(canonical);
  ASSERT_GE(row, 0);
  const std::vector<ReplayValue> values = values_of(row);
  for (const Known& known : expected.known) {
    const auto found = std::find_if(
        values.begin(), values.end(), [&](const ReplayValue& value) {
          return value.key.ToString() == known.metric;
        });
    ASSERT_NE(found, values.end()) << known.metric;
    EXPECT_DOUBLE_EQ(found->value, known.value) << known.metric;
  }
  EXPECT_DOUBLE_EQ(*(*table)->CostSeconds(row), expected.cost_s);
  if (*expected.oracle == '\0') return;

  // One row for each network gives nearly the front of all rows.
  std::vector<Point> points;
  Point reference;
  for (const ObjectiveSpec& objective : problem.objectives) {
    const double value = objective.reference.value_or(0);
    reference.push_back(objective.maximize ? -value : value);
  }
  for (const Architecture& member : (*table)->CompleteMembers()) {
    std::vector<MetricValue> known;
    for (const ReplayValue& value : values_of((*table)->Find(member))) {
      known.push_back({value.key, value.value});
    }
    const Evaluation evaluation = problem.Evaluate(known);
    ASSERT_TRUE(evaluation.complete);
    points.push_back(evaluation.objectives);
  }
  const double missing = 1 - Hypervolume(points, reference) /
                                 OracleHypervolume(dir, expected.oracle);
  std::printf("%s: one row for each network misses %.3g of the front\n",
              expected.study, missing);
  EXPECT_GT(missing, -1e-9);
  EXPECT_LT(missing, expected.missing);
}

TEST_P(ReplayTablesTest, IsSearchedToItsEndThroughTheController) {
  HWNAS_REQUIRE_DATA(dir);
  const TableCase& expected = GetParam();
  const cli::LoadedStudy study = cli::LoadedStudy::Load(absl::StrCat(
      HWNAS_SOURCE_DIR, "/examples/replay_", expected.study, ".yaml"));
  ASSERT_TRUE(study.ok()) << study.Render();
  v1::StudySpec spec = study.spec();
  spec.mutable_strategy()->mutable_random();
  spec.mutable_budget()->set_trials(500);
  EngineHarness h(std::make_shared<FaultyJournalStore>(), dir);
  h.Create("s", spec);
  while (h.engine->Tick()) {
  }
  const v1::Study ended = h.Study("s");
  EXPECT_EQ(ended.state(), v1::Study::COMPLETED);
  EXPECT_EQ(ended.progress().completed_count(), 500);
  EXPECT_EQ(ended.progress().infeasible_count(), 0);
  EXPECT_GT(ended.progress().simulated_seconds(), 0);
  if (*expected.oracle == '\0') return;
  const double regret = 1 - ended.progress().hypervolume() /
                                OracleHypervolume(dir, expected.oracle);
  std::printf("%s: 500 random trials, %.1f simulated days, regret %.4f\n",
              expected.study, ended.progress().simulated_seconds() / 86400,
              regret);
  EXPECT_GE(regret, -1e-9);
  EXPECT_LT(regret, expected.regret);
}

TEST(ReplayTables, JoinsATableOfFewerNetworks) {
  HWNAS_REQUIRE_DATA(dir);
  // Accuracies on analog hardware are known for 6,113 cells.
  const cli::LoadedStudy study = cli::LoadedStudy::Load(
      absl::StrCat(HWNAS_SOURCE_DIR, "/examples/replay_nasbench201.yaml"));
  ASSERT_TRUE(study.ok()) << study.Render();
  v1::StudySpec spec = study.spec();
  v1::ReplaySpec& replay = *spec.mutable_replay();
  v1::ReplayFile& file = *replay.add_tables();
  file.set_path("nasbench201/analog_cifar10.csv.gz");
  file.set_join("arch_idx");
  v1::ReplayMetric& analog = *replay.add_metrics();
  analog.set_metric("analog_accuracy");
  analog.set_column("finetuned");
  spec.add_objectives()->set_maximize("analog_accuracy");
  replay.set_restrict(true);
  const auto space = CreateSpace(*SearchedSpace(spec));
  ASSERT_TRUE(space.ok()) << space.status();
  const auto table = ReplayTable::Load(FromProto(replay), dir,
                                       ProblemFromProto(spec), **space);
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ((*table)->size(), 6466);
  const size_t complete = (*table)->CompleteMembers().size();
  EXPECT_GT(complete, 2700u);  // They are 2,733 different networks.
  EXPECT_LE(complete, 2733u);
  const int row =
      (*table)->Find((*space)->Canonicalize(Architecture{{4, 3, 3, 4, 4, 4}}));
  const auto values = (*table)->Values(row, ReplayStage::kTrain, "");
  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_EQ(values->back().value, 81.3392);
}

INSTANTIATE_TEST_SUITE_P(Tables, ReplayTablesTest, ::testing::ValuesIn(kCases),
                         [](const auto& info) {
                           return std::string(info.param.study);
                         });

}  // namespace
}  // namespace hwnas
