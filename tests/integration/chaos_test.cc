// Everything that can go wrong, at random and all the time: processes killed
// and frozen, a network that cuts, delays, reorders and repeats, a full disk, a
// database that restarts, a clock that somebody sets. Real controller, worker
// and agent, and executors that only pretend to work but keep, spool and report
// as the real ones do. Meanwhile people run one study after the other.
//
// Afterwards every study has ended, the history checker finds nothing, and what
// anybody was told is durable is in the journals.
//
// $HWNAS_CHAOS_KILLS sets the number of faults (default 23 in all).
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/rng.h"
#include "common/secret_files.h"
#include "controller/study/history_check.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "hwnas/v1/study_service.grpc.pb.h"
#include "hwnas/v1/trial_service.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "store/journal_store.h"
#include "tests/fakes/faulty_network.h"
#include "tests/fakes/postgres_server.h"
#include "tests/integration/cluster.h"
#include "tests/integration/pretender.h"
#include "tests/integration/small_disk.h"

namespace hwnas {
namespace {

using ::testing::IsEmpty;
namespace fs = std::filesystem;

constexpr char kFakeTime[] =
    "/usr/lib/x86_64-linux-gnu/faketime/"
    "libfaketimeMT.so.1";
constexpr absl::Duration kLease = absl::Seconds(2);
// Longer than a lease, now and then.
constexpr absl::Duration kLongestFreeze = absl::Milliseconds(2500);

// ---- People ----

std::shared_ptr<grpc::Channel> Dial(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 500);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(),
                                   arguments);
}

// Does the call until it succeeds; false once `give_up` says so.
template <typename Call>
bool UntilItSucceeds(const std::atomic<bool>& give_up, Call call) {
  while (!give_up) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::milliseconds(1000));
    const grpc::Status status = call(&context);
    if (status.ok()) return true;
    if (status.error_code() == grpc::StatusCode::INVALID_ARGUMENT) {
      ADD_FAILURE() << status.error_message();
      return false;
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
  return false;
}

// Runs one study after the other, each until it has ended. While `stop` is not
// set new ones are begun; `give_up` ends everything at once.
class Person {
 public:
  using MakeSpec = std::function<v1::StudySpec(int number)>;

  Person(std::string name, const std::string& address, MakeSpec make_spec)
      : name_(std::move(name)),
        studies_(v1::StudyService::NewStub(Dial(address))),
        trials_(v1::TrialService::NewStub(Dial(address))),
        make_spec_(std::move(make_spec)),
        thread_([this] { Run(); }) {}
  ~Person() {
    give_up_ = true;
    thread_.join();
  }

  void Stop() { stop_ = true; }
  bool done() const { return done_; }
  int ended() const { return ended_; }
  // The study that it waits for.
  std::string waits_for() const {
    return absl::StrCat(name_, "-", static_cast<int>(ended_) + 1);
  }
  // Trials whose values the controller acknowledged, as it named them. When it
  // is done.
  const std::map<std::string, double>& acknowledged() const {
    return acknowledged_;
  }

 private:
  void Run() {
    while (!stop_ && !give_up_ && RunStudy(waits_for())) ++ended_;
    done_ = !give_up_;
  }

  bool RunStudy(const std::string& id) {
    v1::CreateStudyRequest create;
    create.set_study_id(id);
    *create.mutable_spec() = make_spec_(ended_);
    v1::Study study;
    if (!UntilItSucceeds(give_up_, [&](grpc::ClientContext* context) {
          return studies_->CreateStudy(context, create, &study);
        })) {
      return false;
    }
    v1::GetStudyRequest get;
    get.set_name(study.name());
    while (study.state() != v1::Study::COMPLETED) {
      if (study.spec().has_external()) Evaluate(study.name());
      absl::SleepFor(absl::Milliseconds(50));
      if (!UntilItSucceeds(give_up_, [&](grpc::ClientContext* context) {
            return studies_->GetStudy(context, get, &study);
          })) {
        return false;
      }
    }
    return true;
  }

