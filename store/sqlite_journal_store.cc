// The format is described in docs/store.md.
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "store/group_commit.h"
#include "store/journal_checks.h"
#include "store/journal_store.h"
#include "store/packed_events.h"
#include "store/sqlite_connection.h"

namespace hwnas {
namespace {

// "hwns": tells our files from other SQLite databases.
constexpr int64_t kApplicationId = 0x68776e73;

// Step i brings the schema from version i to i + 1 (PRAGMA user_version). Steps
// are never edited once released: append another.
constexpr const char* kMigrations[] = {
    // Clustered by study and order: a study is read by one range scan.
    "CREATE TABLE event ("
    "  study_id TEXT NOT NULL,"
    "  sequence INTEGER NOT NULL CHECK (sequence >= 1),"
    "  payload BLOB NOT NULL,"
    "  PRIMARY KEY (study_id, sequence)"
    ") WITHOUT ROWID;",
    // A row for each append: `sequence` is that of its last event.
    "ALTER TABLE event ADD COLUMN count INTEGER NOT NULL DEFAULT 1;",
};
constexpr int64_t kSchemaVersion = std::size(kMigrations);

// What a read takes at once; `visit` runs between pages.
constexpr int kPageRows = 512;
constexpr size_t kPageBytes = size_t{4} << 20;

// Frames of the write-ahead log, 4 KiB each, between two checkpoints: these
// take some 10 ms, so that few appends meet one.
constexpr int kCheckpointFrames = 4000;

absl::Status Migrate(const std::string& path, SqliteConnection* db) {
  // Refuses before anything is written.
  const auto check_version = [&]() -> absl::StatusOr<int64_t> {
    HWNAS_ASSIGN_OR_RETURN(int64_t version,
                           db->QueryInt("PRAGMA user_version"));
    HWNAS_ASSIGN_OR_RETURN(int64_t application,
                           db->QueryInt("PRAGMA application_id"));
    HWNAS_ASSIGN_OR_RETURN(int64_t objects,
                           db->QueryInt("SELECT count(*) FROM sqlite_schema"));
    const bool fresh = version == 0 && application == 0 && objects == 0;
    if (!fresh && application != kApplicationId) {
      return absl::FailedPreconditionError(
          absl::StrCat("journal ", path,
                       " is a SQLite database of another program: give "
                       "another folder"));
    }
    if (version < 0 || version > kSchemaVersion) {
      return absl::FailedPreconditionError(absl::StrCat(
          "journal ", path, " has schema version ", version,
          " and this program knows up to ", kSchemaVersion,
          ": it was written by a newer release of hwnas; use that one"));
    }
    return version;
  };
  HWNAS_ASSIGN_OR_RETURN(int64_t version, check_version());
  if (version == kSchemaVersion) return absl::OkStatus();

  HWNAS_RETURN_IF_ERROR(db->Execute("BEGIN IMMEDIATE"));
  absl::Cleanup rollback = [db] {
    if (db->InTransaction()) (void)db->Execute("ROLLBACK");
  };
  // Somebody else may have migrated while we waited for the lock.
  HWNAS_ASSIGN_OR_RETURN(version, check_version());
  for (; version < kSchemaVersion; ++version) {
    HWNAS_RETURN_IF_ERROR(db->Execute(kMigrations[version]));
  }
  HWNAS_RETURN_IF_ERROR(db->Execute(
      absl::StrCat("PRAGMA user_version = ", kSchemaVersion).c_str()));
  HWNAS_RETURN_IF_ERROR(db->Execute(
      absl::StrCat("PRAGMA application_id = ", kApplicationId).c_str()));
  return db->Execute("COMMIT");
}

absl::StatusOr<SqliteConnection> OpenConnection(const SqliteOptions& options) {
  HWNAS_ASSIGN_OR_RETURN(
      SqliteConnection db,
      SqliteConnection::Open(options.path, options.busy_timeout_ms));
  // Before anything that writes: another program's file stays as it is.
  HWNAS_RETURN_IF_ERROR(Migrate(options.path, &db));
  HWNAS_RETURN_IF_ERROR(db.Execute("PRAGMA journal_mode = WAL"));
  // Every commit is synced, so that a power cut loses none.
  HWNAS_RETURN_IF_ERROR(db.Execute("PRAGMA synchronous = FULL"));
  // A WAL that once grew is cut back at the next checkpoint.
  HWNAS_RETURN_IF_ERROR(db.Execute("PRAGMA journal_size_limit = 67108864"));
  HWNAS_RETURN_IF_ERROR(db.Execute(
      absl::StrCat("PRAGMA wal_autocheckpoint = ", kCheckpointFrames).c_str()));
  return db;
}

// Appends that wait at the same time share one transaction (GroupCommit).
//
// Thread-safe. Lock order: none is ever held with another.
class SqliteJournalStore final : public JournalStore {
 public:
  static absl::StatusOr<std::unique_ptr<JournalStore>> Open(
      const SqliteOptions& options) {
    HWNAS_ASSIGN_OR_RETURN(SqliteConnection writer, OpenConnection(options));
    HWNAS_ASSIGN_OR_RETURN(SqliteConnection reader, OpenConnection(options));
    struct stat file;
    if (stat(options.path.c_str(), &file) != 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("journal ", options.path));
    }
    std::unique_ptr<SqliteJournalStore> store(new SqliteJournalStore(
        options.path, file, std::move(writer), std::move(reader)));
    HWNAS_RETURN_IF_ERROR(store->PrepareStatements());
    return store;
  }

