// What clients see of a controller while another one leads, and what probes
// see.
#include "controller/standby_server.h"

#include "absl/strings/str_cat.h"
#include "controller/health_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/controller/generic_call.h"

namespace hwnas::controller {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<StandbyServer> StartAt(const std::string& address) {
  auto server =
      StandbyServer::Start(address, grpc::InsecureServerCredentials());
  EXPECT_TRUE(server.ok()) << server.status();
  return server.ok() ? *std::move(server) : nullptr;
}

TEST(StandbyServer, SaysThatItDoesNotServe) {
  const auto server = StartAt("127.0.0.1:0");
  ASSERT_NE(server, nullptr);
  const Answer health = Call(server->port(), "/grpc.health.v1.Health/Check");
  EXPECT_TRUE(health.status.ok()) << health.status.error_message();
  EXPECT_EQ(health.bytes, "\x08\x02");  // status: NOT_SERVING.
}

TEST(StandbyServer, RefusesWhateverElseItIsAsked) {
  const auto server = StartAt("127.0.0.1:0");
  ASSERT_NE(server, nullptr);
  for (const char* method : {"/hwnas.v1.StudyService/ListStudies",
                             "/hwnas.v1.FleetService/Session", "/no/such"}) {
    const Answer answer = Call(server->port(), method);
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_THAT(answer.status.error_message(), HasSubstr("stands by"));
  }
}

TEST(StandbyServer, SaysThatItsPortIsInUse) {
  const auto server = StartAt("127.0.0.1:0");
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(StandbyServer::Start(absl::StrCat("127.0.0.1:", server->port()),
                                 grpc::InsecureServerCredentials())
                .status()
                .code(),
            absl::StatusCode::kUnavailable);
}

constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
constexpr char kServing[] = "\x08\x01";
constexpr char kNotServing[] = "\x08\x02";

TEST(HealthServer, TellsProbesWhetherItServesAndThatItLives) {
  const auto server = HealthServer::Start("127.0.0.1:0");
  ASSERT_TRUE(server.ok()) << server.status();
  const int port = (*server)->port();
  const std::string live = "\x0a\x04live";  // service: "live".
  EXPECT_EQ(Call(port, kCheck).bytes, kNotServing);
  EXPECT_EQ(Call(port, kCheck, live).bytes, kServing);
  (*server)->SetServing(true);
  EXPECT_EQ(Call(port, kCheck).bytes, kServing);
  (*server)->SetServing(false);
  EXPECT_EQ(Call(port, kCheck).bytes, kNotServing);
  EXPECT_EQ(Call(port, kCheck, live).bytes, kServing);
}

TEST(HealthServer, HasNothingElse) {
  const auto server = HealthServer::Start("127.0.0.1:0");
  ASSERT_TRUE(server.ok()) << server.status();
  const int port = (*server)->port();
  EXPECT_EQ(
      Call(port, "/hwnas.v1.StudyService/ListStudies").status.error_code(),
      grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_FALSE(Call(port, kCheck, std::string(1 << 20, 'x')).status.ok());
  EXPECT_EQ(
      HealthServer::Start(absl::StrCat("127.0.0.1:", port)).status().code(),
      absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace hwnas::controller
