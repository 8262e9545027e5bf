// What only a store behind a connection can do wrong.
#include <csignal>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "store/journal_store.h"
#include "tests/fakes/postgres_server.h"
#include "tests/store/journal_events.h"

namespace hwnas {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::unique_ptr<JournalStore> Open(const PostgresServer& server,
                                   absl::Duration timeout = absl::Seconds(10)) {
  absl::StatusOr<std::unique_ptr<JournalStore>> store =
      OpenPostgresJournalStore({.url = server.url(), .timeout = timeout});
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

TEST(PostgresJournalStore, KeepsEventsAfterClosing) {
  HWNAS_REQUIRE_POSTGRES(server);
  for (int64_t size = 0; size < 3; ++size) {
    const std::unique_ptr<JournalStore> store = Open(server);
    ASSERT_NE(store, nullptr);
    EXPECT_EQ(Count(*store, "a"), size);
    ASSERT_TRUE(AppendOne(*store, "a", size).ok());
  }
}

TEST(PostgresJournalStore, GoesOnByItselfAfterTheServerRestarts) {
  HWNAS_REQUIRE_POSTGRES(server);
  const std::unique_ptr<JournalStore> store = Open(server);
  ASSERT_TRUE(AppendOne(*store, "a", 0).ok());
  server.Stop(SIGINT);
  for (const absl::Status& status :
       {AppendOne(*store, "a", 1), store->ListStudies().status(),
        store->Read("a", 0,
                    [](v1::JournalEvent&&) { return absl::OkStatus(); })}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("is away"));
  }
  ASSERT_TRUE(server.Run());
  EXPECT_TRUE(AppendOne(*store, "a", 1).ok());
  EXPECT_EQ(Count(*store, "a"), 2);
  // A restart between two calls is not even noticed.
  server.Stop(SIGINT);
  ASSERT_TRUE(server.Run());
  EXPECT_EQ(Count(*store, "a"), 2);
  EXPECT_TRUE(AppendOne(*store, "a", 2).ok());
}

// The server crashes at random moments while threads append. Whatever was
// acknowledged must be there, once.
TEST(PostgresJournalStore, LosesNothingAcknowledgedWhenTheServerCrashes) {
  HWNAS_REQUIRE_POSTGRES(server);
  constexpr int kCrashes = 5, kStudies = 3;
  Rng rng(20261126);
  const std::unique_ptr<JournalStore> store = Open(server);
  std::vector<int64_t> acknowledged(kStudies, 0);
  int64_t told = 0;
  for (int crash = 0; crash < kCrashes; ++crash) {
    std::vector<std::thread> threads;
    std::atomic<int64_t> appended = 0;
    for (int s = 0; s < kStudies; ++s) {
      threads.emplace_back([&, s] {
        const std::string study = absl::StrCat("study-", s);
        absl::Status status;
        while ((status = AppendOne(*store, study, acknowledged[s])).ok()) {
          ++acknowledged[s];
          ++appended;
        }
        EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
      });
    }
    const int64_t patience = 20 + rng.Below(100);
    while (appended < patience) std::this_thread::yield();
    server.Stop(SIGQUIT);
    for (std::thread& thread : threads) thread.join();
    ASSERT_TRUE(server.Run());
    told += appended;
    for (int s = 0; s < kStudies; ++s) {
      const int64_t there = Count(*store, absl::StrCat("study-", s));
      EXPECT_GE(there, acknowledged[s]);
      // At most the one append that was under way.
      EXPECT_LE(there, acknowledged[s] + 1);
      acknowledged[s] = there;
    }
  }
  EXPECT_GE(told, 20 * kCrashes);
}

// Two processes that nothing fences: the expected size decides.
TEST(PostgresJournalStore, LetsExactlyOneOfTwoStoresWin) {
  HWNAS_REQUIRE_POSTGRES(server);
  const std::unique_ptr<JournalStore> stores[] = {Open(server), Open(server)};
  for (int64_t size = 0; size < 50; ++size) {
    std::atomic<int> wins = 0;
    std::vector<std::thread> threads;
    for (const auto& store : stores) {
      threads.emplace_back([&] {
        const absl::Status status = AppendOne(*store, "a", size);
        if (status.ok()) ++wins;
        EXPECT_TRUE(status.ok() || absl::IsFailedPrecondition(status))
            << status;
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(wins, 1) << size;
  }
  EXPECT_EQ(Count(*stores[0], "a"), 50);
}

TEST(PostgresJournalStore, IsCreatedOnceByManyAtOnce) {
  HWNAS_REQUIRE_POSTGRES(server);
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] { EXPECT_NE(Open(server), nullptr); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(server.Sql("SELECT count(*) FROM hwnas.schema_version"), "1");
  EXPECT_EQ(server.Sql("SELECT count(*) FROM hwnas.leader"), "1");
}

TEST(PostgresJournalStore, RefusesANewerSchema) {
  HWNAS_REQUIRE_POSTGRES(server);
  ASSERT_NE(Open(server), nullptr);
  server.Sql("UPDATE hwnas.schema_version SET version = 99");
  const absl::Status status =
      OpenPostgresJournalStore({.url = server.url()}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr("schema version 99"), HasSubstr("newer release")));
}

TEST(PostgresJournalStore, RefusesAServerThatDoesNotSync) {
  HWNAS_REQUIRE_POSTGRES(server);
  server.Sql("ALTER SYSTEM SET fsync = off");
  server.Sql("SELECT pg_reload_conf()");
  absl::Status status;
  ASSERT_TRUE(WaitUntil(absl::Seconds(10), [&] {
    status = OpenPostgresJournalStore({.url = server.url()}).status();
    return !status.ok();
  }));
  server.Sql("ALTER SYSTEM RESET fsync");
  server.Sql("SELECT pg_reload_conf()");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("fsync off"));
  ASSERT_TRUE(WaitUntil(absl::Seconds(10), [&] {
    return OpenPostgresJournalStore({.url = server.url()}).ok();
  }));
}

TEST(PostgresJournalStore, SyncsCommitsWhateverTheServersDefault) {
  HWNAS_REQUIRE_POSTGRES(server);
  server.Sql("ALTER ROLE hwnas SET synchronous_commit = off");
  const std::unique_ptr<JournalStore> store = Open(server);
  server.Sql(
      "CREATE FUNCTION hwnas.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN "
      "CREATE TABLE hwnas.noted AS SELECT "
      "current_setting(''synchronous_commit''); RETURN NEW; END';"
      "CREATE TRIGGER note AFTER INSERT ON hwnas.event EXECUTE FUNCTION "
      "hwnas.note()");
  EXPECT_TRUE(AppendOne(*store, "a", 0).ok());
  server.Sql("ALTER ROLE hwnas RESET synchronous_commit");
  EXPECT_EQ(server.Sql("SELECT * FROM hwnas.noted"), "on");
}

TEST(PostgresJournalStore, GivesUpOnAServerThatDoesNotGetOn) {
  HWNAS_REQUIRE_POSTGRES(server);
  const std::unique_ptr<JournalStore> store = Open(server, absl::Seconds(2));
  ASSERT_TRUE(AppendOne(*store, "a", 0).ok());
  PGconn* other = PQconnectdb(server.url().c_str());
  PQclear(PQexec(other, "BEGIN; LOCK TABLE hwnas.event"));
  const absl::Time begin = absl::Now();
  EXPECT_EQ(AppendOne(*store, "a", 1).code(), absl::StatusCode::kUnavailable);
  EXPECT_LT(absl::Now() - begin, absl::Seconds(5));
  PQfinish(other);
  EXPECT_TRUE(AppendOne(*store, "a", 1).ok());
}

TEST(PostgresJournalStore, NoticesAMissingOrForeignEvent) {
  HWNAS_REQUIRE_POSTGRES(server);
  const std::unique_ptr<JournalStore> store = Open(server);
  for (int64_t size = 0; size < 5; ++size) {
    ASSERT_TRUE(AppendOne(*store, "a", size).ok());
    ASSERT_TRUE(AppendOne(*store, "b", size).ok());
  }
  server.Sql("DELETE FROM hwnas.event WHERE study_id = 'a' AND sequence = 3");
  server.Sql(
      "UPDATE hwnas.event SET payload = '\\xff' WHERE study_id = 'b' AND "
      "sequence = 4");
  const auto ignore = [](v1::JournalEvent&&) { return absl::OkStatus(); };
  absl::Status status = store->Read("a", 0, ignore);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("event 3 of study a"));
  status = store->Read("b", 0, ignore);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("event 4 of study b"));
}

TEST(PostgresJournalStore, TellsNobodyThePassword) {
  for (const char* url :
       {"postgresql://hwnas:Secret1@127.0.0.1:1/db", "Secret1",
        "host=127.0.0.1 port=1 user=hwnas password=Secret1 dbname=db",
        "host=127.0.0.1 password='Secret1", "postgresql://a:Secret1@[::1/db"}) {
    const absl::Status status = OpenPostgresJournalStore({.url = url}).status();
    EXPECT_THAT(status.code(),
                ::testing::AnyOf(absl::StatusCode::kUnavailable,
                                 absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("Secret1")));
  }
  EXPECT_THAT(std::string(OpenPostgresJournalStore(
                              {.url = "postgresql://u@127.0.0.1:1/db"})
                              .status()
                              .message()),
              HasSubstr("database db at 127.0.0.1 port 1 is away"));
}

}  // namespace
}  // namespace hwnas
