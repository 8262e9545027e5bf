// hwnas ca, with folders alone; attack_test enrols over the wire.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/context.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "security/authority.h"

namespace hwnas::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class CaCommandsTest : public ::testing::Test {
 protected:
  CaCommandsTest()
      : dir_(absl::StrCat(
            ::testing::TempDir(), "/hwnas_ca_", getpid(), "_",
            ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  ~CaCommandsTest() override { std::filesystem::remove_all(dir_); }

  int Run(std::vector<std::string> arguments) {
    out_.str("");
    err_.str("");
    Context context;
    context.out = &out_;
    context.err = &err_;
    context.server = "127.0.0.1:1";
    return RunCli(std::move(arguments), context);
  }
  std::string ca() const { return dir_ + "/ca"; }

  const std::string dir_;
  std::ostringstream out_, err_;
};

TEST_F(CaCommandsTest, MakesAnAuthorityOnce) {
  EXPECT_EQ(Run({"ca", "init", ca()}), kExitOk) << err_.str();
  for (const char* file : {"ca.key", "ca.pem", "crl.pem", "identity.pem"}) {
    EXPECT_TRUE(std::filesystem::exists(ca() + "/" + file)) << file;
  }
  EXPECT_EQ(Run({"ca", "init", ca()}), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("already"));
}

TEST_F(CaCommandsTest, PrintsATokenAndNothingElse) {
  ASSERT_EQ(Run({"ca", "init", ca()}), kExitOk);
  ASSERT_EQ(Run({"ca", "token", "gpu-3", "--role", "worker", "-d", ca()}),
            kExitOk)
      << err_.str();
  const auto token = security::ParseToken(out_.str());
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_THAT(err_.str(), HasSubstr("worker gpu-3"));
  EXPECT_THAT(err_.str(), Not(HasSubstr(token->secret)));
  const std::string file = dir_ + "/token";
  ASSERT_EQ(Run({"ca", "token", "gpu-4", "--role", "worker", "-d", ca(),
                 "--out", file}),
            kExitOk);
  EXPECT_EQ(out_.str(), "");
  struct stat info = {};
  ASSERT_EQ(stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 077, 0u);
}

TEST_F(CaCommandsTest, SaysWhatIsWrong) {
  ASSERT_EQ(Run({"ca", "init", ca()}), kExitOk);
  const auto refuses = [&](std::vector<std::string> arguments,
                           const std::string& why) {
    arguments.insert(arguments.begin(), "ca");
    EXPECT_NE(Run(arguments), kExitOk);
    EXPECT_THAT(err_.str(), HasSubstr(why));
  };
  refuses({"token", "UPPER", "--role", "worker", "-d", ca()}, "[a-z0-9-]");
  refuses({"token", "x", "--role", "king", "-d", ca()}, "king");
  refuses({"token", "x", "--role", "controller", "-d", ca()}, "ca init");
  refuses({"token", "x", "--role", "worker", "-d", ca(), "--for", "1y"},
          "--for");
  refuses({"token", "x", "--role", "worker", "-d", dir_ + "/none"}, "ca.key");
  refuses({"revoke", "nobody", "-d", ca()}, "nobody");
  refuses({"enroll", dir_ + "/me", "--at", "ctl"}, "host:port");
  unsetenv("HWNAS_ENROLL_TOKEN");
  refuses({"enroll", dir_ + "/me", "--at", "127.0.0.1:1"}, "no token");
  const std::string file = dir_ + "/token";
  std::ofstream(file) << "nonsense\n";
  chmod(file.c_str(), 0644);
  refuses({"enroll", dir_ + "/me", "--at", "127.0.0.1:1", "--token", file},
          "chmod 600");
  chmod(file.c_str(), 0600);
  refuses({"enroll", dir_ + "/me", "--at", "127.0.0.1:1", "--token", file},
          "no enrolment token");
}

TEST_F(CaCommandsTest, IssuesListsAndRevokes) {
  ASSERT_EQ(Run({"ca", "init", ca()}), kExitOk);
  ASSERT_EQ(Run({"ca", "issue", "prometheus", "--role", "viewer", "-d", ca(),
                 "--out", dir_ + "/prometheus", "--for", "720h"}),
            kExitOk)
      << err_.str();
  struct stat info = {};
  ASSERT_EQ(stat((dir_ + "/prometheus/identity.pem").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 077, 0u);
  ASSERT_EQ(Run({"ca", "revoke", "user/prometheus", "-d", ca()}), kExitOk);
  EXPECT_THAT(out_.str(), StartsWith("1 of user/prometheus"));
  ASSERT_EQ(Run({"ca", "list", "-d", ca(), "-o", "json"}), kExitOk);
  const auto list = nlohmann::json::parse(out_.str());
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].at("who"), "controller/main");
  EXPECT_EQ(list[1].at("who"), "user/prometheus");
  EXPECT_EQ(list[1].at("revoked"), true);
}

TEST_F(CaCommandsTest, WarnsOfALineThatItCannotRead) {
  ASSERT_EQ(Run({"ca", "init", ca()}), kExitOk);
  ASSERT_EQ(Run({"ca", "issue", "alice", "--role", "viewer", "-d", ca(),
                 "--out", dir_ + "/alice"}),
            kExitOk);
  std::ofstream(ca() + "/issued", std::ios::app) << "half a li\n";
  ASSERT_EQ(Run({"ca", "list", "-d", ca(), "-o", "json"}), kExitOk);
  EXPECT_EQ(nlohmann::json::parse(out_.str()).size(), 2u);
  const std::string warning = absl::StrCat("warning: ", ca(), "/issued, line ");
  EXPECT_THAT(err_.str(), HasSubstr(warning + "3: "));
  EXPECT_EQ(Run({"ca", "revoke", "alice", "-d", ca()}), kExitOk);
  EXPECT_THAT(out_.str(), StartsWith("1 of alice"));
  EXPECT_THAT(err_.str(), HasSubstr(warning));
  EXPECT_NE(Run({"ca", "revoke", "bob", "-d", ca()}), kExitOk);
  EXPECT_THAT(err_.str(), HasSubstr(warning));
}

TEST_F(CaCommandsTest, DoesNotLeaveTheMachineInTheClear) {
  EXPECT_NE(Run({"list", "--server", "10.255.255.1:7420"}), kExitOk);
  EXPECT_THAT(err_.str(), HasSubstr("--tls-dir"));
  EXPECT_NE(Run({"list", "--tls-dir", dir_}), kExitOk);
  EXPECT_THAT(err_.str(), HasSubstr("hwnas ca enroll"));
}

}  // namespace
}  // namespace hwnas::cli
