// The subcommands against a controller that says what the test tells it to.
#include <filesystem>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "cli/context.h"
#include "cli/study_file.h"
#include "common/files.h"
#include "gmock/gmock.h"
#include "proto/convert/convert.h"
#include "tests/cli/sample_study.h"
#include "tests/fakes/fake_study_service.h"

namespace hwnas::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Json = nlohmann::json;

class CommandsTest : public ::testing::Test {
 protected:
  CommandsTest()
      : dir_(absl::StrCat(
            ::testing::TempDir(), "/hwnas_commands_", getpid(), "_",
            ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::create_directories(dir_);
    const ReportInput input = SampleResults();
    studies_.study = input.study;
    studies_.trials = input.trials;
    studies_.front = input.front;
    fleet_.executors = input.executors;
    v1::StudyUpdate update;
    *update.mutable_study() = input.study;
    update.mutable_study()->set_state(v1::Study::RUNNING);
    update.set_message("trial 7 trained");
    studies_.updates.push_back(update);
    update.mutable_study()->set_state(v1::Study::COMPLETED);
    update.set_message("the study has ended");
    studies_.updates.push_back(update);
    grpc::ServerBuilder builder;
    builder.RegisterService(&studies_);
    builder.RegisterService(&fleet_);
    server_ = builder.BuildAndStart();
  }
  ~CommandsTest() override {
    server_->Shutdown();
    std::filesystem::remove_all(dir_);
  }

  int Run(std::vector<std::string> arguments) {
    out_.str("");
    err_.str("");
    Context context;
    context.out = &out_;
    context.err = &err_;
    context.program_dir = dir_;
    context.server = "127.0.0.1:7420";
    context.connect = [this](const std::string&) {
      return server_->InProcessChannel({});
    };
    return RunCli(std::move(arguments), context);
  }

  const std::string dir_;
  FakeStudyService studies_;
  FakeFleetService fleet_;
  std::unique_ptr<grpc::Server> server_;
  std::ostringstream out_, err_;
};

TEST_F(CommandsTest, TrialsComeFromEveryPage) {
  EXPECT_EQ(Run({"trials", "tiny", "--output", "json"}), 0) << err_.str();
  EXPECT_EQ(Json::parse(out_.str()).size(), 12u);
  EXPECT_EQ(Run({"trials", "tiny", "--state", "infeasible", "-o", "json"}), 0);
  EXPECT_EQ(Json::parse(out_.str()).size(), 1u);
  EXPECT_EQ(Run({"trials", "studies/tiny", "--output", "csv"}), 0);
  const std::string csv = out_.str();
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 13);
}

TEST_F(CommandsTest, FrontListAndShow) {
  EXPECT_EQ(Run({"front", "tiny"}), 0);
  EXPECT_THAT(out_.str(), HasSubstr("accuracy [%]"));
  EXPECT_EQ(Run({"list", "--output", "json"}), 0);
  EXPECT_EQ(Json::parse(out_.str())[0]["study"], "tiny");
  EXPECT_EQ(Run({"show", "tiny"}), 0);
  EXPECT_THAT(out_.str(), HasSubstr("12/24 trials"));
  EXPECT_EQ(Run({"status", "tiny", "--output", "json"}), 0);
  EXPECT_EQ(Json::parse(out_.str())["state"], "COMPLETED");
  EXPECT_EQ(Run({"worker", "list", "--output", "json"}), 0);
  EXPECT_EQ(Json::parse(out_.str()).size(), 0u);
}

TEST_F(CommandsTest, WatchGoesOnAfterAStreamBreaks) {
  studies_.broken_watches = 1;
  EXPECT_EQ(Run({"watch", "tiny"}), 0) << err_.str();
  EXPECT_EQ(studies_.watch_count(), 2);
  EXPECT_THAT(out_.str(), HasSubstr("the study has ended"));
  EXPECT_THAT(out_.str(), HasSubstr("front:"));
}

TEST_F(CommandsTest, ExportWritesTheKneeByDefault) {
  const std::string file = dir_ + "/m.onnx";
  EXPECT_EQ(Run({"export", "tiny", "--output-file", file}), 0) << err_.str();
  EXPECT_EQ(*ReadFile(file), "an onnx file");
  EXPECT_THAT(out_.str(), HasSubstr("trial 2 -> "));
  EXPECT_THAT(out_.str(), HasSubstr("trained weights"));
}

TEST_F(CommandsTest, ExportWritesAWholeFolder) {
  EXPECT_EQ(Run({"export", "tiny", "--dir", dir_ + "/results", "--trial",
                 "accuracy"}),
            0)
      << err_.str();
  for (const char* name :
       {"front.csv", "front.json", "trials.csv", "trials.json", "best.onnx",
        "report.html", "study.json"}) {
    EXPECT_TRUE(std::filesystem::exists(dir_ + "/results/" + name)) << name;
  }
}

