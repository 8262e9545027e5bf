// Attacks by streams of updates: on others' studies, after the end of a
// certificate, and too many at once.
#include "hwnas/v1/study_service.grpc.pb.h"
#include "tests/controller/security/attack_harness.h"

namespace hwnas::controller {
namespace {

using grpc::StatusCode;
using security::Role;

grpc::Status RevokedWatcher(Fortress& fortress) {
  EXPECT_TRUE(fortress.CreateStudy("mallory", "watched", ExternalSpec()).ok());
  const auto stub =
      v1::StudyService::NewStub(fortress.DialAs(Role::kResearcher, "mallory"));
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::WatchStudyRequest request;
  request.set_name("studies/watched");
  const auto reader = stub->WatchStudy(&context, request);
  v1::StudyUpdate update;
  EXPECT_TRUE(reader->Read(&update));
  EXPECT_TRUE(fortress.authority().Revoke("mallory", absl::Now()).ok());
  while (reader->Read(&update)) {
  }
  return reader->Finish();
}

grpc::Status WatchesAnothersStudy(Fortress& fortress) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::WatchStudyRequest request;
  request.set_name("studies/carols");
  const auto reader =
      v1::StudyService::NewStub(fortress.DialAs(Role::kResearcher, "mallory"))
          ->WatchStudy(&context, request);
  v1::StudyUpdate update;
  EXPECT_FALSE(reader->Read(&update));
  return reader->Finish();
}

// Watches one study again and again.
grpc::Status HoardsWatches(Fortress& fortress) {
  const auto stub =
      v1::StudyService::NewStub(fortress.DialAs(Role::kResearcher, "carol"));
  v1::WatchStudyRequest request;
  request.set_name("studies/carols");
  Hoard<grpc::ClientReader<v1::StudyUpdate>> hoard(
      [&](auto* context) { return stub->WatchStudy(context, request); });
  grpc::Status refused;
  for (int i = 0; i < 200 && refused.ok(); ++i) {
    v1::StudyUpdate update;
    if (!hoard.Add().Read(&update)) refused = hoard.FinishLatest();
  }
  EXPECT_EQ(hoard.size(), 64u);
  return refused;
}

INSTANTIATE_TEST_SUITE_P(Wire, AttackTest,
                         ::testing::Values(Attack{
                             "RevokedWatcher",
                             RevokedWatcher,
                             {StatusCode::UNAUTHENTICATED},
                             "event=cut_off who=\"researcher mallory\""}),
                         AttackName);

INSTANTIATE_TEST_SUITE_P(Roles, AttackTest,
                         ::testing::Values(Attack{
                             "WatchesAnothersStudy",
                             WatchesAnothersStudy,
                             {StatusCode::PERMISSION_DENIED},
                             "outcome=PERMISSION_DENIED"}),
                         AttackName);

INSTANTIATE_TEST_SUITE_P(
    Content, AttackTest,
    ::testing::Values(Attack{
        "HoardsWatches", HoardsWatches, {StatusCode::RESOURCE_EXHAUSTED}, ""}),
    AttackName);

}  // namespace
}  // namespace hwnas::controller
