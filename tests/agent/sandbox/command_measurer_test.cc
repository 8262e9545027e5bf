// Measures with shell scripts in place of tools. The "export" of a graph is its
// first node's name.
#include "agent/sandbox/command_measurer.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas::agent {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class CommandMeasurerTest : public ::testing::Test {
 protected:
  CommandMeasurerTest() {
    options_.measurer.device = "devices/pi-7";
    options_.time_limit = absl::Seconds(30);
    task_.set_device_class("raspberrypi5");
    task_.set_onnx("a model");
    task_.mutable_measure()->mutable_max_time()->set_seconds(1);
    runtime_.name = "x-tool";
    runtime_.results["median"] = {.regex = "median=([0-9.]+)"};
    runtime_.results["mean"] = {.regex = "mean=([0-9.]+)"};
    runtime_.results["samples"] = {.regex = "t=([0-9.]+)"};
  }
  absl::Status Measure(const std::string& script) {
    runtime_.command = {"/bin/sh", "-c",        script,
                        "sh",      "{model}",   "{threads}",
                        "{batch}", "{seconds}", "{precision}"};
    result_.Clear();
    return CommandMeasurer(runtime_, options_).Measure(task_, hooks_, result_);
  }
  const v1::Measurement* Find(const std::string& metric) {
    for (const v1::Measurement& measurement : result_.measurements()) {
      if (measurement.metric() == metric) return &measurement;
    }
    return nullptr;
  }
  std::string WhyMissing(const std::string& metric) {
    for (const v1::MissingMetric& missing : result_.missing_metrics()) {
      if (missing.metric() == metric) return missing.reason();
    }
    return "";
  }

  CommandRuntime runtime_;
  SandboxedMeasurerOptions options_;
  LatencyHooks hooks_;
  v1::MeasureTask task_;
  v1::TaskResult result_;
};

TEST_F(CommandMeasurerTest, TakesTheStatisticsOfSamples) {
  const absl::Status status = Measure(
      "for t in 5 4 6 5 5 5 5 5 5 5; do echo t=$t; done; echo median=9 mean=9");
  ASSERT_TRUE(status.ok()) << status;
  const v1::Measurement* latency = Find("latency_ms");
  ASSERT_NE(latency, nullptr);
  EXPECT_DOUBLE_EQ(latency->value(), 5);
  EXPECT_DOUBLE_EQ(latency->spread(), 0);
  EXPECT_DOUBLE_EQ(latency->ci_low(), 5);
  EXPECT_DOUBLE_EQ(latency->ci_high(), 5);
  EXPECT_EQ(latency->sample_count(), 10);
  EXPECT_EQ(latency->provenance(), v1::MEASURED);
  EXPECT_EQ(latency->device_class(), "raspberrypi5");
  EXPECT_EQ(latency->device(), "devices/pi-7");
  ASSERT_NE(Find("latency_p90_ms"), nullptr);
  EXPECT_DOUBLE_EQ(Find("latency_p90_ms")->value(), 5.1);
  EXPECT_EQ(result_.latency_samples().block_latency_ms_size(), 10);
  EXPECT_EQ(result_.environment().runtime(), "x-tool");
  EXPECT_EQ(result_.environment().threads(), 1);
}

TEST_F(CommandMeasurerTest, SaysWhatTheToolDoesNotTell) {
  task_.set_energy(true);
  runtime_.results["version"] = {.regex = "tool ([0-9.]+)"};
  ASSERT_TRUE(Measure("echo tool 1.2; echo median=3.5; echo mean=4").ok());
  const v1::Measurement* latency = Find("latency_ms");
  ASSERT_NE(latency, nullptr);
  EXPECT_DOUBLE_EQ(latency->value(), 3.5);
  EXPECT_FALSE(latency->has_spread());
  EXPECT_FALSE(latency->has_ci_low());
  EXPECT_THAT(latency->flags(), Contains(StartsWith("UNCONVERGED: x-tool")));
  EXPECT_EQ(Find("latency_p90_ms"), nullptr);
  EXPECT_EQ(WhyMissing("latency_p90_ms"), "x-tool does not tell it");
  EXPECT_THAT(WhyMissing("peak_memory_mb"), HasSubstr("does not tell"));
  EXPECT_THAT(WhyMissing("energy_mj"), HasSubstr("when it infers"));
  EXPECT_EQ(result_.environment().runtime(), "x-tool 1.2");

  ASSERT_TRUE(Measure("echo mean=4").ok());
  EXPECT_DOUBLE_EQ(Find("latency_ms")->value(), 4);
  EXPECT_THAT(Find("latency_ms")->flags(),
              Contains("MEAN: x-tool tells the mean latency, not the median"));
}

