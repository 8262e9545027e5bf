#include "agent/runtime/command_runtime.h"

#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas::agent {
namespace {

using ::testing::AllOf;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;

// github.com/NVIDIA/TensorRT, issue 4177 (TensorRT 10); the line of the version
// is that of the tool's own banner.
constexpr char kTrtexec[] =
    R"(&&&& RUNNING TensorRT.trtexec [TensorRT v100200] # trtexec --onnx=model.onnx
[10/03/2024-10:47:59] [I] === Performance summary ===
[10/03/2024-10:47:59] [I] Throughput: 130.298 qps
[10/03/2024-10:47:59] [I] Latency: min = 5.38672 ms, max = 13.3664 ms, mean = 7.60628 ms, median = 7.16092 ms, percentile(90%) = 10.2996 ms, percentile(95%) = 10.8698 ms, percentile(99%) = 12.9675 ms
[10/03/2024-10:47:59] [I] Enqueue Time: min = 2.72876 ms, max = 15.0201 ms, mean = 7.63062 ms, median = 7.86694 ms, percentile(90%) = 10.1792 ms, percentile(95%) = 11.7217 ms, percentile(99%) = 14.1848 ms
[10/03/2024-10:47:59] [I] H2D Latency: min = 0.0065918 ms, max = 0.0698242 ms, mean = 0.0122212 ms, median = 0.00814819 ms, percentile(90%) = 0.0253906 ms, percentile(95%) = 0.0270996 ms, percentile(99%) = 0.0515137 ms
[10/03/2024-10:47:59] [I] GPU Compute Time: min = 5.34595 ms, max = 13.3388 ms, mean = 7.58404 ms, median = 7.14139 ms, percentile(90%) = 10.2881 ms, percentile(95%) = 10.8175 ms, percentile(99%) = 12.9485 ms
[10/03/2024-10:47:59] [I] D2H Latency: min = 0.00390625 ms, max = 0.110596 ms, mean = 0.0100141 ms, median = 0.00439453 ms, percentile(90%) = 0.0254517 ms, percentile(95%) = 0.0319824 ms, percentile(99%) = 0.0994873 ms
[10/03/2024-10:47:59] [I] Total Host Walltime: 3.00082 s
[10/03/2024-10:47:59] [I] Total GPU Compute Time: 2.96536 s
)";

// What exportJSONTrace() of TensorRT's samples/common/sampleReporting.cpp
// (release 8.2 and later) writes for --exportTimes.
// Numbers made up.
constexpr char kTrtexecTimes[] = R"([
  { "startEnqMs" : 0.2, "endEnqMs" : 1.0, "startH2dMs" : 0.1, "endH2dMs" : 0.2, "startComputeMs" : 0.3, "endComputeMs" : 1.1, "startD2hMs" : 1.1, "endD2hMs" : 1.2, "h2dMs" : 0.1, "computeMs" : 0.8, "d2hMs" : 0.1, "latencyMs" : 1 }
, { "startEnqMs" : 2.2, "endEnqMs" : 3.0, "startH2dMs" : 2.1, "endH2dMs" : 2.2, "startComputeMs" : 2.3, "endComputeMs" : 3.3, "startD2hMs" : 3.3, "endD2hMs" : 3.4, "h2dMs" : 0.1, "computeMs" : 1.0, "d2hMs" : 0.1, "latencyMs" : 1.2 }
]
)";

// github.com/tensorflow/tensorflow, issue 73862 (2024), on a desktop.
constexpr char kBenchmarkModel[] = R"(INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Graph: [mobilenet_v1_1.0_224.tflite]
INFO: Signature to run: []
INFO: Loaded model mobilenet_v1_1.0_224.tflite
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: The input model file size (MB): 16.9008
INFO: Initialized session in 12.75ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=37 first=14744 curr=15520 min=13164 max=18295 avg=13764.3 std=967

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=74 first=14850 curr=13315 min=13105 max=15765 avg=13520.2 std=470

INFO: Inference timings in us: Init: 12750, First inference: 14744, Warmup (avg): 13764.3, Inference (avg): 13520.2
)";

// A public log of a phone with a newer release, which prints percentiles,
// without the columns of logcat.
constexpr char kNewBenchmarkModel[] = R"(The input model file size (MB): 3.06409
Initialized session in 92.318ms.
count=3 first=235158 curr=200386 min=199462 max=235158 avg=211669 std=16613 p5=199462 median=200386 p95=235158
count=25 first=187533 curr=140990 min=140071 max=195121 avg=145528 std=13583 p5=140545 median=141253 p95=187533
Inference timings in us: Init: 92318, First inference: 235158, Warmup (avg): 211669, Inference (avg): 145528
Memory footprint delta from the start of the tool (MB): init=54.2852 overall=73.4102
)";

