// The four programs by hand, as on a cluster: started in any order, driven by
// the command line.

#include <algorithm>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "tests/fakes/fake_service_manager.h"
#include "tests/integration/cluster.h"

namespace hwnas {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

constexpr char kStudy[] = R"(apiVersion: hwnas/v1
kind: Study
metadata: {name: by-hand}
spec:
  space: {nasbench201: {input: [1, 28, 28], channels: 4, cells: 1, classes: 10}}
  objectives:
    - {maximize: accuracy}
    - {minimize: latency_ms, device: x86_64}
  constraints:
    - {metric: params_m, at_most: 0.02}
  strategy: {nsga2: {population: 6}}
  train: {dataset: fashion-mnist, epochs: 1, data_fraction: 0.01}
  measure: {min_time: 0.05s, max_time: 0.2s}
  budget: {trials: TRIALS}
  seed: 3
)";

std::string WriteStudy(const Cluster& cluster, int trials) {
  std::string text = kStudy;
  text.replace(text.find("TRIALS"), 6, std::to_string(trials));
  const std::string path = cluster.dir() + "/study.yaml";
  EXPECT_TRUE(WriteFileAtomically(path, text).ok());
  return path;
}

TEST(Service, RunsAStudyOverTwoWorkersAndTwoAgents) {
  HWNAS_REQUIRE_FASHION_MNIST();
  Cluster cluster("service");
  ASSERT_TRUE(cluster.StartController()) << cluster.LogOf("controller");
  // The fleet dials in before and after the study exists.
  cluster.StartAgent("agent-1");
  cluster.StartWorker("worker-1");
  const std::string study = WriteStudy(cluster, 8);
  CommandResult result = cluster.Hwnas({"submit", study});
  ASSERT_EQ(result.code, 0) << result.output;
  cluster.StartWorker("worker-2");
  cluster.StartAgent("agent-2");

  result = cluster.Hwnas({"watch", "by-hand"}, absl::Seconds(120));
  ASSERT_EQ(result.code, 0) << result.output << cluster.LogOf("controller")
                            << cluster.LogOf("worker-1");

  result = cluster.Hwnas({"worker", "list", "--output", "json"});
  ASSERT_EQ(result.code, 0) << result.output;
  EXPECT_EQ(nlohmann::json::parse(result.output).size(), 2u) << result.output;
  result = cluster.Hwnas({"device", "list", "--output", "json"});
  ASSERT_EQ(result.code, 0) << result.output;
  EXPECT_EQ(nlohmann::json::parse(result.output).size(), 2u) << result.output;

  result = cluster.Hwnas({"trials", "by-hand", "--output", "json"});
  ASSERT_EQ(result.code, 0) << result.output;
  EXPECT_EQ(nlohmann::json::parse(result.output).size(), 8u) << result.output;
  result = cluster.Hwnas({"trials", "by-hand", "--output", "csv"});
  EXPECT_EQ(std::count(result.output.begin(), result.output.end(), '\n'), 9)
      << result.output;
  result = cluster.Hwnas({"front", "by-hand", "--output", "json"});
  ASSERT_EQ(result.code, 0) << result.output;
  EXPECT_FALSE(nlohmann::json::parse(result.output).empty());
  result = cluster.Hwnas({"front", "by-hand"});
  EXPECT_THAT(result.output, HasSubstr("accuracy"));

  const std::string onnx = cluster.dir() + "/model.onnx";
  result = cluster.Hwnas({"export", "by-hand", "--output-file", onnx});
  ASSERT_EQ(result.code, 0) << result.output;
  EXPECT_GT(fs::file_size(onnx), 1000u);
  result = cluster.Hwnas({"profile", onnx, "--device", "x86_64"});
  EXPECT_EQ(result.code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("latency_ms"));
  // A folder is compared; what cannot be measured costs its row only.
  const std::string models = cluster.dir() + "/models";
  fs::create_directories(models);
  fs::copy_file(onnx, models + "/good.onnx");
  std::ofstream(models + "/broken.onnx") << "no model";
  result = cluster.Hwnas(
      {"profile", models, "--device", "x86_64", "--max-seconds", "1"});
  EXPECT_EQ(result.code, 1) << result.output;
  EXPECT_THAT(result.output, HasSubstr("x fastest"));
  EXPECT_THAT(result.output, HasSubstr("good.onnx"));
  EXPECT_THAT(result.output, HasSubstr("cannot be loaded"));
  EXPECT_THAT(result.output, HasSubstr("1 of 2 measurements failed"));

  // Submitting the very same study again is harmless.
  result = cluster.Hwnas({"submit", study});
  EXPECT_EQ(result.code, 0) << result.output;
}