  absl::Status Append(absl::string_view study_id, int64_t expected_size,
                      absl::Span<v1::JournalEvent> events) override {
    return group_.Append(study_id, expected_size, events);
  }

  std::shared_ptr<PendingAppend> Start(
      absl::string_view study_id, int64_t expected_size,
      absl::Span<v1::JournalEvent> events) override {
    return group_.Start(study_id, expected_size, events);
  }

  absl::Status Read(
      absl::string_view study_id, int64_t after,
      const std::function<absl::Status(v1::JournalEvent&&)>& visit) override {
    after = std::max<int64_t>(after, 0);
    bool exists = false;
    for (;;) {
      // The journal only grows, so that pages fit together; nothing is locked
      // while `visit` runs.
      HWNAS_ASSIGN_OR_RETURN(const std::vector<Row> page,
                             ReadPage(study_id, after));
      if (page.empty()) break;
      exists = true;
      for (const Row& row : page) {
        HWNAS_RETURN_IF_ERROR(UnpackEvents(
            row.payload, row.first, row.last - row.first + 1, after, visit,
            [&](int64_t sequence) {
              return Damaged(study_id, sequence, "cannot be decoded");
            }));
        after = row.last;
      }
    }
    if (exists) return absl::OkStatus();
    HWNAS_ASSIGN_OR_RETURN(int64_t size, ReadSize(study_id));
    return size > 0 ? absl::OkStatus() : NoSuchStudy(study_id);
  }

  absl::StatusOr<std::vector<std::string>> ListStudies() override {
    MutexLock lock(&reader_mutex_);
    std::vector<std::string> ids;
    std::string last;
    // From one study to the next by the index, not over all events.
    for (;;) {
      absl::Cleanup reset = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(
                                reader_mutex_) { next_study_.Reset(); };
      next_study_.BindText(1, last);
      const int rc = next_study_.Step();
      if (rc != SQLITE_ROW) return reader_.Error(rc);
      if (next_study_.IsNull(0)) return ids;
      std::string id(next_study_.Bytes(0));
      next_study_.Reset();
      ids.push_back(id);
      last = std::move(id);
    }
  }

 private:
  // The events of one append.
  struct Row {
    int64_t first = 0;
    int64_t last = 0;
    std::string payload;
  };

  SqliteJournalStore(std::string path, const struct stat& file,
                     SqliteConnection writer, SqliteConnection reader)
      : path_(std::move(path)),
        device_(file.st_dev),
        inode_(file.st_ino),
        writer_(std::move(writer)),
        reader_(std::move(reader)) {}

  absl::Status PrepareStatements() {
    HWNAS_ASSIGN_OR_RETURN(begin_, writer_.Prepare("BEGIN IMMEDIATE"));
    HWNAS_ASSIGN_OR_RETURN(commit_, writer_.Prepare("COMMIT"));
    HWNAS_ASSIGN_OR_RETURN(
        size_,
        writer_.Prepare("SELECT max(sequence) FROM event WHERE study_id = ?1"));
    HWNAS_ASSIGN_OR_RETURN(
        insert_,
        writer_.Prepare("INSERT INTO event (study_id, sequence, count, payload)"
                        " VALUES (?1, ?2, ?3, ?4)"));
    MutexLock lock(&reader_mutex_);
    HWNAS_ASSIGN_OR_RETURN(
        page_, reader_.Prepare(
                   "SELECT sequence, count, payload FROM event WHERE study_id "
                   "= ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3"));
    HWNAS_ASSIGN_OR_RETURN(
        read_size_, reader_.Prepare("SELECT max(sequence) FROM event WHERE "
                                    "study_id = ?1"));
    HWNAS_ASSIGN_OR_RETURN(
        next_study_, reader_.Prepare("SELECT min(study_id) FROM event WHERE "
                                     "study_id > ?1"));
    return absl::OkStatus();
  }

