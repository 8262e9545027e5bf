#include "store/postgres_connection.h"

#include <poll.h>

#include <algorithm>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"

namespace hwnas {
namespace {

// Of the catalogue (src/include/catalog/pg_type.dat); they never change.
constexpr Oid kBytea = 17, kInt8 = 20, kText = 25;
constexpr Oid kByteaArray = 1001, kTextArray = 1009, kInt8Array = 1016;

template <typename Int>
void PutInt(Int value, std::string* out) {
  for (int shift = 8 * (sizeof(Int) - 1); shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>(static_cast<uint64_t>(value) >> shift));
  }
}

template <typename Int>
Int GetInt(const char* bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(Int); ++i) {
    value = value << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return static_cast<Int>(value);
}

// One dimension, no NULLs (array_recv in src/backend/utils/adt/arrayfuncs.c).
void PutArrayHeader(Oid element, size_t size, std::string* out) {
  PutInt<int32_t>(size == 0 ? 0 : 1, out);
  PutInt<int32_t>(0, out);
  PutInt<int32_t>(static_cast<int32_t>(element), out);
  if (size == 0) return;
  PutInt<int32_t>(static_cast<int32_t>(size), out);
  PutInt<int32_t>(1, out);  // The first index.
}

PostgresValue BytesArray(Oid type, Oid element,
                         absl::Span<const absl::string_view> values) {
  PostgresValue array{.type = type};
  size_t bytes = 20;
  for (const absl::string_view value : values) bytes += 4 + value.size();
  array.bytes.reserve(bytes);
  PutArrayHeader(element, values.size(), &array.bytes);
  for (const absl::string_view value : values) {
    PutInt<int32_t>(static_cast<int32_t>(value.size()), &array.bytes);
    absl::StrAppend(&array.bytes, value);
  }
  return array;
}

// libpq's messages have several lines.
std::string OneLine(absl::string_view message) {
  return absl::StrReplaceAll(absl::StripAsciiWhitespace(message),
                             {{"\n\t", " "}, {"\n", "; "}});
}

// Server and database of a connection string, without user and password.
absl::StatusOr<std::string> Where(const std::string& url) {
  PQconninfoOption* options = PQconninfoParse(url.c_str(), nullptr);
  if (options == nullptr) {
    // libpq's own message may quote the password.
    return absl::InvalidArgumentError(
        "connection string of the store is malformed: expected "
        "postgresql://user@host:5432/database, or host=... dbname=...");
  }
  absl::Cleanup free_options = [options] { PQconninfoFree(options); };
  std::string where = "PostgreSQL";
  for (const PQconninfoOption* o = options; o->keyword != nullptr; ++o) {
    const absl::string_view keyword = o->keyword;
    if (o->val == nullptr) continue;
    if (keyword == "host") absl::StrAppend(&where, " at ", o->val);
    if (keyword == "port") absl::StrAppend(&where, " port ", o->val);
    if (keyword == "dbname") absl::StrAppend(&where, " database ", o->val);
  }
  return where;
}

}  // namespace

std::string PostgresSessionName(int64_t epoch) {
  return absl::StrCat("hwnas epoch ", epoch);
}

PostgresValue PostgresText(absl::string_view value) {
  return {.type = kText, .bytes = std::string(value)};
}

PostgresValue PostgresInt(int64_t value) {
  PostgresValue result{.type = kInt8};
  PutInt(value, &result.bytes);
  return result;
}

PostgresValue PostgresTexts(absl::Span<const absl::string_view> values) {
  return BytesArray(kTextArray, kText, values);
}

PostgresValue PostgresBlobs(absl::Span<const absl::string_view> values) {
  return BytesArray(kByteaArray, kBytea, values);
}

PostgresValue PostgresInts(absl::Span<const int64_t> values) {
  PostgresValue array{.type = kInt8Array};
  PutArrayHeader(kInt8, values.size(), &array.bytes);
  for (const int64_t value : values) {
    PutInt<int32_t>(sizeof(value), &array.bytes);
    PutInt(value, &array.bytes);
  }
  return array;
}

int64_t PostgresRows::Int(int row, int column) const {
  const absl::string_view bytes = Bytes(row, column);
  return bytes.size() == sizeof(int64_t) ? GetInt<int64_t>(bytes.data()) : 0;
}

