// That attacks are refused; and what is allowed goes through.
#include <unistd.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/files.h"
#include "controller/rpc/access.h"
#include "controller/server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwnas/v1/access_service.grpc.pb.h"
#include "hwnas/v1/study_service.grpc.pb.h"
#include "security/authority.h"
#include "security/credentials.h"
#include "security/enrolment.h"
#include "tests/controller/security/attack_harness.h"

namespace hwnas::controller {
namespace {

using grpc::StatusCode;
using security::Role;
using ::testing::HasSubstr;

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
