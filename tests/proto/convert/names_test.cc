#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/convert/nearest_name.h"
#include "proto/convert/resource_names.h"

namespace hwnas {
namespace {

using ::testing::HasSubstr;

TEST(ResourceNames, RoundTrip) {
  EXPECT_EQ(StudyName("fashion-on-pi"), "studies/fashion-on-pi");
  EXPECT_EQ(*ParseStudyName("studies/fashion-on-pi"), "fashion-on-pi");
  EXPECT_EQ(TrialName("a", 42), "studies/a/trials/42");
  const absl::StatusOr<TrialId> trial =
      ParseTrialName("studies/a/trials/9223372036854775807");
  ASSERT_TRUE(trial.ok());
  EXPECT_EQ(trial->study_id, "a");
  EXPECT_EQ(trial->number, INT64_MAX);
  EXPECT_EQ(*ParseDeviceName(DeviceName("pi-3")), "pi-3");
  EXPECT_EQ(WorkerName("gpu-1"), "workers/gpu-1");
  EXPECT_EQ(AgentName("pi-3"), "agents/pi-3");
}

TEST(ResourceNames, RefuseMalformedOnes) {
  for (const char* name :
       {"", "a", "studies/", "studies", "Studies/a", "studies/a/", "studies/A",
        "studies/a b", "studies/../x", "studies/a\n", "/studies/a"}) {
    EXPECT_EQ(ParseStudyName(name).status().code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
  for (const char* name :
       {"studies/a", "studies/a/trials", "studies/a/trials/",
        "studies/a/trials/0", "studies/a/trials/-1", "studies/a/trials/+1",
        "studies/a/trials/01", "studies/a/trials/1 ", "studies/a/trials/x",
        "studies//trials/1", "studies/a/b/trials/1",
        "studies/a/trials/9223372036854775808"}) {
    EXPECT_EQ(ParseTrialName(name).status().code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
  EXPECT_FALSE(ParseDeviceName("agents/pi").ok());
  EXPECT_FALSE(ParseStudyName("studies/" + std::string(64, 'a')).ok());
}

TEST(ResourceNames, ErrorsShowTheNameSafelyAndTheFormExpected) {
  const std::string message(
      ParseStudyName("stu\x1b[31m" + std::string(500, 'x')).status().message());
  EXPECT_THAT(message, HasSubstr("expected studies/{study_id}"));
  EXPECT_THAT(message, HasSubstr("stu\\x1b"));
  EXPECT_LT(message.size(), 250);
}

TEST(NearestName, FindsSlipsOfTheFinger) {
  const absl::string_view names[] = {"latency_ms", "latency_p90_ms", "accuracy",
                                     "params_m", "flops_m"};
  EXPECT_EQ(NearestName("latncy_ms", names), "latency_ms");
  EXPECT_EQ(NearestName("latency-ms", names), "latency_ms");
  EXPECT_EQ(NearestName("Accuracy", names), "accuracy");
  EXPECT_EQ(NearestName("acucracy", names), "accuracy");
  EXPECT_EQ(NearestName("param_m", names), "params_m");
  EXPECT_EQ(NearestName("latency", names), "latency_ms");
}

TEST(NearestName, GuessesNothingFarFetched) {
  const absl::string_view names[] = {"latency_ms", "accuracy"};
  EXPECT_EQ(NearestName("throughput", names), "");
  EXPECT_EQ(NearestName("", names), "");
  EXPECT_EQ(NearestName("x", {}), "");
  EXPECT_EQ(NearestName(std::string(1'000'000, 'a'), names), "");
}

}  // namespace
}  // namespace hwnas
