#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "store/leader_lease.h"
#include "store/postgres_connection.h"
#include "store/postgres_schema.h"

namespace hwnas {
namespace {

// $1 holder, $2 duration in milliseconds.
constexpr char kAcquire[] = R"sql(
UPDATE hwnas.leader SET
  epoch = epoch + 1,
  holder = $1,
  session_pid = pg_backend_pid(),
  session_start = (SELECT backend_start FROM pg_stat_activity
                   WHERE pid = pg_backend_pid()),
  renewed = clock_timestamp(),
  expires = clock_timestamp() + $2 * interval '1 millisecond'
WHERE expires < clock_timestamp()
   OR (renewed < clock_timestamp() - $2 * interval '0.5 millisecond'
       AND NOT EXISTS (SELECT FROM pg_stat_activity
                       WHERE pid = session_pid
                         AND backend_start = session_start))
RETURNING epoch)sql";

// $1 epoch, $2 duration in milliseconds.
constexpr char kRenew[] = R"sql(
UPDATE hwnas.leader SET
  session_pid = pg_backend_pid(),
  session_start = (SELECT backend_start FROM pg_stat_activity
                   WHERE pid = pg_backend_pid()),
  renewed = clock_timestamp(),
  expires = clock_timestamp() + $2 * interval '1 millisecond'
WHERE epoch = $1
RETURNING epoch)sql";

constexpr char kRelease[] =
    "UPDATE hwnas.leader SET expires = '-infinity' WHERE epoch = $1";

constexpr char kLeader[] = "SELECT holder, epoch FROM hwnas.leader";

// A leader that froze in the middle of an append holds the row that taking over
// changes. $1: the name of its sessions.
constexpr char kEndSessions[] =
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE "
    "datname = current_database() AND usename = current_user AND "
    "application_name = $1 AND EXISTS (SELECT FROM hwnas.leader WHERE expires "
    "< clock_timestamp())";

// Thread-safe.
class PostgresLease final : public LeaderLease {
 public:
  PostgresLease(const PostgresLeaseOptions& options,
                PostgresConnection connection)
      : holder_(options.holder),
        duration_ms_(absl::ToInt64Milliseconds(options.duration)),
        connection_(std::move(connection)) {}

  absl::Status Prepare() {
    MutexLock lock(&mutex_);
    return PreparePostgresSchema(&connection_);
  }

  absl::StatusOr<int64_t> TryAcquire() override {
    MutexLock lock(&mutex_);
    const std::vector<PostgresValue> values = {PostgresText(holder_),
                                               PostgresInt(duration_ms_)};
    HWNAS_ASSIGN_OR_RETURN(const PostgresRows leader,
                           connection_.Query(kLeader));
    absl::StatusOr<PostgresRows> rows = connection_.Query(kAcquire, values);
    if (absl::IsUnavailable(rows.status())) {
      HWNAS_RETURN_IF_ERROR(
          connection_
              .Query(kEndSessions,
                     {PostgresText(PostgresSessionName(leader.Int(0, 1)))})
              .status());
      rows = connection_.Query(kAcquire, values);
    }
    HWNAS_RETURN_IF_ERROR(rows.status());
    if (rows->count() == 0) {
      return absl::AbortedError(absl::StrCat(
          leader.Bytes(0, 0), " leads with epoch ", leader.Int(0, 1)));
    }
    epoch_ = rows->Int(0, 0);
    return epoch_;
  }

  absl::Status Renew() override {
    MutexLock lock(&mutex_);
    HWNAS_ASSIGN_OR_RETURN(
        const PostgresRows rows,
        connection_.Query(kRenew,
                          {PostgresInt(epoch_), PostgresInt(duration_ms_)}));
    if (rows.count() > 0) return absl::OkStatus();
    HWNAS_ASSIGN_OR_RETURN(const PostgresRows leader,
                           connection_.Query(kLeader));
    return absl::AbortedError(
        absl::StrCat("epoch ", epoch_, " is over: ", leader.Bytes(0, 0),
                     " leads with epoch ", leader.Int(0, 1)));
  }

  absl::Status Release() override {
    MutexLock lock(&mutex_);
    return connection_.Query(kRelease, {PostgresInt(epoch_)}).status();
  }

 private:
  const std::string holder_;
  const int64_t duration_ms_;
  Mutex mutex_;
  PostgresConnection connection_ ABSL_GUARDED_BY(mutex_);
  int64_t epoch_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LeaderLease>> OpenPostgresLease(
    const PostgresLeaseOptions& options) {
  if (options.duration < absl::Seconds(1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("leader lease of ", absl::FormatDuration(options.duration),
                     " is too short: expected at least 1s"));
  }
  // A server that does not answer must not use the whole lease up.
  HWNAS_ASSIGN_OR_RETURN(PostgresConnection connection,
                         PostgresConnection::Create(options.url, "hwnas lease",
                                                    options.duration / 2));
  auto lease = std::make_unique<PostgresLease>(options, std::move(connection));
  HWNAS_RETURN_IF_ERROR(lease->Prepare());
  return lease;
}

}  // namespace hwnas
