// A journal store that fails when it is told to, and remembers where each
// append ended: the instants between which a crash may fall.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "tests/fakes/forwarding_journal_store.h"

namespace hwnas {

// Thread-safe.
class FaultyJournalStore final : public ForwardingJournalStore {
 public:
  using ForwardingJournalStore::ForwardingJournalStore;

  // Every append fails with `status`; OK ends that.
  void FailWith(absl::Status status) {
    MutexLock lock(&mutex_);
    failure_ = std::move(status);
  }
  // The next append is durable, but its caller is told that it failed.
  void LoseNextAnswer() {
    MutexLock lock(&mutex_);
    lose_answer_ = true;
  }
  // Sizes of the journals after each append that succeeded.
  std::vector<int64_t> append_ends() const {
    MutexLock lock(&mutex_);
    return append_ends_;
  }
  int refused() const {
    MutexLock lock(&mutex_);
    return refused_;
  }

  absl::Status Append(absl::string_view study_id, int64_t expected_size,
                      absl::Span<v1::JournalEvent> events) override {
    MutexLock lock(&mutex_);
    if (!failure_.ok()) {
      ++refused_;
      return failure_;
    }
    if (absl::Status status =
            ForwardingJournalStore::Append(study_id, expected_size, events);
        !status.ok()) {
      return status;
    }
    append_ends_.push_back(expected_size + static_cast<int64_t>(events.size()));
    if (lose_answer_) {
      lose_answer_ = false;
      return absl::UnavailableError("the answer was lost");
    }
    return absl::OkStatus();
  }
  std::shared_ptr<PendingAppend> Start(
      absl::string_view study_id, int64_t expected_size,
      absl::Span<v1::JournalEvent> events) override {
    {
      MutexLock lock(&mutex_);
      if (failure_.ok() && !lose_answer_) {
        append_ends_.push_back(expected_size +
                               static_cast<int64_t>(events.size()));
        return ForwardingJournalStore::Start(study_id, expected_size, events);
      }
    }
    return JournalStore::Start(study_id, expected_size, events);
  }

 private:
  mutable Mutex mutex_;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  bool lose_answer_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<int64_t> append_ends_ ABSL_GUARDED_BY(mutex_);
  int refused_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace hwnas