// github.com/ARM-software/ComputeLibrary, issue 850 (ONNX Runtime 1.3).
constexpr char kPerfTest[] = R"(Session creation time cost: 0.127918 s
Total inference time cost: 1.44871 s
Total inference requests: 10
Average inference time cost: 144.871 ms
Total inference run time: 1.44916 s
Avg CPU usage: 68 %
Peak working set size: 158171136 bytes
)";

// What DumpToFile() of ONNX Runtime's onnxruntime/test/perftest writes:
// the model's name, seconds, peak bytes, processor use, number; statistics
// after them, if asked for. Numbers made up.
constexpr char kPerfTestFile[] = R"(model,0.0845012,148172800,86,0
model,0.0841,148172800,86,1
model,8.4e-02,148172800,86,2

Min Latency is 0.084sec
P50 Latency is 0.0841sec
)";
// With the total time since 2025.
constexpr char kNewPerfTestFile[] =
    R"(model,0.0845012,0.0845012,148172800,86,0
,0.0841,0.0841,148172800,86,1
)";

const CommandRuntime& Preset(const std::string& name) {
  for (const CommandRuntime& preset : PresetCommandRuntimes()) {
    if (preset.name == name) return preset;
  }
  ADD_FAILURE() << name;
  return PresetCommandRuntimes().front();
}

class CommandRuntimeTest : public ::testing::Test {
 protected:
  CommandRuntimeTest()
      : folder_(
            absl::StrCat(::testing::TempDir(), "/command_runtime.", getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~CommandRuntimeTest() override { std::filesystem::remove_all(folder_); }
  void Write(const std::string& file, absl::string_view text) {
    ASSERT_TRUE(WriteFileAtomically(folder_ + "/" + file, text).ok());
  }
  CommandReport Read(const CommandRuntime& runtime, absl::string_view output) {
    auto report = ReadCommandReport(runtime, output, folder_);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *report : CommandReport();
  }
  const std::string folder_;
};

TEST_F(CommandRuntimeTest, ReadsTrtexec) {
  const CommandRuntime& trtexec = Preset("trtexec");
  CommandReport report = Read(trtexec, kTrtexec);
  EXPECT_THAT(report.median_ms, Optional(7.16092));
  EXPECT_THAT(report.mean_ms, Optional(7.60628));
  EXPECT_THAT(report.p99_ms, Optional(12.9675));
  EXPECT_THAT(report.samples_ms, IsEmpty());
  EXPECT_EQ(report.peak_memory_mb, std::nullopt);
  EXPECT_EQ(report.version, "100200");
  Write("times.json", kTrtexecTimes);
  report = Read(trtexec, kTrtexec);
  EXPECT_THAT(report.samples_ms, ElementsAre(1, 1.2));
}

TEST_F(CommandRuntimeTest, ReadsBenchmarkModel) {
  const CommandRuntime& benchmark = Preset("benchmark_model");
  CommandReport report = Read(benchmark, kBenchmarkModel);
  EXPECT_EQ(report.median_ms, std::nullopt);
  EXPECT_THAT(report.mean_ms, Optional(DoubleNear(13.5202, 1e-9)));
  EXPECT_THAT(report.count, Optional(74));
  EXPECT_THAT(report.load_ms, Optional(DoubleNear(12.750, 1e-9)));
  EXPECT_THAT(report.first_ms, Optional(DoubleNear(14.744, 1e-9)));
  EXPECT_EQ(report.peak_memory_mb, std::nullopt);

  report = Read(benchmark, kNewBenchmarkModel);
  EXPECT_THAT(report.median_ms, Optional(DoubleNear(141.253, 1e-9)));
  EXPECT_THAT(report.count, Optional(25));
  EXPECT_THAT(report.peak_memory_mb,
              Optional(DoubleNear(73.4102 * 1.048576, 1e-6)));
}

TEST_F(CommandRuntimeTest, ReadsOnnxruntimePerfTest) {
  const CommandRuntime& perf_test = Preset("onnxruntime_perf_test");
  Write("result.csv", kPerfTestFile);
  CommandReport report = Read(perf_test, kPerfTest);
  EXPECT_THAT(report.samples_ms,
              ElementsAre(DoubleNear(84.5012, 1e-9), DoubleNear(84.1, 1e-9),
                          DoubleNear(84, 1e-9)));
  EXPECT_THAT(report.mean_ms, Optional(144.871));
  EXPECT_THAT(report.load_ms, Optional(DoubleNear(127.918, 1e-9)));
  Write("result.csv", kNewPerfTestFile);
  report = Read(perf_test, kPerfTest);
  EXPECT_THAT(report.samples_ms,
              ElementsAre(DoubleNear(84.5012, 1e-9), DoubleNear(84.1, 1e-9)));
}

TEST_F(CommandRuntimeTest, SaysWhatWasThereInPlaceOfALatency) {
  const auto report =
      ReadCommandReport(Preset("benchmark_model"),
                        "\nusage: benchmark_model FILE\nmore", folder_);
  EXPECT_EQ(report.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(report.status().message()),
              AllOf(HasSubstr("benchmark_model told no latency"),
                    HasSubstr(R"(no match of regex "count=[0-9]+ .* median=)"),
                    HasSubstr("whose first line is \"usage: benchmark_model")));
  const auto none =
      ReadCommandReport(Preset("onnxruntime_perf_test"), "", folder_);
  EXPECT_THAT(std::string(none.status().message()),
              HasSubstr("it wrote no result.csv"));
}

TEST_F(CommandRuntimeTest, RefusesNumbersThatAreNone) {
  for (const char* value : {"nan", "inf", "-3", "1e999"}) {
    const auto runtimes = ParseCommandRuntimes(R"json({"runtimes": [
        {"name": "x-a", "command": ["a"],
         "results": {"median": {"regex": "t=(\\S+)"
  }
}
}]
})json");
    ASSERT_TRUE(runtimes.ok()) << runtimes.status();
    const auto report = ReadCommandReport(runtimes->front(),
                                          absl::StrCat("t=", value), folder_);
    EXPECT_THAT(std::string(report.status().message()),
                HasSubstr(absl::StrCat("median is \"", value, "\"")));
  }
}

