#include "agent/measure/energy_meter.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "agent/device/power/energy_integrator.h"
#include "agent/measure/statistics.h"
#include "common/status_macros.h"

namespace hwnas::agent {
namespace {

// Cancellation is noticed within this time.
constexpr absl::Duration kSlice = absl::Milliseconds(100);
// A source may be slow, but a measurement is not to last for ever.
constexpr absl::Duration kLongestWindow = absl::Minutes(2);
// Idle before and after may differ by this share of what the inferences add.
constexpr double kMaxIdleDrift = 0.1;
constexpr double kMaxClockDifference = 0.05;
// Less than this share of the power is lost in the sensor's grain.
constexpr double kMinAddedShare = 0.001;
// Parts of the window whose spread is told, and readings in each of them.
constexpr int kParts = 10;
constexpr int kMinReadingsPerPart = 4;

class Meter {
 public:
  Meter(Session& session, PowerRecorder& recorder,
        const EnergyMeterOptions& options, SteadyClock& clock,
        const LatencyHooks& hooks, const FrequencyReader& frequency_mhz)
      : session_(session),
        recorder_(recorder),
        options_(options),
        clock_(clock),
        hooks_(hooks),
        frequency_mhz_(frequency_mhz) {}

  absl::StatusOr<EnergyReport> Measure() {
    recorder_.Start();
    absl::Cleanup stop = [&] { recorder_.Stop(); };
    const absl::Duration interval = recorder_.info().interval;
    const absl::Duration settle =
        std::min(kLongestWindow, std::max({options_.settle_time, 2 * interval,
                                           2 * recorder_.info().averaging}));
    const absl::Duration idle = std::min(
        kLongestWindow,
        std::max(options_.idle_time, options_.idle_intervals * interval));
    hooks_.progress("measuring energy: idle");
    HWNAS_RETURN_IF_ERROR(Rest(settle));
    HWNAS_ASSIGN_OR_RETURN(const TimeWindow before, Idle(idle));
    // The reading that closes a window must be of the same load.
    HWNAS_RETURN_IF_ERROR(Rest(2 * interval));
    hooks_.progress("measuring energy: inferences");
    HWNAS_RETURN_IF_ERROR(Infer(settle).status());  // Lead-in.
    const absl::Duration active = std::min(
        kLongestWindow,
        std::max(options_.active_time, options_.active_intervals * interval));
    const absl::Duration begin = clock_.Now();
    HWNAS_ASSIGN_OR_RETURN(report_.inference_count, Infer(active));
    const TimeWindow busy = {begin, clock_.Now()};
    report_.active_time = busy.length();
    active_mhz_ = Frequency();
    HWNAS_RETURN_IF_ERROR(Infer(2 * interval).status());
    hooks_.progress("measuring energy: idle");
    HWNAS_RETURN_IF_ERROR(Rest(settle));
    HWNAS_ASSIGN_OR_RETURN(const TimeWindow after, Idle(idle));
    HWNAS_RETURN_IF_ERROR(Rest(2 * interval));
    std::move(stop).Cancel();
    Conclude(recorder_.Stop(), before, busy, after);
    return std::move(report_);
  }

 private:
  absl::Status CheckCancelled() const {
    if (hooks_.cancelled()) {
      return absl::CancelledError("cancelled while measuring energy");
    }
    return absl::OkStatus();
  }

  std::optional<double> Frequency() const {
    return frequency_mhz_ ? frequency_mhz_() : std::nullopt;
  }

  absl::Status Rest(absl::Duration duration) {
    const absl::Duration end = clock_.Now() + duration;
    for (;;) {
      HWNAS_RETURN_IF_ERROR(CheckCancelled());
      const absl::Duration left = end - clock_.Now();
      if (left <= absl::ZeroDuration()) return absl::OkStatus();
      clock_.SleepFor(std::min(left, kSlice));
    }
  }

  absl::StatusOr<TimeWindow> Idle(absl::Duration duration) {
    TimeWindow window = {.begin = clock_.Now()};
    HWNAS_RETURN_IF_ERROR(Rest(duration));
    window.end = clock_.Now();
    if (const auto mhz = Frequency()) {
      // The further from the one under load the worse.
      idle_mhz_ = idle_mhz_ ? std::min(*idle_mhz_, *mhz) : *mhz;
    }
    return window;
  }

