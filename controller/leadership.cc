#include "controller/leadership.h"

#include <utility>

namespace hwnas::controller {

Leadership::Leadership(std::unique_ptr<LeaderLease> lease,
                       absl::Duration duration, Events events,
                       std::shared_ptr<Logger> logger)
    : lease_(std::move(lease)),
      duration_(duration),
      events_(std::move(events)),
      logger_(std::move(logger)) {}

Leadership::~Leadership() {
  if (thread_.joinable()) {
    {
      MutexLock lock(&mutex_);
      stopping_ = true;
      changed_.SignalAll();
    }
    thread_.join();
  }
  // If that fails, the lease runs out by itself.
  if (leading_) (void)lease_->Release();
}

absl::StatusOr<int64_t> Leadership::TryLead() {
  const auto begin = std::chrono::steady_clock::now();
  absl::StatusOr<int64_t> epoch = lease_->TryAcquire();
  if (epoch.ok()) {
    leading_ = true;
    renewed_ = begin;
    logger_->info("event=leading epoch={}", *epoch);
  }
  return epoch;
}

void Leadership::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Leadership::Run() {
  for (absl::Duration pause = absl::ZeroDuration();;) {
    {
      MutexLock lock(&mutex_);
      if (!stopping_ && pause > absl::ZeroDuration()) {
        changed_.WaitWithTimeout(&mutex_, pause);
      }
      if (stopping_) return;
    }
    pause = leading_ ? Renew() : Wait();
    if (pause == absl::InfiniteDuration()) return;
  }
}

absl::Duration Leadership::Wait() {
  const absl::StatusOr<int64_t> epoch = TryLead();
  if (epoch.ok()) {
    events_.on_lead(*epoch);
    return duration_ / 4;
  }
  const bool away = !absl::IsAborted(epoch.status());
  if (away != store_away_) {
    logger_->info("event=standing_by reason=\"{}\"",
                  std::string(epoch.status().message()));
  }
  store_away_ = away;
  return duration_ / 16;
}

absl::Duration Leadership::Renew() {
  const auto begin = std::chrono::steady_clock::now();
  const absl::Status status = lease_->Renew();
  if (absl::IsAborted(status)) {
    leading_ = false;
    events_.on_lost(status);
    return absl::InfiniteDuration();
  }
  if (status.ok()) {
    renewed_ = begin;
    if (!sure_) logger_->info("event=lease_back");
  }
  const bool sure =
      absl::FromChrono(std::chrono::steady_clock::now() - renewed_) < duration_;
  if (sure != sure_) {
    if (!sure) {
      logger_->error("event=lease_in_doubt error=\"{}\"", status.ToString());
    }
    sure_ = sure;
    events_.on_sure(sure);
  }
  return status.ok() ? duration_ / 4 : duration_ / 40;
}

}  // namespace hwnas::controller
