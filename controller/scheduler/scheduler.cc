#include "controller/scheduler/scheduler.h"

#include <algorithm>
#include <compare>
#include <optional>
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
      absl::StrJoin(
          std::make_tuple(static_cast<int>(task.stage), task.user,
                          task.study_id.empty(), task.check, task.device_class,
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

// Within a round executors only get busier and hosts only less free: who cannot
// take a task of some type now will not be able to later.
class Round {
 public:
  explicit Round(const SchedulerInput& input) : input_(input) {
    const size_t size = input.fleet.size();
    busy_.reserve(size);
    host_of_.reserve(size);
    hosts_.reserve(size);  // So that they stay where they are.
    std::vector<Host*> by_number;
    for (size_t i = 0; i < size; ++i) {
      const ExecutorSnapshot& executor = *input.fleet[i];
      Host* host = nullptr;
      if (executor.host == 0) {
        host = &hosts_.emplace_back();
      } else {
        const size_t number = executor.host;
        if (number >= by_number.size()) by_number.resize(number + 1);
        if (by_number[number] == nullptr) {
          by_number[number] = &hosts_.emplace_back();
        }
        host = by_number[number];
      }
      host->measuring += executor.running.measuring;
      host->training += executor.running.training;
      host->has_agent |= executor.kind == v1::AGENT;
      host_of_.push_back(host);
      busy_.push_back(executor.running.all());
      if (executor.accepts && busy_.back() < executor.slots) {
        open_.push_back(static_cast<int>(i));
      }
    }
  }

  std::vector<Assignment> Run();

 private:
  // What a task prefers least comes last.
  struct Rank {
    bool shared = false;  // Machines that cannot measure are better to train.
    int busy = 0;         // Less its slots.
    int executor = 0;

    friend auto operator<=>(const Rank&, const Rank&) = default;
  };
  // Who may take tasks of one type, but those that have been found not to.
  struct Candidates {
    std::set<Rank> ranked;
    // Those that only wait for their host, which is not kept free yet.
    std::set<int> host_busy;
  };

  void Occupy(int executor, v1::StageKind stage) {
    ++busy_[executor];
    ++(stage == v1::MEASURE ? host_of_[executor]->measuring
                            : host_of_[executor]->training);
  }

  // Whether it could take the task if nobody had anything to do.
  bool MayEver(int executor, const QueuedTask& task) const {
    const ExecutorSnapshot& e = *input_.fleet[executor];
    return e.accepts && IsCapable(e, task) && (!e.checks_only || task.check) &&
           (e.reserved_for.empty() || (task.study_id.empty() && !task.check &&
                                       task.user == e.reserved_for));
  }

  // Of one that may ever.
  Fit FitNow(int executor, v1::StageKind stage) const {
    if (busy_[executor] >= input_.fleet[executor]->slots) return Fit::kBusy;
    const Host& h = *host_of_[executor];
    if (stage == v1::MEASURE) {
      // An agent's own measurements take turns.
      if (h.measuring + h.training > busy_[executor] || h.no_new_measuring) {
        return Fit::kHostBusy;
      }
    } else if (h.measuring > 0 || h.no_new_training) {
      return Fit::kHostBusy;
    }
    return Fit::kFree;
  }

  Rank RankOf(int executor, v1::StageKind stage) const {
    return {.shared = stage == v1::TRAIN && host_of_[executor]->has_agent,
            .busy = busy_[executor] - input_.fleet[executor]->slots,
            .executor = executor};
  }

  bool MayHaveMore(const QueuedTask& task) {
    const int quota = input_.quotas.Of(task.user);
    return task.check || quota == 0 ||
           Running(Group::kUser, task.user, task.stage) < quota;
  }

  // Running tasks of a study or of a user, with those of this round.
  enum class Group { kStudy, kUser };
  int& Running(Group group, const std::string& name, v1::StageKind stage) {
    auto& running = running_[static_cast<int>(group)];
    const auto [it, fresh] = running.try_emplace({name, stage}, 0);
    if (fresh && input_.running != nullptr) {
      it->second = (group == Group::kStudy ? input_.running->OfStudy(name)
                                           : input_.running->OfUser(name))
                       .of(stage);
    }
    return it->second;
  }

  Candidates& CandidatesFor(const QueuedTask& task, const std::string& type);
  // Each returns the executor to give the task to, or -1; may reserve a host.
  int Place(const QueuedTask& task, Candidates& candidates);
  // Anybody who has not failed it, also if that means to wait.
  int PlaceRetry(const QueuedTask& task, Candidates& candidates);
  // Keeps the host free that will be so soonest: the one with least work.
  void Reserve(v1::StageKind stage, Candidates& candidates,
               const std::vector<std::string>& failed_executors);

  const SchedulerInput& input_;
  std::vector<int> busy_;
  std::vector<Host*> host_of_;
  std::vector<Host> hosts_;
  // Those that had a free slot when the round began, ascending.
  std::vector<int> open_;
  std::map<std::string, Candidates> candidates_;  // By type.
  std::map<std::pair<std::string, v1::StageKind>, int> running_[2];
};

Round::Candidates& Round::CandidatesFor(const QueuedTask& task,
                                        const std::string& type) {
  const auto [it, fresh] = candidates_.try_emplace(type);
  if (fresh) {
    for (const int i : open_) {
      if (MayEver(i, task)) it->second.ranked.insert(RankOf(i, task.stage));
    }
  }
  return it->second;
}

int Round::Place(const QueuedTask& task, Candidates& candidates) {
  std::set<Rank>& ranked = candidates.ranked;
  while (!ranked.empty()) {
    const Rank first = *ranked.begin();
    const Fit fit = FitNow(first.executor, task.stage);
    const Rank now = RankOf(first.executor, task.stage);
    if (fit == Fit::kFree && now == first) return first.executor;
    ranked.erase(ranked.begin());
    if (fit == Fit::kFree) ranked.insert(now);
    if (fit == Fit::kHostBusy) candidates.host_busy.insert(first.executor);
  }
  Reserve(task.stage, candidates, {});
  return -1;
}

int Round::PlaceRetry(const QueuedTask& task, Candidates& candidates) {
  std::optional<std::pair<bool, Rank>> best;  // Whether it has failed.
  for (const int i : open_) {
    if (!MayEver(i, task)) continue;
    const Fit fit = FitNow(i, task.stage);
    const bool failed = Contains(task.failed_executors, input_.fleet[i]->name);
    if (fit == Fit::kHostBusy) candidates.host_busy.insert(i);
    if (fit != Fit::kFree) continue;
    const std::pair<bool, Rank> rank(failed, RankOf(i, task.stage));
    if (!best || rank < *best) best = rank;
  }
  if (best && best->first) {
    for (int i = 0; best && i < static_cast<int>(input_.fleet.size()); ++i) {
      if (!Contains(task.failed_executors, input_.fleet[i]->name) &&
          MayEver(i, task)) {
        best = std::nullopt;
      }
    }
  }
  if (best) return best->second.executor;
  Reserve(task.stage, candidates, task.failed_executors);
  return -1;
}

void Round::Reserve(v1::StageKind stage, Candidates& candidates,
                    const std::vector<std::string>& failed_executors) {
  const auto load = [&](int i) {
    return host_of_[i]->measuring + host_of_[i]->training;
  };
  int best = -1;
  for (auto it = candidates.host_busy.begin();
       it != candidates.host_busy.end();) {
    const int i = *it;
    const Host& h = *host_of_[i];
    const bool kept =
        stage == v1::MEASURE ? h.no_new_measuring : h.no_new_training;
    if (kept || FitNow(i, stage) != Fit::kHostBusy) {
      it = candidates.host_busy.erase(it);
      continue;
    }
    ++it;
    if (!Contains(failed_executors, input_.fleet[i]->name) &&
        (best < 0 || load(i) < load(best))) {
      best = i;
    }
  }
  if (best < 0) return;
  Host& h = *host_of_[best];
  (stage == v1::MEASURE ? h.no_new_training : h.no_new_measuring) = true;
}

std::vector<Assignment> Round::Run() {
  std::vector<Assignment> assignments;
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
          Running(Group::kUser, task.user, task.stage),
          Running(Group::kStudy, task.study_id, task.stage),
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
      Candidates& candidates = CandidatesFor(task, type);
      executor = retry ? PlaceRetry(task, candidates) : Place(task, candidates);
      // A retry may be choosier than others of its type. A measurement that
      // waits for a host may reserve one each, so it is never hopeless.
      if (executor < 0 && !retry && task.stage != v1::MEASURE) {
        hopeless.insert(type);
      }
    }
    if (executor >= 0) {
      Occupy(executor, task.stage);
      ++Running(Group::kStudy, task.study_id, task.stage);
      ++Running(Group::kUser, task.user, task.stage);
      last_served[next->first] = ++turn;
      assignments.push_back({.task = index, .executor = executor});
    }
    if (next->second.empty()) groups.erase(next);
  }
  return assignments;
}

}  // namespace