  // Asks for some trials and tells of them until that is acknowledged.
  void Evaluate(const std::string& study) {
    v1::AskTrialsRequest ask;
    ask.set_parent(study);
    ask.set_count(8);
    v1::AskTrialsResponse asked;
    if (!UntilItSucceeds(give_up_, [&](grpc::ClientContext* context) {
          return trials_->AskTrials(context, ask, &asked);
        })) {
      return;
    }
    if (asked.trials().empty()) return;
    v1::TellTrialsRequest tell;
    for (const v1::AskedTrial& trial : asked.trials()) {
      v1::TrialReport* report = tell.add_reports();
      report->set_trial(trial.trial().name());
      report->set_attempt(trial.attempt());
      v1::Measurement* m = report->add_measurements();
      m->set_metric("score");
      m->set_value(static_cast<double>(trial.trial().number()));
    }
    v1::TellTrialsResponse told;
    if (!UntilItSucceeds(give_up_, [&](grpc::ClientContext* context) {
          return trials_->TellTrials(context, tell, &told);
        })) {
      return;
    }
    for (int i = 0; i < told.statuses_size(); ++i) {
      if (told.statuses(i).code() != 0) continue;  // The store is away.
      acknowledged_[tell.reports(i).trial()] =
          tell.reports(i).measurements(0).value();
    }
  }

  const std::string name_;
  const std::unique_ptr<v1::StudyService::Stub> studies_;
  const std::unique_ptr<v1::TrialService::Stub> trials_;
  const MakeSpec make_spec_;
  std::map<std::string, double> acknowledged_;
  std::atomic<int> ended_{0};
  std::atomic<bool> stop_{false};
  std::atomic<bool> give_up_{false};
  std::atomic<bool> done_{false};
  std::thread thread_;
};

v1::StudySpec PretendedStudy(int number) {
  v1::StudySpec spec = TinyStudy(12, static_cast<uint64_t>(number) + 1);
  spec.mutable_train()->set_dataset(kPretendedDataset);
  spec.mutable_train()->set_epochs(4);
  spec.mutable_objectives(1)->set_device(kPretendedDevice);
  // Other settings, so that no result of an earlier study will do.
  spec.mutable_measure()->set_threads(1 + number % 64);
  spec.mutable_train()->set_batch(16 + number);
  return spec;
}

v1::StudySpec ToldStudy(int number) {
  v1::StudySpec spec;
  for (int i = 0; i < 6; ++i) {
    auto* choice = spec.mutable_space()->mutable_declared()->add_choices();
    choice->set_name(absl::StrCat("c", i));
    for (const char* option : {"a", "b", "c", "d"}) choice->add_options(option);
  }
  spec.add_objectives()->set_maximize("score");
  spec.mutable_strategy()->mutable_random();
  spec.mutable_external()->mutable_lease()->set_seconds(2);
  spec.mutable_budget()->set_trials(200);
  spec.set_max_attempts(20);
  spec.set_seed(static_cast<uint64_t>(number) + 1);
  return spec;
}

v1::StudySpec RealStudy(int number) {
  v1::StudySpec spec = TinyStudy(2, static_cast<uint64_t>(number) + 1000);
  spec.set_max_attempts(20);
  spec.mutable_train()->set_batch(16 + number);
  return spec;
}

// ---- The stage ----

