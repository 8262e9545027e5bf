#include "security/credentials.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "security/authority.h"
#include "security/enrolment.h"

namespace hwnas::security {
namespace {

using ::testing::HasSubstr;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

class CredentialsTest : public ::testing::Test {
 protected:
  CredentialsTest()
      : dir_(absl::StrCat(
            ::testing::TempDir(), "/hwnas_credentials_", getpid(), "_",
            ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::remove_all(dir_);
    EXPECT_TRUE(Authority::Create(dir_ + "/ca", kNow).ok());
    authority_ = *Authority::Open(dir_ + "/ca", absl::Hours(3));
    EXPECT_TRUE(
        IssueInto(mine(), *authority_, {Role::kWorker, "gpu-3"}, kNow).ok());
  }
  ~CredentialsTest() override { std::filesystem::remove_all(dir_); }
  std::string mine() const { return dir_ + "/mine"; }
  absl::Status Read(absl::Time now = kNow) const {
    return ReadIdentity(mine(), now).status();
  }

  const std::string dir_;
  std::unique_ptr<Authority> authority_;
};

TEST_F(CredentialsTest, ReadsWhatWasWritten) {
  const auto certificate = ReadIdentity(mine(), kNow);
  ASSERT_TRUE(certificate.ok()) << certificate.status();
  EXPECT_EQ(ToText(certificate->identity), "worker gpu-3");
  EXPECT_TRUE(ChannelCredentials(mine()).ok());
}

TEST_F(CredentialsTest, IsRenewedInTheLastThird) {
  const Certificate certificate = *ReadIdentity(mine(), kNow);
  EXPECT_FALSE(RenewalIsDue(certificate, kNow + absl::Minutes(110)));
  EXPECT_TRUE(RenewalIsDue(certificate, kNow + absl::Minutes(122)));
  EXPECT_TRUE(RenewalIsDue(certificate, kNow + absl::Hours(9)));
}

TEST_F(CredentialsTest, SaysWhatIsWrong) {
  EXPECT_THAT(std::string(Read(kNow + absl::Hours(3)).message()),
              HasSubstr("expired"));
  chmod((mine() + "/identity.pem").c_str(), 0640);
  EXPECT_THAT(std::string(Read().message()), HasSubstr("chmod 600"));
  chmod((mine() + "/identity.pem").c_str(), 0600);
  EXPECT_TRUE(Read().ok());
  // The certificate of one and the key of another.
  Credential mixed = {.key = *NewKey()};
  mixed.certificate = *authority_->Issue({Role::kWorker, "gpu-3"},
                                         *NewRequest(*NewKey()), kNow);
  ASSERT_TRUE(WriteIdentity(mine(), authority_->certificate(), mixed).ok());
  EXPECT_THAT(std::string(Read().message()), HasSubstr("not that of"));
  std::ofstream(mine() + "/identity.pem") << "nonsense";
  EXPECT_EQ(Read().code(), absl::StatusCode::kFailedPrecondition);
  std::filesystem::remove(mine() + "/identity.pem");
  EXPECT_THAT(std::string(Read().message()), HasSubstr("hwnas ca enroll"));
}

TEST_F(CredentialsTest, OnlyAControllerServes) {
  const PeerCheck anybody = [](absl::string_view) { return absl::OkStatus(); };
  EXPECT_THAT(
      std::string(ServerCredentials(mine(), anybody).status().message()),
      HasSubstr("not of a controller"));
  EXPECT_FALSE(EnrolmentServerCredentials(mine()).ok());
}

}  // namespace
}  // namespace hwnas::security
