// `hwnas run`: the embedded service, as a new user meets it.

#include <fstream>

#include "gmock/gmock.h"
#include "tests/integration/cluster.h"

namespace hwnas {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr char kStudy[] = R"(apiVersion: hwnas/v1
kind: Study
metadata: {name: tiny}
spec:
  space: {nasbench201: {input: [1, 28, 28], channels: 4, cells: 1, classes: 10}}
  objectives:
    - {maximize: accuracy}
    - {minimize: latency_ms, device: x86_64}
  train: {dataset: fashion-mnist, epochs: 1, data_fraction: 0.01}
  measure: {min_time: 0.05s, max_time: 0.2s}
  budget: {trials: 10}
  seed: 3
)";

class RunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = absl::StrCat(
        ::testing::TempDir(), "/hwnas_run_", getpid(), "_",
        ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(dir_);
    fs::create_directories(dir_);
    setenv("HWNAS_CORES_LOCK", (dir_ + "/cores.lock").c_str(), 1);
  }
  void TearDown() override {
    if (!HasFailure()) fs::remove_all(dir_);
  }
  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = dir_ + "/" + name;
    EXPECT_TRUE(WriteFileAtomically(path, text).ok());
    return path;
  }
  CommandResult Run(const std::string& study) {
    return RunCommand(
        {Cluster::Bin("hwnas"), "run", study, "--dir", dir_ + "/results"},
        dir_ + "/run.log", absl::Seconds(120));
  }

  std::string dir_;
};

TEST_F(RunTest, SearchesWritesItsResultsAndThenSaysItIsFinished) {
  HWNAS_REQUIRE_FASHION_MNIST();
  const std::string study = Write("study.yaml", kStudy);
  CommandResult result = Run(study);
  ASSERT_EQ(result.code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("accuracy"));
  for (const char* name :
       {"front.csv", "front.json", "trials.csv", "report.html"}) {
    EXPECT_TRUE(fs::exists(dir_ + "/results/" + name)) << name;
  }
  int onnx_files = 0;
  for (const auto& entry : fs::directory_iterator(dir_ + "/results")) {
    onnx_files += entry.path().extension() == ".onnx";
  }
  EXPECT_GE(onnx_files, 1);
  const auto front =
      nlohmann::json::parse(*ReadFile(dir_ + "/results/front.json"));
  EXPECT_FALSE(front.empty());

  result = Run(study);
  EXPECT_EQ(result.code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("finished"));
}

TEST_F(RunTest, ResumesAfterItWasKilledWithAllItsChildren) {
  HWNAS_REQUIRE_FASHION_MNIST();
  const std::string study = Write("study.yaml", kStudy);
  {
    Process first(
        {Cluster::Bin("hwnas"), "run", study, "--dir", dir_ + "/results"},
        dir_ + "/first.log");
    ASSERT_TRUE(WaitUntil(absl::Seconds(60), [&] {
      return first.Log().find("trial 3") != std::string::npos;
    })) << first.Log();
    first.Kill(SIGKILL);
  }
  const CommandResult result = Run(study);
  ASSERT_EQ(result.code, 0) << result.output;
  const auto trials =
      nlohmann::json::parse(*ReadFile(dir_ + "/results/trials.json"));
  EXPECT_EQ(trials.size(), 10u);
}

TEST_F(RunTest, RefusesABadStudyAndLeavesNothingBehind) {
  std::string text = kStudy;
  text.replace(text.find("latency_ms"), 10, "latncy_ms");
  const CommandResult result = Run(Write("study.yaml", text));
  EXPECT_EQ(result.code, 2) << result.output;
  EXPECT_THAT(result.output, HasSubstr("study.yaml:8:"));
  EXPECT_THAT(result.output, HasSubstr("latncy_ms"));
  EXPECT_THAT(result.output, HasSubstr("latency_ms"));
  EXPECT_FALSE(fs::exists(dir_ + "/results"));
}

}  // namespace
}  // namespace hwnas
