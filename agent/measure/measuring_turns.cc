#include "agent/measure/measuring_turns.h"

#include <algorithm>

#include "absl/time/time.h"

namespace hwnas::agent {
namespace {

constexpr absl::Duration kLookInterval = absl::Milliseconds(100);

}  // namespace

absl::Status MeasuringTurns::Take(const std::function<bool()>& cancelled) {
  MutexLock lock(&mutex_);
  return Wait(cancelled);
}

absl::Status MeasuringTurns::Pass(const std::function<bool()>& cancelled) {
  MutexLock lock(&mutex_);
  DrawNext();
  return Wait(cancelled);
}

absl::Status MeasuringTurns::Wait(const std::function<bool()>& cancelled) {
  const int64_t ticket = ++last_ticket_;
  waiting_.push_back(ticket);
  if (holder_ == 0) DrawNext();
  while (holder_ != ticket) {
    changed_.WaitWithTimeout(&mutex_, kLookInterval);
    if (holder_ != ticket && cancelled()) {
      waiting_.erase(std::find(waiting_.begin(), waiting_.end(), ticket));
      return absl::CancelledError("cancelled while others were measured");
    }
  }
  return absl::OkStatus();
}

bool MeasuringTurns::IsWanted() {
  MutexLock lock(&mutex_);
  return !waiting_.empty();
}

void MeasuringTurns::Leave() {
  MutexLock lock(&mutex_);
  DrawNext();
}

void MeasuringTurns::DrawNext() {
  holder_ = 0;
  if (waiting_.empty()) return;
  const auto next =
      waiting_.begin() + static_cast<int64_t>(rng_.Below(waiting_.size()));
  holder_ = *next;
  waiting_.erase(next);
  changed_.SignalAll();
}

}  // namespace hwnas::agent
