#include "fleet/fleet_client.h"

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "fleet/channel.h"
#include "fleet/result_spool.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_fleet_service.h"
#include "tests/fakes/simulated_clock.h"

namespace hwnas::fleet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Waits for a condition that other threads bring about.
class Latch {
 public:
  void Open() {
    MutexLock lock(&mutex_);
    open_ = true;
    changed_.SignalAll();
  }
  bool Wait() {
    const absl::Time deadline = absl::Now() + kFakeTimeout;
    MutexLock lock(&mutex_);
    while (!open_ && absl::Now() < deadline) {
      changed_.WaitWithTimeout(&mutex_, deadline - absl::Now());
    }
    return open_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
};

class FunctionRunner final : public TaskRunner {
 public:
  using Function = std::function<v1::TaskResult(const v1::Task&, TaskContext&)>;
  explicit FunctionRunner(Function function) : function_(std::move(function)) {}
  ~FunctionRunner() override {
    if (before_end) before_end();
  }
  v1::TaskResult Run(const v1::Task& task, TaskContext& context) override {
    ++runs;
    return function_(task, context);
  }
  std::atomic<int> runs{0};
  // Stops the client, so that it never outlives its runner or what that uses.
  std::function<void()> before_end;

 private:
  const Function function_;
};

v1::TaskResult Accuracy(double value) {
  v1::TaskResult result;
  v1::Measurement& accuracy = *result.add_measurements();
  accuracy.set_metric("accuracy");
  accuracy.set_value(value);
  return result;
}

v1::Task TrainTask(const std::string& id, int attempt = 1) {
  v1::Task task;
  task.mutable_lease()->set_task_id(id);
  task.mutable_lease()->set_attempt(attempt);
  task.mutable_lease()->set_token(7);
  task.mutable_train()->set_seed(1);
  return task;
}

// Runs until it is told to stop.
v1::TaskResult RunUntilCancelled(const v1::Task&, TaskContext& context) {
  while (!context.cancelled()) std::this_thread::yield();
  return Accuracy(1);  // To be ignored.
}

class FleetClientTest : public ::testing::Test {
 protected:
  FleetClientTest() {
    static std::atomic<int> counter{0};
    folder_ = absl::StrCat(::testing::TempDir(), "/fleet_client.", getpid(),
                           ".", counter++);
    options_.spool_dir = folder_;
    options_.hello.set_kind(v1::WORKER);
    options_.hello.set_executor_id("worker-1");
    options_.hello.set_slots(1);
    options_.min_backoff = absl::Milliseconds(1);
    options_.max_backoff = absl::Milliseconds(20);
    options_.duplicate_grace = absl::ZeroDuration();
    options_.leave_timeout = absl::Milliseconds(1);
  }
  ~FleetClientTest() override {
    Stop().IgnoreError();
    std::filesystem::remove_all(folder_);
  }

  void Start(FunctionRunner* runner) { Start(runner, controller_.Channel()); }
  void Start(FunctionRunner* runner, std::shared_ptr<grpc::Channel> channel) {
    runner->before_end = [this] { Stop().IgnoreError(); };
    client_ = std::make_unique<FleetClient>(options_, std::move(channel),
                                            runner, &clock_, NullLogger());
    serving_ = std::thread([this] { status_ = client_->Run(); });
  }
  absl::Status Stop() {
    if (serving_.joinable()) {
      client_->Drain();
      serving_.join();
    }
    return status_;
  }
  absl::Status Join() {
    serving_.join();
    return status_;
  }
  std::vector<std::string> SpooledFiles(const std::string& extension) {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      if (entry.path().extension() == extension) {
        files.push_back(entry.path());
      }
    }
    return files;
  }

  FakeController controller_;
  SimulatedClock clock_;
  FleetClientOptions options_;
  std::string folder_;
  std::unique_ptr<FleetClient> client_;
  std::thread serving_;
  absl::Status status_;
};

