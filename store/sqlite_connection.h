// A thin layer over SQLite's C interface: RAII and our error codes. Private to
// store/.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hwnas {

// A prepared statement. Used by the thread that uses its connection.
class SqliteStatement {
 public:
  SqliteStatement() = default;
  explicit SqliteStatement(sqlite3_stmt* statement) : statement_(statement) {}

  // The text or blob must stay alive until Reset.
  void BindText(int index, absl::string_view value);
  void BindBlob(int index, absl::string_view value);
  void BindInt(int index, int64_t value);
  // SQLITE_ROW, SQLITE_DONE, or an error.
  int Step();
  void Reset();

  int64_t Int(int column) const {
    return sqlite3_column_int64(statement_.get(), column);
  }
  bool IsNull(int column) const {
    return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
  }
  // Valid until the next Step or Reset.
  absl::string_view Bytes(int column) const;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const {
      sqlite3_finalize(statement);
    }
  };
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

// An open database. Used by one thread at a time; prepared statements must not
// outlive it.
class SqliteConnection {
 public:
  // Creates the file if it is missing.
  static absl::StatusOr<SqliteConnection> Open(const std::string& path,
                                               int busy_timeout_ms);

  absl::StatusOr<SqliteStatement> Prepare(absl::string_view sql);
  // Runs SQL without results.
  absl::Status Execute(const char* sql);
  // The first column of the first row as an integer.
  absl::StatusOr<int64_t> QueryInt(const char* sql);

  // To be called at once: the error of the last call, which had code `rc`, in
  // our terms:
  //   RESOURCE_EXHAUSTED  the disk is full (may be retried)
  //   UNAVAILABLE         locked by another process, or an I/O error (likewise)
  //   DATA_LOSS           the file is damaged or no database
  //   PERMISSION_DENIED   the file may not be opened or written
  //   INVALID_ARGUMENT    an event is too large
  //   INTERNAL            anything else
  // The message names the file and says what a person can do.
  absl::Status Error(int rc) const;

  sqlite3* get() { return db_.get(); }
  bool InTransaction() const { return sqlite3_get_autocommit(db_.get()) == 0; }

 private:
  struct Close {
    void operator()(sqlite3* db) const { sqlite3_close(db); }
  };
  SqliteConnection(std::string path, sqlite3* db)
      : path_(std::move(path)), db_(db) {}

  std::string path_;
  std::unique_ptr<sqlite3, Close> db_;
};

}  // namespace hwnas
