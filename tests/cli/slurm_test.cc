#include "cli/slurm.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Slurm, ReadsWhatSqueuePrints) {
  const auto jobs = ParseSqueue(
      "12|0|RUNNING|None\n12|1|PENDING|Resources\n 14|7|COMPLETING|None \n"
      "15|N/A|RUNNING|None\n16|2|CONFIGURING|None\n16|3|NODE_FAIL|NodeDown\n"
      "17|4|PENDING|BeginTime\n");
  ASSERT_TRUE(jobs.ok()) << jobs.status();
  std::vector<std::string> ids;
  std::vector<FleetJob::State> states;
  for (const FleetJob& job : *jobs) {
    ids.push_back(job.id);
    states.push_back(job.state);
  }
  using State = FleetJob::State;
  EXPECT_THAT(ids, ElementsAre("12_0", "12_1", "14_7", "16_2", "16_3", "17_4"));
  EXPECT_THAT(states,
              ElementsAre(State::kRunning, State::kWaiting, State::kEnding,
                          State::kWaiting, State::kEnding, State::kDelayed));
  EXPECT_TRUE(ParseSqueue("")->empty());
}

TEST(Slurm, RefusesWhatSqueueDoesNotPrint) {
  for (const char* text : {"slurm_load_jobs error", "12|0|RUNNING",
                           "x|1|RUNNING|None", "1|2|RUNNING|None|more"}) {
    EXPECT_THAT(ParseSqueue(text).status().message(),
                HasSubstr("expected JOB|INDEX|STATE|REASON"))
        << text;
  }
}

TEST(Slurm, ReadsHowLargeArraysMayBe) {
  EXPECT_EQ(MaxArraySize("Configuration data as of 2026-01-31T12:00:00\n"
                         "MailProg                = /usr/bin/mail\n"
                         "MaxArraySize            = 1001\n"
                         "MaxBatchRequeue         = 5\n"),
            1001);
  for (const char* text :
       {"", "slurm_load_ctl_conf error", "MaxArraySize", "MaxArraySize = many",
        "MaxArraySize = -1", "OldMaxArraySize = 5"}) {
    EXPECT_EQ(MaxArraySize(text), std::nullopt) << text;
  }
}

TEST(Slurm, SubmitsAnArrayWithTheSeatsAsIndices) {
  EXPECT_THAT(
      SbatchCommand({.name = "nas",
                     .partition = "main",
                     .folder = "/shared",
                     .environment = {"HWNAS_WORKER=/opt/worker"},
                     .more = {"--mem=4G"},
                     .script = "w.sbatch",
                     .script_arguments = {"--controller=ctl:7420"}},
                    {0, 3}),
      ElementsAre("sbatch", "--parsable", "--job-name=nas", "--partition=main",
                  "--array=0,3", "--chdir=/shared", "--output=logs/%x-%a.log",
                  "--export=ALL,HWNAS_WORKER=/opt/worker", "--mem=4G",
                  "w.sbatch", "--controller=ctl:7420"));
  EXPECT_THAT(ScancelCommand({{.id = "1_2"}, {.id = "3_4"}}),
              ElementsAre("scancel", "1_2", "3_4"));
}

}  // namespace
}  // namespace hwnas::cli