TEST_F(FleetClientTest, SaysWhoItIs) {
  FunctionRunner runner(RunUntilCancelled);
  options_.hello.add_datasets("fashion-mnist");
  Start(&runner);
  auto session = controller_.Accept();
  ASSERT_NE(session, nullptr);
  EXPECT_EQ(session->hello().executor_id(), "worker-1");
  EXPECT_EQ(session->hello().protocol_version(), 1);
  EXPECT_EQ(session->hello().incarnation().size(), 32);
  EXPECT_THAT(session->hello().datasets(), ElementsAre("fashion-mnist"));
  EXPECT_THAT(session->hello().held_leases(), IsEmpty());
}

TEST_F(FleetClientTest, RunsAnAssignmentAndDeletesTheResultOnceAcknowledged) {
  options_.leave_timeout = kFakeTimeout;
  FunctionRunner runner([&](const v1::Task& task, TaskContext&) {
    EXPECT_EQ(task.train().seed(), 1);
    clock_.Advance(absl::Seconds(5));
    return Accuracy(91.5);
  });
  Start(&runner);
  auto session = controller_.Accept();
  session->Welcome();
  session->Assign(TrainTask("s/1/train"));
  const v1::TaskResult result = session->NextResult();
  EXPECT_EQ(result.lease().task_id(), "s/1/train");
  EXPECT_EQ(result.lease().token(), 7);
  EXPECT_EQ(result.error(), "");
  ASSERT_THAT(result.measurements(), SizeIs(1));
  EXPECT_EQ(result.measurements(0).value(), 91.5);
  EXPECT_EQ(result.executed().seconds() - result.started().seconds(), 5);
  EXPECT_THAT(SpooledFiles(".result"), SizeIs(1));
  session->Ack(result.lease());
  EXPECT_TRUE(Stop().ok());
  EXPECT_THAT(SpooledFiles(".result"), IsEmpty());
  EXPECT_EQ(client_->stats().finished_tasks, 1);
  EXPECT_EQ(client_->stats().spooled_results, 0);
}

TEST_F(FleetClientTest, ResendsAResultUntilItIsAcknowledged) {
  FunctionRunner runner(
      [](const v1::Task&, TaskContext&) { return Accuracy(50); });
  Start(&runner);
  auto session = controller_.Accept();
  session->Welcome();
  session->Assign(TrainTask("s/1/train"));
  const v1::TaskResult first = session->NextResult();
  for (int i = 0; i < 3; ++i) {
    session->Cut();
    session = controller_.Accept();
    ASSERT_NE(session, nullptr);
    ASSERT_THAT(session->hello().held_leases(), SizeIs(1));
    EXPECT_EQ(session->hello().held_leases(0).task_id(), "s/1/train");
    session->Welcome();
    EXPECT_EQ(session->NextResult().SerializeAsString(),
              first.SerializeAsString());
  }
  session->Ack(first.lease());
  // Acknowledgement and next task arrive in order, so this one is held alone.
  session->Assign(TrainTask("s/2/train"));
  EXPECT_EQ(session->NextResult().lease().task_id(), "s/2/train");
  session->Cut();
  session = controller_.Accept();
  ASSERT_THAT(session->hello().held_leases(), SizeIs(1));
  EXPECT_EQ(session->hello().held_leases(0).task_id(), "s/2/train");
  EXPECT_EQ(runner.runs, 2);
  EXPECT_EQ(client_->stats().reconnects, 3);
}

TEST_F(FleetClientTest, KeepsWorkingWhileTheStreamIsDown) {
  Latch cut, proceed;
  FunctionRunner runner([&](const v1::Task&, TaskContext&) {
    cut.Open();
    EXPECT_TRUE(proceed.Wait());
    return Accuracy(60);
  });
  Start(&runner);
  auto session = controller_.Accept();
  session->Welcome();
  session->Assign(TrainTask("s/1/train"));
  ASSERT_TRUE(cut.Wait());
  session->Cut();
  session = controller_.Accept();
  ASSERT_THAT(session->hello().held_leases(), SizeIs(1));
  session->Welcome();
  session->NextProgress([](const v1::TaskProgress& p) {
    return p.lease().task_id() == "s/1/train";
  });
  proceed.Open();
  EXPECT_EQ(session->NextResult().measurements(0).value(), 60);
}

