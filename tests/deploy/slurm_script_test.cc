#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/deploy/program_flags.h"

namespace hwnas {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

TEST(SlurmScript, GivesTheWorkerFlagsThatItHas) {
  const std::string script = SourceFile("deploy/slurm/worker.sbatch");
  const std::set<std::string> known = FlagsOf("hwnas-worker");
  ASSERT_THAT(known, Contains("checkpoint_dir"));
  const size_t start = script.find("\nexec ");
  ASSERT_NE(start, std::string::npos);
  const std::vector<std::string> flags =
      absl::StrSplit(script.substr(start), "--");
  ASSERT_EQ(flags.size(), 5u);
  for (size_t i = 1; i < flags.size(); ++i) {
    EXPECT_THAT(known, Contains(flags[i].substr(0, flags[i].find('='))));
  }
}

TEST(SlurmScript, HandsBackBeforeTheTimeIsUpAndComesBackAfterANodeFails) {
  const std::string script = SourceFile("deploy/slurm/worker.sbatch");
  EXPECT_THAT(script, HasSubstr("\n#SBATCH --signal=B:TERM@60\n"));
  EXPECT_THAT(script, HasSubstr("\n#SBATCH --requeue\n"));
  // The worker takes the place of the script, which the signal is for.
  EXPECT_THAT(script, HasSubstr("\nexec \"${HWNAS_WORKER:-hwnas-worker}\" "));
}

}  // namespace
}  // namespace hwnas
