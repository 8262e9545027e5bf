// Journals of studies in one file, to carry them from one store to another:
// what a backup or a move between SQLite and PostgreSQL needs. docs/store.md
// describes the format.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "store/journal_store.h"

namespace hwnas {

struct TransferProgress {
  std::string study_id;
  int study = 0;  // From 1.
  int64_t events = 0;
};
// Called now and then, and once at the end of each study.
using OnTransfer = std::function<void(const TransferProgress&)>;

// Writes these studies, each up to its last event at that moment, into a new
// file. ALREADY_EXISTS if there is one; NOT_FOUND if a study does not exist.
// The file is complete and synced when it returns OK, else there is none.
absl::Status ExportJournals(JournalStore& store,
                            absl::Span<const std::string> study_ids,
                            const std::string& path,
                            const OnTransfer& progress);

// Appends the studies of a file to a store. The whole file is checked first, so
// that nothing is written if it is damaged or incomplete (DATA_LOSS), of a
// newer format (FAILED_PRECONDITION), or if a study there has another history
// (ALREADY_EXISTS). A study that is there in part, from an import that was
// interrupted, is completed.
absl::Status ImportJournals(const std::string& path, JournalStore& store,
                            const OnTransfer& progress);

}  // namespace hwnas
