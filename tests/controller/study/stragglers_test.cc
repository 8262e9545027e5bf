// Trainings that take far longer than others, and workers with nothing to do.
#include "controller/study/history_check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/controller/study/engine_harness.h"

namespace hwnas::controller {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;
using Session = EngineHarness::Session;

// Trainings of three epochs, of which each takes 10 s, one at a time.
class StragglersTest : public ::testing::Test {
 protected:
  void Start(int trials, bool speculate = true) {
    h_.speculate = speculate;
    h_.Restart();
    w1_ = h_.Connect(WorkerHello("w1", "h1"));
    w2_ = h_.Connect(WorkerHello("w2", "h2"));
    v1::StudySpec spec = ToySpec(trials);
    spec.mutable_objectives()->RemoveLast();
    spec.add_objectives()->set_minimize("params_m");
    spec.mutable_train()->set_epochs(3);
    spec.set_max_parallel_trials(1);
    h_.Create("s", spec);
  }
  // Who has something to do.
  Session& Holder() { return w1_.stream->tasks.empty() ? w2_ : w1_; }
  v1::TaskResult Answer(const v1::Task& task) {
    v1::TaskResult result = h_.Answer(task);
    *result.mutable_started() = ToProto(h_.clock.Now());
    *result.mutable_executed() = ToProto(h_.clock.Now() + absl::Seconds(30));
    return result;
  }
  void Finish(int trainings) {
    for (int i = 0; i < trainings; ++i) {
      Session& holder = Holder();
      h_.Reply(holder, Answer(h_.Take(holder)));
    }
  }
  // Time passes while the task is worked on.
  void Work(Session& session, const v1::Task& task, absl::Duration time) {
    for (; time > absl::ZeroDuration(); time -= absl::Seconds(10)) {
      h_.clock.Advance(std::min(time, absl::Seconds(10)));
      v1::Heartbeat heartbeat;
      *heartbeat.add_tasks()->mutable_lease() = task.lease();
      EXPECT_TRUE(h_.engine->OnHeartbeat(session.id, heartbeat).ok());
      h_.engine->Tick();
    }
  }
  // The seventh training, which takes too long, and who has it.
  v1::Task MakeStraggler() {
    Finish(6);
    first_ = &Holder();
    second_ = first_ == &w1_ ? &w2_ : &w1_;
    v1::Task task = h_.Take(*first_);
    Work(*first_, task, absl::Seconds(60));
    EXPECT_THAT(second_->stream->tasks, IsEmpty());
    Work(*first_, task, absl::Seconds(1));
    return task;
  }
  int BusySlots(const Session& session) {
    v1::ListExecutorsRequest request;
    const auto list = h_.engine->ListExecutors(request);
    EXPECT_TRUE(list.ok());
    for (const v1::Executor& executor : list->executors()) {
      if (executor.name() == "workers/" + session.hello.executor_id()) {
        return executor.busy_slots();
      }
    }
    return -1;
  }
  void ExpectOneHistory() {
    const HistoryReport report = CheckHistory(*h_.journals, "s");
    EXPECT_THAT(report.violations, IsEmpty());
    EXPECT_EQ(report.repeated, 0);
  }

