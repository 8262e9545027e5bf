// Waits to lead on a store that several controllers share, then keeps the lease
// alive:
//
//   waiting -> leading <-> unsure (the store is away) -> lost
//
#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/log.h"
#include "common/mutex.h"
#include "store/leader_lease.h"

namespace hwnas::controller {

// A thread of its own calls the functions below, one at a time; they return
// soon. The owner's calls come from one thread.
class Leadership {
 public:
  struct Events {
    // This process leads from now on.
    std::function<void(int64_t epoch)> on_lead;
    // false: the lease has run out while the store is away, so that another
    // controller may lead by now. true: nobody took over meanwhile.
    std::function<void(bool sure)> on_sure;
    // Another controller leads. Last call.
    std::function<void(const absl::Status& why)> on_lost;
  };

  Leadership(std::unique_ptr<LeaderLease> lease, absl::Duration duration,
             Events events, std::shared_ptr<Logger> logger);
  // Stops, and if it leads lets the next one lead at once.
  ~Leadership();

  // One try, before Start: the epoch, or ABORTED naming the leader.
  absl::StatusOr<int64_t> TryLead();
  // Renews the lease, or waits for one if TryLead had none.
  void Start();

 private:
  void Run();
  // One step; returns how long to wait before the next, or InfiniteDuration
  // after the last.
  absl::Duration Wait();
  absl::Duration Renew();

  const std::unique_ptr<LeaderLease> lease_;
  const absl::Duration duration_;
  const Events events_;
  const std::shared_ptr<Logger> logger_;

  // Used by the thread, once it runs.
  bool leading_ = false;
  bool sure_ = true;
  bool store_away_ = false;
  std::chrono::steady_clock::time_point renewed_;

  std::thread thread_;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace hwnas::controller
