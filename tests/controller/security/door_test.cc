// Attacks on the way in: certificates, handshakes, connections and tokens.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/grpcpp.h"
#include "hwnas/v1/enroll_service.grpc.pb.h"
#include "hwnas/v1/study_service.grpc.pb.h"
#include "security/authority.h"
#include "security/credentials.h"
#include "tests/controller/security/attack_harness.h"

namespace hwnas::controller {
namespace {

using grpc::StatusCode;
using security::Credential;
using security::Identity;
using security::Role;

// ---- Certificates ----

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
        Attack{"PretendsToBeTheController",
               PretendsToBeTheController,
               {StatusCode::UNAVAILABLE},
               ""}),
    AttackName);

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
    AttackName);

}  // namespace
}  // namespace hwnas::controller
