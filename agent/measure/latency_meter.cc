#include "agent/measure/latency_meter.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "common/status_macros.h"

namespace hwnas::agent {
namespace {

// Warm-up has settled when two windows of this many blocks agree.
constexpr size_t kWarmupWindow = 3;
// Of max_time, that warm-up may use.
constexpr double kWarmupShare = 0.25;
// Below this, an agreement of windows is luck.
constexpr double kWarmupTolerance = 0.01;
constexpr int kMaxInferencesPerBlock = 1'000'000;
// An interval over fewer blocks says little about the tails.
constexpr size_t kMinBlocks = 10;
constexpr size_t kMaxBlocks = 100'000;
// Single inferences kept for the quantile; then every second one, and so on.
constexpr size_t kMaxSingles = size_t{1} << 18;
// The median shrugs off some disturbed blocks, but not this share of them.
constexpr double kNoisyBlockShare = 0.25;
constexpr double kNoisyStealShare = 0.02;
constexpr absl::Duration kProgressInterval = absl::Milliseconds(250);

// Keeps at most kMaxSingles of a stream, evenly.
class Singles {
 public:
  void Add(double value) {
    if (count_++ % stride_ != 0) return;
    values_.push_back(value);
    if (values_.size() < kMaxSingles) return;
    for (size_t i = 0; i < values_.size() / 2; ++i) values_[i] = values_[2 * i];
    values_.resize(values_.size() / 2);
    stride_ *= 2;
  }
  int64_t count() const { return count_; }
  const std::vector<double>& values() const { return values_; }

 private:
  std::vector<double> values_;
  int64_t count_ = 0;
  int64_t stride_ = 1;
};

class Meter {
 public:
  Meter(Session& session, const LatencyMeterOptions& options,
        SteadyClock& clock, Interference* interference,
        const LatencyHooks& hooks)
      : session_(session),
        options_(options),
        clock_(clock),
        interference_(interference),
        hooks_(hooks) {}

  absl::StatusOr<LatencyReport> Measure() {
    const absl::Duration begin = clock_.Now();
    HWNAS_RETURN_IF_ERROR(session_.Run());
    report_.first_ms = absl::ToDoubleMilliseconds(clock_.Now() - begin);
    deadline_ = clock_.Now() + options_.max_time;
    HWNAS_RETURN_IF_ERROR(WarmUp());
    HWNAS_RETURN_IF_ERROR(TimeBlocks());
    report_.total_time = clock_.Now() - begin;
    return std::move(report_);
  }

 private:
  absl::Status WarmUp() {
    hooks_.progress("warming up");
    const absl::Duration end = clock_.Now() + options_.max_time * kWarmupShare;
    const double tolerance =
        std::max(kWarmupTolerance, options_.target_half_width);
    double per_inference_ms = report_.first_ms;
    std::vector<double> blocks;
    do {
      HWNAS_RETURN_IF_ERROR(CheckCancelled());
      // Sized by the last block, since the first inference may be far slower.
      const int count = InferencesPerBlock(per_inference_ms);
      HWNAS_ASSIGN_OR_RETURN(per_inference_ms, TimeBlock(count, nullptr));
      report_.warmup_inferences += count;
      blocks.push_back(per_inference_ms);
      if (blocks.size() >= 2 * kWarmupWindow) {
        const absl::Span<const double> all = blocks;
        const double last = Median(all.subspan(all.size() - kWarmupWindow));
        const double before =
            Median(all.subspan(all.size() - 2 * kWarmupWindow, kWarmupWindow));
        if (std::abs(last - before) <= tolerance * before) break;
      }
    } while (clock_.Now() < end);
    const absl::Span<const double> all = blocks;
    report_.inferences_per_block = InferencesPerBlock(
        Median(all.subspan(all.size() - std::min(all.size(), kWarmupWindow))));
    return absl::OkStatus();
  }

  absl::Status TimeBlocks() {
    const InterferenceCounts before = Counts();
    const absl::Duration begin = clock_.Now();
    absl::Duration next_progress = begin;
    size_t next_check = kMinBlocks;
    size_t disturbed = 0;
    Singles singles;
    std::vector<double>& blocks = report_.block_ms;
    bool converged = false;
    for (;;) {
      HWNAS_RETURN_IF_ERROR(CheckCancelled());
      const int64_t preempted = Preemptions();
      HWNAS_ASSIGN_OR_RETURN(const double block_ms,
                             TimeBlock(report_.inferences_per_block, &singles));
      if (Preemptions() != preempted) ++disturbed;
      blocks.push_back(block_ms);
      const absl::Duration now = clock_.Now();
      const bool last = now >= deadline_ || blocks.size() >= kMaxBlocks;
      if (last ||
          (blocks.size() >= next_check && now - begin >= options_.min_time)) {
        // Looking after every block would stop at lucky moments.
        next_check = blocks.size() + blocks.size() / 10 + 1;
        converged = Converged();
        if (converged || last) break;
      }
      if (now >= next_progress) {
        next_progress = now + kProgressInterval;
        hooks_.progress(absl::StrFormat("measuring, %d blocks of %d",
                                        blocks.size(),
                                        report_.inferences_per_block));
      }
    }
    const absl::Duration elapsed = clock_.Now() - begin;
    Summarise(singles, converged);
    FlagInterference(before, elapsed, disturbed);
    return absl::OkStatus();
  }