class Stage {
 public:
  // `postgres` may be null: SQLite on a small disk.
  Stage(const std::string& name, PostgresServer* postgres, uint64_t seed)
      : dir_(absl::StrCat(::testing::TempDir(), "/hwnas_chaos_", name, "_",
                          getpid())),
        postgres_(postgres),
        rng_(seed) {
    fs::remove_all(dir_);
    fs::create_directories(dir_);
    setenv("HWNAS_CORES_LOCK", (dir_ + "/cores.lock").c_str(), 1);
    if (postgres == nullptr)
      disk_ = std::make_unique<SmallDisk>(dir_ + "/store");
    if (postgres != nullptr) {
      EXPECT_TRUE(WriteSecretFile(dir_ + "/url", postgres->url()).ok());
    }
    SetClock(0);
  }
  ~Stage() {
    processes_.clear();
    network_ = nullptr;
    disk_ = nullptr;
    if (!::testing::Test::HasFailure()) fs::remove_all(dir_);
  }

  bool Begin(bool with_real_ones) {
    if (!StartController()) return false;
    network_ = std::make_unique<FaultyNetwork>(port_, rng_.Next());
    for (const char* id : {"worker-1", "worker-2", "agent-1", "agent-2"}) {
      starts_[id] = [this, id] {
        Start(id, PretenderCommand(id, network_->address(), dir_, "well"));
      };
    }
    if (with_real_ones) {
      starts_["real-worker"] = [this] {
        Start("real-worker",
              {Cluster::Bin("hwnas-worker"), "--controller=" + address(),
               "--id=real-worker", "--spool_dir=" + dir_ + "/spool-real-worker",
               "--metrics="});
      };
      starts_["real-agent"] = [this] {
        Start("real-agent",
              {Cluster::Bin("hwnas-agent"), "--controller=" + address(),
               "--id=real-agent", "--spool_dir=" + dir_ + "/spool-real-agent",
               "--metrics=", "--preflight_wait=0s"});
      };
    }
    for (const auto& [id, start] : starts_) start();
    starts_["controller"] = [this] { EXPECT_TRUE(StartController()); };
    return true;
  }

  // Where everybody dials.
  std::string address() const { return network_->address(); }

  // Something goes wrong, and is right again when this returns (but for what it
  // leaves behind).
  void DoHarm() {
    std::vector<std::pair<const char*, std::function<void()>>> harms = {
        {"kill", [this] { Kill(); }},
        {"kill", [this] { Kill(); }},
        {"kill", [this] { Kill(); }},
        {"freeze process", [this] { FreezeProcess(); }},
        {"freeze process", [this] { FreezeProcess(); }},
        {"cut network", [this] { network_->CutAll(); }},
        {"cut in a message", [this] { network_->CutWithin(5000); }},
        {"freeze network", [this] { FreezeNetwork(); }},
        {"deliver late",
         [this] { network_->DeliverLate(Some(kLongestFreeze)); }},
        {"repeat", [this] { network_->Replay(); }},
        {"delay", [this] { Delay(); }}};
    if (disk_ != nullptr && disk_->there()) {
      harms.emplace_back("full disk", [this] { FillDisk(); });
    }
    if (postgres_ != nullptr) {
      harms.emplace_back("restart database", [this] { RestartDatabase(); });
      harms.emplace_back("restart database", [this] { RestartDatabase(); });
    }
    if (fs::exists(kFakeTime)) {
      harms.emplace_back("set clock", [this] { SetClockSomehow(); });
    }
    // Each as often as the others, in random order.
    if (deck_.empty()) {
      deck_.resize(harms.size());
      std::iota(deck_.begin(), deck_.end(), size_t{0});
      rng_.Shuffle(deck_);
    }
    const auto& [name, harm] = harms[deck_.back()];
    deck_.pop_back();
    ++counts_[name];
    harm();
    absl::SleepFor(Some(absl::Milliseconds(500)));
  }

  void Heal() {
    network_->SetDelay(absl::ZeroDuration(), absl::ZeroDuration());
    for (const auto& [id, start] : starts_) {
      if (!processes_.at(id)->Running()) {
        ADD_FAILURE() << id << " ended by itself:\n" << EndOfLog(id);
      }
    }
  }
  void StopController() { processes_.at("controller")->Kill(SIGTERM); }

