#include "agent/measure/disturbance.h"

#include <algorithm>
#include <cmath>

#include "agent/device/power/raspberry_pi.h"

namespace hwnas::agent {
namespace {

constexpr double kMaxWaitedShare = 0.005;
constexpr double kMaxPreemptionsPerSecond = 10;
constexpr double kMaxClockChange = 0.05;
constexpr double kMaxStealShare = 0.02;
constexpr double kMaxOthersShare = 0.1;
constexpr double kForgivenSeconds = 0.02;

bool IsTooMuch(const std::optional<double>& before,
               const std::optional<double>& after, double allowed) {
  return before && after && *after - *before > allowed;
}

}  // namespace

bool Disturbances::any() const {
  return std::any_of(kinds_.begin(), kinds_.end(), [](bool is) { return is; });
}

Disturbances& Disturbances::operator|=(const Disturbances& other) {
  for (int i = 0; i < kDisturbanceKinds; ++i) {
    kinds_[i] = kinds_[i] || other.kinds_[i];
  }
  return *this;
}

const char* Describe(Disturbance kind) {
  switch (kind) {
    case Disturbance::kWaited:
      return "waited for a core";
    case Disturbance::kPreempted:
      return "preempted";
    case Disturbance::kClock:
      return "the clock changed";
    case Disturbance::kThrottled:
      return "throttled";
    case Disturbance::kStolen:
      return "the hypervisor took the core";
    case Disturbance::kOthers:
      return "other work on the machine";
    case Disturbance::kSibling:
      return "other work on a hyper-thread of the core";
  }
  return "disturbed";
}

Disturbances JudgeBlock(const ThreadCounts& before, const ThreadCounts& after,
                        absl::Duration elapsed) {
  Disturbances found;
  const double seconds = absl::ToDoubleSeconds(elapsed);
  if (IsTooMuch(before.waited_seconds, after.waited_seconds,
                kMaxWaitedShare * seconds)) {
    found.Add(Disturbance::kWaited);
  }
  if (static_cast<double>(after.preemptions - before.preemptions) >
      kMaxPreemptionsPerSecond * seconds) {
    found.Add(Disturbance::kPreempted);
  }
  if (before.frequency_mhz && after.frequency_mhz &&
      std::abs(*after.frequency_mhz - *before.frequency_mhz) >
          kMaxClockChange * *before.frequency_mhz) {
    found.Add(Disturbance::kClock);
  }
  if (before.throttles && after.throttles &&
      *after.throttles > *before.throttles) {
    found.Add(Disturbance::kThrottled);
  }
  return found;
}

Disturbances JudgeHost(const HostCounts& before, const HostCounts& after,
                       absl::Duration elapsed) {
  Disturbances found;
  const double seconds = absl::ToDoubleSeconds(elapsed);
  if (IsTooMuch(before.steal_seconds, after.steal_seconds,
                kMaxStealShare * seconds)) {
    found.Add(Disturbance::kStolen);
  }
  if (IsTooMuch(
          before.others_seconds, after.others_seconds,
          kMaxOthersShare * after.other_cores * seconds + kForgivenSeconds)) {
    found.Add(Disturbance::kOthers);
  }
  if (IsTooMuch(
          before.siblings_seconds, after.siblings_seconds,
          kMaxOthersShare * after.sibling_cores * seconds + kForgivenSeconds)) {
    found.Add(Disturbance::kSibling);
  }
  if (before.throttled && after.throttled &&
      !ThrottledBetween(*before.throttled, *after.throttled).empty()) {
    found.Add(Disturbance::kThrottled);
  }
  return found;
}

}  // namespace hwnas::agent
