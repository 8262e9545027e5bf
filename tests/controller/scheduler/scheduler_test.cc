// The scheduler is a pure function, so each rule is a small table: no threads,
// no sleeps.
#include "controller/scheduler/scheduler.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas::controller {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// The number of a host.
int HostNumber(const std::string& host) {
  static auto& numbers = *new std::map<std::string, int>{{"", 0}};
  return numbers.try_emplace(host, static_cast<int>(numbers.size()))
      .first->second;
}

ExecutorSnapshot Worker(const std::string& id, const std::string& host = "",
                        int slots = 1) {
  return {.name = "workers/" + id,
          .kind = v1::WORKER,
          .host = HostNumber(host),
          .slots = slots,
          .datasets = {"fashion-mnist", "cifar10"}};
}

ExecutorSnapshot Agent(const std::string& id, const std::string& host = "") {
  return {.name = "agents/" + id,
          .kind = v1::AGENT,
          .host = HostNumber(host),
          .device_classes = {"x86_64"},
          .runtimes = {{"onnxruntime", {"fp32"}}}};
}

QueuedTask Train(int64_t order, const std::string& study = "s") {
  return {.study_id = study,
          .stage = v1::TRAIN,
          .dataset = "fashion-mnist",
          .order = order};
}

QueuedTask Measure(int64_t order, const std::string& study = "s") {
  return {.study_id = study,
          .stage = v1::MEASURE,
          .device_class = "x86_64",
          .runtime = "onnxruntime",
          .order = order};
}

// A running task.
struct Running {
  std::string executor;
  v1::StageKind stage;
  std::string study_id;
  std::string user;
};

Running Lease(const std::string& executor, v1::StageKind stage,
              const std::string& study = "s") {
  return {.executor = executor, .stage = stage, .study_id = study};
}

// What the scheduler is asked.
struct Case {
  std::vector<QueuedTask> queue;
  std::vector<Running> leases;
  std::vector<ExecutorSnapshot> fleet;
  Quotas quotas;
  std::map<std::string, int64_t> last_served;
};

std::vector<Assignment> Assignments(Case c) {
  RunningTasks running;
  std::vector<RunningTasks::Task> tasks;
  for (const Running& lease : c.leases) {
    tasks.emplace_back(&running, lease.study_id, lease.user, lease.executor,
                       lease.stage);
  }
  SchedulerInput input = {.queue = std::move(c.queue),
                          .running = &running,
                          .quotas = c.quotas,
                          .last_served = c.last_served};
  for (ExecutorSnapshot& executor : c.fleet) {
    executor.running = running.OfExecutor(executor.name);
    input.fleet.push_back(&executor);
  }
  return Schedule(input);
}

// "train 3 of s -> workers/w1", in order.
std::vector<std::string> Assigned(const Case& c) {
  std::vector<std::string> lines;
  for (const Assignment& a : Assignments(c)) {
    const QueuedTask& task = c.queue[a.task];
    lines.push_back(absl::StrCat(
        task.stage == v1::TRAIN ? "train " : "measure ", task.order, " of ",
        task.study_id, " -> ", c.fleet[a.executor].name));
  }
  return lines;
}

TEST(Schedule, GivesEnergyOnlyToAgentsThatMeasureIt) {
  Case input;
  input.queue = {Measure(1)};
  input.queue[0].energy = true;
  input.fleet = {Agent("a1", "h1"), Agent("a2", "h2")};
  EXPECT_THAT(Assigned(input), IsEmpty());
  EXPECT_FALSE(IsCapable(input.fleet[0], input.queue[0]));
  input.fleet[1].measures_energy = true;
  EXPECT_THAT(Assigned(input), ElementsAre("measure 1 of s -> agents/a2"));
  // Which does other work as well.
  input.queue[0].energy = false;
  input.fleet.erase(input.fleet.begin());
  EXPECT_THAT(Assigned(input), ElementsAre("measure 1 of s -> agents/a2"));
}

TEST(Scheduler, GivesNothingToNobody) {
  EXPECT_THAT(Assigned({}), IsEmpty());
  EXPECT_THAT(Assigned({.queue = {Train(1)}}), IsEmpty());
  EXPECT_THAT(Assigned({.fleet = {Worker("w1")}}), IsEmpty());
}

TEST(Scheduler, GivesEachKindOfTaskToItsKindOfExecutor) {
  EXPECT_THAT(
      Assigned({.queue = {Train(1), Measure(2)},
                .fleet = {Worker("w1"), Agent("a1")}}),
      ElementsAre("measure 2 of s -> agents/a1", "train 1 of s -> workers/w1"));
}