  absl::StatusOr<std::unique_ptr<JournalStore>> OpenStore() const {
    if (postgres_ != nullptr) {
      return OpenPostgresJournalStore({.url = postgres_->url()});
    }
    return OpenSqliteJournalStore({.path = dir_ + "/store/journal.db"});
  }
  // Results that the pretenders were told are durable, as
  // "{task_id}#{attempt}".
  std::set<std::string> AcknowledgedResults() const {
    std::set<std::string> all;
    for (const auto& [id, start] : starts_) {
      std::ifstream log(dir_ + "/" + id + ".log");
      for (std::string line; std::getline(log, line);) {
        if (!absl::StrContains(line, "event=acknowledged") ||
            !absl::StrContains(line, "ignored=false")) {
          continue;
        }
        const std::vector<std::string> parts = absl::StrSplit(line, '"');
        if (parts.size() < 2) continue;  // Cut by a kill.
        // Of a check of the farm's: not in a study.
        if (absl::StartsWith(parts[1], "~")) continue;
        all.insert(parts[1].substr(0, parts[1].rfind('.')));
      }
    }
    return all;
  }
  std::string EndOfLog(const std::string& id) const {
    const std::string log = processes_.at(id)->Log();
    return log.substr(log.size() - std::min<size_t>(log.size(), 10000));
  }
  const std::map<std::string, int>& counts() const { return counts_; }

 private:
  absl::Duration Some(absl::Duration most) { return most * rng_.Uniform(); }

  void Start(const std::string& id, const std::vector<std::string>& command) {
    processes_[id] =
        std::make_unique<Process>(command, absl::StrCat(dir_, "/", id, ".log"));
  }

  // The first start takes a free port; later ones the same.
  bool StartController() {
    const std::string port_file = dir_ + "/ports.json";
    fs::remove(port_file);
    std::vector<std::string> command;
    if (fs::exists(kFakeTime)) {
      // With the C library's allocator: jemalloc asks for the time before the
      // library that fakes it is ready.
      command = {
          "env",
          absl::StrCat("LD_PRELOAD=", kFakeTime, " libc.so.6 libstdc++.so.6"),
          "FAKETIME_TIMESTAMP_FILE=" + dir_ + "/clock",
          "FAKETIME_CACHE_DURATION=1",
          "FAKETIME_DONT_FAKE_MONOTONIC=1",
          "DONT_FAKE_MONOTONIC=1"};
    }
    const std::vector<std::string> controller = {
        Cluster::Bin("hwnas-controller"),
        "--store=" + dir_ + "/store",
        absl::StrCat("--listen=127.0.0.1:", port_),
        "--metrics=",
        "--port_file=" + port_file,
        "--anchor_interval=0",
        absl::StrCat("--lease_seconds=", absl::ToInt64Seconds(kLease))};
    command.insert(command.end(), controller.begin(), controller.end());
    if (postgres_ != nullptr) {
      command.push_back("--store_url_file=" + dir_ + "/url");
    }
    Start("controller", command);
    // It may have to wait for the database or for an earlier one's lease.
    if (!WaitUntil(absl::Seconds(60),
                   [&] {
                     return fs::exists(port_file) ||
                            !processes_["controller"]->Running();
                   }) ||
        !fs::exists(port_file)) {
      ADD_FAILURE() << EndOfLog("controller");
      return false;
    }
    const auto ports = nlohmann::json::parse(*ReadFile(port_file));
    const std::string grpc = ports.at("grpc").get<std::string>();
    port_ = std::stoi(grpc.substr(grpc.rfind(':') + 1));
    return true;
  }

