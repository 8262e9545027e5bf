// Reads a source again and again in a thread of its own, on the clock that
// times the inferences.
//
//   PowerSampler sampler(std::move(source), &clock);
//   sampler.Start();
//   ... work ...
//   const PowerRecord record = sampler.Stop();
//   IntegrateEnergy(record.readings, window, sampler.max_gap());
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "agent/device/power/energy_integrator.h"
#include "agent/device/power/power_source.h"
#include "agent/measure/steady_clock.h"
#include "common/mutex.h"

namespace hwnas::agent {

struct PowerRecord {
  // In order of time.
  std::vector<PowerReading> readings;
  // Reads that failed, and why the last of them did.
  int64_t failed_count = 0;
  std::string last_error;
};

// What a measurement needs; thread-compatible.
class PowerRecorder {
 public:
  virtual ~PowerRecorder() = default;
  virtual const PowerSourceInfo& info() const = 0;
  // Forgets what was recorded and begins anew.
  virtual void Start() = 0;
  // What was recorded since then. Does not wait for a read in hand, whose value
  // is lost.
  virtual PowerRecord Stop() = 0;

  // Readings further apart leave a gap.
  absl::Duration max_gap() const { return kMaxGapIntervals * info().interval; }
};

// Thread-safe.
class PowerSampler final : public PowerRecorder {
 public:
  // Make it before the caller's thread is pinned: its thread inherits that.
  // `clock` must outlive it.
  PowerSampler(std::unique_ptr<PowerSource> source, SteadyClock* clock);
  // Waits for a read in hand.
  ~PowerSampler() override;

  const PowerSourceInfo& info() const override { return info_; }
  void Start() override;
  PowerRecord Stop() override;

 private:
  void Loop();

  const std::unique_ptr<PowerSource> source_;
  const PowerSourceInfo info_;
  SteadyClock* const clock_;
  Mutex mutex_;
  CondVar changed_;
  bool recording_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // Counts calls of Start(): what was read for an earlier one does not count.
  int64_t round_ ABSL_GUARDED_BY(mutex_) = 0;
  PowerRecord record_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace hwnas::agent
