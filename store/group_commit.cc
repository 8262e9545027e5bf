#include "store/group_commit.h"

#include "store/journal_checks.h"

namespace hwnas {
namespace {

// One commit carries at most so much, so that nobody waits long for others.
constexpr size_t kMaxBatchAppends = 1024;
constexpr size_t kMaxBatchBytes = size_t{16} << 20;

}  // namespace

// Holds its place in the queue for as long as that needs it.
class GroupCommit::Pending final : public PendingAppend {
 public:
  explicit Pending(GroupCommit* group) : group_(group) {}
  ~Pending() override { (void)Wait(); }
  absl::Status Wait() override { return group_->Await(&append); }

  WaitingAppend append;

 private:
  GroupCommit* const group_;
};

std::shared_ptr<PendingAppend> GroupCommit::Start(
    absl::string_view study_id, int64_t expected_size,
    absl::Span<v1::JournalEvent> events) {
  auto pending = std::make_shared<Pending>(this);
  WaitingAppend& append = pending->append;
  append.study_id = std::string(study_id);
  append.expected_size = expected_size;
  append.status = CheckAppend(study_id, expected_size);
  append.done = !append.status.ok();
  if (append.done) return pending;
  append.payloads.reserve(events.size());
  for (size_t i = 0; i < events.size(); ++i) {
    events[i].set_sequence(expected_size + 1 + static_cast<int64_t>(i));
    append.bytes +=
        append.payloads.emplace_back(events[i].SerializeAsString()).size();
  }
  MutexLock lock(&mutex_);
  queue_.push_back(&append);
  return pending;
}

absl::Status GroupCommit::Append(absl::string_view study_id,
                                 int64_t expected_size,
                                 absl::Span<v1::JournalEvent> events) {
  const absl::Status status = Start(study_id, expected_size, events)->Wait();
  if (!status.ok()) {
    for (v1::JournalEvent& event : events) event.clear_sequence();
  }
  return status;
}

absl::Status GroupCommit::Await(WaitingAppend* append) {
  MutexLock lock(&mutex_);
  while (!append->done) {
    if (leading_) {
      batch_done_.Wait(&mutex_);
      continue;
    }
    leading_ = true;
    std::vector<WaitingAppend*> batch;
    size_t bytes = 0;
    while (!queue_.empty() && batch.size() < kMaxBatchAppends &&
           (batch.empty() || bytes + queue_.front()->bytes <= kMaxBatchBytes)) {
      bytes += queue_.front()->bytes;
      batch.push_back(queue_.front());
      queue_.pop_front();
    }
    mutex_.Unlock();
    Write(batch);
    mutex_.Lock();
    leading_ = false;
    for (WaitingAppend* waiting : batch) waiting->done = true;
    batch_done_.SignalAll();
  }
  return append->status;
}

void GroupCommit::Write(Batch batch) {
  const absl::Status status = commit_(batch);
  if (status.ok()) return;
  // A store that is away, or another's, is so for all of them.
  if (batch.size() == 1 || absl::IsUnavailable(status) ||
      absl::IsAborted(status)) {
    for (WaitingAppend* waiting : batch) waiting->status = status;
    return;
  }
  // One of them may be at fault (too large for the space that is left): each
  // gets its own chance.
  for (WaitingAppend* const& waiting : batch) {
    absl::Status alone = commit_({&waiting, 1});
    if (!alone.ok()) waiting->status = std::move(alone);
  }
}

}  // namespace hwnas
