// Who may lead, and that nobody else can write.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "store/journal_store.h"
#include "store/leader_lease.h"
#include "tests/fakes/postgres_server.h"

namespace hwnas {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Long enough that a slow machine does not lose it.
std::unique_ptr<LeaderLease> Lease(
    const PostgresServer& server, const std::string& holder,
    absl::Duration duration = absl::Seconds(60)) {
  absl::StatusOr<std::unique_ptr<LeaderLease>> lease = OpenPostgresLease(
      {.url = server.url(), .holder = holder, .duration = duration});
  EXPECT_TRUE(lease.ok()) << lease.status();
  return lease.ok() ? *std::move(lease) : nullptr;
}

absl::StatusOr<std::unique_ptr<JournalStore>> StoreOf(
    const PostgresServer& server, int64_t epoch) {
  return OpenPostgresJournalStore({.url = server.url(), .epoch = epoch});
}

absl::Status AppendOne(JournalStore& store, int64_t size) {
  v1::JournalEvent event;
  event.mutable_trial_proposed()->set_trial(size + 1);
  return store.Append("a", size, {&event, 1});
}

int64_t Count(JournalStore& store) {
  int64_t count = 0;
  (void)store.Read("a", 0, [&](v1::JournalEvent&&) {
    ++count;
    return absl::OkStatus();
  });
  return count;
}

// As if the leader had not been heard of for that long.
void Age(PostgresServer& server, int seconds) {
  server.Sql(absl::StrCat("UPDATE hwnas.leader SET renewed = renewed - ",
                          seconds,
                          " * interval '1 second', expires = expires - ",
                          seconds, " * interval '1 second'"));
}

TEST(PostgresLeaderLease, IsHeldByOneAtATime) {
  HWNAS_REQUIRE_POSTGRES(server);
  const auto a = Lease(server, "host-a"), b = Lease(server, "host-b");
  ASSERT_EQ(*a->TryAcquire(), 1);
  const absl::Status refused = b->TryAcquire().status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("host-a"), HasSubstr("epoch 1")));
  EXPECT_TRUE(a->Renew().ok());
  EXPECT_EQ(b->Renew().code(), absl::StatusCode::kAborted);
  ASSERT_TRUE(a->Release().ok());
  EXPECT_EQ(*b->TryAcquire(), 2);
  EXPECT_EQ(a->Renew().code(), absl::StatusCode::kAborted);
}

TEST(PostgresLeaderLease, IsOverWhenItWasNotRenewed) {
  HWNAS_REQUIRE_POSTGRES(server);
  const auto a = Lease(server, "host-a"), b = Lease(server, "host-b");
  ASSERT_TRUE(a->TryAcquire().ok());
  // A frozen leader keeps its connection, so that it has the whole time.
  Age(server, 45);
  EXPECT_TRUE(absl::IsAborted(b->TryAcquire().status()));
  ASSERT_TRUE(a->Renew().ok());
  Age(server, 45);
  EXPECT_TRUE(absl::IsAborted(b->TryAcquire().status()));
  Age(server, 45);
  EXPECT_EQ(*b->TryAcquire(), 2);
}

TEST(PostgresLeaderLease, IsOverSoonerWhenItsHoldersConnectionHasEnded) {
  HWNAS_REQUIRE_POSTGRES(server);
  auto a = Lease(server, "host-a");
  const auto b = Lease(server, "host-b");
  ASSERT_TRUE(a->TryAcquire().ok());
  a = nullptr;  // Without a word, as when its process is killed.
  ASSERT_TRUE(WaitUntil(absl::Seconds(10), [&] {
    return server.Sql(
               "SELECT count(*) FROM pg_stat_activity, hwnas.leader "
               "WHERE pid = session_pid") == "0";
  }));
  Age(server, 15);
  EXPECT_TRUE(absl::IsAborted(b->TryAcquire().status()));
  Age(server, 30);
  EXPECT_EQ(*b->TryAcquire(), 2);
}

TEST(PostgresLeaderLease, OutlivesARestartOfTheServer) {
  HWNAS_REQUIRE_POSTGRES(server);
  const auto a = Lease(server, "host-a");
  ASSERT_EQ(*a->TryAcquire(), 1);
  const auto store = StoreOf(server, 1);
  ASSERT_TRUE(AppendOne(**store, 0).ok());
  server.Stop(SIGINT);
  EXPECT_EQ(a->Renew().code(), absl::StatusCode::kUnavailable);
  ASSERT_TRUE(server.Run());
  Age(server, 600);  // Nobody could take over, so it still leads.
  EXPECT_TRUE(a->Renew().ok());
  EXPECT_TRUE(AppendOne(**store, 1).ok());
}

TEST(PostgresLeaderLease, FencesTheLateWritesOfAnOldLeader) {
  HWNAS_REQUIRE_POSTGRES(server);
  const auto a = Lease(server, "host-a"), b = Lease(server, "host-b");
  const auto old_store = StoreOf(server, *a->TryAcquire());
  ASSERT_TRUE(AppendOne(**old_store, 0).ok());
  Age(server, 600);
  const auto new_store = StoreOf(server, *b->TryAcquire());

  // The size is right, the epoch is not.
  const absl::Status late = AppendOne(**old_store, 1);
  EXPECT_EQ(late.code(), absl::StatusCode::kAborted) << late;
  EXPECT_THAT(std::string(late.message()),
              AllOf(HasSubstr("epoch 1 is over"), HasSubstr("host-b")));
  EXPECT_EQ(Count(**new_store), 1);
  EXPECT_TRUE(AppendOne(**new_store, 1).ok());
  EXPECT_TRUE(absl::IsAborted(AppendOne(**old_store, 2)));
  EXPECT_EQ(Count(**old_store), 2);
}

// An append that is under way when another one takes over either is complete
// before, or is refused.
TEST(PostgresLeaderLease, TakesOverFromALeaderThatFrozeWhileItWrote) {
  HWNAS_REQUIRE_POSTGRES(server);
  const auto a = Lease(server, "host-a");
  const auto b = Lease(server, "host-b", absl::Seconds(4));
  ASSERT_EQ(*a->TryAcquire(), 1);
  PGconn* frozen =
      PQconnectdb((server.url() + " application_name='hwnas epoch 1'").c_str());
  PQclear(PQexec(frozen,
                 "BEGIN; SELECT hwnas.append(1, '{a}', '{0}', '{1}', "
                 "'{\"\\\\x\"}')"));
  ASSERT_EQ(PQtransactionStatus(frozen), PQTRANS_INTRANS)
      << PQerrorMessage(frozen);
  EXPECT_TRUE(a->Renew().ok());  // Does not wait for appends.
  EXPECT_TRUE(absl::IsAborted(b->TryAcquire().status()));
  Age(server, 600);
  const absl::Time begin = absl::Now();
  EXPECT_EQ(*b->TryAcquire(), 2);
  EXPECT_LT(absl::Now() - begin, absl::Seconds(4));
  PQclear(PQexec(frozen, "COMMIT"));
  EXPECT_NE(PQstatus(frozen), CONNECTION_OK);
  PQfinish(frozen);
  EXPECT_EQ(server.Sql("SELECT count(*) FROM hwnas.event"), "0");
}

TEST(PostgresLeaderLease, RefusesADurationThatIsTooShort) {
  EXPECT_EQ(OpenPostgresLease({.url = "host=x", .duration = absl::Seconds(0.5)})
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace hwnas
