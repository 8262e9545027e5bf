// What clients see of a controller while another one leads.
#include "controller/standby_server.h"

#include <future>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"

namespace hwnas::controller {
namespace {

using ::testing::HasSubstr;

struct Answer {
  grpc::Status status;
  std::string bytes;
};

Answer Call(int port, const std::string& method) {
  grpc::GenericStub stub(grpc::CreateChannel(
      absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::seconds(20));
  const grpc::Slice empty;
  const grpc::ByteBuffer request(&empty, 1);
  grpc::ByteBuffer response;
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, method, {}, &request, &response,
                 [&](grpc::Status status) { done.set_value(status); });
  Answer answer{.status = done.get_future().get()};
  std::vector<grpc::Slice> slices;
  if (answer.status.ok() && response.Dump(&slices).ok()) {
    for (const grpc::Slice& slice : slices) {
      answer.bytes.append(reinterpret_cast<const char*>(slice.begin()),
                          slice.size());
    }
  }
  return answer;
}

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

}  // namespace
}  // namespace hwnas::controller
