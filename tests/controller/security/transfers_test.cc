// Attacks by uploads and downloads of artifacts.
#include "hwnas/v1/fleet_service.grpc.pb.h"
#include "tests/controller/security/attack_harness.h"

namespace hwnas::controller {
namespace {

using grpc::StatusCode;
using security::Role;

// Uploads the same bytes so many times in a row, or as often as it may.
grpc::Status Upload(Fortress& fortress, const security::Identity& identity,
                    const std::string& bytes, int times = 1,
                    absl::Duration limit = kSoon) {
  grpc::ClientContext context;
  SetDeadline(&context, limit);
  v1::Artifact artifact;
  const auto writer =
      v1::FleetService::NewStub(fortress.DialWith(fortress.Certify(identity)))
          ->UploadArtifact(&context, &artifact);
  v1::ArtifactChunk chunk;
  chunk.set_data(bytes);
  for (int i = 0; i < times && writer->Write(chunk); ++i) {
  }
  writer->WritesDone();
  return writer->Finish();
}

grpc::Status AgentUploadsWeights(Fortress& fortress) {
  return Upload(fortress, {Role::kAgent, "pi-7"}, "weights");
}

grpc::Status EndlessUpload(Fortress& fortress) {
  return Upload(fortress, {Role::kWorker, "chatty"}, std::string(4 << 20, 'x'),
                10'000, absl::Minutes(2));
}

// Begins upload after upload and finishes none.
grpc::Status HoardsTransfers(Fortress& fortress) {
  const auto stub =
      v1::FleetService::NewStub(fortress.DialAs(Role::kWorker, "hoarder"));
  v1::ArtifactChunk chunk;
  chunk.set_data("the beginning");
  v1::Artifact none;
  Hoard<grpc::ClientWriter<v1::ArtifactChunk>> hoard(
      [&](auto* context) { return stub->UploadArtifact(context, &none); });
  for (int i = 0; i < 30; ++i) hoard.Add().Write(chunk);
  // Others have room meanwhile.
  EXPECT_TRUE(
      Upload(fortress, {Role::kWorker, "honest"}, "the beginning").ok());
  hoard.Add().Write(chunk);
  return hoard.FinishLatest();
}

grpc::Status PathTricksInDigests(Fortress& fortress) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::DownloadArtifactRequest request;
  request.set_digest("../../tls/ca.key");
  const auto reader =
      v1::FleetService::NewStub(fortress.DialAs(Role::kWorker, "gpu-1"))
          ->DownloadArtifact(&context, request);
  v1::ArtifactChunk chunk;
  EXPECT_FALSE(reader->Read(&chunk));
  return reader->Finish();
}

INSTANTIATE_TEST_SUITE_P(Roles, AttackTest,
                         ::testing::Values(Attack{
                             "AgentUploadsWeights",
                             AgentUploadsWeights,
                             {StatusCode::PERMISSION_DENIED},
                             "who=\"agent pi-7\""}),
                         AttackName);

INSTANTIATE_TEST_SUITE_P(
    Content, AttackTest,
    ::testing::Values(Attack{"EndlessUpload",
                             EndlessUpload,
                             {StatusCode::INVALID_ARGUMENT},
                             "method=FleetService/UploadArtifact"},
                      Attack{"HoardsTransfers",
                             HoardsTransfers,
                             {StatusCode::RESOURCE_EXHAUSTED},
                             "method=FleetService/UploadArtifact"},
                      Attack{
                          "PathTricksInDigests",
                          PathTricksInDigests,
                          {StatusCode::INVALID_ARGUMENT, StatusCode::NOT_FOUND},
                          ""}),
    AttackName);

}  // namespace
}  // namespace hwnas::controller