RunningTasks::Task::Task(RunningTasks* all, std::string study_id,
                         std::string user, std::string executor,
                         v1::StageKind stage)
    : all_(all),
      study_id_(std::move(study_id)),
      user_(std::move(user)),
      executor_(std::move(executor)),
      stage_(stage) {
  Count(+1);
}

RunningTasks::Task& RunningTasks::Task::operator=(Task&& other) noexcept {
  if (this == &other) return *this;
  Count(-1);
  all_ = std::exchange(other.all_, nullptr);
  study_id_ = std::move(other.study_id_);
  user_ = std::move(other.user_);
  executor_ = std::move(other.executor_);
  stage_ = other.stage_;
  return *this;
}

void RunningTasks::Task::Count(int change) {
  if (all_ == nullptr) return;
  all_->all_.Add(stage_, change);
  for (const auto& [counts, name] :
       {std::make_pair(&all_->by_study_, &study_id_),
        std::make_pair(&all_->by_user_, &user_)}) {
    const auto it = counts->try_emplace(*name).first;
    it->second.Add(stage_, change);
    if (it->second.all() == 0) counts->erase(it);
  }
  const auto it = all_->by_executor_.try_emplace(executor_).first;
  it->second.count.Add(stage_, change);
  if (it->second.count.all() == 0 && !it->second.watched) {
    all_->by_executor_.erase(it);
  }
}

const TaskCount* RunningTasks::Watch(absl::string_view executor) {
  Watched& watched = by_executor_[executor];
  watched.watched = true;
  return &watched.count;
}

void RunningTasks::Unwatch(absl::string_view executor) {
  const auto it = by_executor_.find(executor);
  if (it == by_executor_.end()) return;
  it->second.watched = false;
  if (it->second.count.all() == 0) by_executor_.erase(it);
}

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

std::vector<Assignment> Schedule(const SchedulerInput& input) {
  return Round(input).Run();
}

}  // namespace hwnas::controller