TEST_F(FleetClientTest, ReconnectsToARestartedController) {
  FunctionRunner runner(
      [](const v1::Task&, TaskContext&) { return Accuracy(50); });
  auto first = std::make_unique<FakeController>();
  const int port = first->port();
  Start(&runner, DialController(first->address()));
  auto session = first->Accept();
  session->Welcome();
  session->Assign(TrainTask("s/1/train"));
  session->NextResult();
  first.reset();
  FakeController second(port);
  ASSERT_EQ(second.port(), port);
  session = second.Accept();
  ASSERT_NE(session, nullptr);
  session->Welcome();
  EXPECT_EQ(session->NextResult().lease().task_id(), "s/1/train");
  EXPECT_TRUE(Stop().ok());
}

TEST_F(FleetClientTest, SendsResultsOfAnEarlierProcess) {
  options_.leave_timeout = kFakeTimeout;
  std::string first_incarnation;
  {
    FunctionRunner runner(
        [](const v1::Task&, TaskContext&) { return Accuracy(70); });
    Start(&runner);
    auto session = controller_.Accept();
    first_incarnation = session->hello().incarnation();
    session->Welcome();
    session->Assign(TrainTask("s/1/train"));
    session->NextResult();
    session->Cut();
    EXPECT_TRUE(Stop().ok());
    EXPECT_THAT(SpooledFiles(".result"), SizeIs(1));
  }
  FunctionRunner runner(RunUntilCancelled);
  Start(&runner);
  // The first one may have dialled again before it left.
  auto session = controller_.Accept();
  while (session->hello().incarnation() == first_incarnation) {
    session = controller_.Accept();
  }
  ASSERT_THAT(session->hello().held_leases(), SizeIs(1));
  // Its lease is long lost, the result is sent all the same.
  session->Welcome(absl::Milliseconds(20), {session->hello().held_leases(0)});
  const v1::TaskResult result = session->NextResult();
  EXPECT_EQ(result.measurements(0).value(), 70);
  session->Ack(result.lease());
  EXPECT_TRUE(Stop().ok());
  EXPECT_THAT(SpooledFiles(".result"), IsEmpty());
  EXPECT_EQ(runner.runs, 0);
}

TEST_F(FleetClientTest, SetsCorruptSpoolFilesAside) {
  ASSERT_TRUE(MakeDirectories(folder_).ok());
  v1::TaskResult whole = Accuracy(80);
  *whole.mutable_lease() = TrainTask("s/9/train").lease();
  {
    auto spool = *ResultSpool::Open(folder_, NullLogger());
    ASSERT_TRUE(spool->Put(whole).ok());
    v1::TaskResult torn = Accuracy(1);
    *torn.mutable_lease() = TrainTask("s/8/train").lease();
    ASSERT_TRUE(spool->Put(torn).ok());
    torn.mutable_lease()->set_task_id("s/7/train");
    ASSERT_TRUE(spool->Put(torn).ok());
    ASSERT_TRUE(spool->Put(whole).ok());
  }
  int damaged = 0;
  for (const std::string& file : SpooledFiles(".result")) {
    std::string contents = *ReadFile(file);
    if (contents.find("s/9/train") != std::string::npos) continue;
    if (damaged++ == 0) {
      contents.resize(contents.size() / 2);
    } else {
      contents.back() ^= 1;
    }
    ASSERT_TRUE(WriteFileAtomically(file, contents).ok());
  }
  ASSERT_TRUE(WriteFileAtomically(absl::StrCat(folder_, "/x.result"), "").ok());
  FunctionRunner runner(RunUntilCancelled);
  Start(&runner);
  auto session = controller_.Accept();
  ASSERT_THAT(session->hello().held_leases(), SizeIs(1));
  session->Welcome();
  EXPECT_EQ(session->NextResult().lease().task_id(), "s/9/train");
  EXPECT_THAT(SpooledFiles(".corrupt"), SizeIs(3));
}

TEST_F(FleetClientTest, HandsBackACancelledTask) {
  FunctionRunner runner(RunUntilCancelled);
  Start(&runner);
  auto session = controller_.Accept();
  session->Welcome();
  session->Assign(TrainTask("s/1/train"));
  session->NextProgress([](const v1::TaskProgress&) { return true; });
  session->Cancel(TrainTask("s/1/train").lease(), "the study was cancelled");
  const v1::TaskResult result = session->NextResult();
  EXPECT_TRUE(result.handed_back());
  EXPECT_THAT(result.error(), HasSubstr("the study was cancelled"));
  EXPECT_THAT(result.measurements(), IsEmpty());
  EXPECT_EQ(client_->stats().failed_tasks, 0);
}

