// A consistent copy of a SQLite journal, also while a controller appends to it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace hwnas {

// Of what SQLite keeps beside a database, behind the database's own name.
inline constexpr absl::string_view kSqliteSuffixes[] = {"-wal", "-shm",
                                                        "-journal"};

// Copies the journal `from` to `to`, which must not exist (ALREADY_EXISTS).
// What was acknowledged before the call is in the copy. The copy is complete
// and synced when it returns OK, else there is none. `progress` hears of pages
// copied and in all. DATA_LOSS if the original is damaged or no journal.
absl::Status BackupSqliteJournal(
    const std::string& from, const std::string& to,
    const std::function<void(int64_t done, int64_t total)>& progress);

}  // namespace hwnas