std::vector<int64_t> PostgresRows::Ints(int row, int column) const {
  const absl::string_view bytes = Bytes(row, column);
  std::vector<int64_t> values;
  constexpr size_t kHeader = 20, kElement = 4 + sizeof(int64_t);
  for (size_t at = kHeader; at + kElement <= bytes.size(); at += kElement) {
    values.push_back(GetInt<int64_t>(bytes.data() + at + 4));
  }
  return values;
}

absl::string_view PostgresRows::Bytes(int row, int column) const {
  return {PQgetvalue(result_.get(), row, column),
          static_cast<size_t>(PQgetlength(result_.get(), row, column))};
}

absl::StatusOr<PostgresConnection> PostgresConnection::Create(
    const std::string& url, const std::string& session,
    absl::Duration timeout) {
  HWNAS_ASSIGN_OR_RETURN(std::string where, Where(url));
  return PostgresConnection(url, session, std::move(where), timeout);
}

absl::Status PostgresConnection::Connect() {
  connection_ = nullptr;
  const int64_t timeout_ms = absl::ToInt64Milliseconds(timeout_);
  const std::string connect_timeout_s =
      absl::StrCat(std::max<int64_t>(2, timeout_ms / 1000));
  const std::string timeout_text = absl::StrCat(timeout_ms);
  // What stands before the url gives way to it, what stands behind it does not.
  const char* keywords[] = {
      "connect_timeout",     "tcp_user_timeout", "keepalives_idle",
      "keepalives_interval", "keepalives_count", "dbname",
      "application_name",    "client_encoding",  nullptr};
  const char* values[] = {connect_timeout_s.c_str(),
                          timeout_text.c_str(),
                          "5",
                          "2",
                          "3",
                          url_.c_str(),
                          session_.c_str(),
                          "UTF8",
                          nullptr};
  connection_.reset(PQconnectdbParams(keywords, values, /*expand_dbname=*/1));
  if (PQstatus(connection_.get()) != CONNECTION_OK) {
    return Lost(PQerrorMessage(connection_.get()));
  }
  PQsetNoticeProcessor(
      connection_.get(), [](void*, const char*) {}, nullptr);
  if (PQsetnonblocking(connection_.get(), 1) != 0) {
    return Lost(PQerrorMessage(connection_.get()));
  }
  // Commits wait for the disk, whatever the server's default; and the server
  // ends what we have given up.
  const std::string setup = absl::StrCat(
      "SELECT set_config('synchronous_commit', CASE "
      "current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE "
      "current_setting('synchronous_commit') END, false),"
      "set_config('statement_timeout', '",
      timeout_ms,
      "', false),"
      "set_config('lock_timeout', '",
      timeout_ms / 4,
      "', false),"
      "set_config('idle_in_transaction_session_timeout', '",
      timeout_ms,
      "', false),"
      "(CASE WHEN current_setting('fsync') = 'on' THEN 1 ELSE 0 END)::bigint,"
      "(CASE WHEN pg_is_in_recovery() THEN 1 ELSE 0 END)::bigint");
  if (PQsendQueryParams(connection_.get(), setup.c_str(), 0, nullptr, nullptr,
                        nullptr, nullptr, /*resultFormat=*/1) != 1) {
    return Lost(PQerrorMessage(connection_.get()));
  }
  HWNAS_ASSIGN_OR_RETURN(const PostgresRows rows, Finished());
  if (rows.Int(0, 4) == 0) {
    connection_ = nullptr;
    return absl::FailedPreconditionError(absl::StrCat(
        where_,
        " runs with fsync off: a crash of its machine would lose what was "
        "acknowledged; turn fsync on"));
  }
  if (rows.Int(0, 5) != 0) {
    return Lost("the server is a read-only replica; name the primary one");
  }
  return absl::OkStatus();
}

bool PostgresConnection::Alive() const {
  if (PQstatus(connection_.get()) != CONNECTION_OK) return false;
  pollfd socket = {.fd = PQsocket(connection_.get()), .events = POLLIN};
  // Between statements the server only speaks to take its leave.
  while (poll(&socket, 1, 0) > 0) {
    if (PQconsumeInput(connection_.get()) == 0) return false;
  }
  return true;
}