TEST(Scheduler, MatchesCapabilities) {
  QueuedTask train = Train(1);
  train.dataset = "cifar100";
  EXPECT_THAT(Assigned({.queue = {train}, .fleet = {Worker("w1")}}), IsEmpty());
  ExecutorSnapshot anything = Worker("w1");
  anything.datasets.clear();
  EXPECT_THAT(Assigned({.queue = {train}, .fleet = {anything}}), SizeIs(1));

  QueuedTask other_class = Measure(1);
  other_class.device_class = "raspberrypi5";
  EXPECT_THAT(Assigned({.queue = {other_class}, .fleet = {Agent("a1")}}),
              IsEmpty());
  QueuedTask other_runtime = Measure(1);
  other_runtime.runtime = "libtorch";
  EXPECT_THAT(Assigned({.queue = {other_runtime}, .fleet = {Agent("a1")}}),
              IsEmpty());
}

TEST(Scheduler, FillsSlotsAndNoMore) {
  EXPECT_THAT(
      Assigned({.queue = {Train(1), Train(2), Train(3)},
                .leases = {Lease("workers/w1", v1::TRAIN)},
                .fleet = {Worker("w1", "", 3)}}),
      ElementsAre("train 1 of s -> workers/w1", "train 2 of s -> workers/w1"));
}

TEST(Scheduler, GivesNothingToExecutorsThatDoNotAccept) {
  ExecutorSnapshot quarantined = Worker("w1");
  quarantined.accepts = false;
  EXPECT_THAT(Assigned({.queue = {Train(1)}, .fleet = {quarantined}}),
              IsEmpty());
}

TEST(Scheduler, NeverMeasuresBesideOtherWorkOnTheHost) {
  EXPECT_THAT(Assigned({.queue = {Measure(1)},
                        .leases = {Lease("workers/w1", v1::TRAIN)},
                        .fleet = {Worker("w1", "h", 4), Agent("a1", "h")}}),
              IsEmpty());
  EXPECT_THAT(Assigned({.queue = {Measure(1)},
                        .leases = {Lease("agents/a2", v1::MEASURE)},
                        .fleet = {Agent("a1", "h"), Agent("a2", "h")}}),
              IsEmpty());
  EXPECT_THAT(Assigned({.queue = {Train(1)},
                        .leases = {Lease("agents/a1", v1::MEASURE)},
                        .fleet = {Worker("w1", "h"), Agent("a1", "h")}}),
              IsEmpty());
  // In one round, too.
  EXPECT_THAT(Assigned({.queue = {Measure(1), Measure(2), Train(3)},
                        .fleet = {Worker("w1", "h"), Agent("a1", "h"),
                                  Agent("a2", "h")}}),
              ElementsAre("measure 1 of s -> agents/a1"));
}

TEST(Scheduler, GivesAnAgentSeveralMeasurementsToTakeTurnsWith) {
  ExecutorSnapshot agent = Agent("a1", "h");
  agent.slots = 3;
  EXPECT_THAT(Assigned({.queue = {Measure(1), Measure(2), Train(3)},
                        .leases = {Lease("agents/a1", v1::MEASURE)},
                        .fleet = {Worker("w1", "h"), agent, Agent("a2", "h")}}),
              ElementsAre("measure 1 of s -> agents/a1",
                          "measure 2 of s -> agents/a1"));
  // Those of another agent on the host are other work.
  EXPECT_THAT(Assigned({.queue = {Measure(1)},
                        .leases = {Lease("agents/a2", v1::MEASURE)},
                        .fleet = {agent, Agent("a2", "h")}}),
              IsEmpty());
  // Boards share the load before one has several.
  ExecutorSnapshot other = Agent("b1", "h2");
  other.slots = 3;
  EXPECT_THAT(
      Assigned({.queue = {Measure(1), Measure(2)}, .fleet = {agent, other}}),
      ElementsAre("measure 1 of s -> agents/a1",
                  "measure 2 of s -> agents/b1"));
}

TEST(Scheduler, TrainsSideBySideOnOneHost) {
  EXPECT_THAT(Assigned({.queue = {Train(1), Train(2)},
                        .fleet = {Worker("w1", "h"), Worker("w2", "h")}}),
              SizeIs(2));
}

