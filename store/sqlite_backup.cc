#include "store/sqlite_backup.h"

#include <unistd.h>

#include <filesystem>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "store/journal_store.h"
#include "store/sqlite_connection.h"
#include "store/store_folder.h"

namespace hwnas {
namespace {

// Between two steps a controller may write: the copy then takes in what it
// wrote, or begins again.
constexpr int kPagesAtOnce = 4096;

absl::Status Copy(
    const std::string& from, const std::string& to,
    const std::function<void(int64_t done, int64_t total)>& progress) {
  HWNAS_ASSIGN_OR_RETURN(
      SqliteConnection source,
      SqliteConnection::Open(from, /*busy_timeout_ms=*/5000));
  HWNAS_ASSIGN_OR_RETURN(SqliteConnection copy,
                         SqliteConnection::Open(to, /*busy_timeout_ms=*/5000));
  // One reading transaction for all steps: a busy writer cannot make the copy
  // begin again for ever.
  HWNAS_RETURN_IF_ERROR(source.Execute("BEGIN"));
  HWNAS_RETURN_IF_ERROR(
      source.QueryInt("SELECT count(*) FROM sqlite_schema").status());
  sqlite3_backup* const backup =
      sqlite3_backup_init(copy.get(), "main", source.get(), "main");
  if (backup == nullptr) return copy.Error(sqlite3_errcode(copy.get()));
  int rc = SQLITE_OK;
  while (rc == SQLITE_OK) {
    rc = sqlite3_backup_step(backup, kPagesAtOnce);
    const int64_t total = sqlite3_backup_pagecount(backup);
    progress(total - sqlite3_backup_remaining(backup), total);
  }
  const int finished = sqlite3_backup_finish(backup);
  if (rc != SQLITE_DONE) return copy.Error(rc);
  if (finished != SQLITE_OK) return copy.Error(finished);
  HWNAS_ASSIGN_OR_RETURN(SqliteStatement check,
                         copy.Prepare("PRAGMA quick_check(1)"));
  const int row = check.Step();
  if (row != SQLITE_ROW) return copy.Error(row);
  if (check.Bytes(0) != "ok") {
    return absl::DataLossError(absl::StrCat(
        "journal ", from, " is damaged: ", std::string(check.Bytes(0))));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status BackupSqliteJournal(
    const std::string& from, const std::string& to,
    const std::function<void(int64_t done, int64_t total)>& progress) {
  std::error_code error;
  if (!std::filesystem::exists(from, error)) {
    return absl::NotFoundError(absl::StrCat("no journal ", from));
  }
  if (std::filesystem::exists(to, error)) {
    return absl::AlreadyExistsError(
        absl::StrCat(to, " exists already: give another name or remove it"));
  }
  const std::string partial = to + ".partial";
  const auto remove_partial = [&partial] {
    unlink(partial.c_str());
    for (const absl::string_view suffix : kSqliteSuffixes) {
      unlink(absl::StrCat(partial, suffix).c_str());
    }
  };
  remove_partial();
  absl::Cleanup clean = remove_partial;
  HWNAS_RETURN_IF_ERROR(Copy(from, partial, progress));
  // Also tells another program's database, or a newer schema, from ours.
  HWNAS_RETURN_IF_ERROR(OpenSqliteJournalStore({.path = partial}).status());
  return PublishFile(partial, to);
}

}  // namespace hwnas
