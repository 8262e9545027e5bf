// The journals of all studies: the truth from which everything else is a fold.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "hwnas/v1/journal.pb.h"

namespace hwnas {

// An append that was begun; see JournalStore::Start. Thread-safe.
class PendingAppend {
 public:
  virtual ~PendingAppend() = default;

  // Returns, as often as it is called, what JournalStore::Append would have.
  virtual absl::Status Wait() = 0;
};

// Thread-safe.
//
// Promises, each shown by tests/store/journal_store_test.cc:
// - Append is atomic (all events or none) and durable when it returns OK: a
//   crash of the process or the machine does not lose them.
// - Events of a study are read back in the order of their appends, numbered
//   from 1 without gaps.
// - A failed Append leaves the store usable; the same events may be tried
//   again.
class JournalStore {
 public:
  virtual ~JournalStore() = default;

  // Adds events to the end of a study's journal and sets their `sequence`.
  // `expected_size` is the number of events the caller believes are there:
  // FAILED_PRECONDITION if somebody else appended meanwhile. The first append
  // (expected_size 0) creates the study. RESOURCE_EXHAUSTED (disk full) and
  // UNAVAILABLE (store gone) may be retried. ABORTED: this process is no longer
  // the leader of a shared store (store/leader_lease.h), for good.
  virtual absl::Status Append(absl::string_view study_id, int64_t expected_size,
                              absl::Span<v1::JournalEvent> events) = 0;

  // Begins an append and returns at once, so that its caller can release a lock
  // before it waits. Appends to a study that are begun one after the other take
  // effect in that order: if one fails, so do those that expect its events. The
  // store must outlive the answer. Unless a store does better it appends first.
  virtual std::shared_ptr<PendingAppend> Start(
      absl::string_view study_id, int64_t expected_size,
      absl::Span<v1::JournalEvent> events);

  // Calls `visit` for each event with sequence > `after`, in order, until it
  // returns an error, which is passed on. NOT_FOUND if there is no such study.
  virtual absl::Status Read(
      absl::string_view study_id, int64_t after,
      const std::function<absl::Status(v1::JournalEvent&&)>& visit) = 0;

  // Ids of all studies, sorted.
  virtual absl::StatusOr<std::vector<std::string>> ListStudies() = 0;
};

// In memory; for tests and dry runs.
std::unique_ptr<JournalStore> CreateMemoryJournalStore();

struct SqliteOptions {
  // The database file; created with its folder if missing.
  std::string path;
  // How long to wait for another process that holds the file.
  int busy_timeout_ms = 5000;
};

// One SQLite file in WAL mode with full synchronisation. A newer schema than
// this program knows is FAILED_PRECONDITION; an older one is migrated forward.
absl::StatusOr<std::unique_ptr<JournalStore>> OpenSqliteJournalStore(
    const SqliteOptions& options);

struct PostgresOptions {
  // "postgresql://user@host:5432/database" or "host=... dbname=...". A secret,
  // if it holds a password: it appears in no message.
  std::string url;
  // Of LeaderLease::TryAcquire: appends are refused once another process leads.
  // 0: not fenced, for a store that nobody shares.
  int64_t epoch = 0;
  // No call takes much longer.
  absl::Duration timeout = absl::Seconds(10);
};

// The schema "hwnas" of a PostgreSQL database (15 or newer), created if it is
// missing and migrated forward like SQLite's. While the server is away calls
// are UNAVAILABLE; the connection is made again by itself.
absl::StatusOr<std::unique_ptr<JournalStore>> OpenPostgresJournalStore(
    const PostgresOptions& options);

}  // namespace hwnas