TEST(Scheduler, CountsTheWorkOfLostExecutorsOnTheirHost) {
  ExecutorSnapshot lost = Worker("w1", "h");
  lost.accepts = false;
  EXPECT_THAT(Assigned({.queue = {Measure(1)},
                        .leases = {Lease("workers/w1", v1::TRAIN)},
                        .fleet = {lost, Agent("a1", "h")}}),
              IsEmpty());
}

TEST(Scheduler, DrainsAHostForAWaitingMeasurement) {
  // Two of four slots train; the measurement waits; no third training starts.
  EXPECT_THAT(Assigned({.queue = {Train(1), Measure(2)},
                        .leases = {Lease("workers/w1", v1::TRAIN),
                                   Lease("workers/w1", v1::TRAIN)},
                        .fleet = {Worker("w1", "h", 4), Agent("a1", "h")}}),
              IsEmpty());
}

TEST(Scheduler, DrainsOneHostOnlyForOneMeasurement) {
  EXPECT_THAT(
      Assigned({.queue = {Measure(1), Train(2)},
                .leases = {Lease("workers/w1", v1::TRAIN),
                           Lease("workers/w2", v1::TRAIN),
                           Lease("workers/w2", v1::TRAIN)},
                .fleet = {Agent("a1", "h1"), Agent("a2", "h2"),
                          Worker("w1", "h1", 4), Worker("w2", "h2", 4)}}),
      ElementsAre("train 2 of s -> workers/w2"));
}

TEST(Scheduler, PrefersCheapStagesThenOldTrials) {
  EXPECT_THAT(Assigned({.queue = {Train(1), Measure(3), Measure(2)},
                        .fleet = {Worker("w1", "h"), Agent("a1", "h")}}),
              ElementsAre("measure 2 of s -> agents/a1"));
}

TEST(Scheduler, DoesNotStarveTrainings) {
  QueuedTask train = Train(1);
  train.passed_over = kPassedOverLimit;
  EXPECT_THAT(Assigned({.queue = {Measure(2), train},
                        .fleet = {Worker("w1", "h"), Agent("a1", "h")}}),
              ElementsAre("train 1 of s -> workers/w1"));
}

TEST(Scheduler, TrainsOnHostsThatDoNotMeasureFirst) {
  EXPECT_THAT(Assigned({.queue = {Train(1)},
                        .fleet = {Agent("a1", "h1"), Worker("w1", "h1"),
                                  Worker("w2", "h2")}}),
              ElementsAre("train 1 of s -> workers/w2"));
}

TEST(Scheduler, SpreadsOverTheLeastBusy) {
  EXPECT_THAT(
      Assigned({.queue = {Train(1)},
                .leases = {Lease("workers/w1", v1::TRAIN)},
                .fleet = {Worker("w1", "h1", 3), Worker("w2", "h2", 3)}}),
      ElementsAre("train 1 of s -> workers/w2"));
}

TEST(Scheduler, RetriesElsewhere) {
  QueuedTask retry = Train(1);
  retry.failed_executors = {"workers/w1"};
  // A fresh one that is free.
  EXPECT_THAT(
      Assigned({.queue = {retry}, .fleet = {Worker("w1"), Worker("w2")}}),
      ElementsAre("train 1 of s -> workers/w2"));
  // A fresh one that is busy: the retry waits, others go on.
  EXPECT_THAT(Assigned({.queue = {retry, Train(2)},
                        .leases = {Lease("workers/w2", v1::TRAIN)},
                        .fleet = {Worker("w1"), Worker("w2")}}),
              ElementsAre("train 2 of s -> workers/w1"));
  // No other.
  EXPECT_THAT(Assigned({.queue = {retry}, .fleet = {Worker("w1")}}),
              ElementsAre("train 1 of s -> workers/w1"));
}

TEST(Scheduler, LetsStudiesTakeTurns) {
  // Fewest running first.
  EXPECT_THAT(Assigned({.queue = {Train(1, "a"), Train(2, "b")},
                        .leases = {Lease("workers/w1", v1::TRAIN, "a")},
                        .fleet = {Worker("w1"), Worker("w2")}}),
              ElementsAre("train 2 of b -> workers/w2"));
  // Then the one served longest ago.
  EXPECT_THAT(Assigned({.queue = {Train(1, "a"), Train(2, "b")},
                        .fleet = {Worker("w1")},
                        .last_served = {{"a", 7}, {"b", 3}}}),
              ElementsAre("train 2 of b -> workers/w1"));
  // Also between kinds that exclude each other on a host.
  EXPECT_THAT(Assigned({.queue = {Measure(1, "a"), Train(2, "b")},
                        .fleet = {Worker("w1", "h"), Agent("a1", "h")},
                        .last_served = {{"a", 1}}}),
              ElementsAre("train 2 of b -> workers/w1"));
}

