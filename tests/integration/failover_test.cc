// Two controllers on one PostgreSQL: one leads, the other stands by and takes
// over. The leader is killed, frozen, and cut off in the middle of a study;
// nothing that was acknowledged is lost, and what an old leader writes late is
// refused.
#include <csignal>
#include <map>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "common/secret_files.h"
#include "controller/study/history_check.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "hwnas/v1/study_service.grpc.pb.h"
#include "hwnas/v1/trial_service.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "security/credentials.h"
#include "store/journal_store.h"
#include "tests/fakes/postgres_server.h"
#include "tests/integration/process.h"

namespace hwnas {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

// One hwnas-controller; its port stays the same over restarts.
class Controller {
 public:
  Controller(const std::string& name, const std::string& folder,
             const std::string& url_file)
      : folder_(folder), name_(name), url_file_(url_file) {}

  // Returns once it listens: leading or standing by.
  bool Start() {
    const std::string port_file = absl::StrCat(folder_, "/", name_, ".json");
    fs::remove(port_file);
    process_ = std::make_unique<Process>(
        std::vector<std::string>{
            absl::StrCat(HWNAS_BIN_DIR, "/hwnas-controller"),
            "--store=" + folder_ + "/store", "--store_url_file=" + url_file_,
            absl::StrCat("--listen=127.0.0.1:", port_),
            "--metrics=", "--port_file=" + port_file, "--anchor_interval=0"},
        absl::StrCat(folder_, "/", name_, ".log"));
    if (!WaitUntil(absl::Seconds(30), [&] { return fs::exists(port_file); })) {
      return false;
    }
    const auto ports = nlohmann::json::parse(*ReadFile(port_file));
    const std::string grpc = ports.at("grpc").get<std::string>();
    port_ = std::stoi(grpc.substr(grpc.rfind(':') + 1));
    return true;
  }
  Process& process() { return *process_; }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }
  std::string Log() const { return process_->Log(); }

 private:
  const std::string folder_;
  const std::string name_;
  const std::string url_file_;
  int port_ = 0;
  std::unique_ptr<Process> process_;
};

// A channel to whichever of them serves: it follows their health.
std::shared_ptr<grpc::Channel> DialLeader(
    const std::vector<std::string>& addresses) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  return security::DialController(absl::StrJoin(addresses, ","),
                                  /*credentials=*/nullptr, arguments);
}

// A call that nobody can take yet waits, and its waiting drives the channel.
void SetDeadline(grpc::ClientContext* context, int seconds) {
  context->set_wait_for_ready(true);
  context->set_deadline(std::chrono::system_clock::now() +
                        std::chrono::seconds(seconds));
}

// A client that asks and tells until the study ends, whatever happens to the
// controllers, and remembers what was acknowledged.
class Evaluator {
 public:
  Evaluator(const std::shared_ptr<grpc::Channel>& channel, std::string study)
      : trials_(v1::TrialService::NewStub(channel)), study_(std::move(study)) {
    thread_ = std::thread([this] { Run(); });
  }
  ~Evaluator() {
    stop_ = true;
    thread_.join();
  }

  int64_t told() const { return told_; }
  // When the last call succeeded.
  absl::Time last_success() const {
    return absl::FromUnixNanos(last_success_ns_);
  }
  bool ended() const { return ended_; }
  // Trials whose values the controller acknowledged. After ended().
  const std::map<std::string, double>& acknowledged() const {
    return acknowledged_;
  }

 private:
  void Run() {
    while (!stop_ && !ended_) {
      v1::AskTrialsRequest ask;
      ask.set_parent(study_);
      ask.set_count(4);
      v1::AskTrialsResponse asked;
      grpc::ClientContext context;
      SetDeadline(&context, 1);
      if (!Ok(trials_->AskTrials(&context, ask, &asked))) continue;
      ended_ = asked.study_ended();
      for (const v1::AskedTrial& trial : asked.trials()) Tell(trial);
    }
  }
  void Tell(const v1::AskedTrial& asked) {
    v1::TellTrialsRequest tell;
    v1::TrialReport& report = *tell.add_reports();
    report.set_trial(asked.trial().name());
    report.set_attempt(asked.attempt());
    double value = 0;
    for (const auto& [name, option] : asked.parameters()) {
      value += static_cast<double>(option.size());
    }
    for (const char* metric : {"score", "cost"}) {
      v1::Measurement& measurement = *report.add_measurements();
      measurement.set_metric(metric);
      measurement.set_value(value);
    }
    // Until it is acknowledged: a repeat is harmless.
    while (!stop_) {
      v1::TellTrialsResponse told;
      grpc::ClientContext context;
      SetDeadline(&context, 1);
      if (!Ok(trials_->TellTrials(&context, tell, &told))) continue;
      if (told.statuses(0).code() != 0) continue;
      acknowledged_[report.trial()] = value;
      ++told_;
      return;
    }
  }
  bool Ok(const grpc::Status& status) {
    if (status.ok()) {
      last_success_ns_ = absl::ToUnixNanos(absl::Now());
      return true;
    }
    absl::SleepFor(absl::Milliseconds(20));
    return false;
  }

