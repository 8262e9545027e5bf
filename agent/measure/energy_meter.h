// Measures the energy of one inference.
//
//   settle, idle window -> inferences: lead-in, window, lead-out -> settle,
//   idle window
//
// The power is recorded all the time; afterwards each of the three windows is
// integrated. What the machine takes anyway is the mean of the two idle windows
// and is subtracted. It is measured with the model loaded and the sensor being
// read, so that only the inferences make the difference.
//
// It is apart from the timing (latency_meter.h), which reading a sensor would
// disturb. The session is warm already.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/device/power/power_sampler.h"
#include "agent/measure/latency_meter.h"
#include "agent/measure/steady_clock.h"
#include "agent/runtime/runtime.h"

namespace hwnas::agent {

struct EnergyMeterOptions {
  // Each lasts at least this long, and longer for a slow source: so many of its
  // intervals.
  absl::Duration idle_time = absl::Seconds(1);
  int idle_intervals = 10;
  absl::Duration active_time = absl::Seconds(2);
  int active_intervals = 20;
  absl::Duration settle_time = absl::Milliseconds(300);
  // Inferences between looks at the clock.
  int inferences_per_block = 1;
};

struct EnergyReport {
  // Net of idle, per inference. Unset if there is none, for `why_none`.
  std::optional<double> net_mj;
  // All that the source measures while an inference runs. May be there although
  // `net_mj` is not.
  std::optional<double> gross_mj;
  // Mean while inferences run.
  std::optional<double> power_w;
  // Median absolute deviation of `net_mj` over tenths of the window. Unset if
  // there are too few readings.
  std::optional<double> net_mad_mj;
  std::optional<double> idle_before_w;
  std::optional<double> idle_after_w;
  // The least of the three windows, 0 to 1.
  double coverage = 0;
  // In the window of the inferences.
  int64_t reading_count = 0;
  int64_t inference_count = 0;
  absl::Duration active_time;
  // What limits trust: "IDLE_DRIFT: ...", "IDLE_CLOCKS: ...".
  std::vector<std::string> flags;
  std::string why_none;
};

// Frequency of the measuring core in MHz, as it is now. Unset if not told.
using FrequencyReader = std::function<std::optional<double>()>;

// An error is one of the inferences, or CANCELLED. What the sensor does not
// tell is no error: see EnergyReport::why_none. `recorder` must not be
// recording. The calling thread does the work.
absl::StatusOr<EnergyReport> MeasureEnergy(
    Session& session, PowerRecorder& recorder,
    const EnergyMeterOptions& options, SteadyClock& clock,
    const LatencyHooks& hooks = {},
    const FrequencyReader& frequency_mhz = nullptr);

}  // namespace hwnas::agent