  // Anybody; the controller as often as all others together.
  std::string Victim() {
    if (rng_.Bernoulli(0.4)) return "controller";
    auto it = starts_.begin();
    std::advance(it, static_cast<int>(rng_.Below(starts_.size())));
    return it->first;
  }
  void Kill() {
    const std::string victim = Victim();
    ++counts_["kill of " + victim];
    processes_.at(victim)->Kill(SIGKILL);
    absl::SleepFor(Some(absl::Milliseconds(300)));
    starts_.at(victim)();
  }
  void FreezeProcess() {
    const std::string victim = Victim();
    processes_.at(victim)->Signal(SIGSTOP);
    absl::SleepFor(Some(kLongestFreeze));
    processes_.at(victim)->Signal(SIGCONT);
    RestartIfReplaced();
  }
  void FreezeNetwork() {
    network_->Freeze();
    absl::SleepFor(Some(kLongestFreeze));
    if (rng_.Bernoulli(0.5)) network_->CutAll();  // What was held is lost.
    network_->Thaw();
  }
  void Delay() {
    const absl::Duration least = Some(absl::Milliseconds(20));
    network_->SetDelay(least, least + Some(absl::Milliseconds(50)));
    absl::SleepFor(Some(absl::Seconds(1)));
    network_->SetDelay(absl::ZeroDuration(), absl::ZeroDuration());
  }
  void FillDisk() {
    disk_->Fill();
    absl::SleepFor(Some(absl::Milliseconds(1500)));
    disk_->Free();
  }
  void RestartDatabase() {
    postgres_->Stop(SIGQUIT);
    absl::SleepFor(Some(absl::Seconds(1)));
    EXPECT_TRUE(postgres_->Run());
    RestartIfReplaced();
  }
  // A controller ends when its lease of a shared store has run out, for its
  // supervisor to start again.
  void RestartIfReplaced() {
    if (postgres_ == nullptr || processes_.at("controller")->Running()) return;
    ++counts_["controller ended and was started again"];
    starts_.at("controller")();
  }
  void SetClockSomehow() {
    SetClock(static_cast<int64_t>(rng_.Below(7200)) - 3600);
  }
  void SetClock(int64_t seconds) {
    EXPECT_TRUE(
        WriteFileAtomically(dir_ + "/clock",
                            absl::StrCat(seconds < 0 ? "" : "+", seconds, "\n"))
            .ok());
  }

  const std::string dir_;
  PostgresServer* const postgres_;
  Rng rng_;
  int port_ = 0;
  std::unique_ptr<SmallDisk> disk_;
  std::unique_ptr<FaultyNetwork> network_;
  std::map<std::string, std::function<void()>> starts_;
  std::map<std::string, std::unique_ptr<Process>> processes_;
  std::map<std::string, int> counts_;
  std::vector<size_t> deck_;  // Harms to come, the next one last.
};

// Everything that anybody was told is in the journals, and these are sound.
void CheckEverything(JournalStore& store, const Stage& stage,
                     const std::vector<const Person*>& people) {
  const auto ids = store.ListStudies();
  ASSERT_TRUE(ids.ok()) << ids.status();
  std::set<std::string> reported;
  std::map<std::string, double> told;
  int64_t trials = 0, attempts = 0, expired = 0;
  for (const std::string& id : *ids) {
    const controller::HistoryReport report =
        controller::CheckHistory(store, id);
    EXPECT_THAT(report.violations, IsEmpty()) << id;
    EXPECT_EQ(report.lost, 0) << id;
    EXPECT_EQ(report.repeated, 0) << id;
    EXPECT_TRUE(report.ended || id == "~farm") << id;
    trials += report.proposed;
    attempts += report.attempts;
    expired += report.expired_attempts;
    const auto note = [&](const auto& event) {
      const std::string stage_name =
          event.stage() == v1::MEASURE
              ? absl::StrCat("measure:", event.device_class())
              : "train";
      reported.insert(absl::StrCat(id, "/", event.trial(), "/", stage_name, "#",
                                   event.attempt()));
    };
    ASSERT_TRUE(
        store
            .Read(
                id, 0,
                [&](v1::JournalEvent&& event) {
                  const auto& e = event.stage_finished();
                  if (e.stage() == v1::ASK) {
                    told[absl::StrCat("studies/", id, "/trials/", e.trial())] =
                        e.measurements(0).value();
                  }
                  if (event.has_stage_finished()) note(e);
                  // What an executor reports, not what the controller
                  // concludes from silence.
                  const auto& f = event.attempt_failed();
                  if (f.outcome() == v1::AttemptFailed::FAILED ||
                      f.outcome() == v1::AttemptFailed::HANDED_BACK) {
                    note(f);
                  }
                  return absl::OkStatus();
                })
            .ok());
  }
  const std::set<std::string> acknowledged = stage.AcknowledgedResults();
  EXPECT_FALSE(acknowledged.empty());
  for (const std::string& result : acknowledged) {
    EXPECT_TRUE(reported.count(result)) << result << " was acknowledged";
  }
  size_t tells = 0;
  for (const Person* person : people) {
    for (const auto& [trial, value] : person->acknowledged()) {
      ++tells;
      ASSERT_TRUE(told.count(trial)) << trial;
      EXPECT_EQ(told[trial], value) << trial;
    }
  }
  std::printf(
      "studies %zu, trials %ld, attempts %ld (expired %ld); acknowledged "
      "results %zu, acknowledged tells %zu: all in the journals\n",
      ids->size(), trials, attempts, expired, acknowledged.size(), tells);
}

