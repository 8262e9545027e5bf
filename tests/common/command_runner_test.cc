#include "common/command_runner.h"

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas {
namespace {

using ::testing::HasSubstr;

TEST(ProcessRunner, ReturnsTheOutput) {
  ProcessRunner runner;
  EXPECT_EQ(*runner.Run({"echo", "throttled=0x0"}, absl::Seconds(10)),
            "throttled=0x0\n");
}

TEST(ProcessRunner, IsBounded) {
  ProcessRunner runner;
  EXPECT_TRUE(absl::IsNotFound(
      runner.Run({"no-such-program-here"}, absl::Seconds(10)).status()));
  EXPECT_THAT(
      runner.Run({"sh", "-c", "exit 7"}, absl::Seconds(10)).status().message(),
      HasSubstr("exit code 7"));
  EXPECT_EQ(runner
                .Run({"sh", "-c", "echo no; echo partition >&2; exit 1"},
                     absl::Seconds(10))
                .status()
                .message(),
            "sh ended with exit code 1: partition");
  EXPECT_LT(runner
                .Run({"sh", "-c", "yes | head -c 100000 >&2; exit 1"},
                     absl::Seconds(10))
                .status()
                .message()
                .size(),
            600u);
  EXPECT_TRUE(absl::IsResourceExhausted(
      runner.Run({"cat", "/dev/zero"}, absl::Seconds(10)).status()));
  const absl::Time begin = absl::Now();
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      runner.Run({"sleep", "60"}, absl::Milliseconds(50)).status()));
  // Also one that closes its output, or leaves a child behind that holds it.
  EXPECT_FALSE(
      runner.Run({"sh", "-c", "exec >&-; sleep 60"}, absl::Milliseconds(50))
          .ok());
  EXPECT_FALSE(
      runner.Run({"sh", "-c", "sleep 60 & echo"}, absl::Milliseconds(50)).ok());
  EXPECT_LT(absl::Now() - begin, absl::Seconds(30));
}

}  // namespace
}  // namespace hwnas