  // Whole blocks until `duration` is over; at least one. Returns inferences.
  absl::StatusOr<int64_t> Infer(absl::Duration duration) {
    const absl::Duration end = clock_.Now() + duration;
    int64_t count = 0;
    do {
      HWNAS_RETURN_IF_ERROR(CheckCancelled());
      for (int i = 0; i < options_.inferences_per_block; ++i) {
        HWNAS_RETURN_IF_ERROR(session_.Run());
      }
      count += options_.inferences_per_block;
    } while (clock_.Now() < end);
    return count;
  }

  void Conclude(const PowerRecord& record, const TimeWindow& before,
                const TimeWindow& busy, const TimeWindow& after) {
    const absl::Duration max_gap = recorder_.max_gap();
    const auto integrate = [&](const TimeWindow& window) {
      return IntegrateEnergy(record.readings, window, max_gap);
    };
    const WindowEnergy idle_before = integrate(before);
    const WindowEnergy active = integrate(busy);
    const WindowEnergy idle_after = integrate(after);
    report_.coverage =
        std::min({idle_before.coverage, active.coverage, idle_after.coverage});
    report_.reading_count = active.reading_count;
    report_.idle_before_w = idle_before.power_w;
    report_.idle_after_w = idle_after.power_w;
    const auto explain = [&](const char* when, const WindowEnergy& energy) {
      if (!report_.why_none.empty() || energy.energy_mj) return;
      report_.why_none = absl::StrCat(when, ": ", energy.reason);
      if (record.failed_count > 0) {
        absl::StrAppend(&report_.why_none, " (", record.failed_count,
                        " failed; last: ", record.last_error, ")");
      }
    };
    explain("during the inferences", active);
    explain("idle before them", idle_before);
    explain("idle after them", idle_after);
    const auto count = static_cast<double>(report_.inference_count);
    if (active.energy_mj && *active.energy_mj > 0) {
      report_.power_w = active.power_w;
      report_.gross_mj = *active.energy_mj / count;
    }
    if (!report_.why_none.empty()) return;
    const double idle_w = (*idle_before.power_w + *idle_after.power_w) / 2;
    const double added_w = *active.power_w - idle_w;
    const double drift_w = std::abs(*idle_before.power_w - *idle_after.power_w);
    if (!(added_w > std::max(drift_w, kMinAddedShare * *active.power_w))) {
      report_.why_none = absl::StrFormat(
          "the inferences do not show: %.3f W with them, %.3f W idle before, "
          "%.3f W after",
          *active.power_w, *idle_before.power_w, *idle_after.power_w);
      return;
    }
    const double seconds = absl::ToDoubleSeconds(busy.length());
    report_.net_mj = 1000 * added_w * seconds / count;
    FlagDoubts(added_w);
    if (active.reading_count < kParts * kMinReadingsPerPart) return;
    std::vector<double> parts;
    for (int i = 0; i < kParts; ++i) {
      const WindowEnergy part =
          integrate({busy.begin + busy.length() * i / kParts,
                     busy.begin + busy.length() * (i + 1) / kParts});
      if (!part.power_w) return;
      parts.push_back(1000 * (*part.power_w - idle_w) * seconds / count);
    }
    report_.net_mad_mj = MedianAbsoluteDeviation(parts);
  }

  void FlagDoubts(double added_w) {
    const double drift =
        std::abs(*report_.idle_before_w - *report_.idle_after_w);
    if (drift > kMaxIdleDrift * added_w) {
      report_.flags.push_back(absl::StrFormat(
          "IDLE_DRIFT: %.3f W idle before, %.3f W after; the inferences add "
          "%.3f W",
          *report_.idle_before_w, *report_.idle_after_w, added_w));
    }
    if (idle_mhz_ && active_mhz_ &&
        std::abs(*idle_mhz_ - *active_mhz_) >
            kMaxClockDifference * *active_mhz_) {
      report_.flags.push_back(absl::StrFormat(
          "IDLE_CLOCKS: %.0f MHz idle, %.0f MHz with inferences", *idle_mhz_,
          *active_mhz_));
    }
  }

  Session& session_;
  PowerRecorder& recorder_;
  const EnergyMeterOptions& options_;
  SteadyClock& clock_;
  const LatencyHooks& hooks_;
  const FrequencyReader& frequency_mhz_;
  std::optional<double> idle_mhz_;
  std::optional<double> active_mhz_;
  EnergyReport report_;
};

}  // namespace

absl::StatusOr<EnergyReport> MeasureEnergy(
    Session& session, PowerRecorder& recorder,
    const EnergyMeterOptions& options, SteadyClock& clock,
    const LatencyHooks& hooks, const FrequencyReader& frequency_mhz) {
  return Meter(session, recorder, options, clock, hooks, frequency_mhz)
      .Measure();
}

}  // namespace hwnas::agent
