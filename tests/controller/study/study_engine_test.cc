#include "controller/study/study_engine.h"

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "controller/study/task_names.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/controller/study/engine_harness.h"

namespace hwnas::controller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using Session = EngineHarness::Session;

TEST(StudyEngine, RunsASearchToItsEnd) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h"));
  Session agent = h.Connect(AgentHello("a1", "h"));
  h.Create("s", ToySpec(24));
  h.Work({&worker, &agent});
  const v1::Study study = h.Study("s");
  EXPECT_EQ(study.state(), v1::Study::COMPLETED);
  EXPECT_EQ(study.progress().proposed_count(), 24);
  EXPECT_EQ(study.progress().completed_count(), 24);
  EXPECT_GT(study.progress().front_size(), 0);
  EXPECT_GT(study.progress().hypervolume(), 0);
  // Every trial was measured once and trained once, and no digest repeats.
  EXPECT_EQ(h.CountEvents("s", v1::JournalEvent::kTaskLeased), 48);
  std::set<std::string> digests;
  for (int i = 1; i <= 24; ++i) {
    digests.insert(h.Trial("s", i).architecture().digest());
  }
  EXPECT_EQ(digests.size(), 24u);
}

TEST(StudyEngine, MeasuresBeforeItTrains) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h1"));
  Session agent = h.Connect(AgentHello("a1", "h2"));
  h.Create("s", ToySpec(4));
  EXPECT_THAT(worker.stream->tasks, IsEmpty());
  ASSERT_THAT(agent.stream->tasks, SizeIs(1));
  h.Reply(agent, h.Answer(h.Take(agent)));
  EXPECT_THAT(worker.stream->tasks, SizeIs(1));
}

TEST(StudyEngine, NeverMeasuresBesideATrainingOnOneHost) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h"));
  Session agent = h.Connect(AgentHello("a1", "h"));
  h.Create("s", ToySpec(12));
  while (!worker.stream->tasks.empty() || !agent.stream->tasks.empty()) {
    ASSERT_EQ(worker.stream->tasks.size() + agent.stream->tasks.size(), 1u);
    h.Work({&worker, &agent}, 1);
  }
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
}

TEST(StudyEngine, NeverMeasuresOrTrainsWhatScreeningRejects) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h"));
  Session agent = h.Connect(AgentHello("a1", "h"));
  // Strategies pass over what is known to be too large; but there is little
  // else.
  v1::StudySpec spec = ToySpec(40);
  spec.mutable_space()->mutable_nasbench201()->add_operations("skip_connect");
  spec.mutable_space()->mutable_nasbench201()->add_operations("nor_conv_1x1");
  spec.mutable_space()->mutable_nasbench201()->add_operations("nor_conv_3x3");
  auto* constraint = spec.add_constraints();
  constraint->set_metric("params_m");
  constraint->set_at_most(0.008);
  h.Create("s", spec);
  h.Work({&worker, &agent});
  int rejected = 0;
  for (int i = 1; i <= 40; ++i) {
    const v1::Trial trial = h.Trial("s", i);
    double params = 0;
    for (const auto& m : trial.measurements()) {
      if (m.metric() == "params_m") params = m.value();
    }
    ASSERT_GT(params, 0);
    if (params > 0.008) {
      ++rejected;
      EXPECT_EQ(trial.state(), v1::Trial::INFEASIBLE);
      EXPECT_THAT(trial.infeasible_reason(), HasSubstr("params_m is "));
      EXPECT_EQ(trial.stages(1).attempt_count(), 0);
      EXPECT_EQ(trial.stages(2).attempt_count(), 0);
      EXPECT_EQ(trial.stages(2).state(), v1::TrialStage::SKIPPED);
    } else {
      EXPECT_EQ(trial.state(), v1::Trial::COMPLETED);
    }
  }
  EXPECT_GT(rejected, 0);
  EXPECT_LT(rejected, 40);
}

TEST(StudyEngine, NoStrategyProposesWhatScreeningWouldReject) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h"));
  Session agent = h.Connect(AgentHello("a1", "h"));
  v1::StudySpec spec = ToySpec(24);
  auto* constraint = spec.add_constraints();
  constraint->set_metric("params_m");
  constraint->set_at_most(0.008);
  for (const std::string name : {"random", "nsga2", "auto"}) {
    v1::StrategySpec& strategy = *spec.mutable_strategy();
    if (name == "random") strategy.mutable_random();
    if (name == "nsga2") strategy.mutable_nsga2();
    if (name == "auto") strategy.mutable_auto_();
    h.Create(name, spec);
    h.Work({&worker, &agent});
    EXPECT_EQ(h.Study(name).progress().completed_count(), 24) << name;
  }
}

TEST(StudyEngine, NeverTrainsWhatAMeasurementRejects) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h"));
  Session agent = h.Connect(AgentHello("a1", "h"));
  v1::StudySpec spec = ToySpec(24);
  auto* constraint = spec.add_constraints();
  constraint->set_metric("latency_ms");
  constraint->set_device("x86_64");
  constraint->set_at_most(5);
  h.Create("s", spec);
  h.Work({&worker, &agent});
  const v1::Study study = h.Study("s");
  EXPECT_GT(study.progress().infeasible_count(), 0);
  EXPECT_GT(study.progress().completed_count(), 0);
  for (int i = 1; i <= 24; ++i) {
    const v1::Trial trial = h.Trial("s", i);
    EXPECT_EQ(trial.stages(2).attempt_count(),
              trial.state() == v1::Trial::COMPLETED ? 1 : 0);
  }
}

