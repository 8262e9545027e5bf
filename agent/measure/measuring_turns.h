// Which of an agent's measurements has the device now. Measurements that take
// turns in random order, a pass each, see the same machine: one that becomes
// warmer or slower meanwhile does not favour who came first.
//
//   HWNAS_RETURN_IF_ERROR(turns.Take(cancelled));
//   ... a pass ...
//   if (turns.IsWanted()) { HWNAS_RETURN_IF_ERROR(turns.Pass(cancelled)); }
//   ... the next one ...
//   turns.Leave();
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "common/mutex.h"
#include "common/rng.h"

namespace hwnas::agent {

// Thread-safe; each measurement has a thread of its own.
class MeasuringTurns {
 public:
  explicit MeasuringTurns(uint64_t seed) : rng_(seed) {}

  // Waits for a turn. Asks `cancelled` ten times a second and gives up with
  // CANCELLED when it returns true; then the caller has none.
  absl::Status Take(const std::function<bool()>& cancelled)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // For the holder. Whether anybody waits.
  bool IsWanted() ABSL_LOCKS_EXCLUDED(mutex_);
  // The holder's turn ends. Who is next is drawn among those who wait.
  void Leave() ABSL_LOCKS_EXCLUDED(mutex_);
  // Leaves and waits for another turn, which comes after one of somebody else
  // who waits already.
  absl::Status Pass(const std::function<bool()>& cancelled)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::Status Wait(const std::function<bool()>& cancelled)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DrawNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  CondVar changed_;
  Rng rng_ ABSL_GUARDED_BY(mutex_);
  int64_t last_ticket_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t holder_ ABSL_GUARDED_BY(mutex_) = 0;  // 0: nobody.
  std::vector<int64_t> waiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace hwnas::agent
