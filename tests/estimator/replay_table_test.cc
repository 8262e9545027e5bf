#include "estimator/replay_table.h"

#include <cmath>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/space/space_factory.h"

namespace hwnas {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string NameAndValue(const ReplayValue& value) {
  return absl::StrCat(value.key.ToString(), "=", value.value);
}

std::vector<std::string> Texts(
    const absl::StatusOr<std::vector<ReplayValue>>& values) {
  EXPECT_TRUE(values.ok()) << values.status();
  std::vector<std::string> texts;
  if (!values.ok()) return texts;
  for (const ReplayValue& value : *values) texts.push_back(NameAndValue(value));
  return texts;
}

// Cells of NAS-Bench-201 in files of the test's own.
class ReplayTableTest : public ::testing::Test {
 protected:
  ReplayTableTest() {
    const std::string name =
        ::testing::UnitTest::GetInstance()->current_test_info()->name();
    dir_ = absl::StrCat(::testing::TempDir(), "/replay_table_", name);
    std::filesystem::remove_all(dir_);
    EXPECT_TRUE(MakeDirectories(dir_).ok());
    space_ = *CreateSpace(Nasbench201Config{.benchmark_classes = true});
    config_.files = {{.path = "cells.csv"}};
    config_.keys = {
        {.columns = {"op{0..5}"}, .codes = {"0", "1", "2", "3", "4"}}};
    config_.metrics = {{.key = {"accuracy", ""}, .column = "acc"}};
    problem_.objectives = {{.key = {"accuracy", ""}, .maximize = true}};
  }

  void Write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(absl::StrCat(dir_, "/", name), text).ok());
  }
  absl::StatusOr<std::unique_ptr<ReplayTable>> Load() {
    return ReplayTable::Load(config_, dir_, problem_, *space_);
  }
  std::unique_ptr<ReplayTable> MustLoad() {
    auto table = Load();
    EXPECT_TRUE(table.ok()) << table.status();
    return *std::move(table);
  }
  std::string ErrorOf() {
    const auto table = Load();
    EXPECT_FALSE(table.ok());
    return std::string(table.status().message());
  }
  int Row(const ReplayTable& table, std::vector<int> choices) {
    return table.Find(space_->Canonicalize({std::move(choices)}));
  }

  std::string dir_;
  std::unique_ptr<SearchSpace> space_;
  ReplayConfig config_;
  Problem problem_;
};

TEST_F(ReplayTableTest, AnswersByStageWithUnitsConverted) {
  Write("cells.csv",
        "op0,op1,op2,op3,op4,op5,acc,lat_s,wot,secs\n"
        "3,3,3,3,3,3,0.93,0.012,7.5,100\n"
        "1,3,3,3,3,3,0.91,0.010,7.0,80\n");
  config_.metrics = {
      {.key = {"accuracy", ""}, .column = "acc", .scale = 100, .unit = "%"},
      {.key = {"latency_ms", "pi"},
       .column = "lat_s",
       .scale = 1000,
       .stage = ReplayStage::kMeasure},
      {.key = {"naswot", ""}, .column = "wot", .stage = ReplayStage::kScreen}};
  config_.cost = {.column = "secs", .scale = 200, .seconds = 5};
  const auto table = MustLoad();
  EXPECT_EQ(table->size(), 2);
  EXPECT_THAT(table->measured_on(), ElementsAre("pi"));
  const int row = Row(*table, {1, 3, 3, 3, 3, 3});
  ASSERT_GE(row, 0);
  EXPECT_THAT(Texts(table->Values(row, ReplayStage::kTrain, "")),
              ElementsAre("accuracy=91"));
  EXPECT_THAT(Texts(table->Values(row, ReplayStage::kMeasure, "pi")),
              ElementsAre("latency_ms@pi=10"));
  EXPECT_THAT(Texts(table->Values(row, ReplayStage::kMeasure, "x86_64")),
              ElementsAre());
  EXPECT_THAT(Texts(table->Values(row, ReplayStage::kScreen, "")),
              ElementsAre("naswot=7"));
  EXPECT_EQ(*table->CostSeconds(row), 80 * 200 + 5);
  const Architecture other{{2, 2, 2, 2, 2, 2}};
  EXPECT_EQ(table->Find(other), -1);
  ASSERT_EQ(table->FreeValues(table->member(row)).size(), 1u);
  EXPECT_EQ(table->FreeValues(table->member(row))[0].value, 7);
  EXPECT_TRUE(std::isnan(table->FreeValues(other)[0].value));
}