TEST(StudyEngine, SameSeedSameSearch) {
  std::vector<std::vector<std::string>> searches;
  for (const uint64_t seed : {1, 1, 2}) {
    EngineHarness h;
    Session worker = h.Connect(WorkerHello("w1", "h"));
    Session agent = h.Connect(AgentHello("a1", "h"));
    h.Create("s", ToySpec(30, seed));
    h.Work({&worker, &agent});
    searches.push_back(h.Search("s"));
  }
  EXPECT_EQ(searches[0], searches[1]);
  EXPECT_NE(searches[0], searches[2]);
}

TEST(StudyEngine, GoesOnWithTheVerySameSearchAfterACrashAtAnyInstant) {
  v1::StudySpec spec = ToySpec(24);
  auto* constraint = spec.add_constraints();
  constraint->set_metric("params_m");
  constraint->set_at_most(0.008);
  EngineHarness whole;
  Session worker = whole.Connect(WorkerHello("w1", "h"));
  Session agent = whole.Connect(AgentHello("a1", "h"));
  whole.Create("s", spec);
  whole.Work({&worker, &agent});
  ASSERT_EQ(whole.Study("s").state(), v1::Study::COMPLETED);
  const std::vector<std::string> expected = whole.Search("s");
  const std::vector<int64_t> ends = whole.journals->append_ends();
  ASSERT_GT(ends.size(), 50u);
  for (const int64_t end : ends) {
    EngineHarness h(Prefix(whole, "s", end));
    Session new_worker = h.Connect(WorkerHello("w1", "h"));
    Session new_agent = h.Connect(AgentHello("a1", "h"));
    h.Work({&new_worker, &new_agent});
    ASSERT_EQ(h.Study("s").state(), v1::Study::COMPLETED) << "event " << end;
    ASSERT_EQ(h.Search("s"), expected) << "crash after event " << end;
  }
}

TEST(StudyEngine, GoesOnWithTheVerySameSearchIfTheExecutorsSurviveTheCrash) {
  EngineHarness whole;
  Session worker = whole.Connect(WorkerHello("w1", "h"));
  Session agent = whole.Connect(AgentHello("a1", "h"));
  whole.Create("s", ToySpec(16));
  whole.Work({&worker, &agent});
  const std::vector<std::string> expected = whole.Search("s");
  const std::vector<v1::JournalEvent> events = whole.Events("s");
  int held = 0;
  for (const int64_t end : whole.journals->append_ends()) {
    EngineHarness h(Prefix(whole, "s", end));
    v1::Hello worker_hello = WorkerHello("w1", "h");
    v1::Hello agent_hello = AgentHello("a1", "h");
    v1::Task task;
    if (const v1::JournalEvent& last = events[end - 1];
        last.has_task_leased()) {
      const v1::TaskLeased& leased = last.task_leased();
      v1::LeaseKey* lease = task.mutable_lease();
      lease->set_task_id(
          TaskId("s", leased.trial(), {leased.stage(), leased.device_class()}));
      lease->set_attempt(leased.attempt());
      lease->set_token(leased.token());
      task.set_trial(TrialName("s", leased.trial()));
      if (leased.stage() == v1::TRAIN) {
        task.mutable_train();
      } else {
        task.mutable_measure()->set_device_class(leased.device_class());
      }
      *(leased.stage() == v1::TRAIN ? worker_hello : agent_hello)
           .add_held_leases() = *lease;
      ++held;
    }
    Session new_worker = h.Connect(worker_hello);
    Session new_agent = h.Connect(agent_hello);
    if (task.has_lease()) {
      h.Reply(task.has_train() ? new_worker : new_agent, h.Answer(task));
    }
    h.Work({&new_worker, &new_agent});
    ASSERT_EQ(h.Search("s"), expected) << "crash after event " << end;
    ASSERT_EQ(h.CountEvents("s", v1::JournalEvent::kTaskLeased), 32);
  }
  EXPECT_EQ(held, 32);
}

TEST(StudyEngine, ExecutorsKeepTheirLeasesOverARestartOfTheController) {
  EngineHarness h;
  Session agent = h.Connect(AgentHello("a1", "h"));
  h.Create("s", ToySpec(4));
  const v1::Task task = h.Take(agent);
  const v1::TaskResult result = h.Answer(task);
  h.clock.Advance(absl::Minutes(10));  // Down for long.
  h.Restart();
  v1::Hello hello = AgentHello("a1", "h");
  *hello.add_held_leases() = task.lease();
  Session again = h.Connect(hello);
  ASSERT_TRUE(again.stream->welcome.has_value());
  EXPECT_THAT(again.stream->welcome->dropped_leases(), IsEmpty());
  EXPECT_THAT(again.stream->tasks, IsEmpty());  // Its slot is taken.
  h.Reply(again, result);
  ASSERT_THAT(again.stream->acks, SizeIs(1));
  EXPECT_FALSE(again.stream->acks[0].ignored());
  EXPECT_EQ(h.Trial("s", 1).stages(1).state(), v1::TrialStage::FINISHED);
  EXPECT_EQ(h.Trial("s", 1).stages(1).attempt_count(), 1);
}

