#include "cli/worker_fleet.h"

#include <algorithm>
#include <utility>

namespace hwnas::cli {
namespace {

// Jobs that may end early before it is taken for a fault of theirs all.
constexpr int kToleratedFailures = 2;
constexpr absl::Duration kFirstPause = absl::Seconds(30);
constexpr absl::Duration kLongestPause = absl::Minutes(10);

}  // namespace

FleetPlan FleetPlanner::Plan(const FleetView& view) {
  Learn(view);
  FleetPlan plan;
  plan.wanted = Wanted(view);
  int present = 0;
  for (const FleetJob& job : view.jobs) {
    present += job.state == FleetJob::State::kWaiting ||
               job.state == FleetJob::State::kRunning;
    if (job.state == FleetJob::State::kDelayed) {
      plan.withdrawn.push_back(job);
      unseen_.erase(job.seat);
    }
  }
  if (plan.wanted > present) {
    if (view.now >= paused_until_) Grow(view, plan.wanted - present, &plan);
  } else {
    Shrink(view, present - plan.wanted, &plan);
  }
  if (view.now < paused_until_) plan.paused_until = paused_until_;
  return plan;
}

void FleetPlanner::Learn(const FleetView& view) {
  std::map<int, absl::Time> idle;
  std::set<int> taken;
  for (const FleetJob& job : view.jobs) {
    taken.insert(job.seat);
    const auto busy = view.busy_by_seat.find(job.seat);
    if (job.state != FleetJob::State::kRunning ||
        (busy != view.busy_by_seat.end() && busy->second > 0)) {
      continue;
    }
    const auto before = idle_since_.find(job.seat);
    idle[job.seat] = before == idle_since_.end() ? view.now : before->second;
  }
  idle_since_ = std::move(idle);

  std::erase_if(unseen_, [&](int seat) {
    if (view.busy_by_seat.count(seat)) {
      failures_ = 0;
      paused_until_ = absl::InfinitePast();
      return true;
    }
    if (taken.count(seat)) return false;
    if (++failures_ > kToleratedFailures) {
      const int doublings = std::min(failures_ - kToleratedFailures - 1, 10);
      paused_until_ =
          view.now + std::min(kLongestPause, kFirstPause * (1 << doublings));
    }
    return true;
  });
}

int FleetPlanner::Wanted(const FleetView& view) const {
  return std::clamp(
      view.queued_trainings + view.busy_slots - view.foreign_slots,
      options_.min, options_.max);
}

void FleetPlanner::Grow(const FleetView& view, int count, FleetPlan* plan) {
  std::set<int> taken;
  for (const FleetJob& job : view.jobs) taken.insert(job.seat);
  // The worker of a job that has just gone may still be leaving.
  for (const auto& [seat, busy] : view.busy_by_seat) taken.insert(seat);
  count = std::min(count, options_.step);
  for (int seat = 0; static_cast<int>(plan->begin.size()) < count; ++seat) {
    if (taken.count(seat)) continue;
    plan->begin.push_back(seat);
    unseen_.insert(seat);
  }
}

void FleetPlanner::Shrink(const FleetView& view, int count, FleetPlan* plan) {
  // High seats first: the fleet stays where it has been.
  std::vector<FleetJob> jobs = view.jobs;
  std::sort(jobs.begin(), jobs.end(), [](const FleetJob& a, const FleetJob& b) {
    return a.seat > b.seat;
  });
  for (const auto state :
       {FleetJob::State::kWaiting, FleetJob::State::kRunning}) {
    for (const FleetJob& job : jobs) {
      if (count == 0) return;
      if (job.state != state) continue;
      if (state == FleetJob::State::kWaiting) {
        plan->withdrawn.push_back(job);
      } else {
        const auto idle = idle_since_.find(job.seat);
        if (idle == idle_since_.end() ||
            view.now - idle->second < options_.idle) {
          continue;
        }
        plan->dismissed.push_back(job);
      }
      unseen_.erase(job.seat);
      --count;
    }
  }
}

}  // namespace hwnas::cli
