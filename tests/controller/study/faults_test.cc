// Attempts that fail, and whose fault it was: the candidate's, the machine's or
// nobody's.
#include <limits>

#include "controller/study/study_engine.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/controller/study/engine_harness.h"

namespace hwnas::controller {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Session = EngineHarness::Session;

// Two machines, and who has the task of the only trial.
struct TwoMachines {
  explicit TwoMachines(EngineHarness* h)
      : a(h->Connect(AgentHello("a1", "h1"))),
        b(h->Connect(AgentHello("a2", "h2"))) {}

  Session& Holder() { return a.stream->tasks.empty() ? b : a; }

  Session a, b;
};

v1::TaskResult Blame(EngineHarness& h, const v1::Task& task) {
  v1::TaskResult result = h.Failure(task, "loss is not finite");
  result.set_candidate_fault(true);
  return result;
}

TEST(StudyEngine, EndsATrialThatFailsEveryAttempt) {
  EngineHarness h;
  TwoMachines machines(&h);
  v1::StudySpec spec = ToySpec(1);
  spec.set_max_attempts(2);
  h.Create("s", spec);
  Session& first = machines.Holder();
  h.Reply(first, h.Failure(h.Take(first), "out of memory"));
  // The retry prefers the other machine.
  Session& other = machines.Holder();
  ASSERT_NE(first.id, other.id);
  h.Reply(other, h.Failure(h.Take(other), "out of memory, too"));
  const v1::Trial trial = h.Trial("s", 1);
  EXPECT_EQ(trial.state(), v1::Trial::INFEASIBLE);
  EXPECT_THAT(trial.infeasible_reason(),
              HasSubstr("failed 2 times on 2 machines"));
  EXPECT_THAT(trial.infeasible_reason(), HasSubstr("out of memory, too"));
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
}

TEST(StudyEngine, EndsATrialAtOnceIfTheCandidateIsAtFault) {
  EngineHarness h;
  Session agent = h.Connect(AgentHello("a1", "h"));
  h.Create("s", ToySpec(1));
  h.Reply(agent, Blame(h, h.Take(agent)));
  EXPECT_EQ(h.Trial("s", 1).state(), v1::Trial::INFEASIBLE);
  EXPECT_EQ(h.Trial("s", 1).stages(1).attempt_count(), 1);
}

TEST(StudyEngine, AsksAnotherMachineWhetherTheCandidateIsAtFault) {
  EngineHarness h;
  TwoMachines machines(&h);
  h.Create("s", ToySpec(1));
  Session& first = machines.Holder();
  h.Reply(first, Blame(h, h.Take(first)));
  EXPECT_EQ(h.Trial("s", 1).state(), v1::Trial::ACTIVE);
  Session& second = machines.Holder();
  ASSERT_NE(first.id, second.id);
  h.Reply(second, Blame(h, h.Take(second)));
  const v1::Trial trial = h.Trial("s", 1);
  EXPECT_EQ(trial.state(), v1::Trial::INFEASIBLE);
  EXPECT_THAT(trial.infeasible_reason(), HasSubstr("is impossible"));
}

TEST(StudyEngine, ARestartForgetsNobodysWordOnACandidate) {
  EngineHarness h;
  {
    TwoMachines machines(&h);
    h.Create("s", ToySpec(1));
    Session& first = machines.Holder();
    h.Reply(first, Blame(h, h.Take(first)));
  }
  h.clock.Advance(absl::Seconds(31));
  h.Restart();
  TwoMachines machines(&h);
  h.engine->Tick();
  Session& second = machines.Holder();
  h.Reply(second, Blame(h, h.Take(second)));
  EXPECT_EQ(h.Trial("s", 1).state(), v1::Trial::INFEASIBLE);
}

TEST(StudyEngine, AMachineThatBlamesWhatOthersCanDoFails) {
  EngineHarness h;
  TwoMachines machines(&h);
  Session worker = h.Connect(WorkerHello("w1", "h3"));
  h.Create("s", ToySpec(40));
  // a1 sees no finite number in anything.
  for (int i = 0; i < 200; ++i) {
    if (!worker.stream->tasks.empty()) {
      h.Reply(worker, h.Answer(h.Take(worker)));
    } else if (!machines.a.stream->tasks.empty()) {
      h.Reply(machines.a, Blame(h, h.Take(machines.a)));
    } else if (!machines.b.stream->tasks.empty()) {
      h.Reply(machines.b, h.Answer(h.Take(machines.b)));
    }
  }
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
  EXPECT_EQ(h.Study("s").progress().infeasible_count(), 0);
  const auto executors = h.engine->ListExecutors({});
  for (const v1::Executor& e : executors->executors()) {
    const bool bad = e.name() == "agents/a1";
    EXPECT_EQ(e.state(),
              bad ? v1::Executor::QUARANTINED : v1::Executor::CONNECTED);
    if (bad) {
      EXPECT_THAT(e.quarantine_reason(), HasSubstr("which agents/a2 has done"));
    }
  }
}

TEST(StudyEngine, AMachineAloneThatBlamesEveryCandidateIsQuarantined) {
  EngineHarness h;
  Session agent = h.Connect(AgentHello("a1", "h1"));
  h.Create("s", ToySpec(40));
  for (int i = 0; i < 9; ++i) h.Reply(agent, Blame(h, h.Take(agent)));
  h.Reply(agent, h.Answer(h.Take(agent)));  // So it is not the machine.
  for (int i = 0; i < 10; ++i) {
    ASSERT_THAT(agent.stream->tasks, Not(IsEmpty()));
    h.Reply(agent, Blame(h, h.Take(agent)));
  }
  EXPECT_THAT(agent.stream->tasks, IsEmpty());
  const v1::Executor executor = h.engine->ListExecutors({})->executors(0);
  EXPECT_EQ(executor.state(), v1::Executor::QUARANTINED);
  EXPECT_THAT(executor.quarantine_reason(),
              HasSubstr("said of 10 candidates in a row"));
}

TEST(StudyEngine, CandidatesThatTwoMachinesBlameCountAgainstNeither) {
  EngineHarness h;
  TwoMachines machines(&h);
  h.Create("s", ToySpec(30));
  for (int i = 0; i < 60; ++i) {
    Session& holder = machines.Holder();
    ASSERT_THAT(holder.stream->tasks, Not(IsEmpty()));
    h.Reply(holder, Blame(h, h.Take(holder)));
  }
  EXPECT_EQ(h.Study("s").progress().infeasible_count(), 30);
  const auto executors = h.engine->ListExecutors({});
  for (const v1::Executor& e : executors->executors()) {
    EXPECT_EQ(e.state(), v1::Executor::CONNECTED) << e.quarantine_reason();
  }
}

TEST(StudyEngine, HandedBackTasksDoNotCount) {
  EngineHarness h;
  Session agent = h.Connect(AgentHello("a1", "h"));
  v1::StudySpec spec = ToySpec(1);
  spec.set_max_attempts(1);
  h.Create("s", spec);
  for (int i = 1; i <= 5; ++i) {
    v1::TaskResult result = h.Failure(h.Take(agent), "draining");
    result.set_handed_back(true);
    h.Reply(agent, result);
    // It rests before it gets the next one.
    EXPECT_THAT(agent.stream->tasks, IsEmpty());
    h.clock.Advance(absl::Seconds(10));
    h.engine->Tick();
  }
  EXPECT_EQ(h.Trial("s", 1).state(), v1::Trial::ACTIVE);
}

TEST(StudyEngine, AResultWithoutItsMetricIsAFailure) {
  EngineHarness h;
  Session agent = h.Connect(AgentHello("a1", "h"));
  h.Create("s", ToySpec(1));
  v1::TaskResult result;
  *result.mutable_lease() = h.Take(agent).lease();
  *result.add_measurements() = Value("latency_ms", 3, "raspberrypi5");
  h.Reply(agent, result);
  EXPECT_THAT(h.Trial("s", 1).stages(1).last_error(),
              HasSubstr("lacks latency_ms@x86_64"));
}

TEST(StudyEngine, RefusesValuesThatAreNotNumbers) {
  EngineHarness h;
  Session agent = h.Connect(AgentHello("a1", "h"));
  h.Create("s", ToySpec(1));
  v1::TaskResult result;
  *result.mutable_lease() = h.Take(agent).lease();
  *result.add_measurements() =
      Value("latency_ms", std::numeric_limits<double>::infinity(), "x86_64");
  h.Reply(agent, result);
  EXPECT_THAT(h.Trial("s", 1).stages(1).last_error(), HasSubstr("inf"));
}

TEST(StudyEngine, QuarantinesAMachineThatFailsSeveralCandidates) {
  EngineHarness h;
  Session agent = h.Connect(AgentHello("a1", "h"));
  v1::StudySpec spec = ToySpec(20);
  spec.set_max_attempts(1);
  h.Create("s", spec);
  for (int i = 0; i < 3; ++i) {
    h.Reply(agent, h.Failure(h.Take(agent), "the disk is broken"));
  }
  EXPECT_THAT(agent.stream->tasks, IsEmpty());
  const v1::Executor executor = h.engine->ListExecutors({})->executors(0);
  EXPECT_EQ(executor.state(), v1::Executor::QUARANTINED);
  EXPECT_THAT(executor.quarantine_reason(), HasSubstr("the disk is broken"));
  // After it, one failure is enough for twice as long; a success ends it.
  h.clock.Advance(absl::Seconds(31));
  h.engine->Tick();
  h.Reply(agent, h.Failure(h.Take(agent), "still broken"));
  h.clock.Advance(absl::Seconds(31));
  h.engine->Tick();
  EXPECT_THAT(agent.stream->tasks, IsEmpty());
  h.clock.Advance(absl::Seconds(30));
  h.engine->Tick();
  h.Reply(agent, h.Answer(h.Take(agent)));
  EXPECT_EQ(h.engine->ListExecutors({})->executors(0).state(),
            v1::Executor::CONNECTED);
}

}  // namespace
}  // namespace hwnas::controller