TEST_F(CommandsTest, AStudyMayStartFromAFolderOfResults) {
  const std::string example =
      *ReadFile(std::string(HWNAS_SOURCE_DIR) + "/examples/fashion_mnist.yaml");
  LoadedStudy source = LoadedStudy::Parse("source.yaml", example);
  ASSERT_TRUE(source.ok()) << source.Render();
  *studies_.study.mutable_spec() = source.spec();
  ASSERT_EQ(Run({"export", "tiny", "--dir", dir_ + "/results"}), 0)
      << err_.str();

  const auto write = [&](const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(dir_ + "/warm.yaml", text).ok());
  };
  write(example + "  warm_start: [{folder: results}]\n");
  EXPECT_EQ(Run({"validate", dir_ + "/warm.yaml"}), 0) << err_.str();
  EXPECT_EQ(Run({"submit", dir_ + "/warm.yaml"}), 0) << err_.str();
  const v1::CreateStudyRequest sent = studies_.created();
  ASSERT_EQ(sent.source_trials_size(), 1);
  EXPECT_EQ(sent.source_trials(0).trials_size(), 12);
  EXPECT_EQ(sent.source_trials(0).spec().space().SerializeAsString(),
            WithDefaults(source.spec()).space().SerializeAsString());

  write(example + "  warm_start: [{folder: nowhere}]\n");
  EXPECT_EQ(Run({"submit", dir_ + "/warm.yaml"}), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("spec.warm_start[0].folder: "));
  EXPECT_THAT(err_.str(), HasSubstr("expected the folder of a finished"));

  std::string other = example;
  const std::string kind = "nasbench201: {";
  ASSERT_NE(other.find(kind), std::string::npos);
  other.insert(other.find(kind) + kind.size(),
               "operations: [none, nor_conv_3x3], ");
  write(other + "  warm_start: [{folder: results}]\n");
  EXPECT_EQ(Run({"validate", dir_ + "/warm.yaml"}), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("results is a search of another space"));

  write(example + "  warm_start: [{study: tiny}]\n");
  EXPECT_EQ(Run({"run", dir_ + "/warm.yaml", "--dir", dir_ + "/run"}),
            kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("has a controller of its own"));
}

// The study, over each of two devices; the front of "pi" is trial 3 alone.
TEST_F(CommandsTest, EachDeviceHasItsFrontItsFilesAndItsModel) {
  v1::Objective& latency =
      *studies_.study.mutable_spec()->mutable_objectives(1);
  latency.clear_device();
  latency.add_devices("x86_64");
  latency.add_devices("pi");
  for (v1::StudyUpdate& update : studies_.updates) {
    *update.mutable_study()->mutable_spec() = studies_.study.spec();
  }
  studies_.device_fronts["x86_64"] = studies_.front;
  *studies_.device_fronts["pi"].add_trials() = studies_.trials[2];
  EXPECT_EQ(Run({"front", "tiny", "--device", "pi", "-o", "json"}), 0);
  const Json rows = Json::parse(out_.str());
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0]["trial"], 3);
  EXPECT_EQ(Run({"front", "tiny", "--device", "tpu"}), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("no front of that device"));
  EXPECT_EQ(Run({"export", "tiny", "--device", "pi", "--output-file",
                 dir_ + "/m.onnx"}),
            0)
      << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("trial 3 -> "));
  EXPECT_EQ(Run({"watch", "tiny"}), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("front of pi, hypervolume"));
  EXPECT_EQ(Run({"export", "tiny", "--dir", dir_ + "/results"}), 0)
      << err_.str();
  for (const char* name :
       {"front.csv", "best.onnx", "front-pi.csv", "front-pi.json",
        "best-pi.onnx", "front-x86_64.csv", "best-x86_64.onnx"}) {
    EXPECT_TRUE(std::filesystem::exists(dir_ + "/results/" + name)) << name;
  }
  EXPECT_THAT(*ReadFile(dir_ + "/results/report.html"),
              HasSubstr("Front of pi"));
}

TEST_F(CommandsTest, SubmitSendsWhatTheFileSays) {
  EXPECT_EQ(Run({"submit",
                 std::string(HWNAS_SOURCE_DIR) + "/examples/ask_tell.yaml"}),
            0)
      << err_.str();
  EXPECT_EQ(studies_.created().study_id(), "ask-tell");
  EXPECT_EQ(studies_.created().spec().budget().trials(), 60);
}

