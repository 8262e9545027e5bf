// Attacks on the wire against a real controller with TLS, each while somebody
// else works: refused with the right code, written down, and neither the
// controller nor the other one is worse off.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/files.h"
#include "controller/rpc/access.h"
#include "controller/server.h"
#include "gmock/gmock.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "gtest/gtest.h"
#include "hwnas/v1/access_service.grpc.pb.h"
#include "hwnas/v1/device_service.grpc.pb.h"
#include "hwnas/v1/enroll_service.grpc.pb.h"
#include "hwnas/v1/fleet_service.grpc.pb.h"
#include "hwnas/v1/study_service.grpc.pb.h"
#include "hwnas/v1/trial_service.grpc.pb.h"
#include "security/authority.h"
#include "security/credentials.h"
#include "security/enrolment.h"
#include "spdlog/sinks/basic_file_sink.h"
#include "tests/controller/study/engine_harness.h"

namespace hwnas::controller {
namespace {

using grpc::StatusCode;
using security::Credential;
using security::Identity;
using security::Role;
using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr absl::Duration kSoon = absl::Seconds(20);

void SetDeadline(grpc::ClientContext* context, absl::Duration limit = kSoon) {
  context->set_deadline(absl::ToChronoTime(absl::Now() + limit));
}

std::shared_ptr<grpc::Channel> Dial(
    const std::string& address,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxSendMessageSize(-1);
  return security::DialController(address, credentials, arguments);
}

// A client that presents what it is given.
std::shared_ptr<grpc::ChannelCredentials> Present(
    const std::string& trusted, const Credential& credential) {
  namespace tls = grpc::experimental;
  tls::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(
      std::make_shared<tls::StaticDataCertificateProvider>(
          trusted, std::vector<tls::IdentityKeyCertPair>{
                       {credential.key, credential.certificate}}));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  return tls::TlsCredentials(options);
}

// One call with bytes that need not be a message.
grpc::Status RawCall(const std::shared_ptr<grpc::Channel>& channel,
                     const std::string& method, const std::string& bytes = "",
                     absl::Duration limit = kSoon) {
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  SetDeadline(&context, limit);
  const grpc::Slice slice(bytes);
  const grpc::ByteBuffer request(&slice, 1);
  const auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  return status;
}

v1::StudySpec ExternalSpec() {
  v1::StudySpec spec = ToySpec(100);
  spec.clear_objectives();
  spec.clear_train();
  spec.add_objectives()->set_maximize("my_score");
  spec.mutable_external();
  return spec;
}

v1::StudySpec TrainingSpec() {
  v1::StudySpec spec = ToySpec(100);
  spec.mutable_objectives()->RemoveLast();
  spec.set_max_parallel_trials(1);
  return spec;
}

// An executor's session, message by message.
class Session {
 public:
  Session(const std::shared_ptr<grpc::Channel>& channel, const v1::Hello& hello)
      : stub_(v1::FleetService::NewStub(channel)) {
    SetDeadline(&context_, absl::Minutes(2));
    stream_ = stub_->Session(&context_);
    v1::SessionRequest request;
    *request.mutable_hello() = hello;
    stream_->Write(request);
    v1::SessionResponse response;
    welcomed_ = stream_->Read(&response) && response.has_welcome();
  }
  ~Session() { context_.TryCancel(); }

  bool welcomed() const { return welcomed_; }
  bool Send(const v1::SessionRequest& request) {
    return stream_->Write(request);
  }
  // The next message for which `wanted` holds; others are left out.
  bool Await(const std::function<bool(const v1::SessionResponse&)>& wanted,
             v1::SessionResponse* response) {
    while (stream_->Read(response)) {
      if (wanted(*response)) return true;
    }
    return false;
  }
  // A result without a lease is acknowledged and ignored.
  bool Works() {
    v1::SessionRequest request;
    request.mutable_result()->mutable_lease()->set_task_id("nothing/1/train");
    request.mutable_result()->mutable_lease()->set_attempt(1);
    v1::SessionResponse response;
    return Send(request) &&
           Await([](const auto& r) { return r.has_result_ack(); }, &response);
  }
  grpc::Status End() { return stream_->Finish(); }

