#include "store/sqlite_connection.h"

#include <cerrno>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace hwnas {

void SqliteStatement::BindText(int index, absl::string_view value) {
  sqlite3_bind_text64(statement_.get(), index, value.data(), value.size(),
                      SQLITE_STATIC, SQLITE_UTF8);
}

void SqliteStatement::BindBlob(int index, absl::string_view value) {
  // A null pointer would bind NULL instead of an empty blob.
  sqlite3_bind_blob64(statement_.get(), index,
                      value.empty() ? "" : value.data(), value.size(),
                      SQLITE_STATIC);
}

void SqliteStatement::BindInt(int index, int64_t value) {
  sqlite3_bind_int64(statement_.get(), index, value);
}

int SqliteStatement::Step() {
  errno = 0;
  return sqlite3_step(statement_.get());
}

void SqliteStatement::Reset() {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
}

absl::string_view SqliteStatement::Bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return {static_cast<const char*>(data), static_cast<size_t>(size)};
}

absl::StatusOr<SqliteConnection> SqliteConnection::Open(const std::string& path,
                                                        int busy_timeout_ms) {
  sqlite3* db = nullptr;
  const int rc =
      sqlite3_open_v2(path.c_str(), &db,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                          SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                      nullptr);
  SqliteConnection connection(path, db);
  if (db == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("journal ", path, ": out of memory"));
  }
  if (rc != SQLITE_OK) return connection.Error(rc);
  sqlite3_busy_timeout(db, busy_timeout_ms);
  return connection;
}

absl::StatusOr<SqliteStatement> SqliteConnection::Prepare(
    absl::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int rc =
      sqlite3_prepare_v3(db_.get(), sql.data(), static_cast<int>(sql.size()),
                         SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (rc != SQLITE_OK) return Error(rc);
  return SqliteStatement(statement);
}

absl::Status SqliteConnection::Execute(const char* sql) {
  errno = 0;
  const int rc = sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr);
  return rc == SQLITE_OK ? absl::OkStatus() : Error(rc);
}

absl::StatusOr<int64_t> SqliteConnection::QueryInt(const char* sql) {
  HWNAS_ASSIGN_OR_RETURN(SqliteStatement statement, Prepare(sql));
  const int rc = statement.Step();
  if (rc != SQLITE_ROW) return Error(rc);
  return statement.Int(0);
}

absl::Status SqliteConnection::Error(int rc) const {
  // SQLite keeps no errno of a COMMIT that failed; ours is still there.
  int system_errno = errno;
  if (sqlite3_system_errno(db_.get()) != 0) {
    system_errno = sqlite3_system_errno(db_.get());
  }
  std::string detail = sqlite3_errmsg(db_.get());
  const int kind = rc & 0xff;
  if (system_errno != 0 && (kind == SQLITE_IOERR || kind == SQLITE_CANTOPEN)) {
    absl::StrAppend(&detail, ", ",
                    std::generic_category().message(system_errno));
  }
  const std::string what = absl::StrCat("journal ", path_, ": ");
  const auto full = [&] {
    return absl::ResourceExhaustedError(absl::StrCat(
        what, "no space left (", detail,
        "): free some on its file system; work waits and then goes on"));
  };
  switch (kind) {
    case SQLITE_FULL:
      return full();
    case SQLITE_NOMEM:
      return absl::ResourceExhaustedError(absl::StrCat(what, "out of memory"));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
      return absl::UnavailableError(
          absl::StrCat(what, "another process holds it (", detail,
                       "): stop that process or wait"));
    case SQLITE_IOERR:
      // Some limits do not reach us as SQLITE_FULL.
      if (system_errno == ENOSPC || system_errno == EDQUOT ||
          system_errno == EFBIG) {
        return full();
      }
      return absl::UnavailableError(absl::StrCat(what, "input/output error (",
                                                 detail, "): check the disk"));
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY:
      if (system_errno == ENOENT || system_errno == EIO ||
          system_errno == EMFILE || system_errno == ENFILE) {
        return absl::UnavailableError(
            absl::StrCat(what, "cannot be opened (", detail, ")"));
      }
      return absl::PermissionDeniedError(absl::StrCat(
          what, "cannot be opened for writing (", detail,
          "): check that it is a file which this user may read and write, in "
          "a folder likewise"));
    case SQLITE_CORRUPT:
      return absl::DataLossError(absl::StrCat(
          what, "is damaged (", detail,
          "): restore a backup, or copy the folder and rescue what can be "
          "read with: sqlite3 ",
          path_, " .recover | sqlite3 rescued.db"));
    case SQLITE_NOTADB:
      return absl::DataLossError(absl::StrCat(
          what, "is not a journal (", detail,
          "): its beginning is damaged or it is another file; restore a "
          "backup or give another folder"));
    case SQLITE_TOOBIG:
      return absl::InvalidArgumentError(
          absl::StrCat(what, "an event is too large (", detail, ")"));
    default:
      return absl::InternalError(
          absl::StrCat(what, detail, " (SQLite error ", rc, ")"));
  }
}

}  // namespace hwnas
