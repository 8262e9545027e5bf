#include "cli/worker_fleet.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using State = FleetJob::State;

// A batch system and a controller that do what they are told at once.
class WorkerFleetTest : public ::testing::Test {
 protected:
  FleetPlan Turn(absl::Duration after = absl::Seconds(15)) {
    view_.now += after;
    FleetPlan plan = planner_.Plan(view_);
    for (const int seat : plan.begin) Add(seat, State::kWaiting);
    for (const auto* jobs : {&plan.withdrawn, &plan.dismissed}) {
      for (const FleetJob& job : *jobs) Drop(job.seat);
    }
    return plan;
  }
  void Add(int seat, State state) {
    view_.jobs.push_back(
        {.id = absl::StrCat("1_", seat), .seat = seat, .state = state});
  }
  void Drop(int seat) {
    std::erase_if(view_.jobs,
                  [&](const FleetJob& job) { return job.seat == seat; });
    view_.busy_by_seat.erase(seat);
  }
  // The job runs and its worker is connected.
  void Run(int seat, int busy) {
    for (FleetJob& job : view_.jobs) {
      if (job.seat == seat) job.state = State::kRunning;
    }
    view_.busy_by_seat[seat] = busy;
    view_.busy_slots = 0;
    for (const auto& [s, count] : view_.busy_by_seat) view_.busy_slots += count;
  }
  static std::vector<int> Seats(const std::vector<FleetJob>& jobs) {
    std::vector<int> seats;
    for (const FleetJob& job : jobs) seats.push_back(job.seat);
    return seats;
  }

  FleetPlanner planner_{{.min = 1, .max = 6, .step = 3}};
  FleetView view_ = {.now = absl::FromUnixSeconds(1'700'000'000)};
};

TEST_F(WorkerFleetTest, KeepsTheLeastWithoutAQueue) {
  EXPECT_THAT(Turn().begin, ElementsAre(0));
  EXPECT_TRUE(Turn().empty());
}

TEST_F(WorkerFleetTest, GrowsWithTheQueueAStepAtATimeUpToTheMost) {
  view_.queued_trainings = 100;
  EXPECT_THAT(Turn().begin, ElementsAre(0, 1, 2));
  EXPECT_THAT(Turn().begin, ElementsAre(3, 4, 5));
  EXPECT_EQ(Turn().wanted, 6);
  EXPECT_TRUE(Turn().empty());
}

TEST_F(WorkerFleetTest, CountsWhatIsRunningAndWhatOthersCanTake) {
  view_.queued_trainings = 4;
  view_.foreign_slots = 2;
  EXPECT_EQ(Turn().wanted, 2);
  view_.busy_slots = 3;
  EXPECT_EQ(Turn().wanted, 5);
  view_.foreign_slots = 20;
  EXPECT_EQ(Turn().wanted, 1);
}

TEST_F(WorkerFleetTest, TakesTheSeatsThatAreFree) {
  view_.queued_trainings = 3;
  Add(0, State::kRunning);
  Add(1, State::kEnding);
  // On seat 2 a worker is leaving whose job has gone.
  view_.busy_by_seat[2] = 0;
  EXPECT_THAT(Turn().begin, ElementsAre(3, 4));
}

TEST_F(WorkerFleetTest, WithdrawsWaitingJobsFirst) {
  view_.queued_trainings = 3;
  Turn();
  Run(0, 1);
  view_.queued_trainings = 0;
  const FleetPlan plan = Turn();
  EXPECT_THAT(Seats(plan.withdrawn), ElementsAre(2, 1));
  EXPECT_THAT(plan.dismissed, IsEmpty());
}

TEST_F(WorkerFleetTest, DismissesOnlyWorkersThatHaveBeenIdleForLong) {
  view_.queued_trainings = 3;
  Turn();
  for (int seat = 0; seat < 3; ++seat) Run(seat, 1);
  view_.queued_trainings = 0;
  EXPECT_TRUE(Turn().empty());
  Run(0, 0);
  Run(2, 0);
  EXPECT_TRUE(Turn().empty());
  // Seat 2 gets something to do meanwhile, so it starts waiting anew.
  Run(2, 1);
  EXPECT_TRUE(Turn(absl::Minutes(1)).empty());
  Run(2, 0);
  EXPECT_THAT(Seats(Turn(absl::Minutes(1)).dismissed), ElementsAre(0));
  EXPECT_TRUE(Turn(absl::Minutes(1)).empty());
  EXPECT_THAT(Seats(Turn(absl::Minutes(1)).dismissed), ElementsAre(2));
  // Seat 1 is busy, whatever happens.
  EXPECT_TRUE(Turn(absl::Hours(1)).empty());
}

TEST_F(WorkerFleetTest, DismissesAWorkerThatNeverConnected) {
  view_.queued_trainings = 2;
  Turn();
  for (FleetJob& job : view_.jobs) job.state = State::kRunning;
  view_.queued_trainings = 0;
  EXPECT_TRUE(Turn().empty());
  EXPECT_THAT(Seats(Turn(absl::Minutes(3)).dismissed), ElementsAre(1));
}

TEST_F(WorkerFleetTest, PausesWhileItsJobsEndBeforeTheirWorkersConnect) {
  view_.queued_trainings = 3;
  EXPECT_THAT(Turn().begin, ElementsAre(0, 1, 2));
  for (int seat = 0; seat < 3; ++seat) Drop(seat);
  FleetPlan plan = Turn();
  EXPECT_THAT(plan.begin, IsEmpty());
  EXPECT_EQ(plan.paused_until, view_.now + absl::Seconds(30));
  plan = Turn(absl::Seconds(31));
  EXPECT_THAT(plan.begin, ElementsAre(0, 1, 2));
  // One that comes up ends it.
  Run(0, 1);
  EXPECT_EQ(Turn().paused_until, absl::InfinitePast());
  Drop(1);
  EXPECT_THAT(Turn().begin, ElementsAre(1));
}

TEST_F(WorkerFleetTest, DoesNotBlameJobsForBeingWithdrawn) {
  for (int i = 0; i < 5; ++i) {
    view_.queued_trainings = 6;
    EXPECT_THAT(Turn().begin, testing::Not(IsEmpty()));
    view_.queued_trainings = 0;
    Turn();
  }
  EXPECT_EQ(Turn().paused_until, absl::InfinitePast());
}

TEST_F(WorkerFleetTest, PutsAnotherInThePlaceOfADelayedJob) {
  view_.queued_trainings = 3;
  Turn();
  for (int seat = 0; seat < 3; ++seat) Run(seat, 1);
  // Its node has failed.
  view_.jobs[1].state = State::kDelayed;
  view_.busy_by_seat.erase(1);
  Run(0, 1);
  view_.queued_trainings = 1;
  const FleetPlan plan = Turn();
  EXPECT_THAT(Seats(plan.withdrawn), ElementsAre(1));
  EXPECT_THAT(plan.begin, ElementsAre(3));
}

TEST_F(WorkerFleetTest, FillsTheSeatOfAJobThatWasKilled) {
  view_.queued_trainings = 3;
  Turn();
  for (int seat = 0; seat < 3; ++seat) Run(seat, 1);
  Drop(1);
  Run(0, 1);
  view_.queued_trainings = 1;
  EXPECT_THAT(Turn().begin, ElementsAre(1));
}

}  // namespace
}  // namespace hwnas::cli
