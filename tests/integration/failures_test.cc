// What follows when something fails, one failure at a time, on real processes.
// docs/failures.md says which test shows which row of its table.
#include <algorithm>
#include <csignal>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "controller/study/history_check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwnas/v1/fleet_service.grpc.pb.h"
#include "store/journal_store.h"
#include "tests/fakes/faulty_network.h"
#include "tests/integration/cluster.h"
#include "tests/integration/pretender.h"
#include "tests/integration/small_disk.h"

namespace hwnas {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class FailuresTest : public ::testing::Test {
 protected:
  FailuresTest()
      : cluster_(
            ::testing::UnitTest::GetInstance()->current_test_info()->name(),
            /*lease_seconds=*/1) {}

  void Begin() {
    ASSERT_TRUE(cluster_.StartController()) << cluster_.LogOf("controller");
    studies_ = cluster_.Studies();
  }
  void StartPretender(const std::string& id, const std::string& how) {
    cluster_.Start(
        id, PretenderCommand(id, cluster_.address(), cluster_.dir(), how));
  }

  // Trained by pretenders, and nothing else.
  void Create(int trials, int max_attempts) {
    v1::CreateStudyRequest create;
    create.set_study_id("s");
    v1::StudySpec& spec = *create.mutable_spec();
    spec = TinyStudy(trials, 5);
    spec.mutable_objectives(1)->clear_device();
    spec.mutable_objectives(1)->set_minimize("params_m");
    spec.mutable_train()->set_dataset(kPretendedDataset);
    spec.set_max_attempts(max_attempts);
    grpc::ClientContext context;
    v1::Study study;
    const grpc::Status status = studies_->CreateStudy(&context, create, &study);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }

  v1::Study Study() {
    v1::GetStudyRequest request;
    request.set_name("studies/s");
    grpc::ClientContext context;
    v1::Study study;
    (void)studies_->GetStudy(&context, request, &study);
    return study;
  }
  v1::Trial Trial(int64_t number) {
    v1::GetTrialRequest request;
    request.set_name(absl::StrCat("studies/s/trials/", number));
    grpc::ClientContext context;
    v1::Trial trial;
    (void)studies_->GetTrial(&context, request, &trial);
    return trial;
  }
  // The attempt at the training of a trial that somebody has now; 0: nobody.
  int Attempt(int64_t number) {
    const v1::Trial trial = Trial(number);
    for (const v1::TrialStage& stage : trial.stages()) {
      if (stage.kind() == v1::TRAIN &&
          stage.state() == v1::TrialStage::LEASED) {
        return stage.attempt_count();
      }
    }
    return 0;
  }
  bool Ends() {
    return WaitUntil(absl::Seconds(60),
                     [&] { return Study().state() == v1::Study::COMPLETED; });
  }
  v1::Executor::State StateOf(const std::string& name) {
    grpc::ClientContext context;
    v1::ListExecutorsResponse response;
    (void)v1::FleetService::NewStub(cluster_.channel())
        ->ListExecutors(&context, {}, &response);
    for (const v1::Executor& executor : response.executors()) {
      if (executor.name() == name) return executor.state();
    }
    return v1::Executor::STATE_UNSPECIFIED;
  }

  // Ends the controller; its journal is sound.
  std::vector<v1::JournalEvent> Events() {
    cluster_.Kill("controller", SIGTERM);
    auto store =
        OpenSqliteJournalStore({.path = cluster_.dir() + "/store/journal.db"});
    EXPECT_TRUE(store.ok()) << store.status();
    EXPECT_THAT(controller::CheckHistory(**store, "s").violations, IsEmpty());
    std::vector<v1::JournalEvent> events;
    EXPECT_TRUE((*store)
                    ->Read("s", 0,
                           [&](v1::JournalEvent&& event) {
                             events.push_back(std::move(event));
                             return absl::OkStatus();
                           })
                    .ok());
    return events;
  }
  static int CountExpired(const std::vector<v1::JournalEvent>& events) {
    int count = 0;
    for (const v1::JournalEvent& event : events) {
      count += event.has_attempt_failed() &&
               event.attempt_failed().outcome() == v1::AttemptFailed::EXPIRED;
    }
    return count;
  }