TEST(Service, CancelsAStudyWithinSeconds) {
  HWNAS_REQUIRE_FASHION_MNIST();
  Cluster cluster("cancel");
  ASSERT_TRUE(cluster.StartController()) << cluster.LogOf("controller");
  cluster.StartWorker("worker-1");
  cluster.StartAgent("agent-1");
  ASSERT_EQ(cluster.Hwnas({"submit", WriteStudy(cluster, 5000)}).code, 0);
  auto studies = cluster.Studies();
  auto get = [&] {
    grpc::ClientContext context;
    v1::GetStudyRequest request;
    request.set_name("studies/by-hand");
    v1::Study study;
    studies->GetStudy(&context, request, &study);
    return study;
  };
  ASSERT_TRUE(WaitUntil(absl::Seconds(60), [&] {
    return get().progress().completed_count() > 0;
  })) << cluster.LogOf("controller");
  const CommandResult result = cluster.Hwnas({"cancel", "by-hand"});
  ASSERT_EQ(result.code, 0) << result.output;
  EXPECT_TRUE(WaitUntil(absl::Seconds(5), [&] {
    return get().state() == v1::Study::CANCELLED &&
           get().progress().running_count() == 0;
  })) << get().ShortDebugString();
}

TEST(Service, LetsAPythonScriptEvaluateByAskAndTell) {
  Cluster cluster("ask_tell");
  ASSERT_TRUE(cluster.StartController()) << cluster.LogOf("controller");
  const std::string examples = std::string(HWNAS_SOURCE_DIR) + "/examples";
  CommandResult result = cluster.Hwnas({"submit", examples + "/ask_tell.yaml"});
  ASSERT_EQ(result.code, 0) << result.output;
  result = RunCommand({"/usr/bin/python3", examples + "/ask_tell.py",
                       "--server", cluster.address(), "--study", "ask-tell"},
                      cluster.dir() + "/ask_tell.log", absl::Seconds(60));
  ASSERT_EQ(result.code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("trial 60: {"));
  result = cluster.Hwnas({"front", "ask-tell", "--output", "json"});
  ASSERT_EQ(result.code, 0) << result.output;
  EXPECT_GT(nlohmann::json::parse(result.output).size(), 1u);
}

TEST(Service, RemembersItsDevicesOverAKilledController) {
  Cluster cluster("farm");
  ASSERT_TRUE(cluster.StartController(/*anchor_interval=*/"1h"))
      << cluster.LogOf("controller");
  cluster.StartAgent("board-1");
  const auto show = [&] {
    const CommandResult result =
        cluster.Hwnas({"device", "show", "board-1", "--output", "json"});
    return result.code == 0 ? nlohmann::json::parse(result.output)
                            : nlohmann::json();
  };
  // The device measures the anchor as soon as it is there.
  const auto anchored = [&] {
    const auto device = show();
    return device.contains("health") && device["health"].contains("anchors");
  };
  ASSERT_TRUE(WaitUntil(absl::Seconds(60), anchored))
      << cluster.LogOf("controller") << cluster.LogOf("board-1");
  EXPECT_GT(show()["health"]["anchors"][0]["latency_ms"].get<double>(), 0);

  CommandResult result =
      cluster.Hwnas({"device", "reserve", "board-1", "--for", "10m", "--user",
                     "ann", "--note", "new kernel"});
  ASSERT_EQ(result.code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("devices/board-1 is yours (ann) until"));
  cluster.Kill("controller");
  ASSERT_TRUE(cluster.StartController("1h")) << cluster.LogOf("controller");
  ASSERT_TRUE(WaitUntil(absl::Seconds(60), [&] {
    const auto device = show();
    return device.contains("executor") &&
           device["executor"].value("state", "") == "CONNECTED";
  })) << cluster.LogOf("board-1");
  const auto device = show();
  EXPECT_EQ(device["reservation"]["user"], "ann");
  EXPECT_FALSE(device["health"]["anchors"].empty());
  result = cluster.Hwnas({"device", "reserve", "board-1", "--user", "bob"});
  EXPECT_EQ(result.code, 1) << result.output;
  EXPECT_THAT(result.output, HasSubstr("is reserved for ann until"));
  result = cluster.Hwnas({"device", "release", "board-1", "--user", "ann"});
  EXPECT_EQ(result.code, 0) << result.output;
  EXPECT_FALSE(show().contains("reservation"));
}

