#include "controller/study/study_state.h"

#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/toy_study.h"

namespace hwnas::controller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

v1::StudySpec Spec() { return WithDefaults(ToyStudy(100)); }

// Writes a journal as the engine would, one event at a time.
class Journal {
 public:
  Journal() {
    v1::JournalEvent event;
    event.mutable_study_created()->set_study_id("s");
    *event.mutable_study_created()->mutable_spec() = Spec();
    EXPECT_TRUE(Add(event).ok());
  }

  absl::Status Add(v1::JournalEvent event) {
    event.set_sequence(state.sequence() + 1);
    *event.mutable_time() =
        ToProto(absl::FromUnixSeconds(1700000000 + state.sequence()));
    return state.Apply(event);
  }
  absl::Status Propose(int64_t trial) {
    v1::JournalEvent event;
    event.mutable_trial_proposed()->set_trial(trial);
    return Add(event);
  }
  absl::Status Lease(int64_t trial, v1::StageKind stage, int attempt,
                     int64_t token) {
    v1::JournalEvent event;
    auto* e = event.mutable_task_leased();
    e->set_trial(trial);
    e->set_stage(stage);
    if (stage == v1::MEASURE) e->set_device_class("x86_64");
    e->set_attempt(attempt);
    e->set_token(token);
    e->set_executor("workers/w1");
    return Add(event);
  }
  absl::Status Finish(int64_t trial, v1::StageKind stage, int attempt,
                      double value) {
    v1::JournalEvent event;
    auto* e = event.mutable_stage_finished();
    e->set_trial(trial);
    e->set_stage(stage);
    e->set_attempt(attempt);
    auto* m = e->add_measurements();
    m->set_value(value);
    if (stage == v1::MEASURE) {
      e->set_device_class("x86_64");
      m->set_metric("latency_ms");
      m->set_device_class("x86_64");
    } else {
      m->set_metric(stage == v1::TRAIN ? "accuracy" : "params_m");
    }
    return Add(event);
  }
  absl::Status Fail(int64_t trial, v1::StageKind stage, int attempt,
                    v1::AttemptFailed::Outcome outcome) {
    v1::JournalEvent event;
    auto* e = event.mutable_attempt_failed();
    e->set_trial(trial);
    e->set_stage(stage);
    if (stage == v1::MEASURE) e->set_device_class("x86_64");
    e->set_attempt(attempt);
    e->set_outcome(outcome);
    e->set_executor("workers/w1");
    return Add(event);
  }
  absl::Status End(int64_t trial, v1::Trial::State state) {
    v1::JournalEvent event;
    event.mutable_trial_ended()->set_trial(trial);
    event.mutable_trial_ended()->set_state(state);
    return Add(event);
  }
  absl::Status Change(v1::Study::State state) {
    v1::JournalEvent event;
    event.mutable_study_state_changed()->set_state(state);
    return Add(event);
  }
  // A whole trial.
  void Complete(double accuracy, double latency) {
    const int64_t trial = static_cast<int64_t>(state.trials().size()) + 1;
    ASSERT_TRUE(Propose(trial).ok());
    ASSERT_TRUE(Finish(trial, v1::SCREEN, 0, 0.1).ok());
    const int64_t token = state.last_token();
    ASSERT_TRUE(Lease(trial, v1::MEASURE, 1, token + 1).ok());
    ASSERT_TRUE(Finish(trial, v1::MEASURE, 1, latency).ok());
    ASSERT_TRUE(Lease(trial, v1::TRAIN, 1, token + 2).ok());
    ASSERT_TRUE(Finish(trial, v1::TRAIN, 1, accuracy).ok());
    ASSERT_TRUE(End(trial, v1::Trial::COMPLETED).ok());
  }

  StudyState state;
};