TEST(StudyEngine, AWorkerThatComesBackEmptyHandedLosesItsLeasesAtOnce) {
  EngineHarness h;
  Session agent = h.Connect(AgentHello("a1", "h"));
  h.Create("s", ToySpec(4));
  h.Take(agent);
  v1::Hello hello = AgentHello("a1", "h");
  hello.set_incarnation("2");
  Session again = h.Connect(hello);
  EXPECT_EQ(agent.stream->closed->code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(h.Take(again).lease().attempt(), 2);
  // The old process may not take the id back.
  EXPECT_EQ(
      h.engine->Connect(AgentHello("a1", "h"), std::make_shared<FakeStream>())
          .status()
          .code(),
      absl::StatusCode::kAlreadyExists);
}

TEST(StudyEngine, ExpiresALeaseWithoutHeartbeatAndTriesElsewhere) {
  EngineHarness h;
  Session a1 = h.Connect(AgentHello("a1", "h1"));
  h.Create("s", ToySpec(4));
  const v1::Task lost = h.Take(a1);
  h.engine->Disconnect(a1.id);
  h.clock.Advance(absl::Seconds(29));
  h.engine->Tick();
  EXPECT_EQ(h.Trial("s", 1).stages(1).state(), v1::TrialStage::LEASED);
  h.clock.Advance(absl::Seconds(2));
  h.engine->Tick();
  EXPECT_EQ(h.Trial("s", 1).stages(1).state(), v1::TrialStage::QUEUED);
  EXPECT_THAT(h.Trial("s", 1).stages(1).last_error(), HasSubstr("ran out"));
  Session a2 = h.Connect(AgentHello("a2", "h2"));
  const v1::Task again = h.Take(a2);
  EXPECT_EQ(again.lease().task_id(), lost.lease().task_id());
  EXPECT_EQ(again.lease().attempt(), 2);
  EXPECT_GT(again.lease().token(), lost.lease().token());
}

TEST(StudyEngine, HeartbeatsKeepALeaseAlive) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h1"));
  Session agent = h.Connect(AgentHello("a1", "h2"));
  h.Create("s", ToySpec(1));
  h.Reply(agent, h.Answer(h.Take(agent)));
  const v1::Task task = h.Take(worker);
  for (int i = 1; i <= 20; ++i) {
    h.clock.Advance(absl::Seconds(20));
    v1::Heartbeat heartbeat;
    *heartbeat.add_tasks()->mutable_lease() = task.lease();
    heartbeat.mutable_tasks(0)->mutable_epoch()->set_epoch(i);
    ASSERT_TRUE(h.engine->OnHeartbeat(worker.id, heartbeat).ok());
    h.engine->Tick();
  }
  EXPECT_EQ(h.Trial("s", 1).last_epoch().epoch(), 20);
  h.Reply(worker, h.Answer(task));
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
}

TEST(StudyEngine, HeartbeatsLetNothingGrow) {
  EngineHarness h;
  Session agent = h.Connect(AgentHello("a1", "h"));
  v1::Heartbeat heartbeat;
  for (int core = 0; core < 4; ++core) {
    heartbeat.mutable_environment()->add_pinned_cores(core);
  }
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(h.engine->OnHeartbeat(agent.id, heartbeat).ok());
  }
  EXPECT_EQ(h.engine->ListExecutors({})
                ->executors(0)
                .environment()
                .pinned_cores_size(),
            4);
}

TEST(StudyEngine, SettingTheWallClockEndsNoLeaseAndKeepsNone) {
  EngineHarness h;
  Session agent = h.Connect(AgentHello("a1", "h"));
  h.Create("s", ToySpec(4));
  const v1::Task task = h.Take(agent);
  h.clock.Set(absl::Hours(5));
  h.engine->Tick();
  EXPECT_EQ(h.Trial("s", 1).stages(1).state(), v1::TrialStage::LEASED);
  v1::Heartbeat heartbeat;
  *heartbeat.add_tasks()->mutable_lease() = task.lease();
  ASSERT_TRUE(h.engine->OnHeartbeat(agent.id, heartbeat).ok());
  EXPECT_THAT(agent.stream->cancels, IsEmpty());
  h.clock.Set(absl::Hours(-10));
  h.clock.Advance(absl::Seconds(29));
  h.engine->Tick();
  EXPECT_EQ(h.Trial("s", 1).stages(1).state(), v1::TrialStage::LEASED);
  h.clock.Advance(absl::Seconds(2));
  h.engine->Tick();
  EXPECT_EQ(h.CountEvents("s", v1::JournalEvent::kAttemptFailed), 1);
}

TEST(StudyEngine, RecordsResultsThatCameTogetherInOneAppendForEachStudy) {
  EngineHarness h;
  std::vector<Session> agents;
  for (int i = 0; i < 8; ++i) {
    agents.push_back(
        h.Connect(AgentHello(absl::StrCat("a", i), absl::StrCat("host", i))));
  }
  for (const char* id : {"s", "t"}) {
    v1::StudySpec spec = ToySpec(4, id[0]);
    spec.set_max_parallel_trials(4);
    h.Create(id, spec);
  }
  std::vector<v1::TaskResult> results;
  for (Session& agent : agents) results.push_back(h.Answer(h.Take(agent)));
  // One comes twice.
  std::vector<StudyEngine::SessionResult> together;
  for (size_t i = 0; i < results.size(); ++i) {
    together.push_back({.session_id = agents[i].id, .result = &results[i]});
  }
  together.push_back({.session_id = agents[0].id, .result = &results[0]});
  const size_t before = h.journals->append_ends().size();
  h.engine->OnResults(together);
  EXPECT_THAT(h.journals->append_ends(), SizeIs(before + 2));
  for (size_t i = 0; i < agents.size(); ++i) {
    ASSERT_THAT(agents[i].stream->acks, SizeIs(i == 0 ? 2 : 1));
    EXPECT_FALSE(agents[i].stream->acks[0].ignored());
  }
  EXPECT_TRUE(agents[0].stream->acks[1].ignored());
  EXPECT_EQ(h.CountEvents("s", v1::JournalEvent::kStageFinished), 8);
  EXPECT_EQ(h.CountEvents("t", v1::JournalEvent::kStageFinished), 8);
}

