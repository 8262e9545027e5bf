#include "controller/scheduler/scheduler.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace hwnas::controller {
namespace {

bool Contains(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

// Tasks of one type fit the same executors.
std::string TypeOf(const QueuedTask& task) {
  return absl::StrCat(
      absl::StrJoin(std::make_tuple(static_cast<int>(task.stage), task.user,
                                    task.study_id.empty(), task.device_class,
                                    task.runtime, task.precision, task.profile,
                                    task.energy, task.executor, task.dataset),
                    "\n"),
      "\n", absl::StrJoin(task.labels, "\n"));
}

// The work on one machine.
struct Host {
  int measuring = 0;
  int training = 0;
  // Kept free for a waiting task of the other kind.
  bool no_new_training = false;
  bool no_new_measuring = false;
  bool has_agent = false;
};

enum class Fit { kFree, kBusy, kHostBusy, kNever };

class Round {
 public:
  explicit Round(const SchedulerInput& input) : input_(input) {
    for (size_t i = 0; i < input.fleet.size(); ++i) {
      const ExecutorSnapshot& executor = input.fleet[i];
      index_[executor.name] = static_cast<int>(i);
      busy_.push_back(0);
      hosts_[HostOf(executor)].has_agent |= executor.kind == v1::AGENT;
    }
    for (const LeaseSnapshot& lease : input.leases) {
      ++running_[{lease.study_id, lease.stage}];
      ++running_by_user_[{lease.user, lease.stage}];
      const auto it = index_.find(lease.executor);
      if (it != index_.end()) Occupy(it->second, lease.stage);
    }
  }

  SchedulerOutput Run();

 private:
  static std::string HostOf(const ExecutorSnapshot& executor) {
    return executor.host_id.empty() ? absl::StrCat("\n", executor.name)
                                    : executor.host_id;
  }
  Host& host(int executor) { return hosts_[HostOf(input_.fleet[executor])]; }

  void Occupy(int executor, v1::StageKind stage) {
    ++busy_[executor];
    Host& h = host(executor);
    ++(stage == v1::MEASURE ? h.measuring : h.training);
  }

  Fit FitOf(int executor, const QueuedTask& task) {
    const ExecutorSnapshot& e = input_.fleet[executor];
    if (!e.accepts || !IsCapable(e, task)) return Fit::kNever;
    if (e.checks_only && !task.check) return Fit::kNever;
    if (!e.reserved_for.empty() &&
        (!task.study_id.empty() || task.check || task.user != e.reserved_for)) {
      return Fit::kNever;
    }
    if (busy_[executor] >= e.slots) return Fit::kBusy;
    const Host& h = host(executor);
    if (task.stage == v1::MEASURE) {
      // An agent's own measurements take turns.
      if (h.measuring + h.training > busy_[executor] || h.no_new_measuring) {
        return Fit::kHostBusy;
      }
    } else if (h.measuring > 0 || h.no_new_training) {
      return Fit::kHostBusy;
    }
    return Fit::kFree;
  }

  bool MayHaveMore(const QueuedTask& task) {
    const int quota = input_.quotas.Of(task.user);
    return task.check || quota == 0 ||
           running_by_user_[{task.user, task.stage}] < quota;
  }

  // The executor to give the task to, or -1; may reserve a host.
  int Place(const QueuedTask& task);

  const SchedulerInput& input_;
  std::map<std::string, int> index_;
  std::vector<int> busy_;
  std::map<std::string, Host> hosts_;
  // By study, and by user.
  std::map<std::pair<std::string, v1::StageKind>, int> running_;
  std::map<std::pair<std::string, v1::StageKind>, int> running_by_user_;
};

int Round::Place(const QueuedTask& task) {
  int best = -1;
  std::tuple<bool, bool, int> best_rank;
  bool fresh_exists = false;
  int to_reserve = -1;
  for (int i = 0; i < static_cast<int>(input_.fleet.size()); ++i) {
    const ExecutorSnapshot& executor = input_.fleet[i];
    const Fit fit = FitOf(i, task);
    if (fit == Fit::kNever) continue;
    const bool failed = Contains(task.failed_executors, executor.name);
    fresh_exists |= !failed;
    if (fit == Fit::kHostBusy && !failed) {
      // The host that will be free soonest: the one with least work, and not
      // already kept for the other kind.
      const Host& h = host(i);
      const bool kept =
          task.stage == v1::MEASURE ? h.no_new_measuring : h.no_new_training;
      if (!kept && (to_reserve < 0 ||
                    h.measuring + h.training < host(to_reserve).measuring +
                                                   host(to_reserve).training)) {
        to_reserve = i;
      }
    }
    if (fit != Fit::kFree) continue;
    // Machines that cannot measure are better for training.
    const bool shared = task.stage == v1::TRAIN && host(i).has_agent;
    const std::tuple<bool, bool, int> rank(failed, shared,
                                           busy_[i] - executor.slots);
    if (best < 0 || rank < best_rank) {
      best = i;
      best_rank = rank;
    }
  }
  if (best >= 0 && std::get<0>(best_rank) && fresh_exists) best = -1;
  if (best < 0 && to_reserve >= 0) {
    Host& h = host(to_reserve);
    (task.stage == v1::MEASURE ? h.no_new_training : h.no_new_measuring) = true;
  }
  return best;
}

SchedulerOutput Round::Run() {
  SchedulerOutput output;
  for (size_t i = 0; i < input_.leases.size(); ++i) {
    if (input_.leases[i].deadline <= input_.now) {
      output.expired.push_back(static_cast<int>(i));
    }
  }

  // The tasks of each who takes turns, the next one last.
  std::map<std::string, std::vector<int>> groups;
  for (size_t i = 0; i < input_.queue.size(); ++i) {
    groups[GroupOf(input_.queue[i])].push_back(static_cast<int>(i));
  }
  const auto starved = [](const QueuedTask& task) {
    return task.passed_over >= kPassedOverLimit;
  };
  const auto key = [&](const QueuedTask& task) {
    return std::make_tuple(!task.check, -task.priority, !starved(task),
                           task.stage != v1::MEASURE, task.order);
  };
  for (auto& [group, tasks] : groups) {
    std::stable_sort(tasks.begin(), tasks.end(), [&](int a, int b) {
      return key(input_.queue[a]) > key(input_.queue[b]);
    });
  }

  std::map<std::string, int64_t> last_served = input_.last_served;
  int64_t turn = 0;
  for (const auto& [group, when] : last_served) turn = std::max(turn, when);
  // Kinds of task for which nobody is free in this round.
  std::set<std::string> hopeless;
  while (!groups.empty()) {
    auto next = groups.end();
    std::tuple<bool, int, int, int, int64_t, bool> next_rank;
    for (auto it = groups.begin(); it != groups.end(); ++it) {
      const QueuedTask& task = input_.queue[it->second.back()];
      const auto served = last_served.find(it->first);
      const std::tuple<bool, int, int, int, int64_t, bool> rank(
          !task.check, -task.priority,
          running_by_user_[{task.user, task.stage}],
          running_[{task.study_id, task.stage}],
          served == last_served.end() ? 0 : served->second,
          task.stage != v1::MEASURE);
      if (next == groups.end() || rank < next_rank) {
        next = it;
        next_rank = rank;
      }
    }
    const int index = next->second.back();
    next->second.pop_back();
    const QueuedTask& task = input_.queue[index];
    const std::string type = TypeOf(task);
    const bool retry = !task.failed_executors.empty();
    int executor = -1;
    if (MayHaveMore(task) && (retry || !hopeless.count(type))) {
      executor = Place(task);
      // A retry may be choosier than others of its type. A measurement that
      // waits for a host may reserve one each, so it is never hopeless.
      if (executor < 0 && !retry && task.stage != v1::MEASURE) {
        hopeless.insert(type);
      }
    }
    if (executor >= 0) {
      Occupy(executor, task.stage);
      ++running_[{task.study_id, task.stage}];
      ++running_by_user_[{task.user, task.stage}];
      last_served[next->first] = ++turn;
      output.assignments.push_back({.task = index, .executor = executor});
    }
    if (next->second.empty()) groups.erase(next);
  }
  return output;
}

}  // namespace

std::string GroupOf(const QueuedTask& task) {
  return task.study_id.empty() ? absl::StrCat("~", task.user) : task.study_id;
}

bool IsCapable(const ExecutorSnapshot& executor, const QueuedTask& task) {
  if (!task.executor.empty() && task.executor != executor.name) return false;
  switch (task.stage) {
    case v1::MEASURE: {
      const auto runtime = executor.runtimes.find(task.runtime);
      return executor.kind == v1::AGENT &&
             Contains(executor.device_classes, task.device_class) &&
             runtime != executor.runtimes.end() &&
             Contains(runtime->second, task.precision) &&
             (task.profile.empty() ||
              Contains(executor.profiles, task.profile)) &&
             std::all_of(task.labels.begin(), task.labels.end(),
                         [&](const std::string& label) {
                           return Contains(executor.labels, label);
                         }) &&
             (!task.energy || executor.measures_energy);
    }
    case v1::TRAIN:
      return executor.kind == v1::WORKER &&
             (executor.datasets.empty() ||
              Contains(executor.datasets, task.dataset));
    default:
      return false;
  }
}

SchedulerOutput Schedule(const SchedulerInput& input) {
  return Round(input).Run();
}

}  // namespace hwnas::controller
