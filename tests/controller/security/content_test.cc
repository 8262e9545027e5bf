// Attacks by what is sent: messages too large, too many or none at all, and
// names that are paths.
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "hwnas/v1/study_service.grpc.pb.h"
#include "tests/controller/security/attack_harness.h"

namespace hwnas::controller {
namespace {

using grpc::StatusCode;
using security::Role;

// A study described at that length.
grpc::Status Describe(Fortress& fortress, v1::CreateStudyRequest request,
                      size_t length) {
  request.set_study_id("big");
  request.set_description(std::string(length, 'x'));
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::Study study;
  return v1::StudyService::NewStub(
             fortress.DialAs(Role::kResearcher, "mallory"))
      ->CreateStudy(&context, request, &study);
}

grpc::Status OversizedMessage(Fortress& fortress) {
  return Describe(fortress, {}, 70 << 20);
}

grpc::Status LongDescription(Fortress& fortress) {
  v1::CreateStudyRequest request;
  *request.mutable_spec() = ExternalSpec();
  return Describe(fortress, std::move(request), 1 << 20);
}

grpc::Status EndlessStreamOfMessages(Fortress& fortress) {
  Session session(fortress.DialAs(Role::kWorker, "chatty"),
                  WorkerHello("chatty", "h"));
  EXPECT_TRUE(session.welcomed());
  v1::SessionRequest request;
  request.mutable_heartbeat()->set_note("are we there yet?");
  int sent = 0;
  while (sent < 1'000'000 && session.Send(request)) ++sent;
  EXPECT_LT(sent, 1'000'000);
  return session.End();
}

grpc::Status MalformedProtobuf(Fortress& fortress) {
  return RawCall(fortress.DialAs(Role::kResearcher, "mallory"),
                 "/hwnas.v1.StudyService/CreateStudy",
                 "\x0a\xff\xff\xff\xff\x0f nonsense");
}

grpc::Status DeeplyNestedProtobuf(Fortress& fortress) {
  // Groups of an unknown field, each inside the one before.
  return RawCall(fortress.DialAs(Role::kResearcher, "mallory"),
                 "/hwnas.v1.StudyService/CreateStudy",
                 std::string(1 << 20, '\x0b'));
}

grpc::Status UnknownMethod(Fortress& fortress) {
  return RawCall(fortress.DialAs(Role::kAdmin, "root"),
                 "/hwnas.v1.StudyService/DropAllStudies");
}

grpc::Status HugeMetadata(Fortress& fortress) {
  grpc::ClientContext context;
  SetDeadline(&context);
  for (int i = 0; i < 64; ++i) {
    context.AddMetadata(absl::StrCat("x-", i), std::string(4096, 'x'));
  }
  v1::GetStudyRequest request;
  v1::Study study;
  return v1::StudyService::NewStub(
             fortress.DialAs(Role::kResearcher, "mallory"))
      ->GetStudy(&context, request, &study);
}

grpc::Status PathTricksInNames(Fortress& fortress) {
  const auto channel = fortress.DialAs(Role::kAdmin, "root");
  grpc::Status last;
  for (const std::string& name :
       {std::string("studies/../../tls/ca.key"), std::string("studies/"),
        std::string("studies/a/trials/1/../2"), std::string("/etc/passwd"),
        std::string("studies/a\0b", 11), std::string("studies/%2e%2e"),
        std::string("studies/~farm"), std::string(100'000, '/')}) {
    last = GetStudyOver(channel, name);
    EXPECT_EQ(last.error_code(), StatusCode::INVALID_ARGUMENT) << name;
    EXPECT_LT(last.error_message().size(), 1000u);
  }
  return last;
}

grpc::Status PathTricksInIds(Fortress& fortress) {
  return Connects(fortress, {Role::kWorker, "slurm-*"},
                  WorkerHello("slurm-../../x", "h"));
}

INSTANTIATE_TEST_SUITE_P(
    Content, AttackTest,
    ::testing::Values(
        Attack{"OversizedMessage",
               OversizedMessage,
               {StatusCode::RESOURCE_EXHAUSTED},
               ""},
        Attack{"LongDescription",
               LongDescription,
               {StatusCode::INVALID_ARGUMENT},
               "outcome=INVALID_ARGUMENT"},
        Attack{"EndlessStreamOfMessages",
               EndlessStreamOfMessages,
               {StatusCode::RESOURCE_EXHAUSTED},
               "too many messages"},
        Attack{
            "MalformedProtobuf", MalformedProtobuf, {StatusCode::INTERNAL}, ""},
        Attack{"DeeplyNestedProtobuf",
               DeeplyNestedProtobuf,
               {StatusCode::INTERNAL},
               ""},
        Attack{"UnknownMethod",
               UnknownMethod,
               {StatusCode::PERMISSION_DENIED},
               "DropAllStudies"},
        Attack{"HugeMetadata",
               HugeMetadata,
               {StatusCode::RESOURCE_EXHAUSTED, StatusCode::UNAVAILABLE},
               ""},
        Attack{"PathTricksInNames",
               PathTricksInNames,
               {StatusCode::INVALID_ARGUMENT},
               ""},
        Attack{"PathTricksInIds",
               PathTricksInIds,
               {StatusCode::INVALID_ARGUMENT},
               "event=session_refused"}),
    AttackName);

}  // namespace
}  // namespace hwnas::controller