TEST(StudyEngine, KeepsAllResultsThatTheStoreRefuses) {
  EngineHarness h;
  std::vector<Session> agents;
  for (int i = 0; i < 8; ++i) {
    agents.push_back(
        h.Connect(AgentHello(absl::StrCat("a", i), absl::StrCat("host", i))));
  }
  v1::StudySpec spec = ToySpec(8);
  spec.set_max_parallel_trials(8);
  h.Create("s", spec);
  std::vector<v1::TaskResult> results;
  std::vector<StudyEngine::SessionResult> together;
  for (Session& agent : agents) results.push_back(h.Answer(h.Take(agent)));
  for (size_t i = 0; i < results.size(); ++i) {
    together.push_back({.session_id = agents[i].id, .result = &results[i]});
  }
  h.journals->FailWith(absl::ResourceExhaustedError("disk full"));
  h.engine->OnResults(together);
  const int refused = h.journals->refused();
  h.engine->Tick();
  // It is asked about one, not about all.
  EXPECT_LE(h.journals->refused(), refused + 3);
  for (const Session& agent : agents)
    EXPECT_THAT(agent.stream->acks, IsEmpty());
  h.journals->FailWith(absl::OkStatus());
  h.engine->Tick();
  for (const Session& agent : agents) {
    ASSERT_THAT(agent.stream->acks, SizeIs(1));
    EXPECT_FALSE(agent.stream->acks[0].ignored());
  }
}

TEST(StudyEngine, ProposesManyInOneAppend) {
  EngineHarness h;
  v1::StudySpec spec = ToySpec(200);
  spec.set_max_parallel_trials(100);
  h.Create("s", spec);
  h.engine->Tick();
  h.engine->Tick();
  EXPECT_EQ(h.Study("s").progress().proposed_count(), 100);
  EXPECT_LT(h.journals->append_ends().size(), 20u);
}

TEST(StudyEngine, ProposesHardlyAheadOfTheFreeSlots) {
  EngineHarness h;
  for (int i = 0; i < 3; ++i) {
    v1::Hello hello = WorkerHello(absl::StrCat("w", i), "");
    hello.set_slots(100);
    h.Connect(hello);
  }
  v1::StudySpec spec = ToySpec(2000);
  spec.mutable_objectives()->RemoveLast();  // So that nothing is measured.
  h.Create("a", spec);
  while (h.engine->Tick()) {
  }
  EXPECT_EQ(h.Study("a").progress().running_count(), 300);
  EXPECT_EQ(h.Study("a").progress().proposed_count(), 300 + 64);
  h.Create("b", spec);
  while (h.engine->Tick()) {
  }
  EXPECT_EQ(h.Study("b").progress().proposed_count(), 64 / 2);
}

TEST(StudyEngine, TellsTheHolderOfADeadLeaseToStop) {
  EngineHarness h;
  Session agent = h.Connect(AgentHello("a1", "h"));
  h.Create("s", ToySpec(4));
  v1::LeaseKey stale = h.Take(agent).lease();
  stale.set_token(stale.token() + 7);
  v1::Heartbeat heartbeat;
  *heartbeat.add_tasks()->mutable_lease() = stale;
  ASSERT_TRUE(h.engine->OnHeartbeat(agent.id, heartbeat).ok());
  ASSERT_THAT(agent.stream->cancels, SizeIs(1));
  EXPECT_EQ(agent.stream->cancels[0].lease().token(), stale.token());
}

TEST(StudyEngine, RecordsALateResultAndStopsTheNewerAttempt) {
  EngineHarness h;
  Session a1 = h.Connect(AgentHello("a1", "h1"));
  h.Create("s", ToySpec(1));
  const v1::Task first = h.Take(a1);
  const v1::TaskResult late = h.Answer(first);
  h.clock.Advance(absl::Seconds(31));
  Session a2 = h.Connect(AgentHello("a2", "h2"));
  h.engine->Tick();
  const v1::Task second = h.Take(a2);
  ASSERT_EQ(second.lease().attempt(), 2);
  h.Reply(a1, late);
  EXPECT_FALSE(a1.stream->acks.back().ignored());
  EXPECT_EQ(h.Trial("s", 1).stages(1).state(), v1::TrialStage::FINISHED);
  ASSERT_THAT(a2.stream->cancels, SizeIs(1));
  // What the newer attempt reports is kept for the record, and acknowledged.
  h.Reply(a2, h.Answer(second));
  EXPECT_TRUE(a2.stream->acks.back().ignored());
  EXPECT_EQ(h.CountEvents("s", v1::JournalEvent::kResultIgnored), 1);
  h.Reply(a2, h.Answer(second));
  EXPECT_EQ(h.CountEvents("s", v1::JournalEvent::kResultIgnored), 1);
  EXPECT_THAT(h.Trial("s", 1).measurements(),
              ::testing::Contains(
                  ::testing::Property(&v1::Measurement::metric, "latency_ms")));
}

TEST(StudyEngine, ARepeatedResultIsAcknowledgedAndChangesNothing) {
  EngineHarness h;
  Session agent = h.Connect(AgentHello("a1", "h"));
  h.Create("s", ToySpec(1));
  const v1::TaskResult result = h.Answer(h.Take(agent));
  h.Reply(agent, result);
  const size_t events = h.Events("s").size();
  h.Reply(agent, result);
  EXPECT_EQ(h.Events("s").size(), events);
  ASSERT_THAT(agent.stream->acks, SizeIs(2));
  EXPECT_TRUE(agent.stream->acks[1].ignored());
}