 private:
  const std::unique_ptr<v1::FleetService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<
      grpc::ClientReaderWriter<v1::SessionRequest, v1::SessionResponse>>
      stream_;
  bool welcomed_ = false;
};

// A controller with TLS, and what it takes to be anybody.
class Fortress {
 public:
  Fortress()
      : dir_(absl::StrCat(::testing::TempDir(), "/hwnas_attack_", getpid())) {
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
    EXPECT_TRUE(security::Authority::Create(tls_dir(), absl::Now()).ok());
    authority_ = *security::Authority::Open(tls_dir(), absl::Hours(1));
    signer_ = {.key = *ReadFile(tls_dir() + "/ca.key"),
               .certificate = authority_->certificate()};
    EXPECT_TRUE(security::IssueInto(tls_dir(), *authority_,
                                    {Role::kController, "main"}, absl::Now())
                    .ok());
    auto logger = std::make_shared<Logger>(
        "test",
        std::make_shared<spdlog::sinks::basic_file_sink_mt>(dir_ + "/log"));
    logger->flush_on(spdlog::level::trace);
    auto server = Server::Start({.listen = "127.0.0.1:0",
                                 .store = dir_ + "/store",
                                 .metrics = "",
                                 .tls_dir = tls_dir(),
                                 .enroll = "127.0.0.1:0",
                                 .certificate_lifetime = absl::Hours(1),
                                 .handshake_timeout = absl::Milliseconds(500),
                                 .max_new_per_address = 500},
                                logger);
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  ~Fortress() {
    server_ = nullptr;
    std::filesystem::remove_all(dir_);
  }

  std::string dir() const { return dir_; }
  std::string tls_dir() const { return dir_ + "/tls"; }
  std::string address() const { return server_->address(); }
  std::string enroll_address() const { return server_->enroll_address(); }
  security::Authority& authority() { return *authority_; }
  const Credential& signer() const { return signer_; }
  std::string Log() const { return *ReadFile(dir_ + "/log"); }
  int port() const {
    int port = 0;
    (void)absl::SimpleAtoi(address().substr(address().rfind(':') + 1), &port);
    return port;
  }

  Credential Certify(const Identity& identity) {
    Credential credential = {.key = *security::NewKey()};
    credential.certificate = *authority_->Issue(
        identity, *security::NewRequest(credential.key), absl::Now());
    return credential;
  }
  std::shared_ptr<grpc::Channel> DialWith(const Credential& credential) {
    return Dial(address(), Present(signer_.certificate, credential));
  }
  std::shared_ptr<grpc::Channel> DialAs(Role role, const std::string& name) {
    return DialWith(Certify({role, name}));
  }

  // As a researcher of that name; OK if the study is there already.
  grpc::Status CreateStudy(const std::string& user, const std::string& id,
                           const v1::StudySpec& spec,
                           v1::Study* study = nullptr,
                           const std::string& named_user = "") {
    grpc::ClientContext context;
    SetDeadline(&context);
    v1::CreateStudyRequest request;
    request.set_study_id(id);
    *request.mutable_spec() = spec;
    request.set_user(named_user);
    v1::Study made;
    return v1::StudyService::NewStub(DialAs(Role::kResearcher, user))
        ->CreateStudy(&context, request, study == nullptr ? &made : study);
  }
  v1::Study GetStudy(const std::string& id) {
    grpc::ClientContext context;
    SetDeadline(&context);
    v1::GetStudyRequest request;
    request.set_name("studies/" + id);
    v1::Study study;
    const grpc::Status status =
        v1::StudyService::NewStub(DialAs(Role::kAdmin, "root"))
            ->GetStudy(&context, request, &study);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return study;
  }

 private:
  const std::string dir_;
  std::unique_ptr<security::Authority> authority_;
  Credential signer_;
  std::unique_ptr<Server> server_;
};

// Somebody who works all the while: a researcher who reads, and an agent.
class Bystander {
 public:
  explicit Bystander(Fortress* fortress)
      : channel_(fortress->DialAs(Role::kResearcher, "carol")),
        studies_(v1::StudyService::NewStub(channel_)) {
    EXPECT_TRUE(fortress->CreateStudy("carol", "carols", ExternalSpec()).ok());
    // Nobody here measures, so nothing is handed to it.
    session_ = std::make_unique<Session>(
        fortress->DialAs(Role::kAgent, "calm-1"), AgentHello("calm-1", "calm"));
    EXPECT_TRUE(session_->welcomed());
  }
  void ExpectFine() {
    grpc::ClientContext context;
    SetDeadline(&context);
    v1::GetStudyRequest request;
    request.set_name("studies/carols");
    v1::Study study;
    const grpc::Status status = studies_->GetStudy(&context, request, &study);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(study.user(), "carol");
    EXPECT_TRUE(session_->Works());
  }