TEST_F(FleetClientTest, CancelsAQueuedTaskWithoutRunningIt) {
  FunctionRunner runner(RunUntilCancelled);
  Start(&runner);
  auto session = controller_.Accept();
  session->Welcome();
  session->Assign(TrainTask("s/1/train"));
  session->Assign(TrainTask("s/2/train"));
  session->Cancel(TrainTask("s/2/train").lease(), "");
  const v1::TaskResult result = session->NextResult();
  EXPECT_EQ(result.lease().task_id(), "s/2/train");
  EXPECT_TRUE(result.handed_back());
  EXPECT_LE(runner.runs, 1);
}

TEST_F(FleetClientTest, DropsLostLeasesSilently) {
  Latch stopped;
  FunctionRunner runner([&](const v1::Task& task, TaskContext& context) {
    if (task.lease().task_id() == "s/2/train") return Accuracy(2);
    RunUntilCancelled(task, context);
    stopped.Open();
    return Accuracy(1);
  });
  Start(&runner);
  auto session = controller_.Accept();
  session->Welcome();
  session->Assign(TrainTask("s/1/train"));
  session->NextProgress([](const v1::TaskProgress&) { return true; });
  session->Cut();
  session = controller_.Accept();
  ASSERT_THAT(session->hello().held_leases(), SizeIs(1));
  session->Welcome(absl::Milliseconds(20), {session->hello().held_leases(0)});
  EXPECT_TRUE(stopped.Wait());
  session->Assign(TrainTask("s/2/train"));
  EXPECT_EQ(session->NextResult().lease().task_id(), "s/2/train");
}

TEST_F(FleetClientTest, RunsAsManyTasksAtOnceAsItHasSlots) {
  std::atomic<int> inside{0};
  FunctionRunner runner([&](const v1::Task&, TaskContext& context) {
    ++inside;
    while (inside < 2 && !context.cancelled()) std::this_thread::yield();
    return Accuracy(1);
  });
  options_.hello.set_slots(2);
  Start(&runner);
  auto session = controller_.Accept();
  session->Welcome();
  session->Assign(TrainTask("s/1/train"));
  session->Assign(TrainTask("s/2/train"));
  EXPECT_FALSE(session->NextResult().handed_back());
  EXPECT_FALSE(session->NextResult().handed_back());
}

TEST_F(FleetClientTest, TellsEveryNewEpochWithoutWaitingForTheHeartbeat) {
  Latch proceed;
  FunctionRunner runner([&](const v1::Task&, TaskContext& context) {
    v1::EpochReport epoch;
    context.ReportNote("epoch 3");
    for (const int number : {1, 2, 3}) {
      epoch.set_epoch(number);
      context.ReportEpoch(epoch);
    }
    EXPECT_TRUE(proceed.Wait());
    return Accuracy(1);
  });
  Start(&runner);
  auto session = controller_.Accept();
  session->Welcome(absl::Hours(1));  // Clamped to minutes.
  session->Assign(TrainTask("s/1/train"));
  std::vector<int> told;  // Each once, in however many heartbeats.
  const v1::TaskProgress progress =
      session->NextProgress([&told](const v1::TaskProgress& p) {
        for (const v1::EpochReport& e : p.epochs()) told.push_back(e.epoch());
        return p.epoch().epoch() == 3;
      });
  EXPECT_EQ(progress.note(), "epoch 3");
  EXPECT_THAT(told, ElementsAre(1, 2, 3));
  proceed.Open();
  session->NextResult();
}

