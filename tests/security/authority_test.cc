#include "security/authority.h"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/secret_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas::security {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);
const Identity kAlice = {Role::kResearcher, "alice"};

class AuthorityTest : public ::testing::Test {
 protected:
  AuthorityTest()
      : dir_(absl::StrCat(
            ::testing::TempDir(), "/hwnas_authority_", getpid(), "_",
            ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::remove_all(dir_);
    EXPECT_TRUE(Authority::Create(dir_, kNow).ok());
    authority_ = *Authority::Open(dir_, absl::Hours(1));
    request_ = *NewRequest(*NewKey());
  }
  ~AuthorityTest() override { std::filesystem::remove_all(dir_); }

  const std::string dir_;
  std::unique_ptr<Authority> authority_;
  std::string request_;
};

TEST_F(AuthorityTest, KeepsItsSecretsToItself) {
  ASSERT_TRUE(authority_->NewToken(kAlice, absl::Hours(1), kNow).ok());
  ASSERT_TRUE(authority_->Issue(kAlice, request_, kNow).ok());
  int checked = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator(dir_)) {
    const std::string name = file.path().filename();
    if (name == "ca.pem" || name == "crl.pem") continue;
    struct stat info = {};
    ASSERT_EQ(stat(file.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 077, 0u) << file.path();
    ++checked;
  }
  EXPECT_GE(checked, 5);
  // Others could read it meanwhile.
  chmod((dir_ + "/ca.key").c_str(), 0644);
  EXPECT_THAT(
      std::string(Authority::Open(dir_, absl::Hours(1)).status().message()),
      HasSubstr("chmod 600"));
}

TEST_F(AuthorityTest, IsMadeOnce) {
  EXPECT_EQ(Authority::Create(dir_, kNow).code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Authority::Open(dir_ + "/none", absl::Hours(1)).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(AuthorityTest, ATokenIsGoodOnce) {
  const Token token = *authority_->NewToken(kAlice, absl::Hours(1), kNow);
  const auto certificate =
      authority_->Enroll(token.id, token.secret, request_, kNow);
  ASSERT_TRUE(certificate.ok()) << certificate.status();
  EXPECT_EQ(ReadCertificate(*certificate)->identity, kAlice);
  EXPECT_TRUE(
      CheckSignedBy(token.authority_certificate, *certificate, kNow).ok());
  const auto again =
      authority_->Enroll(token.id, token.secret, request_, kNow).status();
  EXPECT_EQ(again.code(), absl::StatusCode::kUnauthenticated);
}

TEST_F(AuthorityTest, OfManyWhoUseATokenAtOnceOneGetsACertificate) {
  const Token token = *authority_->NewToken(kAlice, absl::Hours(1), kNow);
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      if (authority_->Enroll(token.id, token.secret, request_, kNow).ok()) {
        ++good;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 1);
}

TEST_F(AuthorityTest, RefusesBadTokensInTheSameWords) {
  const Token token = *authority_->NewToken(kAlice, absl::Hours(1), kNow);
  const auto enroll = [&](const std::string& id, const std::string& secret,
                          absl::Time now) {
    return authority_->Enroll(id, secret, request_, now).status();
  };
  const absl::Status expired =
      enroll(token.id, token.secret, kNow + absl::Hours(1));
  EXPECT_EQ(expired.code(), absl::StatusCode::kUnauthenticated);
  const Token other = *authority_->NewToken(kAlice, absl::Hours(1), kNow);
  EXPECT_EQ(enroll(other.id, std::string(64, '0'), kNow), expired);
  EXPECT_EQ(enroll(std::string(16, '0'), other.secret, kNow), expired);
  EXPECT_EQ(enroll("../ca.key", other.secret, kNow), expired);
  EXPECT_EQ(enroll("", "", kNow), expired);
  EXPECT_EQ(enroll(std::string("..\0/ca", 6), other.secret, kNow), expired);
  // A bad request does not use it up.
  EXPECT_EQ(
      authority_->Enroll(other.id, other.secret, "x", kNow).status().code(),
      absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(enroll(other.id, other.secret, kNow).ok());
}

TEST_F(AuthorityTest, ATokenIsOneLine) {
  const Token token = *authority_->NewToken(kAlice, absl::Hours(1), kNow);
  const auto back = ParseToken(ToText(token) + "\n");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->authority_certificate, token.authority_certificate);
  EXPECT_EQ(back->id, token.id);
  EXPECT_EQ(back->secret, token.secret);
  for (const std::string& bad :
       {std::string(), std::string("hwnas1.a.b.c"), ToText(token).substr(1),
        ToText(token) + "0", std::string(1'000'000, 'x')}) {
    const auto status = ParseToken(bad).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr(token.secret)));
  }
}

TEST_F(AuthorityTest, RenewsWhatWasNotRevoked) {
  const Certificate held =
      *ReadCertificate(*authority_->Issue(kAlice, request_, kNow));
  const absl::Time later = kNow + absl::Minutes(50);
  const auto renewed = authority_->Renew(held, request_, later);
  ASSERT_TRUE(renewed.ok()) << renewed.status();
  EXPECT_EQ(ReadCertificate(*renewed)->identity, kAlice);
  EXPECT_EQ(ReadCertificate(*renewed)->not_after, later + absl::Hours(1));
  EXPECT_EQ(*authority_->Revoke("alice", later), 2);
  EXPECT_EQ(authority_->Renew(held, request_, later).status().code(),
            absl::StatusCode::kUnauthenticated);
}

TEST_F(AuthorityTest, RevokesAlsoWithoutAFolderOfTokens) {
  ASSERT_TRUE(authority_->Issue(kAlice, request_, kNow).ok());
  std::filesystem::remove(dir_ + "/tokens");
  EXPECT_EQ(*authority_->Revoke("alice", kNow), 1);
  EXPECT_THAT(*ReadRevoked(dir_), SizeIs(1));
}

TEST_F(AuthorityTest, RevokesWhoeverIsMeant) {
  const auto issue = [&](const Identity& identity) {
    return ReadCertificate(*authority_->Issue(identity, request_, kNow))
        ->serial;
  };
  const std::string worker = issue({Role::kWorker, "gpu-3"});
  const std::string agent = issue({Role::kAgent, "gpu-3"});
  const std::string controller = issue({Role::kController, "main"});
  ASSERT_TRUE(
      authority_->NewToken({Role::kWorker, "gpu-3"}, absl::Hours(1), kNow)
          .ok());
  EXPECT_EQ(*authority_->Revoke("worker/gpu-3", kNow), 2);
  EXPECT_THAT(*ReadRevoked(dir_), ElementsAre(worker));
  EXPECT_TRUE(std::filesystem::is_empty(dir_ + "/tokens"));
  for (const char* nobody : {"worker/gpu-3", "main", "", "*", "worker/"}) {
    EXPECT_EQ(authority_->Revoke(nobody, kNow).status().code(),
              absl::StatusCode::kNotFound)
        << nobody;
  }
  EXPECT_EQ(*authority_->Revoke("gpu-3", kNow), 1);
  EXPECT_THAT(*ReadRevoked(dir_), SizeIs(2));
  const auto listed = authority_->List(kNow);
  ASSERT_TRUE(listed.ok()) << listed.status();
  EXPECT_THAT(*listed, SizeIs(3));
  EXPECT_TRUE((*listed)[0].revoked);
  EXPECT_FALSE((*listed)[2].revoked);
  EXPECT_EQ((*listed)[2].certificate.serial, controller);
  // What has expired needs no revocation.
  EXPECT_THAT(*authority_->List(kNow + absl::Hours(2)), SizeIs(0));
}

TEST_F(AuthorityTest, GoesOnWithTheOthersIfALineOfItsRecordIsDamaged) {
  const auto issue = [&](const std::string& name) {
    return ReadCertificate(
               *authority_->Issue({Role::kWorker, name}, request_, kNow))
        ->serial;
  };
  const std::string one = issue("one");
  const std::string two = issue("two");
  const std::string three = issue("three");
  EXPECT_EQ(*authority_->Revoke("two", kNow), 1);
  // Two's line is damaged, and there is one that never was good.
  std::string record = *ReadFile(dir_ + "/issued");
  record.replace(record.find(two) + two.size(), 1, "?");
  ASSERT_TRUE(WriteSecretFile(dir_ + "/issued", "\x01\xff\n" + record).ok());

  std::vector<std::string> unreadable;
  const auto listed = authority_->List(kNow, &unreadable);
  ASSERT_TRUE(listed.ok()) << listed.status();
  EXPECT_THAT(*listed, SizeIs(2));
  EXPECT_THAT(unreadable,
              ElementsAre(HasSubstr(dir_ + "/issued, line 1: expected"),
                          HasSubstr(dir_ + "/issued, line 3: expected")));
  EXPECT_EQ(*authority_->Revoke("three", kNow, &unreadable), 1);
  EXPECT_THAT(unreadable, SizeIs(2));
  // Who is out stays out, and nothing of the record is lost.
  EXPECT_THAT(*ReadRevoked(dir_), UnorderedElementsAre(two, three));
  EXPECT_THAT(*ReadFile(dir_ + "/issued"),
              AllOf(HasSubstr(one + " "), HasSubstr(two + "?"),
                    HasSubstr(three + " "), StartsWith("\x01\xff\n")));
  EXPECT_EQ(authority_->Revoke("nobody", kNow, &unreadable).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_THAT(unreadable, SizeIs(2));
}

}  // namespace
}  // namespace hwnas::security
