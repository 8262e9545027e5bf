// Appends that wait at the same time share one transaction, hence one sync.
// Private to store/.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/mutex.h"
#include "hwnas/v1/journal.pb.h"
#include "store/journal_store.h"

namespace hwnas {

// An append on its way.
struct WaitingAppend {
  std::string study_id;
  int64_t expected_size = 0;
  std::vector<std::string> payloads;  // Serialized events.
  size_t bytes = 0;                   // Of all payloads.
  absl::Status status;
  bool done = false;
};

// Of those who wait the first leads: it takes all appends that were begun, has
// them committed, and wakes the others, each with its own status; meanwhile the
// next ones gather. A lone append pays for no hand-over between threads.
//
// Thread-safe.
class GroupCommit {
 public:
  using Batch = absl::Span<WaitingAppend* const>;
  // All of a batch in one transaction. An error means that nothing is known to
  // be committed; OK, that each whose status is OK was. One call at a time.
  using Commit = std::function<absl::Status(Batch)>;

  explicit GroupCommit(Commit commit) : commit_(std::move(commit)) {}

  // See JournalStore::Start and Append.
  std::shared_ptr<PendingAppend> Start(absl::string_view study_id,
                                       int64_t expected_size,
                                       absl::Span<v1::JournalEvent> events);
  absl::Status Append(absl::string_view study_id, int64_t expected_size,
                      absl::Span<v1::JournalEvent> events);

 private:
  class Pending;

  // Returns when `append`, which is in the queue, is done.
  absl::Status Await(WaitingAppend* append);
  // Sets the status of each.
  void Write(Batch batch);

  const Commit commit_;
  Mutex mutex_;
  CondVar batch_done_;
  std::deque<WaitingAppend*> queue_ ABSL_GUARDED_BY(mutex_);
  bool leading_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace hwnas
