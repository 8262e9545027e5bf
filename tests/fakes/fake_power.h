// A power over time that the test makes up, read at a steady pace.
#pragma once

#include <functional>
#include <utility>

#include "agent/device/power/power_sampler.h"
#include "agent/measure/steady_clock.h"

namespace hwnas::agent {

// Knows the readings of the past when it is stopped, so it needs no thread.
class FakePowerRecorder final : public PowerRecorder {
 public:
  // Watts at a moment of `clock`, which must outlive it.
  FakePowerRecorder(SteadyClock* clock,
                    std::function<double(absl::Duration)> watts)
      : clock_(clock), watts_(std::move(watts)) {}

  const PowerSourceInfo& info() const override { return info_; }
  void Start() override {
    begin_ = clock_->Now();
    ++starts;
  }
  PowerRecord Stop() override {
    PowerRecord record = {.failed_count = failed_count,
                          .last_error = last_error};
    for (absl::Duration t = begin_ + phase; t <= clock_->Now();
         t += info_.interval) {
      if (lost(t)) continue;
      record.readings.push_back({.time = t, .power_w = watts_(t)});
    }
    return record;
  }

  PowerSourceInfo info_ = {.name = "fake",
                           .includes = "a made-up board",
                           .interval = absl::Milliseconds(10)};
  absl::Duration phase = absl::Milliseconds(3);
  std::function<bool(absl::Duration)> lost = [](absl::Duration) {
    return false;
  };
  int64_t failed_count = 0;
  std::string last_error;
  int starts = 0;

 private:
  SteadyClock* const clock_;
  const std::function<double(absl::Duration)> watts_;
  absl::Duration begin_;
};

}  // namespace hwnas::agent
