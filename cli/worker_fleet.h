// How many workers a fleet of batch jobs should have, and which jobs to begin
// and to end: policy alone, fed with what is the case.
//
// A fleet has seats, numbered from 0. A job is a worker on a seat that trains
// one network at a time; the seat names the worker, so that a later job on it
// delivers what an earlier one has left in its spool.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace hwnas::cli {

struct FleetJob {
  enum class State {
    kWaiting,  // In the batch system's queue.
    kDelayed,  // Put back there for some minutes, after its node has failed.
    kRunning,
    kEnding,  // Not long any more, but its seat is still taken.
  };
  std::string id;  // As the batch system knows it.
  int seat = 0;
  State state = State::kWaiting;
};

// A fleet at one moment.
struct FleetView {
  absl::Time now;
  int queued_trainings = 0;
  // Slots of all workers of the controller that have something to do.
  int busy_slots = 0;
  // Slots of connected workers that are not of this fleet.
  int foreign_slots = 0;
  std::vector<FleetJob> jobs;
  // Connected workers of this fleet: tasks in hand, by seat.
  std::map<int, int> busy_by_seat;
};

struct FleetPlan {
  int wanted = 0;          // Workers there should be.
  std::vector<int> begin;  // Seats.
  // Waiting jobs that are not needed, and delayed ones: others begin at once.
  std::vector<FleetJob> withdrawn;
  std::vector<FleetJob> dismissed;  // Running jobs whose workers are idle.
  // Jobs end before their workers are connected: until then no new ones begin.
  absl::Time paused_until = absl::InfinitePast();

  bool empty() const {
    return begin.empty() && withdrawn.empty() && dismissed.empty();
  }
};

struct FleetOptions {
  int min = 0;
  int max = 1;
  // Jobs that begin in one turn, at most.
  int step = 8;
  // A worker leaves when it has had nothing to do for so long.
  absl::Duration idle = absl::Minutes(2);
};

// Not thread-safe. Remembers since when workers are idle.
class FleetPlanner {
 public:
  explicit FleetPlanner(const FleetOptions& options) : options_(options) {}

  // One turn. Growth is bounded by `step`; shrinking withdraws waiting jobs,
  // then dismisses workers that have been idle for long. A busy worker is never
  // touched.
  FleetPlan Plan(const FleetView& view);

 private:
  void Learn(const FleetView& view);
  int Wanted(const FleetView& view) const;
  void Grow(const FleetView& view, int count, FleetPlan* plan);
  void Shrink(const FleetView& view, int count, FleetPlan* plan);

  const FleetOptions options_;
  // Running jobs whose workers have nothing to do, or are not connected.
  std::map<int, absl::Time> idle_since_;
  // Seats with a job of ours whose worker was never seen.
  std::set<int> unseen_;
  // Jobs in a row that ended so.
  int failures_ = 0;
  absl::Time paused_until_ = absl::InfinitePast();
};

}  // namespace hwnas::cli