absl::StatusOr<PostgresRows> PostgresConnection::Query(
    const std::string& sql, absl::Span<const PostgresValue> values) {
  if (connection_ == nullptr || !Alive()) HWNAS_RETURN_IF_ERROR(Connect());
  std::vector<Oid> types;
  std::vector<const char*> data;
  std::vector<int> lengths;
  for (const PostgresValue& value : values) {
    types.push_back(value.type);
    data.push_back(value.bytes.data());
    lengths.push_back(static_cast<int>(value.bytes.size()));
  }
  const std::vector<int> binary(values.size(), 1);
  if (PQsendQueryParams(connection_.get(), sql.c_str(),
                        static_cast<int>(values.size()), types.data(),
                        data.data(), lengths.data(), binary.data(),
                        /*resultFormat=*/1) != 1) {
    return Lost(PQerrorMessage(connection_.get()));
  }
  return Finished();
}

absl::Status PostgresConnection::Execute(const std::string& sql) {
  if (connection_ == nullptr || !Alive()) HWNAS_RETURN_IF_ERROR(Connect());
  if (PQsendQuery(connection_.get(), sql.c_str()) != 1) {
    return Lost(PQerrorMessage(connection_.get()));
  }
  return Finished().status();
}

absl::StatusOr<PostgresRows> PostgresConnection::Finished() {
  PGconn* const connection = connection_.get();
  // The server's own time-out, which tells more, comes first.
  const absl::Time deadline = absl::Now() + timeout_ + absl::Seconds(1);
  PGresult* last = nullptr;
  absl::Cleanup clear = [&last] { PQclear(last); };
  for (;;) {
    const int unsent = PQflush(connection);
    if (unsent < 0) return Lost(PQerrorMessage(connection));
    if (unsent == 0 && PQisBusy(connection) == 0) {
      PGresult* const result = PQgetResult(connection);
      if (result == nullptr) break;
      // Of several, the first error counts, else the last.
      if (PQresultStatus(last) == PGRES_FATAL_ERROR && last != nullptr) {
        PQclear(result);
      } else {
        PQclear(last);
        last = result;
      }
      continue;
    }
    pollfd socket = {
        .fd = PQsocket(connection),
        .events = static_cast<short>(POLLIN | (unsent > 0 ? POLLOUT : 0))};
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) {
      return Lost(
          absl::StrCat("no answer within ", absl::FormatDuration(timeout_)));
    }
    poll(&socket, 1,
         static_cast<int>(
             std::max<int64_t>(1, absl::ToInt64Milliseconds(left))));
    if (PQconsumeInput(connection) == 0) {
      return Lost(PQerrorMessage(connection));
    }
  }
  const ExecStatusType status = PQresultStatus(last);
  if (last != nullptr &&
      (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)) {
    return PostgresRows(std::exchange(last, nullptr));
  }
  absl::Status error = Error(last);
  if (PQstatus(connection) != CONNECTION_OK) connection_ = nullptr;
  return error;
}

absl::Status PostgresConnection::Lost(absl::string_view why) {
  absl::Status status =
      absl::UnavailableError(absl::StrCat(where_, " is away: ", OneLine(why)));
  connection_ = nullptr;
  return status;
}

absl::Status PostgresConnection::Error(const PGresult* result) const {
  const char* state_text = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const std::string state = state_text == nullptr ? "" : state_text;
  const char* primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  const std::string detail =
      OneLine(primary != nullptr ? primary : PQresultErrorMessage(result));
  const auto is = [&](std::initializer_list<const char*> prefixes) {
    return std::any_of(prefixes.begin(), prefixes.end(), [&](const char* p) {
      return absl::StartsWith(state, p);
    });
  };
  // PostgreSQL's manual, appendix A.
  if (state == kEpochIsOver) return absl::AbortedError(detail);
  if (state == "53300" || state.empty() ||
      is({"08", "57", "40", "25006", "55P03", "55006"})) {
    return absl::UnavailableError(absl::StrCat(where_, " is away: ", detail));
  }
  if (is({"53"})) {
    return absl::ResourceExhaustedError(absl::StrCat(
        where_, ": ", detail,
        ": free some space on the server; work waits and then goes on"));
  }
  if (is({"42501", "28"})) {
    return absl::PermissionDeniedError(absl::StrCat(where_, ": ", detail));
  }
  if (is({"23505"})) {
    return absl::AlreadyExistsError(absl::StrCat(where_, ": ", detail));
  }
  if (is({"22", "54"})) {
    return absl::InvalidArgumentError(absl::StrCat(where_, ": ", detail));
  }
  if (is({"XX001", "XX002"})) {
    return absl::DataLossError(
        absl::StrCat(where_, " is damaged: ", detail, ": restore a backup"));
  }
  return absl::InternalError(
      absl::StrCat(where_, ": ", detail, " (SQLSTATE ", state, ")"));
}

}  // namespace hwnas
