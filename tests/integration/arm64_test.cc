// The agent for boards under an emulator, beside everything else on this
// machine: scripts/test-arm64 makes what it needs.

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/json_util.h"
#include "nas/space/space_factory.h"
#include "proto/convert/convert.h"
#include "tests/integration/cluster.h"

namespace hwnas {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

// Of outputs up to 1, and of the largest output of networks that give more:
// random weights let the values of deep ones grow.
constexpr double kTolerance = 1e-4;

std::string Sysroot() {
  return absl::StrCat(HWNAS_SOURCE_DIR, "/third_party/sysroot-arm64");
}
std::string Arm64Agent() {
  return absl::StrCat(HWNAS_SOURCE_DIR, "/build/release-arm64/bin/hwnas-agent");
}

std::vector<std::string> Emulated(const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {"qemu-aarch64-static", Arm64Agent()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

class Arm64Test : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(Sysroot()) || !fs::exists(Arm64Agent()) ||
        std::system("command -v qemu-aarch64-static >/dev/null") != 0) {
      GTEST_SKIP() << "no emulator, no arm64 sysroot or no arm64 agent: run "
                      "scripts/test-arm64";
    }
    // By the environment, so that the processes it starts find it too.
    setenv("QEMU_LD_PREFIX", Sysroot().c_str(), 1);
  }
};

std::vector<double> Outputs(std::vector<std::string> agent,
                            const std::string& file, const std::string& log) {
  agent.insert(agent.end(), {"--measure_file=" + file, "--outputs"});
  const CommandResult result = RunCommand(agent, log, absl::Minutes(2));
  EXPECT_EQ(result.code, 0) << result.output;
  if (result.code != 0) return {};
  // The emulated runtime says first that it does not know the processor.
  return nlohmann::json::parse(result.output.substr(result.output.find('{')))
      .at("outputs")
      .get<std::vector<double>>();
}

// Rebuilds networks from their graphs and runs them, on both machines.
TEST_F(Arm64Test, GivesTheOutputsOfX86) {
  Cluster folder("arm64-outputs");
  MobileConfig mobile;
  mobile.input = {3, 32, 32};
  mobile.classes = 10;
  mobile.search_squeeze_excite = true;
  Nasbench201Config cells;
  cells.cells = 1;
  for (const SpaceConfig& config : {SpaceConfig(cells), SpaceConfig(mobile)}) {
    const auto space = CreateSpace(config);
    ASSERT_TRUE(space.ok()) << space.status();
    Rng rng(1);
    for (int i = 0; i < 5; ++i) {
      const auto graph = (*space)->Decode((*space)->Sample(rng), {});
      ASSERT_TRUE(graph.ok()) << graph.status();
      std::string json;
      ASSERT_TRUE(
          google::protobuf::util::MessageToJsonString(ToProto(*graph), &json)
              .ok());
      const std::string file = folder.dir() + "/graph.json";
      ASSERT_TRUE(WriteFileAtomically(file, json).ok());
      const std::string log = folder.dir() + "/outputs.log";
      const auto x86 = Outputs({Cluster::Bin("hwnas-agent")}, file, log);
      const auto arm64 = Outputs(Emulated({}), file, log);
      ASSERT_EQ(x86.size(), 10u);
      ASSERT_EQ(arm64.size(), x86.size());
      double scale = 1;
      double difference = 0;
      double spread = 0;
      for (size_t k = 0; k < x86.size(); ++k) {
        scale = std::max(scale, std::abs(x86[k]));
        difference = std::max(difference, std::abs(arm64[k] - x86[k]));
        spread = std::max(spread, std::abs(x86[k] - x86[0]));
      }
      EXPECT_LE(difference, kTolerance * scale);
      // Not all zeros or alike, so that equality means something.
      EXPECT_GT(spread, 1e-3);
      std::cout << absl::StrFormat(
          "outputs up to %.3g differ by at most %.2g, %.2g of that\n", scale,
          difference, difference / scale);
    }
  }
}

// Joins a controller, takes networks of a study, and marks what it measures.
TEST_F(Arm64Test, MeasuresForAControllerAndSaysThatItIsEmulated) {
  // An inference takes long, and nothing else may take the lease.
  Cluster cluster("arm64", /*lease_seconds=*/30);
  ASSERT_TRUE(cluster.StartController()) << cluster.LogOf("controller");
  cluster.Start("board",
                Emulated({"--controller=" + cluster.address(), "--id=board",
                          "--metrics=", "--preflight_wait=0s",
                          "--spool_dir=" + cluster.dir() + "/spool-board"}));
  v1::StudySpec spec = TinyStudy(/*trials=*/3, /*seed=*/7);
  spec.clear_train();
  spec.clear_objectives();
  spec.add_objectives()->set_minimize("params_m");
  spec.add_objectives()->set_minimize("latency_ms");
  spec.mutable_objectives(1)->set_device("aarch64");
  v1::CreateStudyRequest create;
  create.set_study_id("emulated");
  *create.mutable_spec() = spec;
  auto studies = cluster.Studies();
  v1::Study study;
  {
    grpc::ClientContext context;
    const grpc::Status status = studies->CreateStudy(&context, create, &study);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  ASSERT_TRUE(WaitUntil(absl::Minutes(3), [&] {
    grpc::ClientContext context;
    v1::GetStudyRequest request;
    request.set_name(study.name());
    return studies->GetStudy(&context, request, &study).ok() &&
           study.state() != v1::Study::RUNNING;
  })) << cluster.LogOf("board");
  EXPECT_EQ(study.state(), v1::Study::COMPLETED) << study.ShortDebugString();

  grpc::ClientContext context;
  v1::ListTrialsRequest request;
  request.set_parent(study.name());
  v1::ListTrialsResponse response;
  ASSERT_TRUE(studies->ListTrials(&context, request, &response).ok());
  ASSERT_EQ(response.trials_size(), 3);
  for (const v1::Trial& trial : response.trials()) {
    int measured = 0;
    for (const v1::Measurement& value : trial.measurements()) {
      if (value.provenance() != v1::MEASURED) continue;
      ++measured;
      EXPECT_EQ(value.device(), "devices/board");
      EXPECT_EQ(value.device_class(), "aarch64");
      EXPECT_GT(value.value(), 0);
      EXPECT_TRUE(std::any_of(value.flags().begin(), value.flags().end(),
                              [](const std::string& flag) {
                                return absl::StartsWith(flag, "EMULATED: ");
                              }))
          << value.ShortDebugString();
    }
    EXPECT_GE(measured, 2) << trial.ShortDebugString();
  }
  // What the emulator cannot do is said, and no reason not to measure.
  EXPECT_THAT(cluster.LogOf("board"), HasSubstr("event=emulated"));
  EXPECT_THAT(cluster.LogOf("board"), HasSubstr("is confined without"));
  cluster.process("board")->Signal(SIGTERM);
  EXPECT_EQ(cluster.process("board")->Wait(absl::Seconds(20)), 0)
      << cluster.LogOf("board");
}

}  // namespace
}  // namespace hwnas