  bool Converged() const {
    if (report_.block_ms.size() < kMinBlocks) return false;
    const auto ci = MedianConfidenceInterval(report_.block_ms);
    if (!ci) return false;
    const double median = Median(report_.block_ms);
    const double allowed = options_.target_half_width * median;
    return ci->high - median <= allowed && median - ci->low <= allowed;
  }

  void Summarise(const Singles& singles, bool converged) {
    const std::vector<double>& blocks = report_.block_ms;
    report_.median_ms = Median(blocks);
    if (blocks.size() >= 2) {
      report_.mad_ms = MedianAbsoluteDeviation(blocks);
    }
    report_.ci_ms = MedianConfidenceInterval(blocks);
    report_.p90_ms = Quantile(singles.values(), 0.9);
    report_.inference_count = singles.count();
    if (converged) return;
    if (!report_.ci_ms) {
      report_.flags.push_back(
          absl::StrFormat("UNCONVERGED: only %d blocks in %s", blocks.size(),
                          absl::FormatDuration(options_.max_time)));
      return;
    }
    const double half_width = std::max(report_.ci_ms->high - report_.median_ms,
                                       report_.median_ms - report_.ci_ms->low) /
                              report_.median_ms;
    report_.flags.push_back(absl::StrFormat(
        "UNCONVERGED: 95 %% interval within %.1f %% of the median over %d "
        "blocks in %s, not %.1f %%",
        100 * half_width, blocks.size(),
        absl::FormatDuration(options_.max_time),
        100 * options_.target_half_width));
  }

  void FlagInterference(const InterferenceCounts& before,
                        absl::Duration elapsed, size_t disturbed) {
    const InterferenceCounts after = Counts();
    const double disturbed_share = static_cast<double>(disturbed) /
                                   static_cast<double>(report_.block_ms.size());
    // One switch is nothing, however few the blocks.
    if (disturbed >= 2 && disturbed_share > kNoisyBlockShare) {
      report_.flags.push_back(absl::StrFormat(
          "NOISY: %d of %d blocks were preempted (%d times)", disturbed,
          report_.block_ms.size(), after.preemptions - before.preemptions));
    }
    if (before.steal_seconds && after.steal_seconds) {
      const double stolen = (*after.steal_seconds - *before.steal_seconds) /
                            absl::ToDoubleSeconds(elapsed);
      if (stolen > kNoisyStealShare) {
        report_.flags.push_back(absl::StrFormat(
            "NOISY: the hypervisor took %.1f %% of the core", 100 * stolen));
      }
    }
  }

  // Mean milliseconds of one of `count` inferences.
  absl::StatusOr<double> TimeBlock(int count, Singles* singles) {
    const absl::Duration begin = clock_.Now();
    absl::Duration last = begin;
    for (int i = 0; i < count; ++i) {
      HWNAS_RETURN_IF_ERROR(session_.Run());
      if (singles != nullptr) {
        const absl::Duration now = clock_.Now();
        singles->Add(absl::ToDoubleMilliseconds(now - last));
        last = now;
      }
    }
    if (singles == nullptr) last = clock_.Now();
    return absl::ToDoubleMilliseconds(last - begin) / count;
  }

  int InferencesPerBlock(double per_inference_ms) const {
    const double wanted = absl::ToDoubleMilliseconds(options_.min_block) /
                          std::max(per_inference_ms, 1e-9);
    return static_cast<int>(
        std::clamp(std::ceil(wanted), 1.0, double{kMaxInferencesPerBlock}));
  }

  absl::Status CheckCancelled() const {
    if (hooks_.cancelled()) {
      return absl::CancelledError("cancelled while measuring");
    }
    return absl::OkStatus();
  }
  int64_t Preemptions() const {
    return interference_ == nullptr ? 0 : interference_->Preemptions();
  }
  InterferenceCounts Counts() const {
    return interference_ == nullptr ? InterferenceCounts()
                                    : interference_->Read();
  }

  Session& session_;
  const LatencyMeterOptions& options_;
  SteadyClock& clock_;
  Interference* const interference_;
  const LatencyHooks& hooks_;
  absl::Duration deadline_;
  LatencyReport report_;
};

}  // namespace

absl::StatusOr<LatencyReport> MeasureLatency(Session& session,
                                             const LatencyMeterOptions& options,
                                             SteadyClock& clock,
                                             Interference* interference,
                                             const LatencyHooks& hooks) {
  return Meter(session, options, clock, interference, hooks).Measure();
}

}  // namespace hwnas::agent