  const std::unique_ptr<v1::TrialService::Stub> trials_;
  const std::string study_;
  std::map<std::string, double> acknowledged_;
  std::atomic<int64_t> told_ = 0;
  std::atomic<int64_t> last_success_ns_ = 0;
  std::atomic<bool> ended_ = false;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

class FailoverTest : public ::testing::Test {
 protected:
  FailoverTest()
      : folder_(
            absl::StrCat(::testing::TempDir(), "/hwnas_failover_", getpid())) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~FailoverTest() override {
    if (!HasFailure()) fs::remove_all(folder_);
  }

  // `a` leads, `b` stands by.
  void StartBoth(const PostgresServer& server) {
    ASSERT_TRUE(WriteSecretFile(folder_ + "/url", server.url()).ok());
    a_ = std::make_unique<Controller>("a", folder_, folder_ + "/url");
    b_ = std::make_unique<Controller>("b", folder_, folder_ + "/url");
    ASSERT_TRUE(a_->Start()) << a_->Log();
    ASSERT_TRUE(b_->Start()) << b_->Log();
    EXPECT_THAT(a_->Log(), HasSubstr("event=serving"));
    EXPECT_THAT(b_->Log(), HasSubstr("event=standing_by"));
    channel_ = DialLeader({a_->address(), b_->address()});
  }

  void CreateStudy(int trials) {
    v1::CreateStudyRequest create;
    create.set_study_id("failover");
    v1::StudySpec& spec = *create.mutable_spec();
    for (int i = 0; i < 6; ++i) {
      auto* choice = spec.mutable_space()->mutable_declared()->add_choices();
      choice->set_name(absl::StrCat("c", i));
      for (const char* option : {"a", "bb", "ccc", "dddd", "eeeee"}) {
        choice->add_options(option);
      }
    }
    spec.add_objectives()->set_maximize("score");
    spec.add_objectives()->set_minimize("cost");
    spec.mutable_strategy()->mutable_nsga2()->set_population(16);
    spec.mutable_external()->mutable_lease()->set_seconds(2);
    spec.mutable_budget()->set_trials(trials);
    spec.set_seed(7);
    spec.set_max_attempts(20);
    spec.set_max_parallel_trials(16);
    grpc::ClientContext context;
    SetDeadline(&context, 10);
    v1::Study study;
    const grpc::Status status =
        v1::StudyService::NewStub(channel_)->CreateStudy(&context, create,
                                                         &study);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }

  // How long nobody answered, if something happens now. Fails after 30 s.
  absl::Duration Outage(Evaluator& evaluator,
                        const std::function<void()>& something) {
    something();
    const absl::Time begin = absl::Now();
    // What was answered just before does not count.
    EXPECT_TRUE(WaitUntil(absl::Seconds(30),
                          [&] {
                            return evaluator.last_success() >
                                   begin + absl::Milliseconds(50);
                          }))
        << a_->Log() << b_->Log();
    return absl::Now() - begin;
  }

  // Everything acknowledged is in the journal, once, and the journal is sound.
  void CheckEverything(const PostgresServer& server,
                       const std::vector<const Evaluator*>& evaluators) {
    const auto store = OpenPostgresJournalStore({.url = server.url()});
    ASSERT_TRUE(store.ok()) << store.status();
    const controller::HistoryReport report =
        controller::CheckHistory(**store, "failover");
    EXPECT_THAT(report.violations, IsEmpty());
    EXPECT_EQ(report.lost, 0);
    EXPECT_EQ(report.repeated, 0);
    std::map<std::string, double> values;
    ASSERT_TRUE((*store)
                    ->Read("failover", 0,
                           [&](v1::JournalEvent&& event) {
                             const auto& e = event.stage_finished();
                             if (e.stage() == v1::ASK) {
                               values[absl::StrCat("studies/failover/trials/",
                                                   e.trial())] =
                                   e.measurements(0).value();
                             }
                             return absl::OkStatus();
                           })
                    .ok());
    int64_t acknowledged = 0;
    for (const Evaluator* evaluator : evaluators) {
      for (const auto& [trial, value] : evaluator->acknowledged()) {
        ++acknowledged;
        ASSERT_TRUE(values.count(trial)) << trial;
        EXPECT_EQ(values[trial], value) << trial;
      }
    }
    std::printf(
        "acknowledged: %d, in the journal: %d, lost: %d, repeated: %d\n",
        static_cast<int>(acknowledged), static_cast<int>(values.size()),
        static_cast<int>(report.lost), static_cast<int>(report.repeated));
  }

