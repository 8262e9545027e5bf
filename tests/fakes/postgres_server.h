// A private PostgreSQL for tests: a real server in a folder of its own, on a
// unix socket only. It is not run as root, which PostgreSQL refuses.
#pragma once

#include <libpq-fe.h>
#include <pwd.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/integration/process.h"

namespace hwnas {

// Owned by one thread. The server is stopped and its folder removed when it
// goes.
class PostgresServer {
 public:
  // NOT_FOUND, with the reason, where PostgreSQL is not installed.
  static absl::StatusOr<std::unique_ptr<PostgresServer>> Start(
      const std::string& name) {
    const std::string bin = "/usr/lib/postgresql/15/bin";
    if (!std::filesystem::exists(bin + "/initdb")) {
      return absl::NotFoundError(
          "PostgreSQL 15 is not installed: scripts/setup test installs it");
    }
    std::unique_ptr<PostgresServer> server(new PostgresServer(
        bin, absl::StrCat("/tmp/hwnas_pg_", name, "_", getpid())));
    std::filesystem::remove_all(server->folder_);
    std::filesystem::create_directories(server->folder_);
    if (getuid() == 0) {
      const passwd* user = getpwnam("postgres");
      if (user == nullptr) user = getpwnam("nobody");
      if (user == nullptr) {
        return absl::NotFoundError("there is no user postgres or nobody");
      }
      if (chown(server->folder_.c_str(), user->pw_uid, user->pw_gid) != 0) {
        return absl::ErrnoToStatus(errno, "chown " + server->folder_);
      }
      server->as_user_ = {absl::StrCat("--reuid=", user->pw_uid),
                          absl::StrCat("--regid=", user->pw_gid),
                          "--clear-groups"};
    }
    const CommandResult made = RunCommand(
        server->Command({bin + "/initdb", "-D", server->folder_ + "/data", "-U",
                         "hwnas", "-A", "trust", "-E", "UTF8", "--locale=C",
                         "--no-sync", "--no-instructions"}),
        server->folder_ + ".log");
    if (made.code != 0) return absl::InternalError(made.output);
    if (!server->Run()) return absl::InternalError(server->process_->Log());
    return server;
  }
  // One for all tests of a program, started when the first one asks.
  static const absl::StatusOr<std::unique_ptr<PostgresServer>>& Shared() {
    static const absl::StatusOr<std::unique_ptr<PostgresServer>> server =
        Start("shared");
    return server;
  }
  ~PostgresServer() {
    Stop(SIGINT);
    std::filesystem::remove_all(folder_);
    std::filesystem::remove(folder_ + ".log");
  }

  std::string url() const {
    return absl::StrCat("host=", folder_, " user=hwnas dbname=postgres");
  }

  // SIGQUIT: as in a crash; SIGINT: in order.
  void Stop(int signal) {
    if (process_ != nullptr) process_->Kill(signal);
    process_ = nullptr;
  }
  // False if it does not answer in time.
  bool Run() {
    const std::vector<std::string> command =
        Command({bin_ + "/postgres", "-D", folder_ + "/data", "-k", folder_,
                 "-c", "listen_addresses=", "-c", "shared_buffers=32MB", "-c",
                 "max_connections=40", "-c", "autovacuum=off"});
    process_ = std::make_unique<Process>(command, folder_ + ".log");
    return WaitUntil(absl::Seconds(30),
                     [&] { return PQping(url().c_str()) == PQPING_OK; });
  }

  // Runs SQL behind the store's back. Returns the first column of the first
  // row.
  std::string Sql(const std::string& sql) {
    PGconn* connection = PQconnectdb(url().c_str());
    PQsetNoticeProcessor(
        connection, [](void*, const char*) {}, nullptr);
    PGresult* result = PQexec(connection, sql.c_str());
    const ExecStatusType status = PQresultStatus(result);
    EXPECT_TRUE(status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        << PQerrorMessage(connection);
    const std::string value =
        PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "";
    PQclear(result);
    PQfinish(connection);
    return value;
  }
  // As if nobody had used the server before.
  void Clear() { Sql("DROP SCHEMA IF EXISTS hwnas CASCADE"); }

 private:
  PostgresServer(std::string bin, std::string folder)
      : bin_(std::move(bin)), folder_(std::move(folder)) {}

  // As that user, and ended with the test, whatever happens to that.
  std::vector<std::string> Command(
      const std::vector<std::string>& arguments) const {
    std::vector<std::string> command = {"setpriv", "--pdeathsig=INT"};
    command.insert(command.end(), as_user_.begin(), as_user_.end());
    command.insert(command.end(), arguments.begin(), arguments.end());
    return command;
  }

  const std::string bin_;
  const std::string folder_;
  std::vector<std::string> as_user_;  // Of setpriv.
  std::unique_ptr<Process> process_;
};

}  // namespace hwnas

// Declares `server`, cleared: one for the whole test program. Skips the test
// where there is none.
#define HWNAS_REQUIRE_POSTGRES(server)                     \
  const auto& server##_or_ = PostgresServer::Shared();     \
  if (absl::IsNotFound(server##_or_.status())) {           \
    GTEST_SKIP() << server##_or_.status().message();       \
  }                                                        \
  ASSERT_TRUE(server##_or_.ok()) << server##_or_.status(); \
  PostgresServer& server = **server##_or_;                 \
  server.Clear()