TEST(StudyState, WalksATrialThroughItsStages) {
  Journal j;
  ASSERT_TRUE(j.Propose(1).ok());
  const TrialRecord& trial = *j.state.FindTrial(1);
  ASSERT_EQ(trial.stages.size(), 3u);
  EXPECT_EQ(trial.CurrentStage(), 0);
  ASSERT_TRUE(j.Finish(1, v1::SCREEN, 0, 0.1).ok());
  EXPECT_EQ(trial.stages[0].state, v1::TrialStage::FINISHED);
  EXPECT_EQ(trial.stages[1].state, v1::TrialStage::QUEUED);
  EXPECT_EQ(trial.stages[2].state, v1::TrialStage::WAITING);
  ASSERT_TRUE(j.Lease(1, v1::MEASURE, 1, 1).ok());
  EXPECT_EQ(trial.stages[1].state, v1::TrialStage::LEASED);
  ASSERT_TRUE(j.Finish(1, v1::MEASURE, 1, 2.0).ok());
  ASSERT_TRUE(j.Lease(1, v1::TRAIN, 1, 2).ok());
  ASSERT_TRUE(j.Finish(1, v1::TRAIN, 1, 90.0).ok());
  EXPECT_EQ(trial.CurrentStage(), 3);
  EXPECT_TRUE(trial.evaluation.complete);
  ASSERT_TRUE(j.End(1, v1::Trial::COMPLETED).ok());
  EXPECT_EQ(j.state.completed_count(), 1);
  EXPECT_THAT(j.state.active(), IsEmpty());
  ASSERT_THAT(j.state.observed(), SizeIs(1));
  EXPECT_EQ(j.state.observed()[0].trial, 1);
  EXPECT_EQ(j.state.observed()[0].fidelity, 1);
  EXPECT_TRUE(j.state.OnFront(1));
}

TEST(StudyState, KeepsTheFrontOrderedByTheFirstObjective) {
  Journal j;
  j.Complete(80, 1.0);
  j.Complete(90, 2.0);
  j.Complete(85, 3.0);  // Dominated by 2.
  j.Complete(88, 1.5);
  EXPECT_THAT(j.state.Members(j.state.fronts()[0]), ElementsAre(2, 4, 1));
  EXPECT_THAT(j.state.best_values(), ElementsAre(90, 1.0));
}

TEST(StudyState, TakesTheReferenceFromTheFirstTrialsThenKeepsIt) {
  Journal j;
  EXPECT_THAT(j.state.Reference(j.state.fronts()[0]), IsEmpty());
  for (int i = 0; i < StudyState::kReferenceTrials; ++i) {
    j.Complete(50 + i, 1.0 + i);
  }
  EXPECT_THAT(j.state.Reference(j.state.fronts()[0]), ElementsAre(0, 8.0));
  j.Complete(99, 100.0);
  EXPECT_THAT(j.state.Reference(j.state.fronts()[0]), ElementsAre(0, 8.0));
  // The first eight are a staircase: (50,1) (51,2) ... (57,8), and the area
  // above accuracy 0 and left of latency 8 is 50*7 + 1*6 + 1*5 + ... + 1*0.
  EXPECT_DOUBLE_EQ(j.state.fronts()[0].archive.hypervolume(), 50 * 7 + 21);
}

TEST(StudyState, CountsFailuresButNotHandBacks) {
  Journal j;
  ASSERT_TRUE(j.Propose(1).ok());
  ASSERT_TRUE(j.Finish(1, v1::SCREEN, 0, 0.1).ok());
  int attempt = 0;
  for (const auto outcome :
       {v1::AttemptFailed::HANDED_BACK, v1::AttemptFailed::EXPIRED,
        v1::AttemptFailed::FAILED}) {
    ++attempt;
    ASSERT_TRUE(j.Lease(1, v1::MEASURE, attempt, attempt).ok());
    ASSERT_TRUE(j.Fail(1, v1::MEASURE, attempt, outcome).ok());
  }
  const StageRecord& stage = j.state.FindTrial(1)->stages[1];
  EXPECT_EQ(stage.attempts.size(), 3u);
  EXPECT_EQ(stage.counted_failures, 2);
  EXPECT_THAT(stage.failed_executors, ElementsAre("workers/w1"));
  EXPECT_EQ(stage.state, v1::TrialStage::QUEUED);
}

TEST(StudyState, TakesALateResultThoughANewerAttemptIsLive) {
  Journal j;
  ASSERT_TRUE(j.Propose(1).ok());
  ASSERT_TRUE(j.Finish(1, v1::SCREEN, 0, 0.1).ok());
  ASSERT_TRUE(j.Lease(1, v1::MEASURE, 1, 1).ok());
  ASSERT_TRUE(j.Fail(1, v1::MEASURE, 1, v1::AttemptFailed::EXPIRED).ok());
  ASSERT_TRUE(j.Lease(1, v1::MEASURE, 2, 2).ok());
  ASSERT_TRUE(j.Finish(1, v1::MEASURE, 1, 2.5).ok());
  const StageRecord& stage = j.state.FindTrial(1)->stages[1];
  EXPECT_EQ(stage.finished_attempt, 1);
  EXPECT_EQ(stage.live_attempt, 0);
}