 private:
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::StudyService::Stub> studies_;
  std::unique_ptr<Session> session_;
};

struct Attack {
  std::string name;
  std::function<grpc::Status(Fortress&)> run;
  std::vector<StatusCode> refused_with;
  // In a line of the log; empty if gRPC refuses it without a word.
  std::string logged;
};

// ---- Certificates ----

grpc::Status GetStudyOver(const std::shared_ptr<grpc::Channel>& channel,
                          const std::string& name = "studies/carols") {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::GetStudyRequest request;
  request.set_name(name);
  v1::Study study;
  return v1::StudyService::NewStub(channel)->GetStudy(&context, request,
                                                      &study);
}

grpc::Status WithoutCertificate(Fortress& fortress) {
  return GetStudyOver(Dial(
      fortress.address(),
      security::EnrolmentChannelCredentials(fortress.signer().certificate)));
}

grpc::Status InTheClear(Fortress& fortress) {
  return GetStudyOver(grpc::CreateChannel(fortress.address(),
                                          grpc::InsecureChannelCredentials()));
}

Credential SignedAt(const Credential& signer, const Identity& identity,
                    absl::Time time) {
  Credential credential = {.key = *security::NewKey()};
  credential.certificate =
      *security::SignRequest(signer, *security::NewRequest(credential.key),
                             identity, absl::Hours(1), time);
  return credential;
}

grpc::Status WithAnExpiredCertificate(Fortress& fortress) {
  return GetStudyOver(fortress.DialWith(
      SignedAt(fortress.signer(), {Role::kResearcher, "carol"},
               absl::Now() - absl::Hours(2))));
}

grpc::Status FromAnotherAuthority(Fortress& fortress) {
  // It has the same name, and other keys.
  const Credential other = *security::NewAuthority(absl::Now());
  return GetStudyOver(
      fortress.DialWith(SignedAt(other, {Role::kAdmin, "root"}, absl::Now())));
}

grpc::Status SignedByAWorker(Fortress& fortress) {
  const Credential worker = fortress.Certify({Role::kWorker, "gpu-1"});
  return GetStudyOver(
      fortress.DialWith(SignedAt(worker, {Role::kAdmin, "root"}, absl::Now())));
}

grpc::Status WithTheControllersKind(Fortress& fortress) {
  return GetStudyOver(fortress.DialAs(Role::kController, "main"));
}

grpc::Status Revoked(Fortress& fortress) {
  const Credential mallory = fortress.Certify({Role::kResearcher, "mallory"});
  EXPECT_TRUE(fortress.authority().Revoke("user/mallory", absl::Now()).ok());
  grpc::Status status;
  // The controller looks at the list ten times a second.
  for (const absl::Time end = absl::Now() + kSoon; absl::Now() < end;) {
    status = GetStudyOver(fortress.DialWith(mallory), "studies/carols");
    if (status.error_code() == StatusCode::UNAVAILABLE) break;
  }
  return status;
}

// Over a connection that is there already.
grpc::Status RevokedInTheMiddle(Fortress& fortress) {
  const auto channel = fortress.DialAs(Role::kResearcher, "mallory");
  EXPECT_EQ(GetStudyOver(channel, "studies/none").error_code(),
            StatusCode::NOT_FOUND);
  EXPECT_TRUE(fortress.authority().Revoke("mallory", absl::Now()).ok());
  grpc::Status status;
  for (const absl::Time end = absl::Now() + kSoon; absl::Now() < end;) {
    status = GetStudyOver(channel, "studies/none");
    if (status.error_code() != StatusCode::NOT_FOUND) break;
  }
  return status;
}

grpc::Status RevokedSession(Fortress& fortress) {
  Session session(fortress.DialAs(Role::kWorker, "rogue"),
                  WorkerHello("rogue", "h"));
  EXPECT_TRUE(session.welcomed());
  EXPECT_TRUE(fortress.authority().Revoke("worker/rogue", absl::Now()).ok());
  v1::SessionResponse response;
  session.Await([](const auto&) { return false; }, &response);
  return session.End();
}

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

// ---- Roles, names and leases ----

grpc::Status CancelOver(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::CancelStudyRequest request;
  request.set_name("studies/carols");
  v1::Study study;
  return v1::StudyService::NewStub(channel)->CancelStudy(&context, request,
                                                         &study);
}

grpc::Status ViewerCancels(Fortress& fortress) {
  return CancelOver(fortress.DialAs(Role::kViewer, "grafana"));
}

grpc::Status CancelsAnothersStudy(Fortress& fortress) {
  return CancelOver(fortress.DialAs(Role::kResearcher, "mallory"));
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

grpc::Status StartsFromAnothersStudy(Fortress& fortress) {
  v1::StudySpec spec = ExternalSpec();
  spec.add_warm_start()->set_study("carols");
  return fortress.CreateStudy("mallory", "copy", spec);
}

grpc::Status TakesAnothersStudyOverByItsName(Fortress& fortress) {
  return fortress.CreateStudy("mallory", "carols", ExternalSpec(), nullptr,
                              "carol");
}

grpc::Status SharesAnothersStudyWithItself(Fortress& fortress) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::ShareStudyRequest request;
  request.set_name("studies/carols");
  request.add_users("mallory");
  v1::StudyAccess access;
  return v1::AccessService::NewStub(
             fortress.DialAs(Role::kResearcher, "mallory"))
      ->ShareStudy(&context, request, &access);
}

grpc::Status AsksOver(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::AskTrialsRequest request;
  request.set_parent("studies/carols");
  v1::AskTrialsResponse response;
  return v1::TrialService::NewStub(channel)->AskTrials(&context, request,
                                                       &response);
}

grpc::Status WorkerAsksTrials(Fortress& fortress) {
  return AsksOver(fortress.DialAs(Role::kWorker, "gpu-1"));
}

grpc::Status AsksAnothersTrials(Fortress& fortress) {
  return AsksOver(fortress.DialAs(Role::kResearcher, "mallory"));
}

grpc::Status TellsAnothersTrial(Fortress& fortress) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::TellTrialsRequest request;
  v1::TrialReport* report = request.add_reports();
  report->set_trial("studies/carols/trials/1");
  report->set_attempt(1);
  *report->add_measurements() = Value("my_score", 1e9);
  v1::TellTrialsResponse response;
  const grpc::Status status =
      v1::TrialService::NewStub(fortress.DialAs(Role::kResearcher, "mallory"))
          ->TellTrials(&context, request, &response);
  if (!status.ok() || response.statuses_size() != 1) return status;
  return {static_cast<StatusCode>(response.statuses(0).code()),
          response.statuses(0).message()};
}

// With a report on a trial of their own.
grpc::Status AsksAnothersTrialsWithAReport(Fortress& fortress) {
  const auto trials =
      v1::TrialService::NewStub(fortress.DialAs(Role::kResearcher, "mallory"));
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::TellTrialsRequest request;
  request.add_reports()->set_trial("studies/mallorys/trials/1");
  request.mutable_next()->set_parent("studies/carols");
  v1::TellTrialsResponse response;
  const grpc::Status status = trials->TellTrials(&context, request, &response);
  if (!status.ok() || response.has_next()) return status;
  return {static_cast<StatusCode>(response.next_status().code()),
          response.next_status().message()};
}

grpc::Status AgentUploadsWeights(Fortress& fortress) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::Artifact artifact;
  const auto writer =
      v1::FleetService::NewStub(fortress.DialAs(Role::kAgent, "pi-7"))
          ->UploadArtifact(&context, &artifact);
  v1::ArtifactChunk chunk;
  chunk.set_data("weights");
  writer->Write(chunk);
  writer->WritesDone();
  return writer->Finish();
}

grpc::Status ResearcherDrainsADevice(Fortress& fortress) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::DrainDeviceRequest request;
  request.set_name("devices/pi-7");
  v1::Device device;
  return v1::DeviceService::NewStub(
             fortress.DialAs(Role::kResearcher, "mallory"))
      ->DrainDevice(&context, request, &device);
}

grpc::Status Connects(Fortress& fortress, const Identity& identity,
                      const v1::Hello& hello) {
  Session session(fortress.DialWith(fortress.Certify(identity)), hello);
  EXPECT_FALSE(session.welcomed());
  return session.End();
}

grpc::Status WorkerUnderAnothersName(Fortress& fortress) {
  return Connects(fortress, {Role::kWorker, "gpu-1"},
                  WorkerHello("calm-1", "calm"));
}

grpc::Status AgentAsWorker(Fortress& fortress) {
  return Connects(fortress, {Role::kAgent, "gpu-1"}, WorkerHello("gpu-1", "h"));
}

grpc::Status OutsideItsGroup(Fortress& fortress) {
  return Connects(fortress, {Role::kWorker, "slurm-*"},
                  WorkerHello("slurmy", "h"));
}