TEST(Scheduler, SharesManySlotsEvenly) {
  Case input;
  for (int i = 0; i < 20; ++i) input.queue.push_back(Train(i, "a"));
  for (int i = 0; i < 20; ++i) input.queue.push_back(Train(i, "b"));
  input.fleet = {Worker("w1", "", 10)};
  const std::vector<std::string> assigned = Assigned(input);
  EXPECT_THAT(assigned, SizeIs(10));
  EXPECT_EQ(std::count_if(assigned.begin(), assigned.end(),
                          [](const std::string& line) {
                            return absl::StrContains(line, "of a");
                          }),
            5);
}

TEST(RunningTasks, CountsEachAsLongAsItLives) {
  RunningTasks all;
  {
    RunningTasks::Task a(&all, "s", "ann", "workers/w1", v1::TRAIN);
    RunningTasks::Task b(&all, "s", "ann", "agents/a1", v1::MEASURE);
    EXPECT_EQ(all.OfStudy("s").training, 1);
    EXPECT_EQ(all.OfUser("ann").all(), 2);
    EXPECT_EQ(all.OfExecutor("agents/a1").measuring, 1);
    RunningTasks::Task moved = std::move(a);
    EXPECT_EQ(all.OfExecutor("workers/w1").training, 1);
    moved = std::move(b);
    EXPECT_EQ(all.OfExecutor("workers/w1").all(), 0);
    EXPECT_EQ(all.OfStudy("s").all(), 1);
  }
  EXPECT_EQ(all.OfStudy("s").all(), 0);
  EXPECT_EQ(all.OfUser("ann").all(), 0);
}

TEST(RunningTasks, AWatchedExecutorsCountIsAlwaysCurrent) {
  RunningTasks all;
  RunningTasks::Task before(&all, "s", "ann", "workers/w1", v1::TRAIN);
  const TaskCount* const count = all.Watch("workers/w1");
  EXPECT_EQ(count->training, 1);
  before = RunningTasks::Task();
  EXPECT_EQ(count->all(), 0);
  {
    // Others come and go.
    std::vector<RunningTasks::Task> tasks;
    for (int i = 0; i < 1000; ++i) {
      tasks.emplace_back(&all, "s", "ann", absl::StrCat("workers/v", i),
                         v1::TRAIN);
    }
    tasks.emplace_back(&all, "s", "ann", "workers/w1", v1::MEASURE);
    EXPECT_EQ(count->measuring, 1);
  }
  EXPECT_EQ(count->all(), 0);
  all.Unwatch("workers/w1");
  EXPECT_EQ(all.OfExecutor("workers/w1").all(), 0);
}

TEST(Scheduler, ToleratesLeasesOfUnknownExecutors) {
  EXPECT_THAT(Assigned({.queue = {Train(1)},
                        .leases = {Lease("workers/gone", v1::TRAIN),
                                   Lease("clients/me", v1::ASK)},
                        .fleet = {Worker("w1")}}),
              SizeIs(1));
}

TEST(Scheduler, IsDeterministic) {
  Case input;
  for (int i = 0; i < 50; ++i) {
    input.queue.push_back(i % 3 ? Train(i, absl::StrCat("s", i % 4))
                                : Measure(i, absl::StrCat("s", i % 4)));
  }
  for (int i = 0; i < 8; ++i) {
    input.fleet.push_back(
        Worker(absl::StrCat("w", i), absl::StrCat("h", i % 5), 2));
    input.fleet.push_back(
        Agent(absl::StrCat("a", i), absl::StrCat("h", i % 5)));
  }
  const std::vector<std::string> once = Assigned(input);
  EXPECT_FALSE(once.empty());
  EXPECT_EQ(Assigned(input), once);
}

// ---- The farm: priorities, users, quotas, reservations ----

QueuedTask Of(QueuedTask task, const std::string& user, int priority = 0) {
  task.user = user;
  task.priority = priority;
  return task;
}

std::vector<ExecutorSnapshot> Agents(int count) {
  std::vector<ExecutorSnapshot> fleet;
  for (int i = 0; i < count; ++i) {
    fleet.push_back(Agent(absl::StrCat("a", i), absl::StrCat("h", i)));
  }
  return fleet;
}

