#include "agent/measure/latency_meter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "agent/measure/disturbance.h"
#include "common/statistics.h"
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
constexpr double kConfidence = 0.95;
// So many disturbed blocks to each good one, and it will not become better.
constexpr size_t kHopeless = 4;
constexpr int kMaxSinglesPerBlock = 4096;
// Ten of the ticks that the kernel counts in.
constexpr absl::Duration kStretch = absl::Milliseconds(100);
constexpr double kMaxClockSpread = 0.1;
// A measurement that needs no more than min_time is made in so many passes.
constexpr int kPasses = 3;
// After a pause, so long at least: what others did left the caches cold.
constexpr absl::Duration kWarmUpAgain = absl::Milliseconds(30);
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
    begin_ = clock_.Now();
    HWNAS_RETURN_IF_ERROR(session_.Run());
    report_.first_ms = absl::ToDoubleMilliseconds(clock_.Now() - begin_);
    deadline_ = clock_.Now() + options_.max_time;
    HWNAS_RETURN_IF_ERROR(WarmUp());
    HWNAS_RETURN_IF_ERROR(TimeBlocks());
    report_.total_time = clock_.Now() - begin_;
    return std::move(report_);
  }

 private:
  absl::Status WarmUp() {
    hooks_.progress("warming up");
    const absl::Duration end = clock_.Now() + options_.max_time * kWarmupShare;
    const double tolerance =
        std::max(kWarmupTolerance, options_.target_half_width);
    double per_inference_ms = report_.first_ms;
    std::vector<double>& blocks = report_.warmup_block_ms;
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

  // A timed block.
  struct Block {
    double ms = 0;  // Mean of its inferences.
    std::vector<double> singles_ms;
    Disturbances found;
    std::optional<double> frequency_mhz;
  };

  absl::Status TimeBlocks() {
    timed_begin_ = clock_.Now();
    next_progress_ = timed_begin_;
    pass_begin_ = timed_begin_;
    size_t next_check = kMinBlocks;
    bool converged = false;
    host_ = Host();
    thread_ = Thread();
    for (;;) {
      HWNAS_RETURN_IF_ERROR(TimeStretch());
      const bool last =
          clock_.Now() >= deadline_ || blocks_.size() >= kMaxBlocks;
      const size_t good = report_.block_ms.size();
      if (last || (good >= next_check && good_time_ >= options_.min_time)) {
        // Looking after every block would stop at lucky moments.
        next_check = good + good / 10 + 1;
        converged = Converged();
        if (converged || last) break;
      }
      if (RepeatedEnough()) break;
      if (clock_.Now() - pass_begin_ >= options_.min_time / kPasses) {
        HWNAS_RETURN_IF_ERROR(Pause());
      }
    }
    // Rather marked numbers than none.
    if (report_.block_ms.size() < kMinBlocks && disturbed() > 0) {
      UseDisturbed();
      converged = Converged();
    }
    Summarise(converged);
    FlagDisturbances();
    return absl::OkStatus();
  }

  // Lets others use the device.
  absl::Status Pause() {
    const absl::Duration begin = clock_.Now();
    HWNAS_ASSIGN_OR_RETURN(const bool used, hooks_.pause());
    pass_begin_ = clock_.Now();
    if (!used) return absl::OkStatus();
    const absl::Duration away = pass_begin_ - begin;
    begin_ += away;
    timed_begin_ += away;
    deadline_ += away;
    do {
      HWNAS_RETURN_IF_ERROR(CheckCancelled());
      HWNAS_RETURN_IF_ERROR(
          TimeBlock(report_.inferences_per_block, nullptr).status());
    } while (clock_.Now() - pass_begin_ < kWarmUpAgain);
    pass_begin_ = clock_.Now();
    passes_.push_back(blocks_.size());
    host_ = Host();
    thread_ = Thread();
    return absl::OkStatus();
  }

  // Where the passes begin among the blocks of the report.
  std::vector<int> PassBegins() const {
    std::vector<int> begins;
    size_t block = 0;
    int kept = 0;
    for (const size_t pass : passes_) {
      for (; block < pass; ++block) {
        kept += used_disturbed_ || !blocks_[block].found.any();
      }
      // A pass of which nothing was kept is none.
      if (!begins.empty() && begins.back() == kept) continue;
      if (kept > 0) begins.push_back(kept);
    }
    if (!begins.empty() &&
        begins.back() == static_cast<int>(report_.block_ms.size())) {
      begins.pop_back();
    }
    return begins;
  }

  // Blocks of some 0.1 s, judged each by what happened to this process, and
  // together by what happened to the machine.
  absl::Status TimeStretch() {
    absl::Duration length = kStretch;
    if (good_time_ < options_.min_time) {
      length = std::min(length, options_.min_time - good_time_);
    }
    std::vector<Block> stretch;
    const absl::Duration begin = clock_.Now();
    absl::Duration now = begin;
    do {
      HWNAS_RETURN_IF_ERROR(CheckCancelled());
      const absl::Duration block_begin = clock_.Now();
      Block& block = stretch.emplace_back();
      HWNAS_ASSIGN_OR_RETURN(
          block.ms, TimeBlock(report_.inferences_per_block, &block.singles_ms));
      now = clock_.Now();
      const ThreadCounts after = Thread();
      block.found = JudgeBlock(thread_, after, now - block_begin);
      block.frequency_mhz = after.frequency_mhz;
      thread_ = after;
      TellProgress(now, blocks_.size() + stretch.size());
    } while (now - begin < length && now < deadline_ &&
             blocks_.size() + stretch.size() < kMaxBlocks);
    const HostCounts after = Host();
    const Disturbances found = JudgeHost(host_, after, now - begin);
    if (!found.any()) AddQuietStretch(after, now - begin);
    host_ = after;
    // What the reading itself did is not the next block's.
    thread_ = Thread();
    for (Block& block : stretch) {
      block.found |= found;
      TakeBlock(std::move(block));
    }
    return absl::OkStatus();
  }

  void TakeBlock(Block block) {
    Singles& singles = block.found.any() ? disturbed_singles_ : singles_;
    for (const double single_ms : block.singles_ms) singles.Add(single_ms);
    block.singles_ms = {};
    if (!block.found.any()) {
      good_time_ += absl::Milliseconds(block.ms) * report_.inferences_per_block;
      report_.block_ms.push_back(block.ms);
    }
    blocks_.push_back(std::move(block));
  }

  void UseDisturbed() {
    report_.block_ms.clear();
    for (const Block& block : blocks_) report_.block_ms.push_back(block.ms);
    for (const double single_ms : disturbed_singles_.values()) {
      singles_.Add(single_ms);
    }
    used_disturbed_ = true;
  }

  // Hardly a block is left alone: to go on would take max_time for nothing.
  bool RepeatedEnough() const {
    return disturbed() >=
               std::max(kMinBlocks, kHopeless * report_.block_ms.size()) &&
           clock_.Now() - timed_begin_ >= 2 * options_.min_time;
  }

  size_t disturbed() const {
    return std::count_if(blocks_.begin(), blocks_.end(),
                         [](const Block& b) { return b.found.any(); });
  }

  // Each stretch may have a little of it; together it may be too much.
  void AddQuietStretch(const HostCounts& after, absl::Duration elapsed) {
    const auto add = [](const std::optional<double>& from,
                        const std::optional<double>& to,
                        std::optional<double>* sum) {
      if (from && to) *sum = sum->value_or(0) + *to - *from;
    };
    add(host_.steal_seconds, after.steal_seconds, &quiet_.steal_seconds);
    add(host_.others_seconds, after.others_seconds, &quiet_.others_seconds);
    add(host_.siblings_seconds, after.siblings_seconds,
        &quiet_.siblings_seconds);
    quiet_.other_cores = after.other_cores;
    quiet_.sibling_cores = after.sibling_cores;
    quiet_time_ += elapsed;
  }

  std::optional<Interval> ConfidenceInterval() const {
    if (report_.block_ms.empty()) return std::nullopt;
    return MedianConfidenceInterval(report_.block_ms, kConfidence,
                                    CorrelationTime(report_.block_ms));
  }

  bool Converged() const {
    if (report_.block_ms.size() < kMinBlocks) return false;
    const auto ci = ConfidenceInterval();
    if (!ci) return false;
    const double median = Median(report_.block_ms);
    const double allowed = options_.target_half_width * median;
    return ci->high - median <= allowed && median - ci->low <= allowed;
  }

  void Summarise(bool converged) {
    const std::vector<double>& blocks = report_.block_ms;
    report_.median_ms = Median(blocks);
    if (blocks.size() >= 2) {
      report_.mad_ms = MedianAbsoluteDeviation(blocks);
    }
    report_.ci_ms = ConfidenceInterval();
    report_.p90_ms = Quantile(singles_.values(), 0.9);
    if (singles_.values().size() >= size_t{kMinInferencesForP99}) {
      report_.p99_ms = Quantile(singles_.values(), 0.99);
    }
    report_.inference_count =
        static_cast<int64_t>(blocks.size()) * report_.inferences_per_block;
    report_.pass_begins = PassBegins();
    if (converged) return;
    const std::string spent = absl::FormatDuration(
        absl::Trunc(clock_.Now() - timed_begin_, absl::Milliseconds(1)));
    if (!report_.ci_ms) {
      report_.flags.push_back(
          blocks.size() < kMinBlocks
              ? absl::StrFormat("UNCONVERGED: only %d blocks in %s",
                                blocks.size(), spent)
              : absl::StrFormat("UNCONVERGED: the latency drifted over all %d "
                                "blocks in %s",
                                blocks.size(), spent));
      return;
    }
    const double half_width = std::max(report_.ci_ms->high - report_.median_ms,
                                       report_.median_ms - report_.ci_ms->low) /
                              report_.median_ms;
    report_.flags.push_back(absl::StrFormat(
        "UNCONVERGED: 95 %% interval within %.1f %% of the median over %d "
        "blocks in %s, not %.1f %%",
        100 * half_width, blocks.size(), spent,
        100 * options_.target_half_width));
  }

  void FlagDisturbances() {
    const size_t count = disturbed();
    report_.disturbed_blocks = static_cast<int64_t>(count);
    if (used_disturbed_ || count > report_.block_ms.size()) {
      std::vector<std::string> reasons;
      for (int i = 0; i < kDisturbanceKinds; ++i) {
        const auto kind = static_cast<Disturbance>(i);
        const auto times =
            std::count_if(blocks_.begin(), blocks_.end(),
                          [&](const Block& b) { return b.found.Has(kind); });
        if (times > 0) {
          reasons.push_back(absl::StrCat(Describe(kind), " (", times, ")"));
        }
      }
      report_.flags.push_back(
          absl::StrFormat("NOISY: %d of %d blocks were disturbed: %s", count,
                          blocks_.size(), absl::StrJoin(reasons, ", ")));
      return;
    }
    const HostCounts none = {
        .steal_seconds = 0, .others_seconds = 0, .siblings_seconds = 0};
    const Disturbances found = JudgeHost(none, quiet_, quiet_time_);
    for (int i = 0; i < kDisturbanceKinds; ++i) {
      const auto kind = static_cast<Disturbance>(i);
      if (!found.Has(kind)) continue;
      report_.flags.push_back(
          absl::StrCat("NOISY: all the time, a little: ", Describe(kind)));
    }
    FlagClock();
  }

  void FlagClock() {
    double low = std::numeric_limits<double>::infinity();
    double high = 0;
    for (const Block& block : blocks_) {
      if (!block.frequency_mhz || block.found.any()) continue;
      low = std::min(low, *block.frequency_mhz);
      high = std::max(high, *block.frequency_mhz);
    }
    if (high == 0 || high - low <= kMaxClockSpread * high) return;
    report_.flags.push_back(absl::StrFormat(
        "NOISY: the clock of the core was between %.0f and %.0f MHz", low,
        high));
  }

  void TellProgress(absl::Duration now, size_t blocks) {
    if (now < next_progress_) return;
    next_progress_ = now + kProgressInterval;
    hooks_.progress(absl::StrFormat("measuring, %d blocks of %d", blocks,
                                    report_.inferences_per_block));
  }

  // Mean milliseconds of one of `count` inferences.
  absl::StatusOr<double> TimeBlock(int count, std::vector<double>* singles_ms) {
    const int stride = 1 + count / kMaxSinglesPerBlock;
    const absl::Duration begin = clock_.Now();
    absl::Duration last = begin;
    for (int i = 0; i < count; ++i) {
      HWNAS_RETURN_IF_ERROR(session_.Run());
      if (singles_ms != nullptr) {
        const absl::Duration now = clock_.Now();
        if (i % stride == 0) {
          singles_ms->push_back(absl::ToDoubleMilliseconds(now - last));
        }
        last = now;
      }
    }
    if (singles_ms == nullptr) last = clock_.Now();
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
  ThreadCounts Thread() const {
    return interference_ == nullptr ? ThreadCounts()
                                    : interference_->ReadThread();
  }
  HostCounts Host() const {
    return interference_ == nullptr ? HostCounts() : interference_->ReadHost();
  }

  Session& session_;
  const LatencyMeterOptions& options_;
  SteadyClock& clock_;
  Interference* const interference_;
  const LatencyHooks& hooks_;
  // Moved on by each pause.
  absl::Duration begin_;
  absl::Duration timed_begin_;
  absl::Duration deadline_;
  absl::Duration next_progress_;
  absl::Duration pass_begin_;
  // Indices into blocks_ where a pass after a pause begins.
  std::vector<size_t> passes_;
  // As they were when the last block or stretch ended.
  ThreadCounts thread_;
  HostCounts host_;
  // All, in order; the undisturbed ones are in the report as well.
  std::vector<Block> blocks_;
  Singles singles_;
  Singles disturbed_singles_;
  absl::Duration good_time_;
  bool used_disturbed_ = false;
  // What went on during the stretches that were let pass.
  HostCounts quiet_;
  absl::Duration quiet_time_;
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
