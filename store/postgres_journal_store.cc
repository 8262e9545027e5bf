// The tables are described in docs/store.md.
#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "store/group_commit.h"
#include "store/journal_checks.h"
#include "store/journal_store.h"
#include "store/packed_events.h"
#include "store/postgres_connection.h"
#include "store/postgres_schema.h"

namespace hwnas {
namespace {

// What a read takes at once, from the append that has event $2 + 1; `visit`
// runs between pages.
constexpr char kPage[] =
    "SELECT sequence, count, payload FROM ("
    "  SELECT sequence, count, payload, sum(octet_length(payload)) OVER (ORDER "
    "BY sequence ROWS UNBOUNDED PRECEDING) - octet_length(payload) AS "
    "bytes_before"
    "  FROM hwnas.event WHERE study_id = $1 AND sequence >= coalesce(("
    "    SELECT max(sequence) FROM hwnas.event"
    "    WHERE study_id = $1 AND sequence <= $2 + 1), 1)"
    "  AND sequence + count > $2 + 1"
    "  ORDER BY sequence LIMIT 1024) AS page "
    "WHERE bytes_before < 4194304 ORDER BY sequence";

// From one study to the next by the index, not over all events.
constexpr char kStudies[] =
    "WITH RECURSIVE study(id) AS ("
    "  (SELECT study_id FROM hwnas.event ORDER BY study_id LIMIT 1)"
    "  UNION ALL"
    "  SELECT (SELECT study_id FROM hwnas.event WHERE study_id > study.id "
    "ORDER BY study_id LIMIT 1) FROM study WHERE study.id IS NOT NULL) "
    "SELECT id FROM study WHERE id IS NOT NULL ORDER BY id";

// Appends that wait at the same time share one transaction (GroupCommit), which
// is one call of a function in the database: a controller that freezes leaves
// no transaction open.
//
// Thread-safe.
class PostgresJournalStore final : public JournalStore {
 public:
  PostgresJournalStore(int64_t epoch, PostgresConnection writer,
                       PostgresConnection reader)
      : epoch_(epoch), writer_(std::move(writer)), reader_(std::move(reader)) {}

  // Creates the tables.
  absl::Status Prepare() { return PreparePostgresSchema(&writer_); }

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
      HWNAS_ASSIGN_OR_RETURN(
          const PostgresRows page,
          ReadQuery(kPage, {PostgresText(study_id), PostgresInt(after)}));
      if (page.count() == 0) break;
      exists = true;
      for (int row = 0; row < page.count(); ++row) {
        const int64_t first = page.Int(row, 0), count = page.Int(row, 1);
        if (first > after + 1) {
          return Damaged(study_id, after + 1, "is missing");
        }
        HWNAS_RETURN_IF_ERROR(UnpackEvents(
            page.Bytes(row, 2), first, count, after, visit,
            [&](int64_t sequence) {
              return Damaged(study_id, sequence, "cannot be decoded");
            }));
        after = first + count - 1;
      }
    }
    if (exists) return absl::OkStatus();
    HWNAS_ASSIGN_OR_RETURN(
        const PostgresRows any,
        ReadQuery("SELECT sequence FROM hwnas.event WHERE study_id = $1 LIMIT "
                  "1",
                  {PostgresText(study_id)}));
    return any.count() > 0 ? absl::OkStatus() : NoSuchStudy(study_id);
  }

  absl::StatusOr<std::vector<std::string>> ListStudies() override {
    HWNAS_ASSIGN_OR_RETURN(const PostgresRows rows, ReadQuery(kStudies, {}));
    std::vector<std::string> ids;
    for (int row = 0; row < rows.count(); ++row) {
      ids.emplace_back(rows.Bytes(row, 0));
    }
    return ids;
  }

 private:
  // See GroupCommit::Commit. One call at a time: it owns the writing
  // connection.
  absl::Status Commit(GroupCommit::Batch batch) {
    std::vector<absl::string_view> studies;
    std::vector<int64_t> sizes, counts;
    std::vector<std::string> packed;
    for (const WaitingAppend* append : batch) {
      studies.push_back(append->study_id);
      sizes.push_back(append->expected_size);
      counts.push_back(static_cast<int64_t>(append->payloads.size()));
      packed.push_back(PackEvents(append->payloads));
    }
    const std::vector<absl::string_view> payloads(packed.begin(), packed.end());
    const std::vector<PostgresValue> values = {
        PostgresInt(epoch_), PostgresTexts(studies), PostgresInts(sizes),
        PostgresInts(counts), PostgresBlobs(payloads)};
    const auto append = [&] {
      return writer_.Query("SELECT hwnas.append($1, $2, $3, $4, $5)", values);
    };
    absl::StatusOr<PostgresRows> rows = append();
    if (absl::IsAlreadyExists(rows.status())) {
      // Somebody else won a race for the same place in a journal: now the
      // sizes show it.
      rows = append();
    }
    HWNAS_RETURN_IF_ERROR(rows.status());
    const std::vector<int64_t> had = rows->Ints(0, 0);
    if (had.size() != batch.size()) {
      return absl::InternalError(
          absl::StrCat(writer_.where(), ": hwnas.append gave ", had.size(),
                       " sizes for ", batch.size(), " appends"));
    }
    for (size_t i = 0; i < batch.size(); ++i) {
      batch[i]->status = had[i] == batch[i]->expected_size
                             ? absl::OkStatus()
                             : SizeConflict(batch[i]->study_id,
                                            batch[i]->expected_size, had[i]);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<PostgresRows> ReadQuery(
      const char* sql, const std::vector<PostgresValue>& values) {
    MutexLock lock(&reader_mutex_);
    absl::StatusOr<PostgresRows> rows = reader_.Query(sql, values);
    // Reading again is harmless, and the server may be back already.
    if (absl::IsUnavailable(rows.status())) rows = reader_.Query(sql, values);
    return rows;
  }

  absl::Status Damaged(absl::string_view study_id, int64_t sequence,
                       absl::string_view how) const {
    return absl::DataLossError(absl::StrCat(writer_.where(), ": event ",
                                            sequence, " of study ", study_id,
                                            " ", how, ": restore a backup"));
  }

  const int64_t epoch_;
  PostgresConnection writer_;  // Used by Commit only.
  GroupCommit group_{
      [this](GroupCommit::Batch batch) { return Commit(batch); }};

  Mutex reader_mutex_;
  PostgresConnection reader_ ABSL_GUARDED_BY(reader_mutex_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<JournalStore>> OpenPostgresJournalStore(
    const PostgresOptions& options) {
  const std::string session = PostgresSessionName(options.epoch);
  HWNAS_ASSIGN_OR_RETURN(
      PostgresConnection writer,
      PostgresConnection::Create(options.url, session, options.timeout));
  HWNAS_ASSIGN_OR_RETURN(
      PostgresConnection reader,
      PostgresConnection::Create(options.url, session, options.timeout));
  auto store = std::make_unique<PostgresJournalStore>(
      options.epoch, std::move(writer), std::move(reader));
  HWNAS_RETURN_IF_ERROR(store->Prepare());
  return store;
}

}  // namespace hwnas