grpc::Status ReportsAnothersLease(Fortress& fortress) {
  EXPECT_TRUE(fortress.CreateStudy("alice", "alices", TrainingSpec()).ok());
  Session owner(fortress.DialAs(Role::kWorker, "gpu-1"),
                WorkerHello("gpu-1", "h1"));
  v1::SessionResponse assigned;
  EXPECT_TRUE(
      owner.Await([](const auto& r) { return r.has_assignment(); }, &assigned));
  Session thief(fortress.DialAs(Role::kWorker, "gpu-2"),
                WorkerHello("gpu-2", "h2"));
  // It even knows the token.
  v1::SessionRequest request;
  *request.mutable_result()->mutable_lease() = assigned.assignment().lease();
  *request.mutable_result()->add_measurements() = Value("accuracy", 100);
  EXPECT_TRUE(thief.Send(request));
  v1::SessionResponse acknowledged;
  EXPECT_TRUE(thief.Await([](const auto& r) { return r.has_result_ack(); },
                          &acknowledged));
  EXPECT_TRUE(acknowledged.result_ack().ignored());
  EXPECT_EQ(fortress.GetStudy("alices").progress().completed_count(), 0);
  EXPECT_TRUE(owner.Works());
  // Acknowledged, as a late result of one's own is, and without effect.
  return {StatusCode::OK, ""};
}

// ---- What is sent ----

grpc::Status OversizedMessage(Fortress& fortress) {
  v1::CreateStudyRequest request;
  request.set_study_id("big");
  request.set_description(std::string(70 << 20, 'x'));
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::Study study;
  return v1::StudyService::NewStub(
             fortress.DialAs(Role::kResearcher, "mallory"))
      ->CreateStudy(&context, request, &study);
}

