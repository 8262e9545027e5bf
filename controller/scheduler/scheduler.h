// Which waiting task goes to which worker or agent: a pure function of a
// snapshot. It holds nothing, waits for nothing and knows no clock;
// study/study_engine.h takes the snapshots and applies the answers.
//
// Rules, in order of weight:
// 1. Capability. TRAIN goes to a worker that reads the data set (a worker that
//    lists none takes any); MEASURE to an agent of the device class with the
//    runtime, precision, profile and labels, and with a power source if the
//    energy is asked for. Nobody gets more tasks than it has slots, and nobody
//    gets any while it is disconnected, draining or in quarantine. A reserved
//    device takes only profiles of the person who has it.
// 2. Exclusive hosts. A measurement never runs beside any other work on the
//    same host, but for those of its own agent, which take turns. If a task
//    waits only for that, its host is kept free of later tasks of the other
//    kind, so that it drains.
// 3. Retries prefer an executor that has not failed the trial: they wait for a
//    capable one that is merely busy, and take one that failed before only if
//    there is no other.
// 4. Checks of the devices first, then by priority, strictly.
// 5. Users share alike: of equal priority, first the user with the fewest
//    running tasks of the kind; nobody has more than the quota at once. Then
//    the studies of a user take turns: first the one with the fewest running
//    tasks of the kind, then the one served longest ago.
// 6. Within a study, cheap stages first (measure before train), then the oldest
//    trial; but a task that `kPassedOverLimit` later leases of its study have
//    overtaken goes first of all.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/node_hash_map.h"
#include "absl/strings/string_view.h"
#include "hwnas/v1/fleet_service.pb.h"
#include "hwnas/v1/trial.pb.h"

namespace hwnas::controller {

// Leases of its own study that may overtake a task before it goes first.
inline constexpr int64_t kPassedOverLimit = 32;

// A stage that waits for an executor.
struct QueuedTask {
  std::string study_id;  // Empty for a profile or a check.
  std::string user;      // May be empty: nobody in particular.
  int priority = 0;
  bool check = false;               // Of a device, by the farm itself.
  v1::StageKind stage = v1::TRAIN;  // TRAIN or MEASURE.
  // MEASURE.
  std::string device_class;
  std::string runtime;
  std::string precision = "fp32";
  std::string profile;              // Empty: any.
  std::vector<std::string> labels;  // All of them.
  bool energy = false;              // With the energy.
  std::string executor;             // By nobody else. Empty: anybody.
  // TRAIN.
  std::string dataset;
  int64_t order = 0;        // Smaller is older, within the study.
  int64_t passed_over = 0;  // Leases of the study since it was queued.
  std::vector<std::string> failed_executors;
};

// How many tasks of each kind are running.
struct TaskCount {
  int measuring = 0;
  int training = 0;

  int all() const { return measuring + training; }
  int of(v1::StageKind stage) const {
    return stage == v1::MEASURE ? measuring : training;
  }
  void Add(v1::StageKind stage, int count) {
    (stage == v1::MEASURE ? measuring : training) += count;
  }
};

// The running tasks, counted: a round of the scheduler looks at no lease. Not
// thread-safe.
class RunningTasks {
 public:
  // One of them, from its making to its end; `all` must outlive it.
  class Task {
   public:
    Task() = default;
    // `study_id` is empty for a profile.
    Task(RunningTasks* all, std::string study_id, std::string user,
         std::string executor, v1::StageKind stage);
    Task(Task&& other) noexcept { *this = std::move(other); }
    Task& operator=(Task&& other) noexcept;
    ~Task() { Count(-1); }

    const std::string& executor() const { return executor_; }

   private:
    void Count(int change);

    RunningTasks* all_ = nullptr;
    std::string study_id_;
    std::string user_;
    std::string executor_;
    v1::StageKind stage_ = v1::TRAIN;
  };

  const TaskCount& All() const { return all_; }
  TaskCount OfExecutor(absl::string_view name) const {
    const auto it = by_executor_.find(name);
    return it == by_executor_.end() ? TaskCount() : it->second.count;
  }
  // The same, always as it is now, until Unwatch.
  const TaskCount* Watch(absl::string_view executor);
  void Unwatch(absl::string_view executor);
  TaskCount OfStudy(absl::string_view id) const { return Find(by_study_, id); }
  TaskCount OfUser(absl::string_view user) const {
    return Find(by_user_, user);
  }

 private:
  // Without those that have none.
  using Counts = absl::flat_hash_map<std::string, TaskCount>;
  struct Watched {
    TaskCount count;
    bool watched = false;
  };

  static TaskCount Find(const Counts& counts, absl::string_view name) {
    const auto it = counts.find(name);
    return it == counts.end() ? TaskCount() : it->second;
  }

  TaskCount all_;
  // Without those that have none and are not watched.
  absl::node_hash_map<std::string, Watched> by_executor_;
  Counts by_study_;
  Counts by_user_;
};

struct ExecutorSnapshot {
  std::string name;  // "workers/w1".
  v1::ExecutorKind kind = v1::WORKER;
  int host = 0;  // Those with the same number share one. 0: has its own.
  int slots = 1;
  bool accepts = true;  // Connected, not draining, not resting.
  // In quarantine: accepts nothing but checks.
  bool checks_only = false;
  std::string reserved_for;  // A user. Empty: nobody has it.
  std::vector<std::string> device_classes;
  // Each with the precisions that it has.
  std::map<std::string, std::vector<std::string>> runtimes;
  std::vector<std::string> profiles;
  std::vector<std::string> labels;
  bool measures_energy = false;
  std::vector<std::string> datasets;
  TaskCount running;  // What it has, also while it accepts nothing.
};

// Most running tasks of a kind (measurements, trainings) that a user may have
// at once. 0: no limit.
struct Quotas {
  int everybody = 0;
  std::map<std::string, int> by_user;  // Instead of `everybody`.

  int Of(const std::string& user) const {
    const auto it = by_user.find(user);
    return it == by_user.end() ? everybody : it->second;
  }
};

struct SchedulerInput {
  std::vector<QueuedTask> queue;
  std::vector<const ExecutorSnapshot*> fleet;  // None is null.
  const RunningTasks* running = nullptr;       // nullptr: none.
  Quotas quotas;
  // By GroupOf(task). Larger is later; who is absent was never served.
  std::map<std::string, int64_t> last_served;
};

struct Assignment {
  int task = 0;      // Index in queue.
  int executor = 0;  // Index in fleet.
  friend bool operator==(const Assignment&, const Assignment&) = default;
};

// In order of preference. Thread-safe, deterministic.
std::vector<Assignment> Schedule(const SchedulerInput& input);

// Who takes turns: a study, or the profiles of a user.
std::string GroupOf(const QueuedTask& task);

// Whether the executor could ever run the task (rule 1 without state).
bool IsCapable(const ExecutorSnapshot& executor, const QueuedTask& task);

}  // namespace hwnas::controller