TEST_F(FleetClientTest, TellsTheMachineNowAndThen) {
  options_.read_environment = [] {
    v1::Environment environment;
    environment.set_load_average(1.5);
    return environment;
  };
  FunctionRunner runner(RunUntilCancelled);
  Start(&runner);
  auto session = controller_.Accept();
  ASSERT_NE(session, nullptr);
  session->Welcome();
  const auto is_heartbeat = [](const v1::SessionRequest& message) {
    return message.has_heartbeat();
  };
  const auto first = session->Next(is_heartbeat);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->heartbeat().environment().load_average(), 1.5);
  const auto second = session->Next(is_heartbeat);
  ASSERT_TRUE(second.has_value());
  EXPECT_FALSE(second->heartbeat().has_environment());
}

TEST_F(FleetClientTest, IgnoresARepeatedAssignment) {
  FunctionRunner runner(
      [](const v1::Task&, TaskContext&) { return Accuracy(1); });
  Start(&runner);
  auto session = controller_.Accept();
  session->Welcome();
  session->Assign(TrainTask("s/1/train"));
  session->NextResult();
  session->Assign(TrainTask("s/1/train"));
  EXPECT_EQ(session->NextResult().lease().task_id(), "s/1/train");
  EXPECT_EQ(runner.runs, 1);
}

TEST_F(FleetClientTest, SurvivesMalformedAssignments) {
  FunctionRunner runner(
      [](const v1::Task&, TaskContext&) { return Accuracy(1); });
  Start(&runner);
  auto session = controller_.Accept();
  session->Welcome();
  session->Assign(v1::Task());
  v1::Task task = TrainTask("");
  session->Assign(task);
  task = TrainTask(std::string(100000, 'x'));
  session->Assign(task);
  task = TrainTask("s/1/train", 0);
  session->Assign(task);
  session->Send(v1::SessionResponse());
  session->Ack(v1::LeaseKey());
  session->Cancel(v1::LeaseKey(), "");
  task = TrainTask("s/2/train");
  task.clear_work();
  session->Assign(task);
  const v1::TaskResult result = session->NextResult();
  EXPECT_EQ(result.lease().task_id(), "s/2/train");
  EXPECT_THAT(result.error(), HasSubstr("expected train or measure"));
  session->Ack(result.lease());
  session->Assign(TrainTask("s/3/train"));
  EXPECT_EQ(session->NextResult().error(), "");
  EXPECT_EQ(runner.runs, 1);
}

TEST_F(FleetClientTest, ReportsARunnerThatThrows) {
  FunctionRunner runner([](const v1::Task&, TaskContext&) -> v1::TaskResult {
    throw std::runtime_error("out of luck");
  });
  Start(&runner);
  auto session = controller_.Accept();
  session->Welcome();
  session->Assign(TrainTask("s/1/train"));
  EXPECT_THAT(session->NextResult().error(), HasSubstr("out of luck"));
  EXPECT_EQ(client_->stats().failed_tasks, 1);
}

TEST_F(FleetClientTest, DrainingHandsBackWhatRunsAndWhatWaits) {
  options_.leave_timeout = kFakeTimeout;
  FunctionRunner runner(RunUntilCancelled);
  Start(&runner);
  auto session = controller_.Accept();
  session->Welcome();
  session->Assign(TrainTask("s/1/train"));
  session->Assign(TrainTask("s/2/train"));
  session->NextProgress([](const v1::TaskProgress& p) {
    return p.lease().task_id() == "s/2/train";
  });
  client_->Drain();
  EXPECT_TRUE(session->WaitForDrainNotice());
  for (int i = 0; i < 2; ++i) {
    const v1::TaskResult result = session->NextResult();
    EXPECT_TRUE(result.handed_back());
    session->Ack(result.lease());
  }
  EXPECT_TRUE(session->WaitForEnd());
  EXPECT_TRUE(Join().ok());
  EXPECT_THAT(SpooledFiles(".result"), IsEmpty());
}

