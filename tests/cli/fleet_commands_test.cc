// hwnas fleet slurm, with programs that play Slurm and a controller in process.
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "cli/context.h"
#include "common/files.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_study_service.h"

namespace hwnas::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

class FleetCommandsTest : public ::testing::Test {
 protected:
  FleetCommandsTest()
      : dir_(absl::StrCat(::testing::TempDir(), "/hwnas_fleet_", getpid())),
        path_(std::getenv("PATH")) {
    fs::remove_all(dir_);
    fs::create_directories(dir_ + "/bin");
    SetPath(absl::StrCat(dir_, "/bin:", path_));
    for (const char* program : {"sbatch", "scancel"}) {
      // Each notes how it was called; sbatch keeps the script.
      Program(program, absl::StrCat("echo ", program, " \"$@\" >> ", dir_,
                                    "/calls\nfor a; do case $a in "
                                    "*worker.sbatch*) cp $a ",
                                    dir_, "/submitted;; esac; done"));
    }
    Queue("");
    Program("scontrol", "echo 'MaxArraySize            = 1001'");
    studies_.study.set_name("studies/a");
    studies_.study.set_state(v1::Study::RUNNING);
    grpc::ServerBuilder builder;
    builder.RegisterService(&studies_);
    builder.RegisterService(&fleet_);
    server_ = builder.BuildAndStart();
  }
  ~FleetCommandsTest() override {
    SetPath(path_);
    fs::remove_all(dir_);
  }

  static void SetPath(const std::string& path) {
    setenv("PATH", path.c_str(), 1);
  }
  void Program(const std::string& name, const std::string& script) {
    const std::string path = absl::StrCat(dir_, "/bin/", name);
    std::ofstream(path) << "#!/bin/sh\n" << script << "\n";
    chmod(path.c_str(), 0755);
  }
  void Queue(const std::string& lines) {
    Program("squeue", absl::StrCat("cat <<EOF\n", lines, "EOF"));
  }
  // Trials that wait for a worker.
  void Trainings(int count) {
    studies_.trials.clear();
    for (int i = 0; i < count; ++i) {
      v1::Trial& trial = studies_.trials.emplace_back();
      trial.set_state(v1::Trial::ACTIVE);
      trial.add_stages()->set_kind(v1::MEASURE);
      v1::TrialStage& stage = *trial.add_stages();
      stage.set_kind(v1::TRAIN);
      stage.set_state(v1::TrialStage::QUEUED);
    }
  }
  void Worker(const std::string& name, int busy) {
    v1::Executor& worker = fleet_.executors.emplace_back();
    worker.set_name("workers/" + name);
    worker.set_kind(v1::WORKER);
    worker.set_state(v1::Executor::CONNECTED);
    worker.set_slots(1);
    worker.set_busy_slots(busy);
  }
  int Run(std::vector<std::string> arguments) {
    std::vector<std::string> all = {"fleet", "slurm", "--partition",
                                    "main",  "--dir", dir_ + "/shared"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    out_.str("");
    err_.str("");
    Context context;
    context.out = &out_;
    context.err = &err_;
    context.connect = [this](const std::string&) {
      return server_->InProcessChannel(grpc::ChannelArguments());
    };
    return RunCli(std::move(all), std::move(context));
  }
  std::string Calls() {
    const auto calls = ReadFile(dir_ + "/calls");
    return calls.ok() ? *calls : "";
  }

  const std::string dir_;
  const std::string path_;
  FakeStudyService studies_;
  FakeFleetService fleet_;
  std::unique_ptr<grpc::Server> server_;
  std::ostringstream out_, err_;
};

TEST_F(FleetCommandsTest, SubmitsAWorkerForEachTrainingThatWaits) {
  Trainings(3);
  Queue("7|0|RUNNING|None\n");
  Worker("hwnas-0", 1);
  ASSERT_EQ(Run({"--max", "10", "--once", "--server", "127.0.0.1:7420",
                 "--sbatch=--mem=4G", "--", "--data_dir=/data"}),
            kExitOk)
      << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("queued=3 busy=1 running=1 waiting=0 "
                                    "wanted=4 begin=3 withdraw=0 dismiss=0"));
  EXPECT_THAT(
      Calls(),
      AllOf(HasSubstr(absl::StrCat("sbatch --parsable --job-name=hwnas "
                                   "--partition=main --array=1,2,3 --chdir=",
                                   dir_, "/shared ")),
            HasSubstr(" --mem=4G "),
            HasSubstr(" --controller=127.0.0.1:7420 --data_dir=/data\n")));
  EXPECT_THAT(*ReadFile(dir_ + "/submitted"), HasSubstr("--signal=B:TERM@60"));
  EXPECT_TRUE(fs::is_directory(dir_ + "/shared/logs"));
}