TEST(StudyEngine, AResultForSomebodyElsesLeaseChangesNothing) {
  EngineHarness h;
  Session a1 = h.Connect(AgentHello("a1", "h1"));
  h.Create("s", ToySpec(1));
  const v1::Task task = h.Take(a1);
  Session a2 = h.Connect(AgentHello("a2", "h2"));
  const size_t events = h.Events("s").size();
  h.Reply(a2, h.Answer(task));
  v1::TaskResult wrong_token = h.Answer(task);
  wrong_token.mutable_lease()->set_token(99);
  h.Reply(a1, wrong_token);
  v1::TaskResult nonsense;
  for (const char* id : {"", "s", "s/1", "s/9/train", "other/1/train", "s/x/y",
                         "s/1/measure:riscv", "~profile/7", "s/1/train"}) {
    nonsense.mutable_lease()->set_task_id(id);
    nonsense.mutable_lease()->set_attempt(1);
    h.Reply(a1, nonsense);
  }
  EXPECT_EQ(h.Events("s").size(), events);
  EXPECT_EQ(h.Trial("s", 1).stages(1).state(), v1::TrialStage::LEASED);
}

TEST(StudyEngine, CancelStopsRunningWork) {
  EngineHarness h;
  Session agent = h.Connect(AgentHello("a1", "h"));
  h.Create("s", ToySpec(10));
  const v1::Task task = h.Take(agent);
  const v1::TaskResult result = h.Answer(task);
  ASSERT_TRUE(h.engine->CancelStudy("s").ok());
  ASSERT_THAT(agent.stream->cancels, SizeIs(1));
  EXPECT_EQ(agent.stream->cancels[0].lease().task_id(), task.lease().task_id());
  const v1::Study study = h.Study("s");
  EXPECT_EQ(study.state(), v1::Study::CANCELLED);
  EXPECT_EQ(study.progress().running_count(), 0);
  EXPECT_EQ(h.Trial("s", 1).state(), v1::Trial::CANCELLED);
  // A result that was on its way is acknowledged, or it would be sent for ever.
  h.Reply(agent, result);
  EXPECT_TRUE(agent.stream->acks.back().ignored());
  EXPECT_TRUE(h.engine->CancelStudy("s").ok());  // A repeat is harmless.
  EXPECT_EQ(h.engine->PauseStudy("s").status().code(),
            absl::StatusCode::kFailedPrecondition);
  h.Restart();
  EXPECT_EQ(h.Study("s").state(), v1::Study::CANCELLED);
}

TEST(StudyEngine, APausedStudyFinishesWhatRunsAndStartsNothing) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h1"));
  Session agent = h.Connect(AgentHello("a1", "h2"));
  h.Create("s", ToySpec(10));
  ASSERT_TRUE(h.engine->PauseStudy("s").ok());
  h.Reply(agent, h.Answer(h.Take(agent)));
  EXPECT_EQ(h.Trial("s", 1).stages(1).state(), v1::TrialStage::FINISHED);
  EXPECT_THAT(worker.stream->tasks, IsEmpty());
  EXPECT_THAT(agent.stream->tasks, IsEmpty());
  h.Restart();
  EXPECT_EQ(h.Study("s").state(), v1::Study::PAUSED);
  Session worker2 = h.Connect(WorkerHello("w1", "h1"));
  Session agent2 = h.Connect(AgentHello("a1", "h2"));
  ASSERT_TRUE(h.engine->ResumeStudy("s").ok());
  h.Work({&worker2, &agent2});
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
}

TEST(StudyEngine, EndsWhenTheTimeIsOver) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h"));
  Session agent = h.Connect(AgentHello("a1", "h"));
  v1::StudySpec spec = ToySpec(1000);
  spec.mutable_budget()->mutable_wall_clock()->set_seconds(3600);
  h.Create("s", spec);
  h.Work({&worker, &agent}, 20);
  h.clock.Advance(absl::Hours(2));
  h.engine->Tick();
  h.Work({&worker, &agent});
  const v1::Study study = h.Study("s");
  EXPECT_EQ(study.state(), v1::Study::COMPLETED);
  EXPECT_LT(study.progress().proposed_count(), 1000);
}

TEST(StudyEngine, CountsNeitherPausesNorTheTimeItWasDown) {
  EngineHarness h;
  v1::StudySpec spec = ToySpec(1000);
  spec.mutable_budget()->mutable_wall_clock()->set_seconds(3600);
  h.Create("s", spec);
  const auto elapsed = [&] {
    return h.Study("s").progress().elapsed_seconds();
  };
  h.clock.Advance(absl::Minutes(10));
  EXPECT_EQ(elapsed(), 600);
  ASSERT_TRUE(h.engine->PauseStudy("s").ok());
  h.clock.Advance(absl::Hours(5));
  EXPECT_EQ(elapsed(), 600);
  ASSERT_TRUE(h.engine->ResumeStudy("s").ok());
  h.clock.Advance(absl::Minutes(10));
  EXPECT_EQ(elapsed(), 1200);

  // Down for a night; what came after the last event is not known.
  Session agent = h.Connect(AgentHello("a1", "h"));
  h.Reply(agent, h.Answer(h.Take(agent)));
  h.clock.Advance(absl::Hours(9));
  for (int i = 0; i < 2; ++i) {  // Also if it dies before it did anything.
    h.Restart();
    EXPECT_EQ(elapsed(), 1200);
    h.clock.Advance(absl::Minutes(5));
    EXPECT_EQ(elapsed(), 1500);
  }
  Session worker = h.Connect(WorkerHello("w1", "h"));
  Session again = h.Connect(AgentHello("a1", "h"));
  h.Work({&worker, &again}, 20);
  const v1::StudyProgress progress = h.Study("s").progress();
  EXPECT_EQ(progress.elapsed_seconds(), 1500);
  EXPECT_LE(progress.eta_seconds(), 3600 - 1500);
  // What was counted before goes on to count.
  h.Restart();
  EXPECT_EQ(elapsed(), 1500);
  h.clock.Advance(absl::Minutes(34));
  h.engine->Tick();
  EXPECT_EQ(h.Study("s").state(), v1::Study::RUNNING);
  Session worker2 = h.Connect(WorkerHello("w1", "h"));
  Session agent2 = h.Connect(AgentHello("a1", "h"));
  h.clock.Advance(absl::Minutes(2));
  h.Work({&worker2, &agent2});
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
  EXPECT_LT(h.Study("s").progress().proposed_count(), 1000);
}