TEST(StudyState, CancelledTrialsAreNotObserved) {
  Journal j;
  ASSERT_TRUE(j.Propose(1).ok());
  ASSERT_TRUE(j.End(1, v1::Trial::CANCELLED).ok());
  ASSERT_TRUE(j.Change(v1::Study::CANCELLED).ok());
  EXPECT_THAT(j.state.observed(), IsEmpty());
  EXPECT_TRUE(j.state.ended());
  EXPECT_EQ(j.state.FindTrial(1)->stages[1].state, v1::TrialStage::SKIPPED);
}

TEST(StudyState, ReportsWhatCannotHaveHappenedAsDataLoss) {
  const auto screened = [] {
    Journal j;
    EXPECT_TRUE(j.Propose(1).ok());
    EXPECT_TRUE(j.Finish(1, v1::SCREEN, 0, 0.1).ok());
    return j;
  };
  const auto expect_corrupt = [](const absl::Status& status,
                                 const std::string& what) {
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
    EXPECT_THAT(std::string(status.message()), HasSubstr("event"));
  };
  expect_corrupt(Journal().Propose(2), "trial 2 proposed, expected 1");
  expect_corrupt(Journal().End(1, v1::Trial::COMPLETED), "never proposed");
  expect_corrupt(Journal().Change(v1::Study::STATE_UNSPECIFIED), "state");
  expect_corrupt(Journal().Add(v1::JournalEvent()), "does not know");
  {
    Journal j = screened();
    expect_corrupt(j.Lease(1, v1::TRAIN, 1, 1), "leased while WAITING");
  }
  {
    Journal j = screened();
    expect_corrupt(j.Lease(1, v1::MEASURE, 2, 1), "expected 1");
  }
  {
    Journal j = screened();
    expect_corrupt(j.Lease(1, v1::MEASURE, 1, 0), "token");
  }
  {
    Journal j = screened();
    expect_corrupt(j.Finish(1, v1::SCREEN, 0, 0.1), "finished while FINISHED");
  }
  {
    Journal j = screened();
    expect_corrupt(j.Finish(1, v1::MEASURE, 1, 1.0), "never leased");
  }
  {
    Journal j = screened();
    ASSERT_TRUE(j.Lease(1, v1::MEASURE, 1, 1).ok());
    expect_corrupt(
        j.Finish(1, v1::MEASURE, 1, std::numeric_limits<double>::quiet_NaN()),
        "latency_ms");
  }
  {
    Journal j = screened();
    expect_corrupt(j.Fail(1, v1::MEASURE, 1, v1::AttemptFailed::FAILED),
                   "attempt 0 is live");
  }
  {
    Journal j = screened();
    ASSERT_TRUE(j.Lease(1, v1::MEASURE, 1, 1).ok());
    expect_corrupt(j.End(1, v1::Trial::INFEASIBLE), "live lease");
  }
  {
    Journal j = screened();
    expect_corrupt(j.End(1, v1::Trial::COMPLETED), "without all values");
  }
  {
    Journal j = screened();
    expect_corrupt(j.Change(v1::Study::COMPLETED), "trial 1 is active");
  }
  {
    Journal j = screened();
    v1::JournalEvent event;
    event.mutable_study_created()->set_study_id("again");
    expect_corrupt(j.Add(event), "begins with study_created");
  }
  {
    Journal j = screened();
    v1::JournalEvent event;
    event.set_sequence(9);
    event.mutable_trial_proposed()->set_trial(2);
    expect_corrupt(j.state.Apply(event), "expected event 4");
  }
}

TEST(StudyState, RefusesAJournalWhoseSpecificationIsNoGood) {
  v1::JournalEvent event;
  event.set_sequence(1);
  event.mutable_study_created()->set_study_id("s");
  StudyState state;
  EXPECT_EQ(state.Apply(event).code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace hwnas::controller