TEST_F(CommandRuntimeTest, ReadsJsonByPointers) {
  const auto runtimes = ParseCommandRuntimes(R"({
    // A tool of our own.
    "runtimes": [{
      "name": "x-mytool",
      "command": ["mytool", "{model}", "-t", "{threads}"],
      "reads": ["/srv/mytool"],
      "precisions": {"fp32": [], "int8": ["--quick"]},
      "results": {
        "samples": {"json": "/runs/*/t~1us", "unit": "us"},
        "p90": {"json": "/summary/1", "unit": "s"},
        "peak_memory": {"json": "/memory", "unit": "KiB"},
        "version": {"json": "/version"}}}]})");
  ASSERT_TRUE(runtimes.ok()) << runtimes.status();
  const CommandRuntime& mytool = runtimes->front();
  EXPECT_EQ(mytool.name, "x-mytool");
  EXPECT_THAT(mytool.reads, ElementsAre("/srv/mytool"));
  EXPECT_THAT(mytool.precisions.at("int8"), ElementsAre("--quick"));
  EXPECT_THAT(FillIn(mytool.command, {{"model", "/tmp/m"}, {"threads", "2"}}),
              ElementsAre("mytool", "/tmp/m", "-t", "2"));
  const CommandReport report = Read(mytool, R"(warming up
{"runs": [{"t/us": 1500}, {"t/us": 2500.0}, {"other": 1}],
 "summary": [0, 0.002], "memory": 1000, "version": "3.1"})");
  EXPECT_THAT(report.samples_ms, ElementsAre(1.5, 2.5));
  EXPECT_THAT(report.p90_ms, Optional(DoubleNear(2, 1e-9)));
  EXPECT_THAT(report.peak_memory_mb, Optional(DoubleNear(1.024, 1e-9)));
  EXPECT_EQ(report.version, "3.1");
}

TEST_F(CommandRuntimeTest, TakesWhatIsNotSaidFromAPreset) {
  const auto runtimes = ParseCommandRuntimes(R"({"runtimes": [
    {"name": "x-tflite", "preset": "benchmark_model",
     "convert": ["onnx2tf", "-i", "{onnx}", "-o", "{model}"]}]})");
  ASSERT_TRUE(runtimes.ok()) << runtimes.status();
  EXPECT_EQ(runtimes->front().command, Preset("benchmark_model").command);
  EXPECT_EQ(runtimes->front().results.size(),
            Preset("benchmark_model").results.size());
  EXPECT_TRUE(runtimes->front().reads_tflite);
  EXPECT_TRUE(runtimes->front().takes_onnx());
  EXPECT_FALSE(Preset("benchmark_model").takes_onnx());
  EXPECT_EQ(CapabilityOf(runtimes->front()).runtime(), "x-tflite");
  EXPECT_THAT(CapabilityOf(Preset("trtexec")).precisions(),
              ElementsAre("fp16", "fp32", "int8"));
}

