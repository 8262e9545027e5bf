// Attacks on the wire against a real controller with TLS, each while somebody
// else works: refused with the right code, written down, and neither the
// controller nor the other one is worse off. Each file beside this one has the
// attacks of one subject.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/files.h"
#include "controller/server.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "gtest/gtest.h"
#include "hwnas/v1/fleet_service.grpc.pb.h"
#include "hwnas/v1/study_service.grpc.pb.h"
#include "security/authority.h"
#include "security/credentials.h"
#include "security/enrolment.h"
#include "spdlog/sinks/basic_file_sink.h"
#include "tests/controller/study/engine_harness.h"

namespace hwnas::controller {

inline constexpr absl::Duration kSoon = absl::Seconds(20);

inline void SetDeadline(grpc::ClientContext* context,
                        absl::Duration limit = kSoon) {
  context->set_deadline(absl::ToChronoTime(absl::Now() + limit));
}

inline std::shared_ptr<grpc::Channel> Dial(
    const std::string& address,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxSendMessageSize(-1);
  return security::DialController(address, credentials, arguments);
}

// A client that presents what it is given.
inline std::shared_ptr<grpc::ChannelCredentials> Present(
    const std::string& trusted, const security::Credential& credential) {
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
inline grpc::Status RawCall(const std::shared_ptr<grpc::Channel>& channel,
                            const std::string& method,
                            const std::string& bytes = "",
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

inline v1::StudySpec ExternalSpec() {
  v1::StudySpec spec = ToySpec(100);
  spec.clear_objectives();
  spec.clear_train();
  spec.add_objectives()->set_maximize("my_score");
  spec.mutable_external();
  return spec;
}

inline v1::StudySpec TrainingSpec() {
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
                                    {security::Role::kController, "main"},
                                    absl::Now())
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
  const security::Credential& signer() const { return signer_; }
  std::string Log() const { return *ReadFile(dir_ + "/log"); }
  int port() const {
    int port = 0;
    (void)absl::SimpleAtoi(address().substr(address().rfind(':') + 1), &port);
    return port;
  }

  security::Credential Certify(const security::Identity& identity) {
    security::Credential credential = {.key = *security::NewKey()};
    credential.certificate = *authority_->Issue(
        identity, *security::NewRequest(credential.key), absl::Now());
    return credential;
  }
  std::shared_ptr<grpc::Channel> DialWith(
      const security::Credential& credential) {
    return Dial(address(), Present(signer_.certificate, credential));
  }
  std::shared_ptr<grpc::Channel> DialAs(security::Role role,
                                        const std::string& name) {
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
    return v1::StudyService::NewStub(DialAs(security::Role::kResearcher, user))
        ->CreateStudy(&context, request, study == nullptr ? &made : study);
  }
  v1::Study GetStudy(const std::string& id) {
    grpc::ClientContext context;
    SetDeadline(&context);
    v1::GetStudyRequest request;
    request.set_name("studies/" + id);
    v1::Study study;
    const grpc::Status status =
        v1::StudyService::NewStub(DialAs(security::Role::kAdmin, "root"))
            ->GetStudy(&context, request, &study);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return study;
  }

 private:
  const std::string dir_;
  std::unique_ptr<security::Authority> authority_;
  security::Credential signer_;
  std::unique_ptr<Server> server_;
};

// Somebody who works all the while: a researcher who reads, and an agent.
class Bystander {
 public:
  explicit Bystander(Fortress* fortress)
      : channel_(fortress->DialAs(security::Role::kResearcher, "carol")),
        studies_(v1::StudyService::NewStub(channel_)) {
    EXPECT_TRUE(fortress->CreateStudy("carol", "carols", ExternalSpec()).ok());
    // Nobody here measures, so nothing is handed to it.
    session_ = std::make_unique<Session>(
        fortress->DialAs(security::Role::kAgent, "calm-1"),
        AgentHello("calm-1", "calm"));
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
  std::vector<grpc::StatusCode> refused_with;
  // In a line of the log; empty if gRPC refuses it without a word.
  std::string logged;
};

inline grpc::Status GetStudyOver(const std::shared_ptr<grpc::Channel>& channel,
                                 const std::string& name = "studies/carols") {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::GetStudyRequest request;
  request.set_name(name);
  v1::Study study;
  return v1::StudyService::NewStub(channel)->GetStudy(&context, request,
                                                      &study);
}

// How a session ends that is not welcome.
inline grpc::Status Connects(Fortress& fortress,
                             const security::Identity& identity,
                             const v1::Hello& hello) {
  Session session(fortress.DialWith(fortress.Certify(identity)), hello);
  EXPECT_FALSE(session.welcomed());
  return session.End();
}

// Calls that somebody begins and does not finish; given up when it goes.
template <typename Stream>
class Hoard {
 public:
  using Begin = std::function<std::unique_ptr<Stream>(grpc::ClientContext*)>;

  explicit Hoard(Begin begin) : begin_(std::move(begin)) {}
  ~Hoard() {
    for (const auto& call : calls_) {
      call->context.TryCancel();
      (void)call->stream->Finish();
    }
  }

  // One more.
  Stream& Add() {
    calls_.push_back(std::make_unique<Call>());
    Call& call = *calls_.back();
    SetDeadline(&call.context);
    // A busy machine may need a second handshake.
    call.context.set_wait_for_ready(true);
    call.stream = begin_(&call.context);
    return *call.stream;
  }
  // How the latest one ended, which counts no more.
  grpc::Status FinishLatest() {
    const grpc::Status status = calls_.back()->stream->Finish();
    calls_.pop_back();
    return status;
  }
  size_t size() const { return calls_.size(); }

 private:
  struct Call {
    grpc::ClientContext context;
    std::unique_ptr<Stream> stream;
  };

  const Begin begin_;
  std::vector<std::unique_ptr<Call>> calls_;
};

inline std::string AttackName(const ::testing::TestParamInfo<Attack>& info) {
  return info.param.name;
}

// What is tested with each is in attack_test.cc.
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
  static inline Fortress* fortress_ = nullptr;
  static inline Bystander* bystander_ = nullptr;
};

}  // namespace hwnas::controller
