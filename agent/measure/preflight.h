// Looks whether the machine is fit to be measured on: idle, cool, not
// throttled. Waits a while for it to become so, and then says what is wrong.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/measure/latency_meter.h"
#include "agent/measure/steady_clock.h"

namespace hwnas::agent {

struct PreflightOptions {
  // How long to wait for a machine that is not fit. 0: only look.
  absl::Duration wait = absl::Seconds(10);
  // Of the hottest readable zone.
  double max_temperature_c = 75;
  // What a Raspberry Pi says of its throttling (ParseThrottled). Null
  // elsewhere.
  std::function<std::optional<uint32_t>()> throttled;
  // Where /proc and /sys are looked for.
  std::string root = "/";
};

// What still speaks against measuring now, as flags for the result: "NOISY:
// load: ...". Empty: nothing that the system tells. Takes 0.1 s if all is well:
// the cores are idle if all processes together use less than a tenth of them
// for so long (and two ticks more, since that is as fine as the kernel counts).
// An error is only CANCELLED.
absl::StatusOr<std::vector<std::string>> Preflight(
    const PreflightOptions& options, SteadyClock& clock,
    const LatencyHooks& hooks);

}  // namespace hwnas::agent