  EngineHarness h_;
  Session w1_, w2_;
  Session* first_ = nullptr;
  Session* second_ = nullptr;
};

TEST_F(StragglersTest, TheSecondMayBeFaster) {
  Start(7);
  const v1::Task slow = MakeStraggler();
  ASSERT_THAT(second_->stream->tasks, SizeIs(1));
  const v1::Task fast = h_.Take(*second_);
  EXPECT_EQ(fast.lease().task_id(), slow.lease().task_id());
  EXPECT_EQ(fast.lease().attempt(), 2);
  // The first one goes on meanwhile, and has no room for more.
  Work(*first_, slow, absl::Seconds(20));
  EXPECT_THAT(first_->stream->cancels, IsEmpty());
  EXPECT_EQ(BusySlots(*first_), 1);
  EXPECT_EQ(BusySlots(*second_), 1);

  h_.Reply(*second_, Answer(fast));
  EXPECT_FALSE(second_->stream->acks.back().ignored());
  ASSERT_THAT(first_->stream->cancels, SizeIs(1));
  EXPECT_EQ(first_->stream->cancels[0].lease().attempt(), 1);
  EXPECT_EQ(BusySlots(*first_), 0);
  h_.Reply(*first_, Answer(slow));
  EXPECT_TRUE(first_->stream->acks.back().ignored());
  EXPECT_EQ(h_.Study("s").state(), v1::Study::COMPLETED);
  EXPECT_EQ(h_.CountEvents("s", v1::JournalEvent::kResultIgnored), 1);
  ExpectOneHistory();
}

TEST_F(StragglersTest, TheFirstMayBeFasterAllTheSame) {
  Start(7);
  const v1::Task slow = MakeStraggler();
  const v1::Task fast = h_.Take(*second_);
  h_.Reply(*first_, Answer(slow));
  EXPECT_FALSE(first_->stream->acks.back().ignored());
  ASSERT_THAT(second_->stream->cancels, SizeIs(1));
  h_.Reply(*second_, Answer(fast));
  EXPECT_TRUE(second_->stream->acks.back().ignored());
  EXPECT_EQ(h_.Study("s").state(), v1::Study::COMPLETED);
  ExpectOneHistory();
}

TEST_F(StragglersTest, OneThatFailsHasRoomAgain) {
  Start(7);
  const v1::Task slow = MakeStraggler();
  const v1::Task fast = h_.Take(*second_);
  h_.Reply(*first_, h_.Failure(slow, "out of memory"));
  EXPECT_EQ(BusySlots(*first_), 0);
  EXPECT_EQ(BusySlots(*second_), 1);
  h_.Reply(*second_, Answer(fast));
  EXPECT_EQ(h_.Study("s").state(), v1::Study::COMPLETED);
  ExpectOneHistory();
}

TEST_F(StragglersTest, HappensOnceToATrainingAndIsNoFailure) {
  Start(7);
  const v1::Task slow = MakeStraggler();
  const v1::Task fast = h_.Take(*second_);
  for (int i = 0; i < 60; ++i) {
    Work(*first_, slow, absl::Seconds(10));
    Work(*second_, fast, absl::Seconds(10));
  }
  EXPECT_EQ(h_.Trial("s", 7).stages(1).attempt_count(), 2);
  // The second fails: it is tried a third time, and the first may still win.
  h_.Reply(*second_, h_.Failure(fast, "out of memory"));
  const v1::Task third = h_.Take(*second_);
  EXPECT_EQ(third.lease().attempt(), 3);
  h_.Reply(*first_, Answer(slow));
  EXPECT_FALSE(first_->stream->acks.back().ignored());
  EXPECT_EQ(h_.Study("s").state(), v1::Study::COMPLETED);
  ExpectOneHistory();
}

TEST_F(StragglersTest, AWorkerThatVanishesIsNotBusyForEver) {
  Start(7);
  MakeStraggler();
  const v1::Task fast = h_.Take(*second_);
  h_.engine->Disconnect(first_->id);
  EXPECT_EQ(BusySlots(*first_), 1);
  Work(*second_, fast, absl::Seconds(40));
  EXPECT_EQ(BusySlots(*first_), 0);
  h_.Reply(*second_, Answer(fast));
  EXPECT_EQ(h_.Study("s").state(), v1::Study::COMPLETED);
  ExpectOneHistory();
}

TEST_F(StragglersTest, ARestartLeavesOneOfThem) {
  Start(7);
  const v1::Task slow = MakeStraggler();
  const v1::Task fast = h_.Take(*second_);
  h_.Restart();
  for (const auto& [session, task] :
       {std::pair(first_, slow), std::pair(second_, fast)}) {
    session->hello.clear_held_leases();
    *session->hello.add_held_leases() = task.lease();
    *session = h_.Connect(session->hello);
  }
  Work(*first_, slow, absl::Seconds(1));
  ASSERT_THAT(first_->stream->cancels, SizeIs(1));
  h_.Reply(*second_, Answer(fast));
  EXPECT_EQ(h_.Study("s").state(), v1::Study::COMPLETED);
  ExpectOneHistory();
}

TEST_F(StragglersTest, NeedsEvidenceAndAWorkerWithNothingToDo) {
  // Four have finished.
  Start(5);
  Finish(4);
  Session* holder = &Holder();
  v1::Task task = h_.Take(*holder);
  Work(*holder, task, absl::Seconds(600));
  EXPECT_EQ(h_.Trial("s", 5).stages(1).attempt_count(), 1);
  h_.Reply(*holder, Answer(task));

  // Nobody else is there.
  v1::StudySpec spec = h_.Study("s").spec();
  spec.mutable_budget()->set_trials(7);
  spec.set_seed(2);
  h_.Create("t", spec);
  Finish(6);
  holder = &Holder();
  h_.engine->Disconnect(holder == &w1_ ? w2_.id : w1_.id);
  task = h_.Take(*holder);
  Work(*holder, task, absl::Seconds(600));
  EXPECT_EQ(h_.Trial("t", 7).stages(1).attempt_count(), 1);
}

TEST_F(StragglersTest, CanBeTurnedOff) {
  Start(7, /*speculate=*/false);
  MakeStraggler();
  EXPECT_THAT(second_->stream->tasks, IsEmpty());
}

TEST_F(StragglersTest, ACancelledStudyCancelsBoth) {
  Start(7);
  const v1::Task slow = MakeStraggler();
  h_.Take(*second_);
  ASSERT_TRUE(h_.engine->CancelStudy("s").ok());
  EXPECT_THAT(second_->stream->cancels, SizeIs(1));
  Work(*first_, slow, absl::Seconds(1));
  EXPECT_FALSE(first_->stream->cancels.empty());
  EXPECT_EQ(BusySlots(*first_), 0);
  ExpectOneHistory();
}

}  // namespace
}  // namespace hwnas::controller