int Kills(int by_default, double share) {
  const char* wanted = std::getenv("HWNAS_CHAOS_KILLS");
  return wanted == nullptr ? by_default
                           : static_cast<int>(share * std::atoi(wanted));
}

void RunChaos(const std::string& name, PostgresServer* postgres,
              bool with_real_ones, int kills) {
  Stage stage(name, postgres, /*seed=*/2026);
  ASSERT_TRUE(stage.Begin(with_real_ones));
  std::vector<std::unique_ptr<Person>> people;
  people.push_back(
      std::make_unique<Person>("pretended", stage.address(), PretendedStudy));
  people.push_back(
      std::make_unique<Person>("told", stage.address(), ToldStudy));
  if (with_real_ones) {
    people.push_back(
        std::make_unique<Person>("real", stage.address(), RealStudy));
  }
  for (int i = 0; i < kills; ++i) stage.DoHarm();
  stage.Heal();
  for (const auto& person : people) person->Stop();
  for (const auto& person : people) {
    EXPECT_TRUE(WaitUntil(absl::Seconds(240), [&] { return person->done(); }))
        << person->waits_for() << " does not end:\n"
        << stage.EndOfLog("controller");
  }
  stage.StopController();
  const auto store = stage.OpenStore();
  ASSERT_TRUE(store.ok()) << store.status();
  std::vector<const Person*> of_people;
  for (const auto& person : people) {
    if (person->done()) of_people.push_back(person.get());
    EXPECT_GT(person->ended(), 0) << person->waits_for();
  }
  CheckEverything(**store, stage, of_people);
  std::printf("faults: %d\n", kills);
  for (const auto& [what, count] : stage.counts()) {
    std::printf("  %s: %d\n", what.c_str(), count);
  }
}

TEST(Chaos, LosesAndRepeatsNothingOnSqlite) {
  HWNAS_REQUIRE_FASHION_MNIST();
  RunChaos("sqlite", nullptr, /*with_real_ones=*/true, Kills(14, 0.7));
}

TEST(Chaos, LosesAndRepeatsNothingOnPostgres) {
  HWNAS_REQUIRE_POSTGRES(server);
  RunChaos("postgres", &server, /*with_real_ones=*/false, Kills(9, 0.3));
}

}  // namespace
}  // namespace hwnas

int main(int argc, char** argv) {
  if (hwnas::IsPretender(argc, argv)) return hwnas::Pretend(argv);
  ::testing::InitGoogleMock(&argc, argv);
  hwnas::SmallDisk::KeepMountsToOurselves();
  return RUN_ALL_TESTS();
}