TEST_F(CommandRuntimeTest, SaysWhereAFileIsWrong) {
  const auto error = [](const std::string& json) {
    return std::string(ParseCommandRuntimes(json).status().message());
  };
  const auto entry = [&](const std::string& rest) {
    return error(R"json({"runtimes": [{"name": "x-a", "command": ["a"],
                    "results": {"mean": {"regex": "(.)"
  }
}, )json" + rest +
                 "}]}");
  };
  EXPECT_THAT(error("{"), HasSubstr("line 1"));
  EXPECT_THAT(error("[]"), HasSubstr("expected {"));
  EXPECT_THAT(error(R"({"runtime": []})"),
              HasSubstr("unknown key \"runtime\""));
  EXPECT_THAT(entry(R"("nmae": 1)"),
              HasSubstr("runtimes[0]: unknown key \"nmae\""));
  EXPECT_THAT(entry(R"("command": ["a", "{modle}"])"),
              HasSubstr("runtimes[0].command: unknown placeholder {modle}"));
  EXPECT_THAT(entry(R"("command": [])"), HasSubstr("expected a program"));
  EXPECT_THAT(entry(R"("name": "mytool")"), HasSubstr("expected x-"));
  EXPECT_THAT(entry(R"("preset": "trt")"),
              HasSubstr("unknown preset \"trt\": expected benchmark_model, "));
  EXPECT_THAT(entry(R"("model": "pb")"), HasSubstr("expected onnx or tflite"));
  EXPECT_THAT(entry(R"("precisions": {"fp8": []})"),
              HasSubstr("unknown precision \"fp8\""));
  EXPECT_THAT(entry(R"("quantize": 1)"), HasSubstr("expected true or false"));
  const auto result = [&](const std::string& results) {
    return entry("\"results\": " + results);
  };
  EXPECT_THAT(result("{}"), HasSubstr("expected median, mean or samples"));
  EXPECT_THAT(result(R"json({"fastest": {"regex": "(.)"}})json"),
              HasSubstr("runtimes[0].results.fastest: unknown result"));
  EXPECT_THAT(result(R"json({"mean": {"regex": "("}})json"),
              HasSubstr("missing )"));
  EXPECT_THAT(result(R"json({"mean": {"regex": "a"}})json"),
              HasSubstr("no group"));
  EXPECT_THAT(result(R"json({"mean": {"json": "a"}})json"),
              HasSubstr("a pointer"));
  EXPECT_THAT(result(R"json({"mean": {"regex": "(.)", "json": "/a"}})json"),
              HasSubstr("either"));
  EXPECT_THAT(result(R"json({"mean": {"regex": "(.)", "unit": "h"}})json"),
              HasSubstr("unit \"h\": expected ms, ns, s, us"));
  EXPECT_THAT(result(R"json({"mean": {"regex": "(.)", "file": "../a"}})json"),
              HasSubstr("without a folder"));
  EXPECT_THAT(error(R"json({"runtimes": [
                      {"name": "x-a", "preset": "trtexec"},
                      {"name": "x-a", "preset": "trtexec"}]})json"),
              HasSubstr("is there twice"));
}

TEST_F(CommandRuntimeTest, FindsProgramsOnThePath) {
  CommandRuntime runtime = {.name = "x-a", .command = {"sh", "-c"}};
  auto found = FindPrograms(runtime);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(found->command[0], ::testing::EndsWith("/sh"));
  runtime.convert = {"there-is-no-such-program"};
  EXPECT_EQ(FindPrograms(runtime).status().message(),
            "there is no program \"there-is-no-such-program\"");
  runtime.convert = {folder_};  // A folder is none.
  EXPECT_EQ(FindPrograms(runtime).status().code(), absl::StatusCode::kNotFound);
}

// A hostile tool must not take our time: RE2 is linear, and what is read is
// bounded.
TEST_F(CommandRuntimeTest, ReadsALongLineInLinearTime) {
  const std::string line(4 << 20, 'a');
  EXPECT_FALSE(
      ReadCommandReport(Preset("trtexec"), "] Latency: min = " + line, folder_)
          .ok());
  const std::string deep(1 << 20, '[');
  const auto runtimes = ParseCommandRuntimes(R"({"runtimes": [
      {"name": "x-a", "command": ["a"],
       "results": {"median": {"json": "/a"}}}]})");
  EXPECT_FALSE(ReadCommandReport(runtimes->front(), deep, folder_).ok());
}

}  // namespace
}  // namespace hwnas::agent