TEST(Service, SaysWhatIsWrongInOneSentence) {
  Cluster cluster("wrong");
  ASSERT_TRUE(cluster.StartController()) << cluster.LogOf("controller");
  const std::string log = cluster.dir() + "/second.log";
  // Nothing but our own lines: none of a library.
  const auto every_line_is_ours = [](const std::string& output) {
    for (const absl::string_view line :
         absl::StrSplit(output, '\n', absl::SkipEmpty())) {
      EXPECT_TRUE(absl::StartsWith(line, "hwnas") ||
                  absl::StrContains(line, " controller event="))
          << line;
    }
  };
  // The port is in use.
  CommandResult result = RunCommand(
      {Cluster::Bin("hwnas-controller"), "--store=" + cluster.dir() + "/other",
       "--listen=" + cluster.address(), "--metrics="},
      log, absl::Seconds(20));
  EXPECT_EQ(result.code, 1) << result.output;
  EXPECT_THAT(result.output, HasSubstr(cluster.address()));
  every_line_is_ours(result.output);
  // The store is in use.
  result = RunCommand(
      {Cluster::Bin("hwnas-controller"), "--store=" + cluster.dir() + "/store",
       "--listen=127.0.0.1:0", "--metrics="},
      log, absl::Seconds(20));
  EXPECT_EQ(result.code, 1) << result.output;
  EXPECT_THAT(result.output, HasSubstr("store"));
  // In the clear beyond loopback.
  result = RunCommand(
      {Cluster::Bin("hwnas-controller"), "--store=" + cluster.dir() + "/other",
       "--listen=0.0.0.0:0", "--metrics="},
      log, absl::Seconds(20));
  EXPECT_EQ(result.code, 1) << result.output;
  EXPECT_THAT(result.output, HasSubstr("insecure"));
  // Nobody there.
  cluster.Kill("controller", SIGTERM);
  result = cluster.Hwnas({"front", "by-hand"});
  EXPECT_NE(result.code, 0);
  EXPECT_THAT(result.output, HasSubstr(cluster.address()));
  every_line_is_ours(result.output);
}

// As systemd starts an agent: Type=notify, WatchdogSec=.
TEST(Service, AnAgentTellsItsServiceManagerHowItIs) {
  Cluster cluster("notify");
  ASSERT_TRUE(cluster.StartController()) << cluster.LogOf("controller");
  FakeServiceManager manager(cluster.dir() + "/notify");
  ASSERT_TRUE(manager.bound());
  setenv("NOTIFY_SOCKET", manager.name().c_str(), 1);
  setenv("WATCHDOG_USEC", "600000", 1);
  cluster.StartAgent("agent-1");
  unsetenv("NOTIFY_SOCKET");
  unsetenv("WATCHDOG_USEC");
  std::vector<std::string> heard;
  const auto count = [&](const std::string& what) {
    for (std::string& line : manager.Heard()) heard.push_back(std::move(line));
    return std::count_if(
        heard.begin(), heard.end(),
        [&](const std::string& line) { return absl::StartsWith(line, what); });
  };
  EXPECT_TRUE(WaitUntil(absl::Seconds(20), [&] {
    return count("STATUS=connected to " + cluster.address()) > 0 &&
           count("WATCHDOG=1") >= 3;
  })) << cluster.LogOf("agent-1");
  EXPECT_EQ(heard.front(), "READY=1");
  cluster.process("agent-1")->Signal(SIGTERM);
  EXPECT_EQ(cluster.process("agent-1")->Wait(absl::Seconds(20)), 0);
  EXPECT_EQ(count("STOPPING=1"), 1);
}

}  // namespace
}  // namespace hwnas