TEST_F(CommandMeasurerTest, FlagsSamplesThatSpread) {
  ASSERT_TRUE(Measure("for t in 1 2 3 4 5 6 7 8; do echo t=$t; done").ok());
  EXPECT_THAT(
      Find("latency_ms")->flags(),
      Contains(HasSubstr("of the median over 8 inferences, not 2.0 %")));
}

TEST_F(CommandMeasurerTest, FillsTheCommandIn) {
  task_.mutable_measure()->set_threads(2);
  task_.mutable_measure()->set_batch(4);
  task_.mutable_measure()->set_precision("int8");
  runtime_.precisions = {{"fp32", {}}, {"int8", {"--fast"}}};
  const absl::Status status = Measure(
      "echo t=$2 t=$3 t=$4; echo median=1 >&2; "
      "[ \"$5 $6\" = 'int8 --fast' ] && [ \"$(cat $1)\" = 'a model' ]");
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(result_.latency_samples().block_latency_ms(),
              ElementsAre(2, 4, 1));
  task_.mutable_measure()->set_precision("fp16");
  EXPECT_EQ(Measure("true").message(), "x-tool has no precision \"fp16\"");
}

TEST_F(CommandMeasurerTest, PreparesAGraphInAChild) {
  task_.mutable_graph()->add_nodes()->set_name("exported");
  EXPECT_TRUE(Measure("[ \"$(cat $1)\" = exported ] && echo mean=1").ok());
  task_.mutable_graph()->mutable_nodes(0)->set_name("segfault");
  EXPECT_THAT(std::string(Measure("echo mean=1").message()),
              HasSubstr("crashed: Segmentation fault"));
}

TEST_F(CommandMeasurerTest, ConvertsForToolsOfTensorFlowLite) {
  runtime_.reads_tflite = true;
  absl::Status status = Measure("echo mean=1");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("x-tool reads TensorFlow Lite files, and nothing here "
                        "converts an ONNX file"));
  runtime_.convert = {"/bin/sh", "-c",     "(echo made of; cat $1) > $2",
                      "sh",      "{onnx}", "{model}"};
  status = Measure(
      "[ \"$(cat $1 | tr '\\n' ' ')\" = 'made of a model' ] && "
      "echo mean=1");
  EXPECT_TRUE(status.ok()) << status;
  runtime_.convert = {"/bin/true"};
  EXPECT_THAT(std::string(Measure("echo mean=1").message()),
              HasSubstr("wrote no {model}"));
  runtime_.convert = {"/bin/sh", "-c", "echo cannot convert LSTM >&2; exit 1"};
  EXPECT_EQ(Measure("echo mean=1").message(),
            "sh ended with exit code 1; it said: cannot convert LSTM");
  // A file of its own kind needs no converter.
  runtime_.convert.clear();
  task_.set_onnx(std::string("\x1c\0\0\0TFL3 and more", 17));
  EXPECT_TRUE(Measure("echo mean=1").ok());
  runtime_.reads_tflite = false;
  EXPECT_THAT(std::string(Measure("echo mean=1").message()),
              HasSubstr("reads ONNX files"));
}

TEST_F(CommandMeasurerTest, CostsOneMeasurementWhateverTheToolDoes) {
  EXPECT_EQ(Measure("echo out of workspace >&2; exit 1").message(),
            "sh ended with exit code 1; it said: out of workspace");
  EXPECT_THAT(std::string(Measure("echo hello").message()),
              AllOf(HasSubstr("x-tool told no latency"),
                    HasSubstr("no match of regex \"median=([0-9.]+)\""),
                    HasSubstr("whose first line is \"hello\"")));
  options_.time_limit = absl::Milliseconds(300);
  task_.mutable_measure()->mutable_max_time()->Clear();
  task_.mutable_measure()->mutable_max_time()->set_nanos(1'000'000);
  task_.mutable_measure()->mutable_min_time()->set_nanos(0);
  EXPECT_THAT(std::string(Measure("sleep 1000").message()),
              HasSubstr("sh was killed: it took more than 302ms"));
}

TEST_F(CommandMeasurerTest, LeavesNoFolder) {
  const std::string parent =
      absl::StrCat(::testing::TempDir(), "/command-measurer.", getpid());
  std::filesystem::create_directories(parent);
  const char* before = getenv("TMPDIR");
  const std::string old = before == nullptr ? "" : before;
  setenv("TMPDIR", parent.c_str(), 1);
  EXPECT_TRUE(Measure("echo mean=1; echo big > file").ok());
  EXPECT_FALSE(Measure("exit 1").ok());
  for (const auto& left : std::filesystem::directory_iterator(parent)) {
    // ONNX Runtime leaves files of its own.
    EXPECT_THAT(left.path().filename().string(),
                Not(StartsWith("hwnas-command")));
  }
  if (before == nullptr) {
    unsetenv("TMPDIR");
  } else {
    setenv("TMPDIR", old.c_str(), 1);
  }
  std::filesystem::remove_all(parent);
}

}  // namespace
}  // namespace hwnas::agent