  // See GroupCommit::Commit. One call at a time: it owns the writing
  // connection.
  absl::Status TryCommit(GroupCommit::Batch batch) {
    HWNAS_RETURN_IF_ERROR(CheckFileIsThere());
    HWNAS_RETURN_IF_ERROR(Run(&begin_));
    absl::Cleanup rollback = [this] {
      // After some errors SQLite has already rolled back.
      if (writer_.InTransaction()) (void)writer_.Execute("ROLLBACK");
    };
    for (WaitingAppend* waiting : batch) {
      HWNAS_ASSIGN_OR_RETURN(int64_t size,
                             SizeOf(&writer_, &size_, waiting->study_id));
      if (size != waiting->expected_size) {
        waiting->status =
            SizeConflict(waiting->study_id, waiting->expected_size, size);
        continue;
      }
      waiting->status = absl::OkStatus();
      const int64_t count = static_cast<int64_t>(waiting->payloads.size());
      if (count == 0) continue;
      const std::string row = PackEvents(waiting->payloads);
      insert_.BindText(1, waiting->study_id);
      insert_.BindInt(2, size + count);
      insert_.BindInt(3, count);
      insert_.BindBlob(4, row);
      HWNAS_RETURN_IF_ERROR(Run(&insert_));
    }
    return Run(&commit_);
  }

  // Steps a statement of the writer that gives no rows, and resets it.
  absl::Status Run(SqliteStatement* statement) {
    const int rc = statement->Step();
    // The message first: Reset may replace it.
    const absl::Status status =
        rc == SQLITE_DONE ? absl::OkStatus() : writer_.Error(rc);
    statement->Reset();
    return status;
  }

  static absl::StatusOr<int64_t> SizeOf(SqliteConnection* db,
                                        SqliteStatement* statement,
                                        absl::string_view study_id) {
    absl::Cleanup reset = [statement] { statement->Reset(); };
    statement->BindText(1, study_id);
    const int rc = statement->Step();
    if (rc != SQLITE_ROW) return db->Error(rc);
    return statement->Int(0);  // NULL, no event, reads as 0.
  }

  // SQLite would go on writing to a file that has been deleted.
  absl::Status CheckFileIsThere() const {
    struct stat file;
    if (stat(path_.c_str(), &file) == 0 && file.st_dev == device_ &&
        file.st_ino == inode_) {
      return absl::OkStatus();
    }
    return absl::UnavailableError(
        absl::StrCat("journal ", path_,
                     " was removed or replaced while in use: put it back, or "
                     "restart the controller"));
  }

  absl::StatusOr<int64_t> ReadSize(absl::string_view study_id) {
    MutexLock lock(&reader_mutex_);
    return SizeOf(&reader_, &read_size_, study_id);
  }

  // The appends with the events after `after`, the first of them; empty if
  // there are none.
  absl::StatusOr<std::vector<Row>> ReadPage(absl::string_view study_id,
                                            int64_t after) {
    MutexLock lock(&reader_mutex_);
    absl::Cleanup reset = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(
                              reader_mutex_) { page_.Reset(); };
    page_.BindText(1, study_id);
    page_.BindInt(2, after);
    page_.BindInt(3, kPageRows);
    std::vector<Row> rows;
    size_t bytes = 0;
    while (bytes < kPageBytes) {
      const int rc = page_.Step();
      if (rc == SQLITE_DONE) break;
      if (rc != SQLITE_ROW) return reader_.Error(rc);
      Row& row = rows.emplace_back();
      row.last = page_.Int(0);
      row.first = row.last - page_.Int(1) + 1;
      if (row.first > row.last) {
        return Damaged(study_id, row.last, "cannot be decoded");
      }
      // Of the first row events may have been read before.
      if (rows.size() == 1 ? row.first > after + 1 : row.first != after + 1) {
        return Damaged(study_id, after + 1, "is missing");
      }
      row.payload = std::string(page_.Bytes(2));
      bytes += row.payload.size();
      after = row.last;
    }
    return rows;
  }

  absl::Status Damaged(absl::string_view study_id, int64_t sequence,
                       absl::string_view how) const {
    return absl::DataLossError(absl::StrCat("journal ", path_, ": event ",
                                            sequence, " of study ", study_id,
                                            " ", how, ": restore a backup"));
  }

  // Constant after construction.
  const std::string path_;
  const dev_t device_;
  const ino_t inode_;

  // Used by TryCommit only. Declared before its statements, which go first.
  SqliteConnection writer_;
  SqliteStatement begin_, commit_, size_, insert_;

  GroupCommit group_{
      [this](GroupCommit::Batch batch) { return TryCommit(batch); }};

  Mutex reader_mutex_;
  SqliteConnection reader_ ABSL_GUARDED_BY(reader_mutex_);
  SqliteStatement page_ ABSL_GUARDED_BY(reader_mutex_);
  SqliteStatement read_size_ ABSL_GUARDED_BY(reader_mutex_);
  SqliteStatement next_study_ ABSL_GUARDED_BY(reader_mutex_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<JournalStore>> OpenSqliteJournalStore(
    const SqliteOptions& options) {
  const std::string folder =
      std::filesystem::path(options.path).parent_path().string();
  if (!folder.empty()) HWNAS_RETURN_IF_ERROR(MakeDirectories(folder));
  return SqliteJournalStore::Open(options);
}

}  // namespace hwnas