grpc::Status LongDescription(Fortress& fortress) {
  v1::CreateStudyRequest request;
  request.set_study_id("big");
  *request.mutable_spec() = ExternalSpec();
  request.set_description(std::string(1 << 20, 'x'));
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::Study study;
  return v1::StudyService::NewStub(
             fortress.DialAs(Role::kResearcher, "mallory"))
      ->CreateStudy(&context, request, &study);
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

grpc::Status EndlessUpload(Fortress& fortress) {
  grpc::ClientContext context;
  SetDeadline(&context, absl::Minutes(2));
  v1::Artifact artifact;
  const auto writer =
      v1::FleetService::NewStub(fortress.DialAs(Role::kWorker, "chatty"))
          ->UploadArtifact(&context, &artifact);
  v1::ArtifactChunk chunk;
  chunk.set_data(std::string(4 << 20, 'x'));
  for (int i = 0; i < 10'000 && writer->Write(chunk); ++i) {
  }
  writer->WritesDone();
  return writer->Finish();
}

// Begins upload after upload and finishes none.
grpc::Status HoardsTransfers(Fortress& fortress) {
  struct Hoarded {
    grpc::ClientContext context;
    v1::Artifact artifact;
    std::unique_ptr<grpc::ClientWriter<v1::ArtifactChunk>> writer;
  };
  const auto stub =
      v1::FleetService::NewStub(fortress.DialAs(Role::kWorker, "hoarder"));
  v1::ArtifactChunk chunk;
  chunk.set_data("the beginning");
  std::vector<std::unique_ptr<Hoarded>> hoard;
  const auto begin = [&] {
    hoard.push_back(std::make_unique<Hoarded>());
    Hoarded& one = *hoard.back();
    SetDeadline(&one.context);
    one.writer = stub->UploadArtifact(&one.context, &one.artifact);
    one.writer->Write(chunk);
  };
  for (int i = 0; i < 30; ++i) begin();
  // Others have room meanwhile.
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::Artifact artifact;
  const auto honest =
      v1::FleetService::NewStub(fortress.DialAs(Role::kWorker, "honest"))
          ->UploadArtifact(&context, &artifact);
  honest->Write(chunk);
  honest->WritesDone();
  EXPECT_TRUE(honest->Finish().ok());
  begin();
  const grpc::Status status = hoard.back()->writer->Finish();
  hoard.pop_back();
  for (const auto& one : hoard) {
    one->context.TryCancel();
    (void)one->writer->Finish();
  }
  return status;
}

grpc::Status HoardsWatches(Fortress& fortress) {
  struct Watch {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::StudyUpdate>> reader;
  };
  const auto stub =
      v1::StudyService::NewStub(fortress.DialAs(Role::kResearcher, "carol"));
  v1::WatchStudyRequest request;
  request.set_name("studies/carols");
  std::vector<std::unique_ptr<Watch>> hoard;
  grpc::Status refused;
  for (int i = 0; i < 200 && refused.ok(); ++i) {
    auto watch = std::make_unique<Watch>();
    SetDeadline(&watch->context);
    // A busy machine may need a second handshake.
    watch->context.set_wait_for_ready(true);
    watch->reader = stub->WatchStudy(&watch->context, request);
    v1::StudyUpdate update;
    if (watch->reader->Read(&update)) {
      hoard.push_back(std::move(watch));
    } else {
      refused = watch->reader->Finish();
    }
  }
  EXPECT_EQ(hoard.size(), 64u);
  for (const auto& watch : hoard) {
    watch->context.TryCancel();
    (void)watch->reader->Finish();
  }
  return refused;
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

grpc::Status PathTricksInIds(Fortress& fortress) {
  return Connects(fortress, {Role::kWorker, "slurm-*"},
                  WorkerHello("slurm-../../x", "h"));
}

// ---- Connections ----

int Connect(int port) {
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  return fd;
}

// Within ten seconds, without a byte of an answer.
bool IsClosed(int fd) {
  pollfd wait = {.fd = fd, .events = POLLIN, .revents = 0};
  char byte = 0;
  return poll(&wait, 1, 10'000) == 1 && recv(fd, &byte, 1, 0) <= 0;
}

// More connections than one address may open at a time.
grpc::Status FloodOfConnections(Fortress& fortress) {
  std::vector<int> sockets;
  for (int i = 0; i < 900; ++i) sockets.push_back(Connect(fortress.port()));
  int closed = 0;
  for (const int fd : sockets) {
    if (IsClosed(fd)) ++closed;
    close(fd);
  }
  EXPECT_EQ(closed, 900);
  // Those who are here already do not notice; others come in a moment later.
  grpc::Status status;
  for (const absl::Time end = absl::Now() + kSoon; absl::Now() < end;) {
    status = GetStudyOver(fortress.DialAs(Role::kAdmin, "root"));
    if (status.ok()) break;
  }
  return status;
}

// Opens connections that stop in the middle of a handshake. OK once the
// controller has closed them all.
grpc::Status SlowLoris(Fortress& fortress) {
  std::vector<int> sockets;
  for (int i = 0; i < 200; ++i) {
    const int fd = Connect(fortress.port());
    // The beginning of a ClientHello, and then nothing; or nothing at all.
    const char hello[] = {22, 3, 1, 2, 0, 1};
    EXPECT_GE(send(fd, hello, i % sizeof(hello), MSG_NOSIGNAL), 0);
    sockets.push_back(fd);
  }
  // Meanwhile others are served.
  EXPECT_EQ(GetStudyOver(fortress.DialAs(Role::kAdmin, "root")).error_code(),
            StatusCode::OK);
  int open = 0;
  for (const int fd : sockets) {
    if (!IsClosed(fd)) ++open;
    close(fd);
  }
  EXPECT_EQ(open, 0);
  return {open == 0 ? StatusCode::OK : StatusCode::UNKNOWN, ""};
}

grpc::Status SpeaksHttp(Fortress& fortress) {
  const int fd = Connect(fortress.port());
  const std::string get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  EXPECT_GT(send(fd, get.data(), get.size(), MSG_NOSIGNAL), 0);
  pollfd wait = {.fd = fd, .events = POLLIN, .revents = 0};
  std::string answer(4096, '\0');
  EXPECT_EQ(poll(&wait, 1, 10'000), 1);
  const ssize_t n = recv(fd, answer.data(), answer.size(), 0);
  // A TLS alert at most.
  EXPECT_LT(n, 16);
  close(fd);
  return {StatusCode::OK, ""};
}

// ---- Newcomers ----

grpc::Status EnrolWith(Fortress& fortress, const std::string& id,
                       const std::string& secret,
                       const std::string& certificate_request) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::EnrollRequest request;
  request.set_token_id(id);
  request.set_token_secret(secret);
  request.set_certificate_request(certificate_request);
  v1::EnrollResponse response;
  return v1::EnrollService::NewStub(Dial(fortress.enroll_address(),
                                         security::EnrolmentChannelCredentials(
                                             fortress.signer().certificate)))
      ->Enroll(&context, request, &response);
}

grpc::Status ReusedToken(Fortress& fortress) {
  const security::Token token = *fortress.authority().NewToken(
      {Role::kWorker, "new"}, absl::Hours(1), absl::Now());
  const std::string request = *security::NewRequest(*security::NewKey());
  const grpc::Status first =
      EnrolWith(fortress, token.id, token.secret, request);
  EXPECT_TRUE(first.ok()) << first.error_message();
  return EnrolWith(fortress, token.id, token.secret, request);
}

grpc::Status ExpiredToken(Fortress& fortress) {
  const security::Token token = *fortress.authority().NewToken(
      {Role::kWorker, "new"}, absl::Hours(1), absl::Now() - absl::Hours(2));
  return EnrolWith(fortress, token.id, token.secret,
                   *security::NewRequest(*security::NewKey()));
}

grpc::Status GuessedToken(Fortress& fortress) {
  return EnrolWith(fortress, std::string(16, 'a'), std::string(64, 'b'),
                   *security::NewRequest(*security::NewKey()));
}

grpc::Status PathTricksInTokens(Fortress& fortress) {
  return EnrolWith(fortress, "../ca.key", std::string(64, 'b'),
                   *security::NewRequest(*security::NewKey()));
}

grpc::Status MalformedCertificateRequest(Fortress& fortress) {
  const security::Token token = *fortress.authority().NewToken(
      {Role::kWorker, "new"}, absl::Hours(1), absl::Now());
  return EnrolWith(fortress, token.id, token.secret,
                   "-----BEGIN CERTIFICATE REQUEST-----\nMIIBIjANBg\n");
}

grpc::Status OversizedEnrolment(Fortress& fortress) {
  return EnrolWith(fortress, "", "", std::string(1 << 20, 'x'));
}

grpc::Status OtherServicesAtTheDoor(Fortress& fortress) {
  return GetStudyOver(Dial(
      fortress.enroll_address(),
      security::EnrolmentChannelCredentials(fortress.signer().certificate)));
}

grpc::Status RenewsAtTheDoor(Fortress& fortress) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::RenewRequest request;
  request.set_certificate_request(*security::NewRequest(*security::NewKey()));
  v1::EnrollResponse response;
  return v1::EnrollService::NewStub(Dial(fortress.enroll_address(),
                                         security::EnrolmentChannelCredentials(
                                             fortress.signer().certificate)))
      ->Renew(&context, request, &response);
}

// ---- A controller that is none ----

grpc::Status PretendsToBeTheController(Fortress& fortress) {
  // Whoever stands in the middle has at best an executor's certificate.
  const Credential worker = fortress.Certify({Role::kWorker, "gpu-1"});
  grpc::SslServerCredentialsOptions options;
  options.pem_key_cert_pairs.push_back({worker.key, worker.certificate});
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(options),
                           &port);
  v1::StudyService::Service service;
  builder.RegisterService(&service);
  const auto impostor = builder.BuildAndStart();
  const Credential alice = fortress.Certify({Role::kResearcher, "alice"});
  const grpc::Status status =
      GetStudyOver(Dial(absl::StrCat("127.0.0.1:", port),
                        Present(fortress.signer().certificate, alice)));
  impostor->Shutdown();
  return status;
}

class AttackTest : public ::testing::TestWithParam<Attack> {
 protected:
  static void SetUpTestSuite() {
    // Both ends of all connections are in this process.
    rlimit limit = {};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    fortress_ = new Fortress;
    bystander_ = new Bystander(fortress_);
  }
  static void TearDownTestSuite() {
    delete bystander_;
    delete fortress_;
  }
  static Fortress* fortress_;
  static Bystander* bystander_;
};

Fortress* AttackTest::fortress_ = nullptr;
Bystander* AttackTest::bystander_ = nullptr;

TEST_P(AttackTest, IsRefusedAndNobodyElseNotices) {
  const Attack& attack = GetParam();
  const size_t before = fortress_->Log().size();
  const grpc::Status status = attack.run(*fortress_);
  EXPECT_THAT(attack.refused_with, ::testing::Contains(status.error_code()))
      << status.error_message();
  EXPECT_LT(status.error_message().size(), 1000u);
  if (!attack.logged.empty()) {
    EXPECT_THAT(fortress_->Log().substr(before), HasSubstr(attack.logged));
  }
  bystander_->ExpectFine();
  EXPECT_EQ(fortress_->GetStudy("carols").state(), v1::Study::RUNNING);
}

INSTANTIATE_TEST_SUITE_P(
    Wire, AttackTest,
    ::testing::Values(
        Attack{"WithoutCertificate",
               WithoutCertificate,
               {StatusCode::UNAVAILABLE},
               "there is no certificate"},
        Attack{"InTheClear", InTheClear, {StatusCode::UNAVAILABLE}, ""},
        Attack{"WithAnExpiredCertificate",
               WithAnExpiredCertificate,
               {StatusCode::UNAVAILABLE},
               "certificate has expired"},
        Attack{"FromAnotherAuthority",
               FromAnotherAuthority,
               {StatusCode::UNAVAILABLE},
               "event=handshake_refused"},
        Attack{"SignedByAWorker",
               SignedByAWorker,
               {StatusCode::UNAVAILABLE},
               "event=handshake_refused"},
        Attack{"WithTheControllersKind",
               WithTheControllersKind,
               {StatusCode::UNAVAILABLE},
               "purpose"},
        Attack{"Revoked",
               Revoked,
               {StatusCode::UNAVAILABLE},
               "event=handshake_refused who=\"researcher mallory\""},
        Attack{"RevokedInTheMiddle",
               RevokedInTheMiddle,
               {StatusCode::UNAUTHENTICATED},
               "outcome=UNAUTHENTICATED"},
        Attack{"RevokedSession",
               RevokedSession,
               {StatusCode::UNAUTHENTICATED},
               "event=cut_off who=\"worker rogue\""},
        Attack{"RevokedWatcher",
               RevokedWatcher,
               {StatusCode::UNAUTHENTICATED},
               "event=cut_off who=\"researcher mallory\""},
        Attack{"PretendsToBeTheController",
               PretendsToBeTheController,
               {StatusCode::UNAVAILABLE},
               ""}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Roles, AttackTest,
    ::testing::Values(
        Attack{"ViewerCancels",
               ViewerCancels,
               {StatusCode::PERMISSION_DENIED},
               "who=\"viewer grafana\" peer=- method=StudyService/CancelStudy"},
        Attack{"CancelsAnothersStudy",
               CancelsAnothersStudy,
               {StatusCode::PERMISSION_DENIED},
               "resource=\"studies/carols\" outcome=PERMISSION_DENIED"},
        Attack{"WatchesAnothersStudy",
               WatchesAnothersStudy,
               {StatusCode::PERMISSION_DENIED},
               "outcome=PERMISSION_DENIED"},
        Attack{"StartsFromAnothersStudy",
               StartsFromAnothersStudy,
               {StatusCode::PERMISSION_DENIED},
               "outcome=PERMISSION_DENIED"},
        Attack{"TakesAnothersStudyOverByItsName",
               TakesAnothersStudyOverByItsName,
               {StatusCode::ALREADY_EXISTS},
               "outcome=ALREADY_EXISTS"},
        Attack{"SharesAnothersStudyWithItself",
               SharesAnothersStudyWithItself,
               {StatusCode::PERMISSION_DENIED},
               "outcome=PERMISSION_DENIED"},
        Attack{"WorkerAsksTrials",
               WorkerAsksTrials,
               {StatusCode::PERMISSION_DENIED},
               "who=\"worker gpu-1\""},
        Attack{"AsksAnothersTrials",
               AsksAnothersTrials,
               {StatusCode::PERMISSION_DENIED},
               "outcome=PERMISSION_DENIED"},
        Attack{"TellsAnothersTrial",
               TellsAnothersTrial,
               {StatusCode::PERMISSION_DENIED},
               "resource=\"studies/carols/trials/1\" "
               "outcome=PERMISSION_DENIED"},
        Attack{"AsksAnothersTrialsWithAReport",
               AsksAnothersTrialsWithAReport,
               {StatusCode::PERMISSION_DENIED},
               "resource=\"studies/carols\" outcome=PERMISSION_DENIED"},
        Attack{"AgentUploadsWeights",
               AgentUploadsWeights,
               {StatusCode::PERMISSION_DENIED},
               "who=\"agent pi-7\""},
        Attack{"ResearcherDrainsADevice",
               ResearcherDrainsADevice,
               {StatusCode::PERMISSION_DENIED},
               "outcome=PERMISSION_DENIED"},
        Attack{"WorkerUnderAnothersName",
               WorkerUnderAnothersName,
               {StatusCode::PERMISSION_DENIED},
               "event=session_refused"},
        Attack{"AgentAsWorker",
               AgentAsWorker,
               {StatusCode::PERMISSION_DENIED},
               "event=session_refused"},
        Attack{"OutsideItsGroup",
               OutsideItsGroup,
               {StatusCode::PERMISSION_DENIED},
               "event=session_refused"},
        Attack{"ReportsAnothersLease",
               ReportsAnothersLease,
               {StatusCode::OK},
               "event=result_without_lease executor=workers/gpu-2"}),
    [](const auto& info) { return info.param.name; });

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
        Attack{"EndlessUpload",
               EndlessUpload,
               {StatusCode::INVALID_ARGUMENT},
               "method=FleetService/UploadArtifact"},
        Attack{"HoardsTransfers",
               HoardsTransfers,
               {StatusCode::RESOURCE_EXHAUSTED},
               "method=FleetService/UploadArtifact"},
        Attack{"HoardsWatches",
               HoardsWatches,
               {StatusCode::RESOURCE_EXHAUSTED},
               ""},
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
        Attack{"PathTricksInDigests",
               PathTricksInDigests,
               {StatusCode::INVALID_ARGUMENT, StatusCode::NOT_FOUND},
               ""},
        Attack{"PathTricksInIds",
               PathTricksInIds,
               {StatusCode::INVALID_ARGUMENT},
               "event=session_refused"}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Door, AttackTest,
    ::testing::Values(Attack{"SlowLoris", SlowLoris, {StatusCode::OK}, ""},
                      Attack{"FloodOfConnections",
                             FloodOfConnections,
                             {StatusCode::OK},
                             "event=connection_refused peer=127.0.0.1"},
                      Attack{"SpeaksHttp", SpeaksHttp, {StatusCode::OK}, ""},
                      Attack{"ReusedToken",
                             ReusedToken,
                             {StatusCode::UNAUTHENTICATED},
                             "method=EnrollService/Enroll"},
                      Attack{"ExpiredToken",
                             ExpiredToken,
                             {StatusCode::UNAUTHENTICATED},
                             "who=\"newcomer\""},
                      Attack{"GuessedToken",
                             GuessedToken,
                             {StatusCode::UNAUTHENTICATED},
                             "outcome=UNAUTHENTICATED"},
                      Attack{"PathTricksInTokens",
                             PathTricksInTokens,
                             {StatusCode::UNAUTHENTICATED},
                             "outcome=UNAUTHENTICATED"},
                      Attack{"MalformedCertificateRequest",
                             MalformedCertificateRequest,
                             {StatusCode::INVALID_ARGUMENT},
                             "outcome=INVALID_ARGUMENT"},
                      Attack{"OversizedEnrolment",
                             OversizedEnrolment,
                             {StatusCode::RESOURCE_EXHAUSTED},
                             ""},
                      Attack{"OtherServicesAtTheDoor",
                             OtherServicesAtTheDoor,
                             {StatusCode::UNIMPLEMENTED},
                             ""},
                      Attack{"RenewsAtTheDoor",
                             RenewsAtTheDoor,
                             {StatusCode::UNAUTHENTICATED},
                             ""}),
    [](const auto& info) { return info.param.name; });

// ---- What is allowed goes through ----

class SecureControllerTest : public ::testing::Test {
 protected:
  Fortress fortress_;
};

// The table, tried: every method with every role.
TEST_F(SecureControllerTest, AppliesTheTableToEveryMethodAndRole) {
  const std::map<Role, std::string> names = {{Role::kAdmin, "root"},
                                             {Role::kResearcher, "alice"},
                                             {Role::kViewer, "grafana"},
                                             {Role::kWorker, "gpu-1"},
                                             {Role::kAgent, "pi-7"}};
  for (const auto& [role, name] : names) {
    const auto channel = fortress_.DialAs(role, name);
    for (const MethodRule& rule : MethodRules()) {
      const bool allowed = (rule.roles & Only(role)) != 0;
      // It would only end with the deadline.
      if (allowed && rule.method == "/grpc.health.v1.Health/Watch") continue;
      const grpc::Status status = RawCall(channel, std::string(rule.method));
      EXPECT_EQ(status.error_code() == StatusCode::PERMISSION_DENIED, !allowed)
          << rule.method << " by a " << RoleName(role) << ": "
          << status.error_code() << " " << status.error_message();
      // By a bad token, not by the table.
      if (rule.method != "/hwnas.v1.EnrollService/Enroll") {
        EXPECT_NE(status.error_code(), StatusCode::UNAUTHENTICATED);
      }
      EXPECT_NE(status.error_code(), StatusCode::UNAVAILABLE);
    }
  }
}

TEST_F(SecureControllerTest, TheUserIsWhoTheCertificateSays) {
  v1::Study study;
  const grpc::Status status =
      fortress_.CreateStudy("alice", "mine", ExternalSpec(), &study, "bob");
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(study.user(), "alice");
}

TEST_F(SecureControllerTest, ResearchersSeeTheirOwnAndWhatIsShared) {
  ASSERT_TRUE(fortress_.CreateStudy("alice", "a", ExternalSpec()).ok());
  ASSERT_TRUE(fortress_.CreateStudy("bob", "b", ExternalSpec()).ok());
  const auto seen_by = [&](Role role, const std::string& name) {
    grpc::ClientContext context;
    SetDeadline(&context);
    v1::ListStudiesResponse response;
    EXPECT_TRUE(v1::StudyService::NewStub(fortress_.DialAs(role, name))
                    ->ListStudies(&context, {}, &response)
                    .ok());
    std::set<std::string> seen;
    for (const auto& study : response.studies()) seen.insert(study.name());
    return seen;
  };
  using Names = std::set<std::string>;
  EXPECT_EQ(seen_by(Role::kResearcher, "alice"), Names({"studies/a"}));
  EXPECT_EQ(seen_by(Role::kResearcher, "carol"), Names());
  EXPECT_EQ(seen_by(Role::kViewer, "grafana"),
            Names({"studies/a", "studies/b"}));
  EXPECT_EQ(seen_by(Role::kAdmin, "root"), Names({"studies/a", "studies/b"}));

  const auto share = [&](const std::vector<std::string>& users) {
    grpc::ClientContext context;
    SetDeadline(&context);
    v1::ShareStudyRequest request;
    request.set_name("studies/a");
    request.mutable_users()->Assign(users.begin(), users.end());
    v1::StudyAccess access;
    const grpc::Status status =
        v1::AccessService::NewStub(fortress_.DialAs(Role::kResearcher, "alice"))
            ->ShareStudy(&context, request, &access);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(access.shared_with_size(), static_cast<int>(users.size()));
  };
  const auto bob = fortress_.DialAs(Role::kResearcher, "bob");
  EXPECT_EQ(GetStudyOver(bob, "studies/a").error_code(),
            StatusCode::PERMISSION_DENIED);
  share({"bob"});
  EXPECT_TRUE(GetStudyOver(bob, "studies/a").ok());
  EXPECT_EQ(seen_by(Role::kResearcher, "bob"),
            Names({"studies/a", "studies/b"}));
  EXPECT_EQ(seen_by(Role::kResearcher, "carol"), Names());
  share({"*"});
  EXPECT_EQ(seen_by(Role::kResearcher, "carol"), Names({"studies/a"}));
  share({});
  EXPECT_EQ(GetStudyOver(bob, "studies/a").error_code(),
            StatusCode::PERMISSION_DENIED);
}

TEST_F(SecureControllerTest, NewcomersEnrolAndRenew) {
  const security::Token token = *fortress_.authority().NewToken(
      {Role::kWorker, "new"}, absl::Hours(1), absl::Now());
  const std::string dir = fortress_.dir() + "/new";
  const auto enrolled =
      security::Enroll(token, fortress_.enroll_address(), dir);
  ASSERT_TRUE(enrolled.ok()) << enrolled.status();
  EXPECT_EQ(ToText(enrolled->identity), "worker new");
  const auto channel =
      Dial(fortress_.address(), *security::ChannelCredentials(dir));
  Session session(channel, WorkerHello("new", "h"));
  EXPECT_TRUE(session.welcomed());
  EXPECT_TRUE(session.Works());

  EXPECT_FALSE(*security::RenewIfDue(dir, channel, absl::Now()));
  const absl::Time late = enrolled->not_after - absl::Minutes(5);
  const auto renewed = security::RenewIfDue(dir, channel, late);
  ASSERT_TRUE(renewed.ok()) << renewed.status();
  EXPECT_TRUE(*renewed);
  const auto now = security::ReadIdentity(dir, absl::Now());
  ASSERT_TRUE(now.ok()) << now.status();
  EXPECT_NE(now->serial, enrolled->serial);
  EXPECT_EQ(now->identity, enrolled->identity);
  // The new one is as good.
  EXPECT_TRUE(
      Session(Dial(fortress_.address(), *security::ChannelCredentials(dir)),
              WorkerHello("new", "h"))
          .Works());
}

TEST_F(SecureControllerTest, WritesDownWhoDidWhat) {
  ASSERT_TRUE(fortress_.CreateStudy("alice", "a", ExternalSpec()).ok());
  EXPECT_THAT(fortress_.Log(),
              HasSubstr("method=StudyService/CreateStudy resource=\"a\" "
                        "outcome=OK"));
  EXPECT_THAT(fortress_.Log(), HasSubstr("event=audit who=\"researcher alice"
                                         "\" peer=ipv4:"));
}

TEST(SecureController, RefusesToStartHalfSecure) {
  const std::string dir =
      absl::StrCat(::testing::TempDir(), "/hwnas_half_secure_", getpid());
  std::filesystem::remove_all(dir);
  ServerOptions options = {
      .listen = "127.0.0.1:0", .store = dir + "/store", .metrics = ""};
  const auto why = [&] {
    const auto server = Server::Start(options, NullLogger());
    EXPECT_FALSE(server.ok());
    return std::string(server.status().message());
  };
  options.enroll = "127.0.0.1:0";
  EXPECT_THAT(why(), HasSubstr("--tls_dir"));
  options.enroll = "";
  options.tls_dir = dir + "/tls";
  EXPECT_THAT(why(), HasSubstr("hwnas ca"));
  ASSERT_TRUE(security::Authority::Create(options.tls_dir, absl::Now()).ok());
  const auto authority =
      *security::Authority::Open(options.tls_dir, absl::Hours(1));
  EXPECT_THAT(why(), HasSubstr("identity.pem"));
  ASSERT_TRUE(security::IssueInto(options.tls_dir, *authority,
                                  {Role::kWorker, "gpu-1"}, absl::Now())
                  .ok());
  EXPECT_THAT(why(), HasSubstr("not of a controller"));
  ASSERT_TRUE(security::IssueInto(options.tls_dir, *authority,
                                  {Role::kController, "main"}, absl::Now())
                  .ok());
  options.insecure = true;
  EXPECT_THAT(why(), HasSubstr("exclude each other"));
  options.insecure = false;
  options.metrics = "0.0.0.0:0";
  EXPECT_THAT(why(), HasSubstr("metrics address"));
  options.metrics = "127.0.0.1:0";
  {
    // With TLS it may listen to the world.
    options.listen = "0.0.0.0:0";
    const auto server = Server::Start(options, NullLogger());
    EXPECT_TRUE(server.ok()) << server.status();
  }
  // A list that was tampered with: somebody may be missing from it.
  ASSERT_TRUE(WriteFileAtomically(
                  options.tls_dir + "/crl.pem",
                  *security::NewRevocationList(
                      *security::NewAuthority(absl::Now()), {}, absl::Now()))
                  .ok());
  EXPECT_THAT(why(), HasSubstr("revocation list"));
  options.tls_dir = "";
  EXPECT_THAT(why(), HasSubstr("--tls_dir"));
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace hwnas::controller
