// Times inferences until the number can be trusted or time is up.
//
//   first inference -> warm-up until it settles -> blocks until the confidence
//   interval is tight
//
// A block is as many inferences as take about 10 ms (or one, if that takes
// longer), so that the clock's own cost and grain do not matter; its sample is
// the mean of its inferences. The reported latency is the median of the blocks.
//
// A block that something else disturbed (disturbance.h) is run again: at most
// as many as count. If that does not help, the report says so.
//
// The blocks come in passes. Between two of them others may use the device; so
// that several networks are measured in turns, and a machine that changes its
// speed meanwhile does so for all of them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/device/interference.h"
#include "agent/measure/statistics.h"
#include "agent/measure/steady_clock.h"
#include "agent/runtime/runtime.h"

namespace hwnas::agent {

// Of so many inferences, the slowest is above their 0.99-quantile with 95 %
// probability; of fewer, it would be a guess.
inline constexpr int kMinInferencesForP99 = 300;

struct LatencyMeterOptions {
  // Stop when the 95 % confidence interval of the median lies within this share
  // of it on both sides.
  double target_half_width = 0.02;
  // Timed blocks go on at least this long, and warm-up and blocks together at
  // most `max_time` (but never less than one block).
  absl::Duration min_time = absl::Milliseconds(300);
  absl::Duration max_time = absl::Seconds(5);
  absl::Duration min_block = absl::Milliseconds(10);
};

struct LatencyReport {
  double median_ms = 0;
  // Of the blocks; unset if there are too few: fewer than 2 (6 for the
  // interval, and more if each is like the one before).
  std::optional<double> mad_ms;
  std::optional<Interval> ci_ms;
  // Quantiles of single inferences. That of 0.99 needs kMinInferencesForP99.
  double p90_ms = 0;
  std::optional<double> p99_ms;
  int64_t inference_count = 0;
  // Raw samples in order. Those of disturbed blocks are left out, unless there
  // is too little else.
  std::vector<double> block_ms;
  // Indices into `block_ms` where a pass begins that came after a pause.
  std::vector<int> pass_begins;
  int64_t disturbed_blocks = 0;
  int inferences_per_block = 1;
  double first_ms = 0;
  // From the first inference until the latency settled.
  std::vector<double> warmup_block_ms;
  int64_t warmup_inferences = 0;
  absl::Duration total_time;
  // What limits trust: "UNCONVERGED: ...", "NOISY: ...".
  std::vector<std::string> flags;
};

struct LatencyHooks {
  // Asked between blocks; true ends the measurement with CANCELLED.
  std::function<bool()> cancelled = [] { return false; };
  // Told now and then what goes on: "warming up", "measuring 12 blocks".
  std::function<void(const std::string&)> progress = [](const std::string&) {};
  // Called between passes, when others may use the device; returns when it is
  // ours again, and whether anybody used it. The time in it does not count. An
  // error ends the measurement.
  std::function<absl::StatusOr<bool>()> pause = [] { return false; };
};

// `interference` may be null. The calling thread does the work.
absl::StatusOr<LatencyReport> MeasureLatency(Session& session,
                                             const LatencyMeterOptions& options,
                                             SteadyClock& clock,
                                             Interference* interference,
                                             const LatencyHooks& hooks = {});

}  // namespace hwnas::agent