TEST_F(CommandsTest, ExitCodesSayWhoseFaultItWas) {
  EXPECT_EQ(Run({"front", "other"}), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("no study studies/other"));
  EXPECT_EQ(Run({"front"}), kExitBadInput);
  EXPECT_EQ(Run({"frnt"}), kExitBadInput);
  EXPECT_EQ(Run({}), kExitBadInput);
  EXPECT_EQ(Run({"front", "tiny", "--output", "xml"}), kExitBadInput);
  EXPECT_EQ(Run({"front", "tiny", "--server", "nowhere"}), kExitBadInput);
  EXPECT_EQ(Run({"front", "Not A Name"}), kExitBadInput);
  studies_.create_status = {grpc::StatusCode::UNAVAILABLE, "store is gone"};
  EXPECT_EQ(Run({"submit",
                 std::string(HWNAS_SOURCE_DIR) + "/examples/ask_tell.yaml"}),
            kExitUnreachable);
  EXPECT_THAT(err_.str(), HasSubstr("127.0.0.1:7420"));
  EXPECT_THAT(out_.str(), IsEmpty());
}

TEST_F(CommandsTest, RunRefusesABadFileAndLeavesNothing) {
  ASSERT_TRUE(WriteFileAtomically(dir_ + "/bad.yaml", "kind: Study\n").ok());
  EXPECT_EQ(Run({"run", dir_ + "/bad.yaml", "--dir", dir_ + "/results"}),
            kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("bad.yaml"));
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/results"));
}

TEST_F(CommandsTest, RunNamesWhatThisMachineLacks) {
  std::string text =
      *ReadFile(std::string(HWNAS_SOURCE_DIR) + "/examples/fashion_mnist.yaml");
  const std::string dataset = "dataset: fashion-mnist";
  text.replace(text.find(dataset), dataset.size(),
               "dataset: mnist\n    data_dir: /nonexistent");
  const std::string device = "device: x86_64";
  text.replace(text.find(device), device.size(), "device: raspberrypi5");
  ASSERT_TRUE(WriteFileAtomically(dir_ + "/s.yaml", text).ok());
  EXPECT_EQ(Run({"run", dir_ + "/s.yaml", "--device-class", "x86_64"}),
            kExitBadInput);
  EXPECT_THAT(err_.str(),
              HasSubstr("the data set 'mnist' is not on this machine"));
  EXPECT_THAT(err_.str(), HasSubstr("not on 'raspberrypi5': expected x86_64"));
}

TEST_F(CommandsTest, TablesOfAReplayAreCheckedCellByCell) {
  const std::string examples = std::string(HWNAS_SOURCE_DIR) + "/examples";
  const std::string study = examples + "/replay_own_table.yaml";
  EXPECT_EQ(Run({"validate", study, "--tables", examples}), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("each: screen, replay measurements on "
                                    "x86_64, replay a training"));
  EXPECT_THAT(out_.str(),
              HasSubstr("the tables have 28 rows of 28 different networks"));

  std::string table = *ReadFile(examples + "/own_table.csv");
  const std::string cell = "0.8160";
  table.replace(table.find(cell), cell.size(), "good");
  ASSERT_TRUE(WriteFileAtomically(dir_ + "/own_table.csv", table).ok());
  EXPECT_EQ(Run({"validate", study, "--tables", dir_}), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("replay_own_table.yaml:25:"));
  EXPECT_THAT(err_.str(), HasSubstr("own_table.csv:2:"));
  EXPECT_THAT(err_.str(),
              HasSubstr("expected a number in column top1, found \"good\""));

  EXPECT_EQ(Run({"run", study, "--tables", dir_ + "/nowhere", "--dir",
                 dir_ + "/results"}),
            kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("name its folder with --tables"));
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/results"));
}

TEST_F(CommandsTest, HelpHasExamplesAtEveryLevel) {
  const std::vector<std::vector<std::string>> commands = {{},
                                                          {"run"},
                                                          {"validate"},
                                                          {"submit"},
                                                          {"watch"},
                                                          {"list"},
                                                          {"show"},
                                                          {"trials"},
                                                          {"front"},
                                                          {"export"},
                                                          {"cancel"},
                                                          {"pause"},
                                                          {"resume"},
                                                          {"worker", "list"},
                                                          {"worker"},
                                                          {"device"},
                                                          {"device", "list"},
                                                          {"profile"},
                                                          {"train"},
                                                          {"version"}};
  for (std::vector<std::string> command : commands) {
    command.push_back("--help");
    EXPECT_EQ(Run(command), 0);
    EXPECT_THAT(out_.str(), HasSubstr("Examples:")) << command[0];
  }
}

}  // namespace
}  // namespace hwnas::cli