  const std::string folder_;
  std::unique_ptr<Controller> a_, b_;
  std::shared_ptr<grpc::Channel> channel_;
};

void Report(const char* what, absl::Duration outage) {
  std::printf("%s: served again after %.2f s\n", what,
              absl::ToDoubleSeconds(outage));
}

TEST_F(FailoverTest, StandbyTakesOverFromAKilledLeader) {
  HWNAS_REQUIRE_POSTGRES(server);
  ASSERT_NO_FATAL_FAILURE(StartBoth(server));
  ASSERT_NO_FATAL_FAILURE(CreateStudy(1500));
  Evaluator one(channel_, "studies/failover"),
      two(channel_, "studies/failover");
  ASSERT_TRUE(WaitUntil(absl::Seconds(30), [&] { return one.told() > 50; }));

  const absl::Duration killed =
      Outage(one, [&] { a_->process().Kill(SIGKILL); });
  Report("SIGKILL of the leader", killed);
  EXPECT_LT(killed, absl::Seconds(5));

  // And back again: the first one stands by, then takes over at once from a
  // leader that ends in order.
  ASSERT_TRUE(a_->Start()) << a_->Log();
  const int64_t told = one.told();
  ASSERT_TRUE(
      WaitUntil(absl::Seconds(30), [&] { return one.told() > told + 50; }));
  const absl::Duration ended =
      Outage(one, [&] { b_->process().Kill(SIGTERM); });
  Report("SIGTERM of the leader", ended);
  EXPECT_LT(ended, absl::Seconds(5));

  ASSERT_TRUE(WaitUntil(absl::Seconds(120),
                        [&] { return one.ended() && two.ended(); }));
  CheckEverything(server, {&one, &two});
}

TEST_F(FailoverTest, FencesALeaderThatWasFrozenAndComesBack) {
  HWNAS_REQUIRE_POSTGRES(server);
  ASSERT_NO_FATAL_FAILURE(StartBoth(server));
  ASSERT_NO_FATAL_FAILURE(CreateStudy(1500));
  // These two speak to the old leader only.
  auto straight =
      grpc::CreateChannel(a_->address(), grpc::InsecureChannelCredentials());
  Evaluator stubborn(straight, "studies/failover");
  Evaluator one(channel_, "studies/failover");
  ASSERT_TRUE(WaitUntil(absl::Seconds(30), [&] {
    return one.told() > 50 && stubborn.told() > 50;
  }));

  const absl::Duration frozen =
      Outage(one, [&] { a_->process().Signal(SIGSTOP); });
  Report("SIGSTOP of the leader", frozen);
  // The client first finds out that its call is not answered (1 s).
  EXPECT_LT(frozen, absl::Seconds(10));
  const int64_t told = stubborn.told();

  // What it had received meanwhile is refused, and it ends.
  a_->process().Signal(SIGCONT);
  EXPECT_EQ(a_->process().Wait(absl::Seconds(20)), 1);
  EXPECT_THAT(a_->Log(), HasSubstr("epoch 1 is over"));
  // At most what was in the journal before the freeze, and is acknowledged to a
  // client that asks again; CheckEverything() looks it up.
  EXPECT_LE(stubborn.told(), told + 1);
  // Started again it stands by.
  ASSERT_TRUE(a_->Start()) << a_->Log();
  EXPECT_THAT(a_->Log(), HasSubstr("event=standing_by"));

  ASSERT_TRUE(WaitUntil(absl::Seconds(120), [&] { return one.ended(); }));
  CheckEverything(server, {&one, &stubborn});
}

TEST_F(FailoverTest, WorkGoesOnAfterTheDatabaseRestarts) {
  HWNAS_REQUIRE_POSTGRES(server);
  ASSERT_NO_FATAL_FAILURE(StartBoth(server));
  ASSERT_NO_FATAL_FAILURE(CreateStudy(1000));
  Evaluator one(channel_, "studies/failover");
  ASSERT_TRUE(WaitUntil(absl::Seconds(30), [&] { return one.told() > 50; }));
  for (const int signal : {SIGINT, SIGQUIT}) {
    server.Stop(signal);
    const absl::Duration back = Outage(one, [&] { ASSERT_TRUE(server.Run()); });
    Report(
        signal == SIGINT ? "restart of the database" : "crash of the database",
        back);
    EXPECT_LT(back, absl::Seconds(10));
    // Whoever lost the race for the lease is started again.
    for (Controller* controller : {a_.get(), b_.get()}) {
      if (!controller->process().Running()) {
        ASSERT_TRUE(controller->Start());
      }
    }
  }
  ASSERT_TRUE(WaitUntil(absl::Seconds(120), [&] { return one.ended(); }));
  CheckEverything(server, {&one});
}

}  // namespace
}  // namespace hwnas
