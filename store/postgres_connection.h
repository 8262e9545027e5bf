// A thin layer over libpq: bounded waiting, reconnecting, and our error codes.
// Private to store/.
#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace hwnas {

// SQLSTATE of an append whose epoch is over; raised by our own function in the
// database.
inline constexpr char kEpochIsOver[] = "HW001";

// Names the sessions of a leader in pg_stat_activity, so that its successor can
// end them.
std::string PostgresSessionName(int64_t epoch);

// The value of a parameter, in PostgreSQL's binary format.
struct PostgresValue {
  Oid type = 0;
  std::string bytes;
};
PostgresValue PostgresText(absl::string_view value);
PostgresValue PostgresInt(int64_t value);
PostgresValue PostgresTexts(absl::Span<const absl::string_view> values);
PostgresValue PostgresInts(absl::Span<const int64_t> values);
PostgresValue PostgresBlobs(absl::Span<const absl::string_view> values);

// The rows that a query gave, in the binary format. Fields are bigint, text or
// bytea, not NULL.
class PostgresRows {
 public:
  explicit PostgresRows(PGresult* result) : result_(result) {}

  int count() const { return PQntuples(result_.get()); }
  int64_t Int(int row, int column) const;
  // A bigint[] without NULLs.
  std::vector<int64_t> Ints(int row, int column) const;
  // Valid as long as this object.
  absl::string_view Bytes(int row, int column) const;

 private:
  struct Clear {
    void operator()(PGresult* result) const { PQclear(result); }
  };
  std::unique_ptr<PGresult, Clear> result_;
};

// A connection that is made when it is first needed and made again after it was
// lost. Used by one thread at a time.
class PostgresConnection {
 public:
  // `url` is what libpq takes: "postgresql://user@host/database" or "host=...
  // dbname=...". It may hold a password and appears in no message. `session`
  // names the connection in pg_stat_activity. No call takes longer than about
  // `timeout`. INVALID_ARGUMENT for a malformed url.
  static absl::StatusOr<PostgresConnection> Create(const std::string& url,
                                                   const std::string& session,
                                                   absl::Duration timeout);

  // Runs one statement, which is a transaction of its own. After UNAVAILABLE it
  // is not known whether it was carried out.
  //   UNAVAILABLE         no answer, restarting, overloaded (may be retried)
  //   RESOURCE_EXHAUSTED  the server's disk is full (likewise)
  //   ABORTED             the epoch is over
  //   PERMISSION_DENIED   the role lacks a right
  //   INVALID_ARGUMENT    a value is too large or malformed
  //   DATA_LOSS           the database is damaged
  //   FAILED_PRECONDITION the server cannot keep our promises
  //   ALREADY_EXISTS      a unique key is taken
  //   INTERNAL            anything else
  absl::StatusOr<PostgresRows> Query(
      const std::string& sql, absl::Span<const PostgresValue> values = {});

  // Runs several statements in one transaction, without values or rows.
  absl::Status Execute(const std::string& sql);

  // Server and database, for messages.
  const std::string& where() const { return where_; }

 private:
  struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  PostgresConnection(std::string url, std::string session, std::string where,
                     absl::Duration timeout)
      : url_(std::move(url)),
        session_(std::move(session)),
        where_(std::move(where)),
        timeout_(timeout) {}

  absl::Status Connect();
  // Notices that the server closed the connection while it was idle.
  bool Alive() const;
  // Waits until the statement that was sent has ended.
  absl::StatusOr<PostgresRows> Finished();
  absl::Status Error(const PGresult* result) const;
  // Gives the connection up.
  absl::Status Lost(absl::string_view why);

  std::string url_;
  std::string session_;
  std::string where_;
  absl::Duration timeout_;
  std::unique_ptr<PGconn, Finish> connection_;
};

}  // namespace hwnas