TEST(StudyEngine, WaitsForAStoreThatRefusesAndResumesByItself) {
  for (const absl::StatusCode code :
       {absl::StatusCode::kResourceExhausted, absl::StatusCode::kUnavailable}) {
    EngineHarness h;
    Session worker = h.Connect(WorkerHello("w1", "h"));
    Session agent = h.Connect(AgentHello("a1", "h"));
    h.Create("s", ToySpec(24));
    h.Work({&worker, &agent}, 10);
    const size_t events = h.Events("s").size();
    Session& busy = worker.stream->tasks.empty() ? agent : worker;
    const size_t acks = busy.stream->acks.size();
    h.journals->FailWith(absl::Status(code, "the disk is full"));
    h.Reply(busy, h.Answer(h.Take(busy)));
    // No acknowledgement, no change, and users are told.
    EXPECT_EQ(busy.stream->acks.size(), acks);
    EXPECT_EQ(h.Events("s").size(), events);
    EXPECT_EQ(h.engine->PauseStudy("s").status().code(), code);
    for (int i = 0; i < 5; ++i) {
      h.clock.Advance(absl::Seconds(1));
      h.engine->Tick();
    }
    EXPECT_GT(h.journals->refused(), 0);
    // The result that was refused is recorded before its lease could expire.
    h.clock.Advance(absl::Minutes(5));
    h.journals->FailWith(absl::OkStatus());
    h.engine->Tick();
    EXPECT_EQ(busy.stream->acks.size(), acks + 1);
    EXPECT_FALSE(busy.stream->acks.back().ignored());
    h.Work({&worker, &agent});
    EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
    EXPECT_EQ(h.Study("s").progress().completed_count(), 24);
  }
}

TEST(StudyEngine, ReadsAgainWhenAnAppendSucceededButSaidItFailed) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h"));
  Session agent = h.Connect(AgentHello("a1", "h"));
  h.Create("s", ToySpec(24));
  for (int i = 0; i < 200; ++i) {
    h.journals->LoseNextAnswer();
    for (Session* session : {&worker, &agent}) {
      if (!session->stream->tasks.empty()) {
        h.Reply(*session, h.Answer(h.Take(*session)));
      }
    }
    h.clock.Advance(absl::Seconds(40));  // Leases nobody was told of expire.
    h.engine->Tick();
    h.engine->Tick();
  }
  h.Work({&worker, &agent});
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
  EXPECT_EQ(h.Study("s").progress().proposed_count(), 24);
}

TEST(StudyEngine, KeepsTheWeightsOfTheFrontOnly) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h"));
  Session agent = h.Connect(AgentHello("a1", "h"));
  h.Create("s", ToySpec(24));
  h.Work({&worker, &agent});
  std::vector<std::string> kept;
  for (int i = 1; i <= 24; ++i) {
    const v1::Trial trial = h.Trial("s", i);
    EXPECT_EQ(trial.weights_digest().empty(), !trial.on_front()) << i;
    if (trial.on_front()) kept.push_back(trial.weights_digest());
  }
  std::sort(kept.begin(), kept.end());
  EXPECT_EQ(h.Artifacts(), kept);
  // Also when the controller died before it could delete them.
  const std::string leftover =
      *h.artifacts.Put("weights of studies/s/trials/1");
  h.Restart();
  EXPECT_EQ(h.Artifacts() == kept,
            std::find(kept.begin(), kept.end(), leftover) == kept.end() ||
                h.Trial("s", 1).on_front());
}

TEST(StudyEngine, DeletesArtifactsThatNoResultNames) {
  EngineHarness h;
  const auto upload = [&](const std::string& data) {
    const std::string digest = *h.artifacts.Put(data);
    h.engine->OnArtifact(digest);
    return digest;
  };
  Session worker = h.Connect(WorkerHello("w1", "h"));
  Session agent = h.Connect(AgentHello("a1", "h"));
  h.Create("s", ToySpec(1));
  h.Work({&worker, &agent});
  const std::string named = h.Trial("s", 1).weights_digest();
  const std::string early = upload("of a worker that died");
  h.clock.Advance(absl::Hours(20));
  h.engine->Tick();
  const std::string late = upload("of a worker that is away");
  // A restart knows how old they are.
  h.Restart();
  h.clock.Advance(absl::Hours(5));
  h.engine->Tick();
  EXPECT_THAT(h.Artifacts(), UnorderedElementsAre(named, late));
  h.clock.Advance(absl::Hours(20));
  h.engine->Tick();
  EXPECT_THAT(h.Artifacts(), ElementsAre(named));
  // Nothing is deleted while it is not known what a journal names.
  std::vector<v1::JournalEvent> events(1);
  events[0].mutable_trial_ended()->set_trial(7);
  ASSERT_TRUE(h.journals->Append("bad", 0, absl::MakeSpan(events)).ok());
  const std::string unknown = upload("of the corrupt journal?");
  h.Restart();
  h.clock.Advance(absl::Hours(100));
  h.engine->Tick();
  EXPECT_THAT(h.Artifacts(), UnorderedElementsAre(named, unknown));
}