TEST_F(FleetClientTest, DrainingGivesRunningTasksTheirGrace) {
  options_.leave_timeout = kFakeTimeout;
  Latch draining;
  options_.drain_grace = absl::Hours(1);
  FunctionRunner runner([&](const v1::Task&, TaskContext& context) {
    EXPECT_TRUE(draining.Wait());
    EXPECT_FALSE(context.cancelled());
    return Accuracy(5);
  });
  Start(&runner);
  auto session = controller_.Accept();
  session->Welcome();
  session->Assign(TrainTask("s/1/train"));
  session->NextProgress([](const v1::TaskProgress&) { return true; });
  client_->Drain();
  EXPECT_TRUE(session->WaitForDrainNotice());
  session->Assign(TrainTask("s/2/train"));
  v1::TaskResult result = session->NextResult();
  EXPECT_EQ(result.lease().task_id(), "s/2/train");
  EXPECT_TRUE(result.handed_back());
  session->Ack(result.lease());
  draining.Open();
  result = session->NextResult();
  EXPECT_EQ(result.measurements(0).value(), 5);
  session->Ack(result.lease());
  EXPECT_TRUE(Join().ok());
}

TEST_F(FleetClientTest, ADrainRequestLetsRunningTasksFinish) {
  options_.leave_timeout = kFakeTimeout;
  Latch draining;
  FunctionRunner runner([&](const v1::Task&, TaskContext& context) {
    EXPECT_TRUE(draining.Wait());
    EXPECT_FALSE(context.cancelled());
    return Accuracy(5);
  });
  Start(&runner);
  auto session = controller_.Accept();
  session->Welcome();
  session->Assign(TrainTask("s/1/train"));
  session->NextProgress([](const v1::TaskProgress&) { return true; });
  session->Drain();
  EXPECT_TRUE(session->WaitForDrainNotice());
  draining.Open();
  const v1::TaskResult result = session->NextResult();
  EXPECT_EQ(result.error(), "");
  session->Ack(result.lease());
  EXPECT_TRUE(session->WaitForEnd());
  EXPECT_TRUE(Join().ok());
}

TEST_F(FleetClientTest, LeavesAtOnceWhenDrainedWithoutAController) {
  FunctionRunner runner(RunUntilCancelled);
  Start(&runner, DialController("127.0.0.1:1"));
  EXPECT_TRUE(Stop().ok());
}

