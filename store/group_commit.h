// Appends that wait at the same time share one transaction, hence one sync.
// Private to store/.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/mutex.h"
#include "hwnas/v1/journal.pb.h"

namespace hwnas {

// An append on its way; lives on the stack of its caller.
struct WaitingAppend {
  absl::string_view study_id;
  int64_t expected_size = 0;
  std::vector<std::string> payloads;  // Serialized events.
  size_t bytes = 0;                   // Of all payloads.
  absl::Status status;
  bool done = false;
};

// The first append to come leads: it takes all that wait, has them committed,
// and wakes the others, each with its own status; meanwhile the next ones
// gather. A lone append pays for no hand-over between threads.
//
// Thread-safe.
class GroupCommit {
 public:
  using Batch = absl::Span<WaitingAppend* const>;
  // All of a batch in one transaction. An error means that nothing is known to
  // be committed; OK, that each whose status is OK was. One call at a time.
  using Commit = std::function<absl::Status(Batch)>;

  explicit GroupCommit(Commit commit) : commit_(std::move(commit)) {}

  // Numbers and serializes `events` and returns once they are committed or
  // refused; refused ones lose their numbers again.
  absl::Status Append(absl::string_view study_id, int64_t expected_size,
                      absl::Span<v1::JournalEvent> events);

 private:
  // Sets the status of each.
  void Write(Batch batch);

  const Commit commit_;
  Mutex mutex_;
  CondVar batch_done_;
  std::deque<WaitingAppend*> queue_ ABSL_GUARDED_BY(mutex_);
  bool leading_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace hwnas
