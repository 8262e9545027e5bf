#include "controller/scheduler/scheduler.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hwnas::controller {
namespace {

bool Contains(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
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
    if (busy_[executor] >= e.slots) return Fit::kBusy;
    const Host& h = host(executor);
    if (task.stage == v1::MEASURE) {
      if (h.measuring + h.training > 0 || h.no_new_measuring) {
        return Fit::kHostBusy;
      }
    } else if (h.measuring > 0 || h.no_new_training) {
      return Fit::kHostBusy;
    }
    return Fit::kFree;
  }

  // The executor to give the task to, or -1; may reserve a host.
  int Place(const QueuedTask& task);

  const SchedulerInput& input_;
  std::map<std::string, int> index_;
  std::vector<int> busy_;
  std::map<std::string, Host> hosts_;
  std::map<std::pair<std::string, v1::StageKind>, int> running_;
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

  // Each study's tasks, the next one last.
  std::map<std::string, std::vector<int>> studies;
  for (size_t i = 0; i < input_.queue.size(); ++i) {
    studies[input_.queue[i].study_id].push_back(static_cast<int>(i));
  }
  const auto starved = [](const QueuedTask& task) {
    return task.passed_over >= kPassedOverLimit;
  };
  const auto key = [&](const QueuedTask& task) {
    return std::make_tuple(!starved(task), task.stage != v1::MEASURE,
                           task.order);
  };
  for (auto& [study, tasks] : studies) {
    std::stable_sort(tasks.begin(), tasks.end(), [&](int a, int b) {
      return key(input_.queue[a]) > key(input_.queue[b]);
    });
  }

  std::map<std::string, int64_t> last_served = input_.last_served;
  int64_t turn = 0;
  for (const auto& [study, when] : last_served) turn = std::max(turn, when);
  // Kinds of task for which nobody is free in this round.
  std::set<std::string> hopeless;
  while (!studies.empty()) {
    auto next = studies.end();
    std::tuple<int, int64_t, bool> next_rank;
    for (auto it = studies.begin(); it != studies.end(); ++it) {
      const QueuedTask& task = input_.queue[it->second.back()];
      const auto served = last_served.find(it->first);
      const std::tuple<int, int64_t, bool> rank(
          running_[{it->first, task.stage}],
          served == last_served.end() ? 0 : served->second,
          task.stage != v1::MEASURE);
      if (next == studies.end() || rank < next_rank) {
        next = it;
        next_rank = rank;
      }
    }
    const int index = next->second.back();
    next->second.pop_back();
    const QueuedTask& task = input_.queue[index];
    const bool retry = !task.failed_executors.empty();
    const std::string type =
        absl::StrCat(task.stage, "\n", task.device_class, "\n", task.runtime,
                     "\n", task.energy, "\n", task.dataset);
    int executor = -1;
    if (retry || !hopeless.count(type)) {
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
      last_served[task.study_id] = ++turn;
      output.assignments.push_back({.task = index, .executor = executor});
    }
    if (next->second.empty()) studies.erase(next);
  }
  return output;
}

}  // namespace

bool IsCapable(const ExecutorSnapshot& executor, const QueuedTask& task) {
  switch (task.stage) {
    case v1::MEASURE:
      return executor.kind == v1::AGENT &&
             Contains(executor.device_classes, task.device_class) &&
             Contains(executor.runtimes, task.runtime) &&
             (!task.energy || executor.measures_energy);
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
