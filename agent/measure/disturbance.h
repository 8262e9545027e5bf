// Judges from counters whether something else disturbed what we timed. Pure
// functions over agent/device/interference.h.
#pragma once

#include <array>
#include <string>

#include "absl/time/time.h"
#include "agent/device/interference.h"

namespace hwnas::agent {

enum class Disturbance {
  kWaited,     // Ready to run, without a core.
  kPreempted,  // The kernel took the core.
  kClock,      // The clock of the core changed.
  kThrottled,  // Too hot, or too little voltage.
  kStolen,     // The hypervisor took the core.
  kOthers,     // Other work on the machine shares caches, memory and turbo.
  kSibling,    // Other work on a hyper-thread of our core.
};
inline constexpr int kDisturbanceKinds = 7;

// Which kinds there were.
class Disturbances {
 public:
  void Add(Disturbance kind) { kinds_[static_cast<int>(kind)] = true; }
  bool Has(Disturbance kind) const { return kinds_[static_cast<int>(kind)]; }
  bool any() const;
  Disturbances& operator|=(const Disturbances& other);

 private:
  std::array<bool, kDisturbanceKinds> kinds_ = {};
};

// For people: "waited for a core".
const char* Describe(Disturbance kind);

// Within one block that took `elapsed`: waiting of more than 0.5 % of it, more
// than 10 preemptions a second (any in a short block), a clock that changed by
// more than 5 %, throttling.
Disturbances JudgeBlock(const ThreadCounts& before, const ThreadCounts& after,
                        absl::Duration elapsed);

// During a stretch of blocks, of 0.1 s or more: steal of more than 2 %, other
// work of more than a tenth of the other cores or of a sibling, throttling. Two
// ticks are forgiven, since that is as fine as the kernel counts.
Disturbances JudgeHost(const HostCounts& before, const HostCounts& after,
                       absl::Duration elapsed);

}  // namespace hwnas::agent
