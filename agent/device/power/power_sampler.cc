#include "agent/device/power/power_sampler.h"

#include <utility>

namespace hwnas::agent {
namespace {

// An hour at the fastest pace; a record that is full stays as it is, and what
// comes later is not covered.
constexpr size_t kMaxReadings = size_t{1} << 20;

}  // namespace

PowerSampler::PowerSampler(std::unique_ptr<PowerSource> source,
                           SteadyClock* clock)
    : source_(std::move(source)),
      info_(source_->info()),
      clock_(clock),
      thread_([this] { Loop(); }) {}

PowerSampler::~PowerSampler() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.SignalAll();
  }
  thread_.join();
}

void PowerSampler::Start() {
  MutexLock lock(&mutex_);
  recording_ = true;
  ++round_;
  record_ = PowerRecord();
  changed_.SignalAll();
}

PowerRecord PowerSampler::Stop() {
  MutexLock lock(&mutex_);
  recording_ = false;
  changed_.SignalAll();
  return std::exchange(record_, PowerRecord());
}

void PowerSampler::Loop() {
  for (;;) {
    int64_t round = 0;
    {
      MutexLock lock(&mutex_);
      while (!recording_ && !stopping_) changed_.Wait(&mutex_);
      if (stopping_) return;
      round = round_;
    }
    const absl::Duration next = clock_->Now() + info_.interval;
    absl::StatusOr<PowerReading> reading = source_->Read();

    MutexLock lock(&mutex_);
    if (recording_ && round == round_) {
      if (!reading.ok()) {
        ++record_.failed_count;
        record_.last_error = std::string(reading.status().message());
      } else if (record_.readings.size() < kMaxReadings) {
        record_.readings.push_back(*reading);
      }
    }
    // After an error also a source with a pace of its own is given time.
    if (reading.ok() && info_.paces_itself) continue;
    while (recording_ && round == round_ && !stopping_) {
      const absl::Duration left = next - clock_->Now();
      if (left <= absl::ZeroDuration() ||
          changed_.WaitWithTimeout(&mutex_, left)) {
        break;
      }
    }
  }
}

}  // namespace hwnas::agent