TEST(StudyEngine, ACorruptJournalStopsOnlyItsStudy) {
  EngineHarness h;
  h.Create("good", ToySpec(4));
  std::vector<v1::JournalEvent> events(1);
  events[0].mutable_trial_ended()->set_trial(7);
  ASSERT_TRUE(h.journals->Append("bad", 0, absl::MakeSpan(events)).ok());
  h.Restart();
  EXPECT_EQ(h.engine->GetStudy("bad").status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(h.Study("good").state(), v1::Study::RUNNING);
}

TEST(StudyEngine, CreatingAStudyTwiceIsHarmless) {
  EngineHarness h;
  h.Create("s", ToySpec(4));
  h.Create("s", ToySpec(4));
  v1::CreateStudyRequest other;
  other.set_study_id("s");
  *other.mutable_spec() = ToySpec(5);
  EXPECT_EQ(h.engine->CreateStudy(other).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(h.CountEvents("s", v1::JournalEvent::kStudyCreated), 1);
}

TEST(StudyEngine, ValidateOnlyLeavesNothingBehind) {
  EngineHarness h;
  v1::CreateStudyRequest request;
  request.set_study_id("s");
  *request.mutable_spec() = ToySpec(5);
  request.set_validate_only(true);
  EXPECT_TRUE(h.engine->CreateStudy(request).ok());
  EXPECT_EQ(h.engine->GetStudy("s").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_THAT(*h.journals->ListStudies(), IsEmpty());
}

TEST(StudyEngine, SeveralStudiesShareTheFleet) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h"));
  Session agent = h.Connect(AgentHello("a1", "h"));
  h.Create("a", ToySpec(16, 1));
  h.Create("b", ToySpec(16, 2));
  h.Work({&worker, &agent}, 24);
  EXPECT_GT(h.Study("a").progress().completed_count(), 2);
  EXPECT_GT(h.Study("b").progress().completed_count(), 2);
  h.Work({&worker, &agent});
  EXPECT_EQ(h.Study("a").state(), v1::Study::COMPLETED);
  EXPECT_EQ(h.Study("b").state(), v1::Study::COMPLETED);
}

TEST(StudyEngine, EndsWhenTheSpaceHasNothingNew) {
  EngineHarness h;
  v1::StudySpec spec = ToySpec(20000);
  spec.clear_objectives();
  spec.clear_train();
  spec.mutable_strategy()->mutable_random();
  spec.clear_space();
  auto* space = spec.mutable_space()->mutable_mobile();
  for (const int size : {3, 32, 32}) space->add_input(size);
  space->set_classes(10);
  space->add_kernel_choices(3);
  space->add_expansion_choices(1);
  space->add_expansion_choices(2);
  space->add_depth_choices(1);
  for (int i = 0; i < 3; ++i) {
    auto* stage = space->add_stages();
    stage->set_channels(8);
    stage->set_stride(1);
  }
  spec.add_objectives()->set_minimize("flops_m");
  spec.add_objectives()->set_minimize("params_m");
  h.Create("s", spec);
  while (h.engine->Tick()) {
  }
  const v1::Study study = h.Study("s");
  EXPECT_EQ(study.state(), v1::Study::COMPLETED);
  EXPECT_EQ(study.progress().completed_count(), 8);
}

// ---- Repeats ----

TEST(StudyEngine, AnswersRepeatsOfADigestFromEarlierTrials) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h"));
  Session agent = h.Connect(AgentHello("a1", "h"));
  v1::StudySpec spec = ToySpec(24);
  spec.mutable_strategy()->mutable_random();
  h.Create("first", spec);
  h.Work({&worker, &agent});
  // The same search on the same settings needs nobody.
  h.Create("again", spec);
  while (h.engine->Tick()) {
  }
  EXPECT_EQ(h.Study("again").state(), v1::Study::COMPLETED);
  EXPECT_EQ(h.CountEvents("again", v1::JournalEvent::kTaskLeased), 0);
  EXPECT_EQ(h.Search("again"), h.Search("first"));
  for (int i = 1; i <= 24; ++i) {
    const v1::Trial source = h.Trial("first", i);
    const v1::Trial trial = h.Trial("again", i);
    EXPECT_EQ(trial.on_front(), source.on_front());
    EXPECT_EQ(trial.weights_digest(), source.weights_digest());
    ASSERT_EQ(trial.measurements_size(), source.measurements_size());
    for (int m = 0; m < trial.measurements_size(); ++m) {
      EXPECT_EQ(trial.measurements(m).SerializeAsString(),
                source.measurements(m).SerializeAsString());
    }
    EXPECT_EQ(trial.stages(0).reused_from(), "");  // Screened.
    EXPECT_EQ(source.stages(1).reused_from(), "");
    for (const int stage : {1, 2}) {
      EXPECT_EQ(trial.stages(stage).reused_from(), source.name());
      EXPECT_EQ(trial.stages(stage).attempt_count(), 0);
    }
  }
  for (const v1::JournalEvent& event : h.Events("again")) {
    if (event.has_stage_finished()) {
      EXPECT_EQ(event.stage_finished().reused(),
                event.stage_finished().stage() != v1::SCREEN);
    }
  }
  // Also after a restart, and still from the trial that did the work.
  const std::vector<std::string> search = h.Search("again");
  h.Restart();
  EXPECT_EQ(h.Search("again"), search);
  h.Create("and-again", spec);
  while (h.engine->Tick()) {
  }
  EXPECT_EQ(h.Search("and-again"), search);
  EXPECT_EQ(h.Trial("and-again", 7).stages(2).reused_from(),
            "studies/first/trials/7");
}

TEST(StudyEngine, WorksAgainWhereTheSettingsDiffer) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h"));
  Session agent = h.Connect(AgentHello("a1", "h"));
  h.Create("first", ToySpec(6));
  h.Work({&worker, &agent});
  v1::StudySpec longer = ToySpec(6);
  longer.mutable_train()->set_epochs(99);
  h.Create("longer", longer);
  h.Work({&worker, &agent});
  v1::StudySpec threads = ToySpec(6);
  threads.mutable_measure()->set_threads(2);
  h.Create("threads", threads);
  h.Work({&worker, &agent});
  for (int i = 1; i <= 6; ++i) {
    EXPECT_EQ(h.Trial("longer", i).stages(1).reused_from(),
              h.Trial("first", i).name());
    EXPECT_EQ(h.Trial("longer", i).stages(2).reused_from(), "");
    EXPECT_EQ(h.Trial("threads", i).stages(1).reused_from(), "");
    EXPECT_EQ(h.Trial("threads", i).stages(2).reused_from(),
              h.Trial("first", i).name());
  }
}

