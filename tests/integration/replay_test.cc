// `hwnas run` on tables: no worker, no agent, no waiting.
#include "gmock/gmock.h"
#include "tests/integration/cluster.h"

namespace hwnas {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

// Long enough to be killed on the way.
constexpr char kToyStudy[] = R"(apiVersion: hwnas/v1
kind: Study
metadata: {name: toy}
spec:
  space: {nasbench201: {input: [3, 32, 32], classes: 10}}
  objectives:
    - {maximize: accuracy}
    - {minimize: latency_ms, device: pi, reference: 100}
  strategy: nsga2
  replay:
    tables: [{path: toy.csv}]
    keys: [{columns: ["op{0..5}"], codes: [0, 1, 2, 3, 4]}]
    metrics:
      - {metric: accuracy, column: acc}
      - {metric: latency_ms, device: pi, column: latency}
    cost: {column: seconds}
    workers: 5
    restrict: true
  budget: {trials: 300}
)";

class ReplayRunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = absl::StrCat(
        ::testing::TempDir(), "/hwnas_replay_", getpid(), "_",
        ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(dir_);
    fs::create_directories(dir_);
  }
  void TearDown() override {
    if (!HasFailure()) fs::remove_all(dir_);
  }
  CommandResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {Cluster::Bin("hwnas"), "run"});
    arguments.insert(arguments.end(), {"--dir", dir_ + "/results"});
    return RunCommand(arguments, dir_ + "/run.log", absl::Seconds(120));
  }
  // What a search is, from its trials.json: simulated times included, real ones
  // not.
  std::vector<std::string> Search() {
    std::vector<std::string> lines;
    const auto trials =
        nlohmann::json::parse(*ReadFile(dir_ + "/results/trials.json"));
    for (const auto& trial : trials) {
      lines.push_back(
          absl::StrCat(trial["trial"].dump(), " ", trial["digest"].dump(), " ",
                       trial["state"].dump(), " ", trial["accuracy"].dump(),
                       " ", trial["simulated_create_s"].dump(), " ",
                       trial["simulated_end_s"].dump()));
    }
    return lines;
  }

  const std::string examples_ = std::string(HWNAS_SOURCE_DIR) + "/examples";
  std::string dir_;
};

TEST_F(ReplayRunTest, SearchesAUsersOwnTable) {
  const CommandResult result =
      Run({examples_ + "/replay_own_table.yaml", "--tables", examples_});
  ASSERT_EQ(result.code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("finished: 20 trials in "));
  EXPECT_THAT(result.output,
              HasSubstr(" simulated on 4 workers, 0 infeasible"));
  EXPECT_THAT(result.output, HasSubstr("best.onnx"));
  EXPECT_FALSE(fs::exists(dir_ + "/results/logs/worker.log"));
  EXPECT_FALSE(fs::exists(dir_ + "/results/logs/agent.log"));
  EXPECT_EQ(Search().size(), 20u);
  EXPECT_THAT(*ReadFile(dir_ + "/results/report.html"),
              HasSubstr("simulated time since the start"));
  EXPECT_THAT(*ReadFile(dir_ + "/results/trials.csv"),
              HasSubstr("simulated_create_s,simulated_end_s"));
}

TEST_F(ReplayRunTest, IsTheSameSearchAfterItWasKilled) {
  // All cells of three operators with made-up values.
  std::string table = "op0,op1,op2,op3,op4,op5,acc,latency,seconds\n";
  for (int code = 0; code < 729; ++code) {
    int sum = 0;
    for (int edge = 0, rest = code; edge < 6; ++edge, rest /= 3) {
      absl::StrAppend(&table, 1 + rest % 3, ",");
      sum += (1 + rest % 3) * (edge + 3);
    }
    absl::StrAppend(&table, 50 + sum % 37, ",", 1 + sum, ",", 60 + sum % 11,
                    "\n");
  }
  ASSERT_TRUE(WriteFileAtomically(dir_ + "/toy.csv", table).ok());
  const std::string file = dir_ + "/study.yaml";
  ASSERT_TRUE(WriteFileAtomically(file, kToyStudy).ok());
  ASSERT_EQ(Run({file}).code, 0);
  const std::vector<std::string> expected = Search();
  fs::remove_all(dir_ + "/results");
  {
    Process first(
        {Cluster::Bin("hwnas"), "run", file, "--dir", dir_ + "/results"},
        dir_ + "/first.log");
    ASSERT_TRUE(WaitUntil(absl::Seconds(60), [&] {
      const auto log = ReadFile(dir_ + "/results/logs/controller.log");
      return log.ok() && log->find("trial 20 ") != std::string::npos;
    })) << first.Log();
    first.Kill(SIGKILL);
  }
  ASSERT_EQ(Run({file}).code, 0);
  EXPECT_EQ(Search(), expected);
}

}  // namespace
}  // namespace hwnas