TEST_F(FleetCommandsTest, EndsWhatIsNotNeeded) {
  Queue(
      "7|0|RUNNING|None\n7|1|RUNNING|None\n7|2|RUNNING|None\n"
      "7|3|PENDING|Priority\n7|4|COMPLETING|None\n");
  Worker("hwnas-0", 0);
  Worker("hwnas-1", 1);
  Worker("hwnas-2", 0);
  // Idle for less than two minutes, as far as one look can tell.
  ASSERT_EQ(Run({"--max", "10", "--once"}), kExitOk) << err_.str();
  EXPECT_EQ(Calls(), "scancel 7_3\n");
  ASSERT_EQ(Run({"--max", "10", "--once", "--idle", "0s"}), kExitOk);
  EXPECT_THAT(Calls(), HasSubstr("scancel 7_3 7_2 7_0\n"));
}

TEST_F(FleetCommandsTest, OnlySaysWhatItWouldDoInADryRun) {
  Trainings(2);
  ASSERT_EQ(Run({"--max", "10", "--dry-run", "--script", "my.sbatch"}), kExitOk)
      << err_.str();
  EXPECT_THAT(out_.str(), AllOf(HasSubstr("--array=0,1 "),
                                HasSubstr(" my.sbatch --controller=")));
  EXPECT_EQ(Calls(), "");
  EXPECT_FALSE(fs::exists(dir_ + "/shared"));
}

TEST_F(FleetCommandsTest, SaysWhatIsMissing) {
  fs::remove(dir_ + "/bin/squeue");
  SetPath(dir_ + "/bin");
  EXPECT_EQ(Run({"--max", "10"}), kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("squeue is not in $PATH: run this where"));
}

TEST_F(FleetCommandsTest, PassesOnWhatSlurmSays) {
  Trainings(1);
  Program(
      "sbatch",
      "echo 'sbatch: error: invalid partition specified: main' >&2; exit 1");
  EXPECT_EQ(Run({"--max", "10"}), kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("invalid partition specified: main"));
  Queue("nonsense\n");
  EXPECT_EQ(Run({"--max", "10"}), kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("squeue printed \"nonsense\""));
}

TEST_F(FleetCommandsTest, RefusesMoreWorkersThanAnArrayHasElements) {
  Trainings(1);
  EXPECT_EQ(Run({"--max", "1002", "--once"}), kExitBadInput);
  EXPECT_THAT(err_.str(),
              AllOf(HasSubstr("--max is 1002"), HasSubstr("at most 1001"),
                    HasSubstr("MaxArraySize")));
  EXPECT_EQ(Calls(), "");
  EXPECT_FALSE(fs::exists(dir_ + "/shared"));
  EXPECT_EQ(Run({"--max", "1001", "--once"}), kExitOk) << err_.str();
  // Slurm does not say: sbatch will.
  Program("scontrol", "echo 'no configuration' >&2; exit 1");
  EXPECT_EQ(Run({"--max", "1002", "--once"}), kExitOk) << err_.str();
}

TEST_F(FleetCommandsTest, NamesTheOptionThatIsWrong) {
  EXPECT_EQ(Run({"--max", "2", "--min", "3"}), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("--min is 3 and --max is 2"));
  EXPECT_EQ(Run({"--max", "2", "--name", "A b"}), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("--name is \"A b\""));
  EXPECT_EQ(Run({"--max", "2", "--idle", "long"}), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("--idle is \"long\""));
  EXPECT_EQ(Run({"--max", "2", "--interval", "1ms"}), kExitBadInput);
  EXPECT_EQ(Run({"--max", "2", "--step", "0"}), kExitBadInput);
  EXPECT_EQ(Run({}), kExitBadInput);
  EXPECT_THAT(Calls(), Not(HasSubstr("sbatch")));
}

}  // namespace
}  // namespace hwnas::cli