TEST(StudyEngine, MeasuresAgainWhatWasNotToBeTrusted) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h"));
  Session agent = h.Connect(AgentHello("a1", "h"));
  h.Create("first", ToySpec(1));
  v1::TaskResult noisy = h.Answer(h.Take(agent));
  noisy.mutable_measurements(0)->add_flags("NOISY: load 3.1");
  h.Reply(agent, noisy);
  h.Work({&worker, &agent});
  h.Create("again", ToySpec(1));
  EXPECT_THAT(agent.stream->tasks, SizeIs(1));
  h.Work({&worker, &agent});
  EXPECT_EQ(h.Study("again").state(), v1::Study::COMPLETED);
  EXPECT_EQ(h.Trial("again", 1).stages(2).reused_from(),
            "studies/first/trials/1");
  // The second measurement was clean.
  h.Create("third", ToySpec(1));
  EXPECT_EQ(h.Trial("third", 1).stages(1).reused_from(),
            "studies/again/trials/1");
}

TEST(StudyEngine, AConstraintStopsAReusedValueAsWell) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h"));
  Session agent = h.Connect(AgentHello("a1", "h"));
  h.Create("first", ToySpec(12));
  h.Work({&worker, &agent});
  v1::StudySpec spec = ToySpec(12);
  auto* constraint = spec.add_constraints();
  constraint->set_metric("latency_ms");
  constraint->set_device("x86_64");
  constraint->set_at_most(1e-3);
  h.Create("strict", spec);
  h.Work({&worker, &agent});
  const v1::Trial trial = h.Trial("strict", 1);
  EXPECT_EQ(trial.stages(1).reused_from(), "studies/first/trials/1");
  EXPECT_EQ(trial.state(), v1::Trial::INFEASIBLE);
  EXPECT_EQ(trial.stages(2).state(), v1::TrialStage::SKIPPED);
}

// ---- Lists ----

TEST(StudyEngine, PagesThroughTrialsAndStudies) {
  EngineHarness h;
  h.Create("b", ExternalSpec(25));
  h.Create("a", ToySpec(4));
  v1::AskTrialsRequest ask;
  ask.set_parent("studies/b");
  ask.set_count(25);
  ASSERT_TRUE(h.engine->AskTrials("b", ask).ok());
  v1::ListTrialsRequest request;
  request.set_page_size(10);
  std::vector<int64_t> numbers;
  int pages = 0;
  do {
    const auto page = h.engine->ListTrials("b", request);
    ASSERT_TRUE(page.ok());
    ++pages;
    for (const auto& trial : page->trials()) numbers.push_back(trial.number());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(pages, 3);
  EXPECT_EQ(numbers.size(), 25u);
  EXPECT_TRUE(std::is_sorted(numbers.begin(), numbers.end()));
  request.set_page_token("-3; drop table");
  EXPECT_EQ(h.engine->ListTrials("b", request).status().code(),
            absl::StatusCode::kInvalidArgument);
  request.set_page_token("");
  request.set_page_size(-1);
  EXPECT_EQ(h.engine->ListTrials("b", request).status().code(),
            absl::StatusCode::kInvalidArgument);

  v1::ListStudiesRequest studies;
  studies.set_page_size(1);
  const auto first = h.engine->ListStudies(studies);
  ASSERT_THAT(first->studies(), SizeIs(1));
  EXPECT_EQ(first->studies(0).name(), "studies/a");
  studies.set_page_token(first->next_page_token());
  const auto second = h.engine->ListStudies(studies);
  EXPECT_EQ(second->studies(0).name(), "studies/b");
  EXPECT_EQ(second->next_page_token(), "");
}

TEST(StudyEngine, SaysWhatIsWrongWithAHello) {
  EngineHarness h;
  const auto code_of = [&](const v1::Hello& hello) {
    return h.engine->Connect(hello, std::make_shared<FakeStream>())
        .status()
        .code();
  };
  const auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code_of({}), absl::StatusCode::kFailedPrecondition);
  v1::Hello hello = WorkerHello("w1", "h");
  hello.set_protocol_version(2);
  EXPECT_EQ(code_of(hello), absl::StatusCode::kFailedPrecondition);
  hello = WorkerHello("W 1", "h");
  EXPECT_EQ(code_of(hello), kInvalid);
  hello = WorkerHello("w1", "h");
  hello.set_slots(1 << 30);
  EXPECT_EQ(code_of(hello), kInvalid);
  hello = WorkerHello("w1", std::string(1 << 20, 'x'));
  EXPECT_EQ(code_of(hello), kInvalid);
  hello = AgentHello("a1", "h");
  hello.clear_device_classes();
  EXPECT_EQ(code_of(hello), kInvalid);
  hello = AgentHello("a1", "h");
  hello.add_device_classes("../../etc");
  EXPECT_EQ(code_of(hello), kInvalid);
  hello = AgentHello("a1", "h");
  hello.add_capabilities()->set_runtime(std::string(1 << 20, 'x'));
  EXPECT_EQ(code_of(hello), kInvalid);
  hello = WorkerHello("w1", "h");
  hello.clear_incarnation();
  EXPECT_EQ(code_of(hello), kInvalid);
  EXPECT_EQ(h.engine->ListExecutors({})->executors_size(), 0);
}

}  // namespace
}  // namespace hwnas::controller
