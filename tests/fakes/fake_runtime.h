// Models whose inferences take the time that the test says.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "agent/measure/steady_clock.h"
#include "agent/runtime/runtime.h"

namespace hwnas::agent {

// Stands still unless it is moved; each look at it costs nothing. One thread.
class FakeSteadyClock final : public SteadyClock {
 public:
  absl::Duration Now() override { return now_; }
  void SleepFor(absl::Duration duration) override { Advance(duration); }
  void Advance(absl::Duration step) { now_ += step; }

 private:
  absl::Duration now_ = absl::Seconds(1000);
};

// Inference number i (from 0, also those of warm-up) takes duration(i).
class FakeSession final : public Session {
 public:
  FakeSession(FakeSteadyClock& clock,
              std::function<absl::Duration(int64_t)> duration)
      : clock_(clock), duration_(std::move(duration)) {}
  absl::Status Run() override {
    if (count_ == fail_at) return absl::InternalError("the fake fails");
    clock_.Advance(duration_(count_++));
    return absl::OkStatus();
  }
  int64_t count() const { return count_; }
  int64_t fail_at = -1;

 private:
  FakeSteadyClock& clock_;
  const std::function<absl::Duration(int64_t)> duration_;
  int64_t count_ = 0;
};

// Loads everything but the empty string and "broken".
class FakeRuntime final : public Runtime {
 public:
  FakeRuntime(FakeSteadyClock& clock,
              std::function<absl::Duration(int64_t)> duration)
      : clock_(clock), duration_(std::move(duration)) {}
  std::string name() const override { return "onnxruntime"; }
  std::string description() const override { return "fake 1.0"; }
  absl::StatusOr<std::unique_ptr<Session>> Load(
      absl::string_view model, const SessionOptions& options) override {
    last_model = std::string(model);
    last_options = options;
    if (model.empty() || model == "broken") {
      return absl::InvalidArgumentError("the model cannot be loaded");
    }
    clock_.Advance(absl::Milliseconds(7));
    return std::make_unique<FakeSession>(clock_, duration_);
  }
  std::string last_model;
  SessionOptions last_options;

 private:
  FakeSteadyClock& clock_;
  const std::function<absl::Duration(int64_t)> duration_;
};

}  // namespace hwnas::agent