TEST_F(ReplayTableTest, ReadsTheNotationOfTheSpace) {
  Write("cells.csv",
        absl::StrCat("cell,acc\n", space_->ToText({{4, 2, 1, 2, 1, 1}}),
                     ",55\n"));
  config_.keys.clear();
  config_.architecture = "cell";
  const auto table = MustLoad();
  const int row = Row(*table, {4, 2, 1, 2, 1, 1});
  ASSERT_GE(row, 0);
  EXPECT_THAT(Texts(table->Values(row, ReplayStage::kTrain, "")),
              ElementsAre("accuracy=55"));

  Write("cells.csv", "cell,acc\n|nor_conv~0|,5\n");
  EXPECT_THAT(ErrorOf(), HasSubstr("architecture: " + dir_ + "/cells.csv:2:1"));
}

TEST_F(ReplayTableTest, KnowsShorterTrainings) {
  Write("cells.csv",
        "op0,op1,op2,op3,op4,op5,acc,acc12,epoch_s\n"
        "3,3,3,3,3,3,93,60,2\n");
  config_.epochs = 200;
  config_.cost = {.column = "epoch_s", .scale = 200};
  config_.fidelities = {
      {.epochs = 12,
       .metrics = {{.key = {"accuracy", ""}, .column = "acc12"}},
       .cost = {.column = "epoch_s", .scale = 12}}};
  const auto table = MustLoad();
  EXPECT_THAT(Texts(table->Values(0, ReplayStage::kTrain, "", 12)),
              ElementsAre("accuracy=60"));
  EXPECT_THAT(Texts(table->Values(0, ReplayStage::kTrain, "", 200)),
              ElementsAre("accuracy=93"));
  EXPECT_EQ(*table->CostSeconds(0, 12), 24);
  EXPECT_EQ(*table->CostSeconds(0, 200), 400);
  EXPECT_EQ(*table->CostSeconds(0), 400);
  EXPECT_EQ(table->CostSeconds(0, 50).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(ReplayTableTest, JoinsFilesByRowOrByKey) {
  Write("cells.csv",
        "id,op0,op1,op2,op3,op4,op5,acc\n"
        "a,3,3,3,3,3,3,93\n"
        "b,1,3,3,3,3,3,91\n");
  Write("rows.csv", "lat\n7\n5\n");
  Write("keyed.csv", "energy,id\n50,b\n60,c\n");
  config_.files = {{.path = "cells.csv"},
                   {.path = "rows.csv"},
                   {.path = "keyed.csv", .join = "id"}};
  for (const std::string column : {"lat", "energy"}) {
    config_.metrics.push_back({.key = {column, "pi"},
                               .column = column,
                               .stage = ReplayStage::kMeasure});
  }
  const auto table = MustLoad();
  EXPECT_THAT(Texts(table->Values(Row(*table, {3, 3, 3, 3, 3, 3}),
                                  ReplayStage::kMeasure, "pi")),
              ElementsAre("lat@pi=7"));
  EXPECT_THAT(Texts(table->Values(Row(*table, {1, 3, 3, 3, 3, 3}),
                                  ReplayStage::kMeasure, "pi")),
              ElementsAre("lat@pi=5", "energy@pi=50"));

  Write("rows.csv", "lat\n7\n");
  EXPECT_THAT(ErrorOf(), HasSubstr("tables[1].path: "));
  Write("rows.csv", "lat\n7\n5\n");
  Write("keyed.csv", "energy,id\n50,b\n60,b\n");
  EXPECT_THAT(ErrorOf(), HasSubstr("\"b\" is there twice, first in line 2"));
  config_.files[2].join = "ids";
  EXPECT_THAT(ErrorOf(), HasSubstr("tables[2].join: "));
}

TEST_F(ReplayTableTest, KeepsOneRowForEachNetwork) {
  // Three cells that compute the same: only what goes over node 3 counts.
  const Architecture canonical = space_->Canonicalize({{0, 0, 0, 3, 0, 0}});
  std::string text = "op0,op1,op2,op3,op4,op5,acc\n";
  const auto add = [&](const Architecture& a, const std::string& acc) {
    for (const int choice : a.choices) absl::StrAppend(&text, choice, ",");
    absl::StrAppend(&text, acc, "\n");
  };
  std::vector<Architecture> same;
  for (int op = 0; op < 5; ++op) {
    Architecture a{{0, 0, op, 3, 0, 0}};
    if (space_->Canonicalize(a) == canonical && !(a == canonical)) {
      same.push_back(a);
    }
  }
  ASSERT_FALSE(same.empty());
  // Without its value a row counts less; else the canonical form counts, and
  // of others the first.
  add(same[0], "");
  add(same[0], "10");
  add(same[0], "11");
  Write("cells.csv", text);
  EXPECT_THAT(Texts(MustLoad()->Values(0, ReplayStage::kTrain, "")),
              ElementsAre("accuracy=10"));
  add(canonical, "12");
  add(canonical, "13");
  Write("cells.csv", text);
  const auto table = MustLoad();
  EXPECT_EQ(table->size(), 1);
  EXPECT_EQ(table->file_rows(), 5);
  EXPECT_EQ(table->member(0), canonical);
  EXPECT_THAT(Texts(table->Values(0, ReplayStage::kTrain, "")),
              ElementsAre("accuracy=12"));
}

TEST_F(ReplayTableTest, TellsWhichRowsLackANeededValue) {
  Write("cells.csv",
        "op0,op1,op2,op3,op4,op5,acc,other,secs\n"
        "3,3,3,3,3,3,,1,1\n"
        "1,3,3,3,3,3,91,,1\n"
        "2,3,3,3,3,3,92,2,\n");
  config_.metrics.push_back({.key = {"other", ""}, .column = "other"});
  config_.cost = {.column = "secs"};
  const auto table = MustLoad();
  EXPECT_EQ(table->size(), 3);
  EXPECT_EQ(
      table->CompleteMembers(),
      std::vector<Architecture>{space_->Canonicalize({{1, 3, 3, 3, 3, 3}})});
  const int first = Row(*table, {3, 3, 3, 3, 3, 3});
  EXPECT_EQ(table->Values(first, ReplayStage::kTrain, "").status().message(),
            "the table has no accuracy for this architecture");
  // Nobody asked for the other.
  EXPECT_THAT(Texts(table->Values(Row(*table, {1, 3, 3, 3, 3, 3}),
                                  ReplayStage::kTrain, "")),
              ElementsAre("accuracy=91"));
  EXPECT_EQ(
      table->CostSeconds(Row(*table, {2, 3, 3, 3, 3, 3})).status().message(),
      "the table does not tell what this architecture costs");
}

TEST_F(ReplayTableTest, RefusesAnotherVersionOfAFile) {
  Write("cells.csv", "op0,op1,op2,op3,op4,op5,acc\n3,3,3,3,3,3,93\n");
  const std::string digest = MustLoad()->sha256()[0];
  config_.files[0].sha256 = digest;
  EXPECT_TRUE(Load().ok());
  Write("cells.csv", "op0,op1,op2,op3,op4,op5,acc\n3,3,3,3,3,3,94\n");
  EXPECT_EQ(Load().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(ErrorOf(), HasSubstr("tables[0].sha256: "));
}

TEST_F(ReplayTableTest, SaysWhereSomethingIsWrong) {
  EXPECT_THAT(ErrorOf(), HasSubstr("tables[0].path: "));
  Write("cells.csv", "op0,op1,op2,op3,op4,op5,acc\n3,3,3,3,3,9,93\n");
  EXPECT_THAT(ErrorOf(),
              HasSubstr(absl::StrCat("keys: ", dir_,
                                     "/cells.csv:2:11: \"9\" is no option of "
                                     "decision ")));
  Write("cells.csv", "op0,op1,op2,op3,op4,op5,acc\n3,3,3,3,3,3,good\n");
  EXPECT_THAT(ErrorOf(),
              HasSubstr(absl::StrCat("metrics[0].column: ", dir_,
                                     "/cells.csv:2:13: expected a number")));
  Write("cells.csv", "op0,op1,op2,op3,op4,op5,acc\n3,3,3,3,3,3,-1\n");
  config_.metrics[0].column = "ac";
  EXPECT_THAT(ErrorOf(), HasSubstr("metrics[0].column: "));
  config_.metrics[0].column = "acc";
  config_.cost.column = "acc";
  EXPECT_THAT(ErrorOf(), HasSubstr("a cost of -1 s"));
}

TEST(ExpandBraces, CountsLikeAShell) {
  EXPECT_THAT(*ExpandBraces("op"), ElementsAre("op"));
  EXPECT_THAT(*ExpandBraces("op{0..2}"), ElementsAre("op0", "op1", "op2"));
  EXPECT_THAT(*ExpandBraces("s{1..2}.k{8..9}x"),
              ElementsAre("s1.k8x", "s1.k9x", "s2.k8x", "s2.k9x"));
  for (const char* bad : {"op{0..2", "op}", "op{2..0}", "op{0,1}", "op{}",
                          "op{0..a}", "op{0..9999999}", "{0..99}{0..99}"}) {
    EXPECT_FALSE(ExpandBraces(bad).ok()) << bad;
  }
}

TEST(ResolveKeys, GivesEachDecisionItsColumn) {
  const std::vector<Decision> decisions = {
      {"a", {"x", "y"}}, {"b", {"1", "2", "3"}}, {"c", {"x", "y"}}};
  const auto keys =
      ResolveKeys({{.columns = {"col_b"}, .decisions = {"b"}},
                   {.columns = {"col{0..1}"}, .codes = {"7", "8"}}},
                  decisions);
  ASSERT_TRUE(keys.ok()) << keys.status();
  ASSERT_EQ(keys->size(), 3u);
  EXPECT_EQ((*keys)[0].column, "col0");
  EXPECT_THAT((*keys)[0].codes, ElementsAre("7", "8"));
  EXPECT_EQ((*keys)[1].column, "col_b");
  EXPECT_THAT((*keys)[1].codes, ElementsAre("1", "2", "3"));
  EXPECT_EQ((*keys)[2].column, "col1");

  const auto error = [&](const std::vector<ReplayKey>& keys) {
    return std::string(ResolveKeys(keys, decisions).status().message());
  };
  EXPECT_THAT(error({{.columns = {"p{0..3}"}}}),
              HasSubstr("keys[0].columns: no decision is left for column p3"));
  EXPECT_THAT(error({{.columns = {"p{0..1}"}}}),
              HasSubstr("keys: decision c has no column"));
  EXPECT_THAT(error({{.columns = {"p"}, .decisions = {"d"}}}),
              HasSubstr("keys[0].decisions: the space has no decision \"d\""));
  EXPECT_THAT(error({{.columns = {"p", "q"}, .decisions = {"a", "a"}}}),
              HasSubstr("decision a has a column already: p"));
  EXPECT_THAT(error({{.columns = {"p", "q"}, .decisions = {"a"}}}),
              HasSubstr("1 names for 2 columns"));
  EXPECT_THAT(error({{.columns = {"p{0..2}"}, .codes = {"x", "y"}}}),
              HasSubstr("keys[0].codes: 2 codes, but decision b has 3"));
  EXPECT_THAT(error({{.columns = {"p{"}}}),
              HasSubstr("keys[0].columns[0]: \"p{\" is malformed"));
}

}  // namespace
}  // namespace hwnas