TEST_F(FleetClientTest, RefusalsOfTheHelloAreFinalButAbsenceIsNot) {
  FunctionRunner runner(RunUntilCancelled);
  controller_.service().Refuse(
      grpc::Status(grpc::StatusCode::UNAVAILABLE, "starting"));
  controller_.service().Refuse(
      grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "too many"));
  controller_.service().Refuse(
      grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "id \"?\""));
  Start(&runner);
  EXPECT_EQ(Join().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(FleetClientTest, WaitsForAnEarlierProcessToBeForgotten) {
  FunctionRunner runner(RunUntilCancelled);
  options_.duplicate_grace = absl::Hours(1);
  const grpc::Status exists(grpc::StatusCode::ALREADY_EXISTS, "worker-1");
  controller_.service().Refuse(exists);
  controller_.service().Refuse(exists);
  Start(&runner);
  auto session = controller_.Accept();
  ASSERT_NE(session, nullptr);
  session->Welcome();
  EXPECT_TRUE(Stop().ok());

  options_.duplicate_grace = absl::ZeroDuration();
  controller_.service().Refuse(exists);
  Start(&runner);
  EXPECT_EQ(Join().code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(FleetClientTest, GivesUpOnAControllerThatDoesNotWelcome) {
  FunctionRunner runner(RunUntilCancelled);
  options_.welcome_timeout = absl::Milliseconds(20);
  Start(&runner);
  auto first = controller_.Accept();
  EXPECT_TRUE(first->WaitForEnd());
  auto second = controller_.Accept();
  second->Assign(TrainTask("s/1/train"));  // Not a Welcome.
  EXPECT_TRUE(second->WaitForEnd());
  EXPECT_EQ(runner.runs, 0);
}

TEST_F(FleetClientTest, UploadsInChunksAndRetries) {
  const std::string data(kChunkBytes * 2 + 17, 'w');
  controller_.service().RefuseUpload(
      grpc::Status(grpc::StatusCode::UNAVAILABLE, "away"));
  controller_.service().RefuseUpload(
      grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "disk full"));
  FunctionRunner runner([&](const v1::Task&, TaskContext& context) {
    v1::TaskResult result;
    absl::StatusOr<std::string> digest = context.UploadArtifact(data);
    if (digest.ok()) result.set_weights_digest(*digest);
    return result;
  });
  Start(&runner);
  auto session = controller_.Accept();
  session->Welcome();
  session->Assign(TrainTask("s/1/train"));
  EXPECT_EQ(session->NextResult().weights_digest(), Sha256Hex(data));
  EXPECT_THAT(controller_.service().artifacts(), ElementsAre(data));
}

TEST_F(FleetClientTest, ReadsBackWhatItStoredAndRetries) {
  const std::string data(kChunkBytes * 2 + 17, 'w');
  controller_.service().RefuseDownload(
      grpc::Status(grpc::StatusCode::UNAVAILABLE, "away"));
  absl::StatusOr<std::string> back, unknown;
  FunctionRunner runner([&](const v1::Task&, TaskContext& context) {
    const absl::StatusOr<std::string> digest = context.UploadArtifact(data);
    if (digest.ok()) back = context.DownloadArtifact(*digest);
    unknown = context.DownloadArtifact(std::string(64, '0'));
    return v1::TaskResult();
  });
  Start(&runner);
  auto session = controller_.Accept();
  session->Welcome();
  session->Assign(TrainTask("s/1/train"));
  session->NextResult();
  EXPECT_TRUE(Stop().ok());
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, data);
  EXPECT_TRUE(absl::IsNotFound(unknown.status())) << unknown.status();
}

TEST_F(FleetClientTest, CancellingEndsAnUpload) {
  controller_.service().RefuseUpload(
      grpc::Status(grpc::StatusCode::UNAVAILABLE, "away"), true);
  options_.max_backoff = absl::Hours(1);
  absl::Status uploaded;
  FunctionRunner runner([&](const v1::Task&, TaskContext& context) {
    uploaded = context.UploadArtifact("weights").status();
    return v1::TaskResult();
  });
  Start(&runner);
  auto session = controller_.Accept();
  session->Welcome();
  session->Assign(TrainTask("s/1/train"));
  ASSERT_TRUE(controller_.service().WaitForUploads(3));
  session->Cancel(TrainTask("s/1/train").lease(), "enough");
  EXPECT_TRUE(session->NextResult().handed_back());
  EXPECT_TRUE(Stop().ok());
  EXPECT_TRUE(absl::IsCancelled(uploaded)) << uploaded;
}

TEST_F(FleetClientTest, KeepsAResultInMemoryWhenTheSpoolCannotBeWritten) {
  FunctionRunner runner([&](const v1::Task&, TaskContext&) {
    std::filesystem::remove_all(folder_);
    return Accuracy(42);
  });
  Start(&runner);
  auto session = controller_.Accept();
  session->Welcome();
  session->Assign(TrainTask("s/1/train"));
  session->NextResult();
  session->Cut();
  session = controller_.Accept();
  session->Welcome();
  const v1::TaskResult result = session->NextResult();
  EXPECT_EQ(result.measurements(0).value(), 42);
  session->Ack(result.lease());
  EXPECT_TRUE(Stop().ok());
}

TEST_F(FleetClientTest, RefusesImpossibleSlots) {
  FunctionRunner runner(RunUntilCancelled);
  options_.hello.set_slots(0);
  Start(&runner);
  EXPECT_EQ(Join().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CheckControllerAddress, RefusesToLeaveTheMachineInTheClear) {
  for (const char* good :
       {"127.0.0.1:7420", "localhost:1", "[::1]:65535", "127.1.2.3:80"}) {
    EXPECT_TRUE(CheckControllerAddress(good, false).ok()) << good;
  }
  for (const char* beyond : {"10.0.0.1:7420", "controller:7420",
                             "[2001:db8::1]:1", "127.evil.example:80"}) {
    EXPECT_EQ(CheckControllerAddress(beyond, false).code(),
              absl::StatusCode::kFailedPrecondition)
        << beyond;
    EXPECT_TRUE(CheckControllerAddress(beyond, true).ok()) << beyond;
  }
  for (const char* bad : {"", "localhost", ":7420", "localhost:", "localhost:0",
                          "localhost:65536", "::1:7420"}) {
    EXPECT_EQ(CheckControllerAddress(bad, true).code(),
              absl::StatusCode::kInvalidArgument)
        << bad;
  }
}

}  // namespace
}  // namespace hwnas::fleet