TEST(Scheduler, MatchesPrecisionProfileAndLabels) {
  QueuedTask task = Measure(1);
  ExecutorSnapshot agent = Agent("a1");
  task.precision = "int8";
  EXPECT_FALSE(IsCapable(agent, task));
  agent.runtimes["onnxruntime"].push_back("int8");
  EXPECT_TRUE(IsCapable(agent, task));
  task.profile = "pinned";
  EXPECT_FALSE(IsCapable(agent, task));
  agent.profiles = {"as_shipped", "pinned"};
  EXPECT_TRUE(IsCapable(agent, task));
  task.labels = {"rack-a", "fan"};
  agent.labels = {"rack-a"};
  EXPECT_FALSE(IsCapable(agent, task));
  agent.labels = {"fan", "rack-a"};
  EXPECT_TRUE(IsCapable(agent, task));
  task.executor = "agents/a2";
  EXPECT_FALSE(IsCapable(agent, task));
}

TEST(Scheduler, ServesAHigherPriorityFirstWhoeverWaitsLonger) {
  Case input;
  input.queue = {Of(Measure(1, "low"), "", -5), Of(Measure(9, "high"), "", 5),
                 Of(Measure(2, "usual"), "")};
  input.fleet = Agents(2);
  input.last_served = {{"high", 7}};
  EXPECT_THAT(Assigned(input), ElementsAre("measure 9 of high -> agents/a0",
                                           "measure 2 of usual -> agents/a1"));
}

TEST(Scheduler, SharesBetweenUsersWhateverTheNumberOfTheirStudies) {
  Case input;
  for (int i = 0; i < 9; ++i) {
    input.queue.push_back(
        Of(Measure(i, absl::StrCat("of-ann-", i % 3)), "ann"));
    input.queue.push_back(Of(Measure(i, "of-bob"), "bob"));
  }
  input.fleet = Agents(6);
  std::map<std::string, int> given;
  for (const Assignment& a : Assignments(input)) {
    ++given[input.queue[a.task].study_id];
  }
  EXPECT_EQ(given["of-bob"], 3);
  EXPECT_EQ(given["of-ann-0"], 1);
  EXPECT_EQ(given["of-ann-1"], 1);
  EXPECT_EQ(given["of-ann-2"], 1);
}

TEST(Scheduler, KeepsUsersWithinTheirQuota) {
  Case input;
  for (int i = 0; i < 6; ++i) {
    input.queue.push_back(Of(Measure(i, "a"), "ann", 1));
    input.queue.push_back(Of(Measure(i, "b"), "bob"));
  }
  input.fleet = Agents(7);
  input.leases = {Lease("agents/a6", v1::MEASURE, "a")};
  input.leases[0].user = "ann";
  input.quotas.everybody = 4;
  input.quotas.by_user = {{"ann", 2}};
  std::map<std::string, int> given;
  for (const Assignment& a : Assignments(input)) {
    ++given[input.queue[a.task].user];
  }
  EXPECT_EQ(given["ann"], 1);  // One runs already.
  EXPECT_EQ(given["bob"], 4);
}

TEST(Scheduler, AReservedDeviceTakesOnlyItsPersonsProfiles) {
  Case input;
  input.queue = {Of(Measure(1, "s"), "ann"), Of(Measure(2, ""), "bob"),
                 Of(Measure(3, ""), "ann")};
  input.fleet = Agents(1);
  input.fleet[0].reserved_for = "ann";
  EXPECT_THAT(Assigned(input), ElementsAre("measure 3 of  -> agents/a0"));
}

TEST(Scheduler, ADeviceInQuarantineTakesOnlyChecks) {
  Case input;
  input.queue = {Measure(1, "s"), Measure(2, "")};
  input.queue[1].check = true;
  input.queue[1].executor = "agents/a1";
  input.fleet = Agents(2);
  input.fleet[0].checks_only = input.fleet[1].checks_only = true;
  EXPECT_THAT(Assigned(input), ElementsAre("measure 2 of  -> agents/a1"));
  // A check goes before everything else.
  input.queue[0].priority = 100;
  input.fleet[0].checks_only = input.fleet[1].checks_only = false;
  EXPECT_THAT(Assigned(input), ElementsAre("measure 2 of  -> agents/a1",
                                           "measure 1 of s -> agents/a0"));
}

}  // namespace
}  // namespace hwnas::controller
