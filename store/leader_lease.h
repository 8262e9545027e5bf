// The right to be the one active controller of a store that several share.
//
//   HWNAS_ASSIGN_OR_RETURN(auto lease, OpenPostgresLease({.url = url, ...}));
//   absl::StatusOr<int64_t> epoch = lease->TryAcquire();   // Until it is OK.
//   OpenPostgresJournalStore({.url = url, .epoch = *epoch});
//   lease->Renew();                                        // While we lead.
//
// The epoch grows with every change of leader. An append carries it and is
// refused, in the transaction that would have written, once it is over. So it
// does no harm if an old leader (frozen, or cut off) still believes in itself:
// time decides only who may lead next, never whether a write is safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace hwnas {

// Thread-safe.
class LeaderLease {
 public:
  virtual ~LeaderLease() = default;

  // One try to lead. The new epoch; ABORTED, naming the leader, while there is
  // another; UNAVAILABLE while the store is away.
  virtual absl::StatusOr<int64_t> TryAcquire() = 0;
  // Prolongs what TryAcquire gave, to be called four times in each duration.
  // ABORTED once another leads; UNAVAILABLE while the store is away: if nobody
  // takes over meanwhile, we still lead when it is back.
  virtual absl::Status Renew() = 0;
  // Lets the next one lead at once.
  virtual absl::Status Release() = 0;
};

struct PostgresLeaseOptions {
  std::string url;  // See PostgresOptions.
  // Names this process to people: "host:port".
  std::string holder;
  // How long the lease outlives its last renewal: a leader that is frozen or
  // cut off is replaced after that, one whose connection ended (its process
  // died) after half of it. At least 1 s, by the server's clock.
  absl::Duration duration = absl::Seconds(4);
};

absl::StatusOr<std::unique_ptr<LeaderLease>> OpenPostgresLease(
    const PostgresLeaseOptions& options);

}  // namespace hwnas