  Cluster cluster_;
  std::unique_ptr<v1::StudyService::Stub> studies_;
};

TEST_F(FailuresTest, ALostWorkersTaskGoesOutAgainAsOftenAsIsAllowed) {
  Begin();
  Create(/*trials=*/1, /*max_attempts=*/2);
  for (const int attempt : {1, 2}) {
    const std::string id = absl::StrCat("worker-", attempt);
    StartPretender(id, "stuck");
    ASSERT_TRUE(WaitUntil(absl::Seconds(20), [&] {
      return Attempt(1) == attempt;
    })) << cluster_.LogOf("controller");
    cluster_.Kill(id);
  }
  ASSERT_TRUE(Ends()) << Study().ShortDebugString();
  EXPECT_EQ(Trial(1).state(), v1::Trial::INFEASIBLE);
  EXPECT_THAT(Trial(1).infeasible_reason(),
              AllOf(HasSubstr("2 times on 2 machines"), HasSubstr("ran out")));
  EXPECT_EQ(CountExpired(Events()), 2);
}

TEST_F(FailuresTest, ALateResultOfAnExpiredLeaseCountsOnce) {
  Begin();
  Create(/*trials=*/1, /*max_attempts=*/5);
  // Nobody hears of the first worker for a while.
  FaultyNetwork network(cluster_.port(), /*seed=*/1);
  cluster_.Start("worker-1", PretenderCommand("worker-1", network.address(),
                                              cluster_.dir(), "slow"));
  // Once it has the task: an assignment still on its way would be lost too.
  ASSERT_TRUE(WaitUntil(absl::Seconds(20), [&] {
    return absl::StrContains(cluster_.LogOf("worker-1"), "event=assigned");
  })) << cluster_.LogOf("worker-1");
  network.Freeze();
  StartPretender("worker-2", "stuck");
  ASSERT_TRUE(WaitUntil(absl::Seconds(20), [&] {
    return Attempt(1) == 2 &&
           absl::StrContains(cluster_.LogOf("worker-1"), "event=finished");
  })) << cluster_.LogOf("worker-1");
  network.Thaw();
  ASSERT_TRUE(Ends()) << Study().ShortDebugString();
  EXPECT_EQ(Trial(1).state(), v1::Trial::COMPLETED);
  EXPECT_TRUE(WaitUntil(absl::Seconds(10), [&] {
    return absl::StrContains(cluster_.LogOf("worker-1"), "ignored=false");
  })) << cluster_.LogOf("worker-1");
  EXPECT_TRUE(WaitUntil(absl::Seconds(10), [&] {
    return absl::StrContains(cluster_.LogOf("worker-2"), "event=cancelled");
  })) << cluster_.LogOf("worker-2");
  int finished = 0;
  for (const v1::JournalEvent& event : Events()) {
    if (event.stage_finished().stage() != v1::TRAIN) continue;
    ++finished;
    EXPECT_EQ(event.stage_finished().attempt(), 1);
  }
  EXPECT_EQ(finished, 1);
}

TEST_F(FailuresTest,
       ACandidateThatFailsEverywhereIsInfeasibleAndTheStudyGoesOn) {
  Begin();
  const std::vector<std::string> ids = {"worker-1", "worker-2", "worker-3"};
  for (const std::string& id : ids) StartPretender(id, "choosy");
  ASSERT_TRUE(WaitUntil(absl::Seconds(20), [&] {
    return std::all_of(ids.begin(), ids.end(), [&](const std::string& id) {
      return StateOf("workers/" + id) == v1::Executor::CONNECTED;
    });
  }));
  Create(/*trials=*/16, /*max_attempts=*/3);
  ASSERT_TRUE(Ends()) << Study().ShortDebugString();
  int infeasible = 0, everywhere = 0;
  for (int64_t number = 1; number <= 16; ++number) {
    const v1::Trial trial = Trial(number);
    if (trial.state() == v1::Trial::COMPLETED) continue;
    ++infeasible;
    EXPECT_EQ(trial.state(), v1::Trial::INFEASIBLE);
    EXPECT_THAT(trial.infeasible_reason(), AllOf(HasSubstr("failed 3 times on"),
                                                 HasSubstr("out of memory")));
    // A machine may have been in quarantine meanwhile.
    everywhere += absl::StrContains(trial.infeasible_reason(), "3 machines");
  }
  EXPECT_GT(everywhere, 0);
  EXPECT_GT(infeasible, 0);
  EXPECT_LT(infeasible, 16);
}

TEST_F(FailuresTest, ABadMachineIsQuarantinedAndCostsNoCandidate) {
  Begin();
  StartPretender("worker-bad", "broken");
  StartPretender("worker-good", "well");
  // The bad one alone would cost candidates.
  ASSERT_TRUE(WaitUntil(absl::Seconds(20), [&] {
    return StateOf("workers/worker-bad") == v1::Executor::CONNECTED &&
           StateOf("workers/worker-good") == v1::Executor::CONNECTED;
  }));
  Create(/*trials=*/16, /*max_attempts=*/3);
  ASSERT_TRUE(WaitUntil(absl::Seconds(30), [&] {
    return StateOf("workers/worker-bad") == v1::Executor::QUARANTINED;
  })) << cluster_.LogOf("controller");
  ASSERT_TRUE(Ends()) << Study().ShortDebugString();
  EXPECT_EQ(Study().progress().completed_count(), 16);
  EXPECT_EQ(StateOf("workers/worker-good"), v1::Executor::CONNECTED);
}

TEST_F(FailuresTest, AFullStoreAcknowledgesNothingAndWorkGoesOnByItself) {
  SmallDisk disk(cluster_.dir() + "/store");
  if (!disk.there()) GTEST_SKIP() << "only root may mount a small disk";
  Begin();
  Create(/*trials=*/200, /*max_attempts=*/20);
  StartPretender("worker-1", "well");
  const auto acknowledged = [&] {
    const std::string log = cluster_.LogOf("worker-1");
    int count = 0;
    for (size_t at = log.find("event=acknowledged"); at != std::string::npos;
         at = log.find("event=acknowledged", at + 1)) {
      ++count;
    }
    return count;
  };
  ASSERT_TRUE(WaitUntil(absl::Seconds(20), [&] { return acknowledged() > 3; }));
  disk.Fill();
  ASSERT_TRUE(WaitUntil(absl::Seconds(20), [&] {
    return absl::StrContains(cluster_.LogOf("controller"),
                             "event=store_failed");
  })) << cluster_.LogOf("controller");
  // Whatever was on its way has arrived when two more heartbeats have.
  v1::CreateStudyRequest create;
  create.set_study_id("another");
  *create.mutable_spec() = TinyStudy(1, 1);
  grpc::ClientContext context;
  v1::Study study;
  EXPECT_EQ(studies_->CreateStudy(&context, create, &study).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  const int before = acknowledged();
  const int64_t completed = Study().progress().completed_count();
  absl::SleepFor(absl::Milliseconds(500));
  EXPECT_EQ(acknowledged(), before);
  EXPECT_EQ(Study().progress().completed_count(), completed);
  disk.Free();
  ASSERT_TRUE(WaitUntil(absl::Seconds(20), [&] {
    return acknowledged() > before;
  })) << cluster_.LogOf("controller");
  EXPECT_THAT(cluster_.LogOf("controller"), HasSubstr("event=store_back"));
  cluster_.Kill("worker-1");
  const auto events = Events();
  EXPECT_THAT(events, Not(IsEmpty()));
}

TEST_F(FailuresTest, ASensorThatIsNotThereIsAReasonAndNoValue) {
  Begin();
  Create(/*trials=*/1, /*max_attempts=*/1);
  const std::string model = cluster_.dir() + "/model.onnx";
  ASSERT_TRUE(WaitUntil(absl::Seconds(10), [&] {
    return Study().progress().proposed_count() == 1;
  }));
  CommandResult result = cluster_.Hwnas(
      {"export", "s", "--trial", "1", "--untrained", "-f", model});
  ASSERT_EQ(result.code, 0) << result.output;
  cluster_.StartAgent("agent-1");
  ASSERT_TRUE(WaitUntil(absl::Seconds(30), [&] {
    return StateOf("agents/agent-1") == v1::Executor::CONNECTED;
  })) << cluster_.LogOf("agent-1");
  result = cluster_.Hwnas(
      {"profile", model, "--device", "x86_64", "--max-seconds", "1"});
  EXPECT_EQ(result.code, 0) << result.output;
  EXPECT_THAT(result.output, Not(HasSubstr("energy")));
  result = cluster_.Hwnas({"profile", model, "--device", "x86_64", "--energy"});
  if (result.code == 0) GTEST_SKIP() << "this machine has a power sensor";
  EXPECT_THAT(result.output, HasSubstr("no power source"));
}

}  // namespace
}  // namespace hwnas

int main(int argc, char** argv) {
  if (hwnas::IsPretender(argc, argv)) return hwnas::Pretend(argv);
  ::testing::InitGoogleMock(&argc, argv);
  hwnas::SmallDisk::KeepMountsToOurselves();
  return RUN_ALL_TESTS();
}
