// The set-up of docs/security.md with the real programs: an authority, a
// controller with TLS, tokens, newcomers, and somebody who is put out.
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/integration/process.h"

namespace hwnas {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class SecurityTest : public ::testing::Test {
 protected:
  SecurityTest()
      : dir_(absl::StrCat(::testing::TempDir(), "/hwnas_security_", getpid())) {
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
    for (const char* name :
         {"HWNAS_TLS_DIR", "HWNAS_SERVER", "HWNAS_ENROLL_TOKEN"}) {
      unsetenv(name);
    }
  }
  ~SecurityTest() override {
    controller_ = nullptr;
    if (!HasFailure()) std::filesystem::remove_all(dir_);
  }

  static std::string Bin(const std::string& program) {
    return absl::StrCat(HWNAS_BIN_DIR, "/", program);
  }
  CommandResult Hwnas(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), Bin("hwnas"));
    return RunCommand(arguments, dir_ + "/hwnas.log");
  }
  CommandResult As(const std::string& name,
                   std::vector<std::string> arguments) {
    arguments.insert(arguments.end(),
                     {"--server", grpc_, "--tls-dir", dir_ + "/" + name});
    return Hwnas(std::move(arguments));
  }

  // `before`: a shell command to run first.
  void StartController(const std::string& before = ":") {
    ASSERT_EQ(Hwnas({"ca", "init", ca()}).code, 0);
    const std::string ports = dir_ + "/ports.json";
    controller_ = std::make_unique<Process>(
        std::vector<std::string>{
            "/bin/sh", "-c", before + "; exec \"$0\" \"$@\"",
            Bin("hwnas-controller"), "--store=" + dir_ + "/store",
            "--listen=127.0.0.1:0", "--enroll=127.0.0.1:0",
            "--metrics=", "--tls_dir=" + ca(), "--port_file=" + ports,
            "--audit_log=" + dir_ + "/audit.log"},
        dir_ + "/controller.log");
    ASSERT_TRUE(WaitUntil(absl::Seconds(30), [&] {
      return std::filesystem::exists(ports);
    })) << controller_->Log();
    const auto json = nlohmann::json::parse(*ReadFile(ports));
    grpc_ = json.at("grpc").get<std::string>();
    enroll_ = json.at("enroll").get<std::string>();
  }
  void Enrol(const std::string& name, const std::string& role) {
    const std::string token = absl::StrCat(dir_, "/", name, ".token");
    CommandResult done = Hwnas(
        {"ca", "token", name, "--role", role, "-d", ca(), "--out", token});
    ASSERT_EQ(done.code, 0) << done.output;
    const std::vector<std::string> parts =
        absl::StrSplit(*ReadFile(token), '.');
    secrets_.push_back(parts.back().substr(0, 64));
    done = Hwnas(
        {"ca", "enroll", dir_ + "/" + name, "--at", enroll_, "--token", token});
    ASSERT_EQ(done.code, 0) << done.output;
    EXPECT_THAT(done.output, HasSubstr("enrolled as " + role + " " + name));
  }
  std::string ca() const { return dir_ + "/ca"; }

  const std::string dir_;
  std::unique_ptr<Process> controller_;
  std::string grpc_, enroll_;
  std::vector<std::string> secrets_;
};

TEST_F(SecurityTest, FromNothingToRolesAndBack) {
  StartController();
  Enrol("alice", "researcher");
  Enrol("grafana", "viewer");

  // Without a certificate nothing comes back.
  EXPECT_EQ(Hwnas({"list", "--server", grpc_}).code, 3);

  const std::string study = HWNAS_SOURCE_DIR "/examples/ask_tell.yaml";
  CommandResult done = As("alice", {"submit", study});
  ASSERT_EQ(done.code, 0) << done.output;
  done = As("grafana", {"list", "--output", "json"});
  ASSERT_EQ(done.code, 0) << done.output;
  EXPECT_THAT(done.output, HasSubstr("ask-tell"));
  done = As("grafana", {"cancel", "ask-tell"});
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.output, HasSubstr("viewer grafana may not"));
  done = As("alice", {"share", "ask-tell", "bob"});
  EXPECT_EQ(done.code, 0) << done.output;
  EXPECT_THAT(done.output, HasSubstr("is alice's, shared with bob"));

  // A token is good once.
  EXPECT_NE(Hwnas({"ca", "enroll", dir_ + "/again", "--at", enroll_, "--token",
                   dir_ + "/alice.token"})
                .code,
            0);

  ASSERT_EQ(Hwnas({"ca", "revoke", "user/alice", "-d", ca()}).code, 0);
  EXPECT_TRUE(WaitUntil(absl::Seconds(20),
                        [&] { return As("alice", {"list"}).code == 3; }));
  EXPECT_EQ(As("grafana", {"list"}).code, 0);

  const std::string audit = *ReadFile(dir_ + "/audit.log");
  EXPECT_THAT(audit, HasSubstr("who=\"researcher alice\" "));
  EXPECT_THAT(audit, HasSubstr("method=StudyService/CancelStudy"));
  EXPECT_THAT(audit, HasSubstr("outcome=PERMISSION_DENIED"));
  struct stat info = {};
  ASSERT_EQ(stat((dir_ + "/audit.log").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 077, 0u);
  for (const std::string& secret : secrets_) {
    EXPECT_THAT(controller_->Log() + audit, Not(HasSubstr(secret)));
  }
}

// gRPC's own listener would be deaf for ever after this.
TEST_F(SecurityTest, ServesAgainAfterItRanOutOfDescriptors) {
  StartController("ulimit -n 160");
  Enrol("alice", "researcher");
  int port = 0;
  ASSERT_TRUE(absl::SimpleAtoi(grpc_.substr(grpc_.rfind(':') + 1), &port));
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::vector<int> sockets;
  for (int i = 0; i < 300; ++i) {
    sockets.push_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(
        connect(sockets.back(), reinterpret_cast<sockaddr*>(&to), sizeof(to)),
        0);
  }
  EXPECT_TRUE(WaitUntil(absl::Seconds(30), [&] {
    return absl::StrContains(controller_->Log(), "event=cannot_accept");
  }));
  for (const int fd : sockets) close(fd);
  EXPECT_TRUE(WaitUntil(absl::Seconds(60),
                        [&] { return As("alice", {"list"}).code == 0; }));
}

}  // namespace
}  // namespace hwnas
