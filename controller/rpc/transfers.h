// Uploads, downloads and exports: calls that move a file and hold a thread of
// the server meanwhile. Counted, for all and for each identity, and cut off
// when they stand still, take too long, or the caller's certificate ends.
#pragma once

#include <list>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "controller/rpc/access.h"
#include "grpcpp/server_context.h"

namespace hwnas::controller {

class Transfer;

struct TransferLimits {
  // At once.
  int max_transfers = 24;
  // Of one identity; without TLS there are none.
  int max_of_caller = 6;
  // How long one may take, and how long nothing of it may come or go.
  absl::Duration timeout = absl::Minutes(15);
  absl::Duration idle_timeout = absl::Minutes(1);
};

// Thread-safe. `access` and `clock` must outlive it.
class Transfers {
 public:
  Transfers(const TransferLimits& limits, Access* access, const Clock* clock)
      : limits_(limits), access_(access), clock_(clock) {}

  // Cancels those that take too long. Call now and then.
  void Tick();

 private:
  friend class Transfer;

  const TransferLimits limits_;
  Access* const access_;
  const Clock* const clock_;
  Mutex mutex_;
  std::list<Transfer*> all_ ABSL_GUARDED_BY(mutex_);
};

// One of them, on the stack of its handler. Thread-compatible.
class Transfer {
 public:
  Transfer(Transfers* transfers, grpc::ServerContext* context);
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  // RESOURCE_EXHAUSTED if there are too many.
  absl::Status Check() const;
  // A piece has come or gone.
  void Moved();

 private:
  friend class Transfers;

  Transfers* const transfers_;
  grpc::ServerContext* const context_;
  const Access::Caller caller_;
  const absl::Time begin_;
  absl::Time moved_;  // Under the mutex of `transfers_`.
  bool fits_ = true;
  bool caller_fits_ = true;
  std::list<Transfer*>::iterator place_;
  const std::unique_ptr<Access::Hold> hold_;
};

}  // namespace hwnas::controller
