// Thousands of workers on one controller: a real hwnas-controller process with
// its durable store, and sessions that do everything of a worker but the work.
// Each holds as many leases as it has slots, sends the epochs since the last
// heartbeat once a second, and a result when a training is over.
//
//   fleet_sim --folder=DIR [--sessions=5000] [--slots=2] [--duration=300s]
//             [--controller_core=0]
//
// DIR must be on the disk that is meant; what is in DIR/store goes. One line
// for each window, one for the whole, and at the end what the history checker
// says of the journals:
//
//   s=10 sessions=5000 leases=10000 results_per_s=500 reports_per_s=50012 ...
//
// `assign` is the time from the writing of a result, which frees a slot, until
// the next task has arrived there: two syncs of the disk and a proposal lie in
// between. `ack` is the time until the result is known to be durable.
//
// With --stuck_watchers so many clients watch the studies and never read.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "bench/controller/controller_process.h"
#include "common/files.h"
#include "common/limits.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "grpcpp/grpcpp.h"
#include "hwnas/v1/fleet_service.grpc.pb.h"
#include "hwnas/v1/study_service.grpc.pb.h"
#include "proto/convert/grpc_status.h"

ABSL_FLAG(std::string, folder, "", "Where the store goes. Required.");
ABSL_FLAG(std::string, controller, "",
          "The program; empty: hwnas-controller beside this one.");
ABSL_FLAG(std::vector<std::string>, controller_flags, {},
          "More flags for it, without commas.");
ABSL_FLAG(int, controller_core, -1, "The only one it may use; -1: all.");
ABSL_FLAG(int, sessions, 5000, "Workers.");
ABSL_FLAG(int, slots, 2, "Of each worker.");
ABSL_FLAG(int, connections, 50, "Which the sessions share.");
ABSL_FLAG(int, connects_per_s, 1000, "Sessions begun in a second.");
ABSL_FLAG(int, studies, 10, "Which share the workers.");
ABSL_FLAG(int, stuck_watchers, 0, "Watch, and never read.");
ABSL_FLAG(double, task_s, 20,
          "Mean of a training, in seconds; even from half "
          "of it to one and a half.");
ABSL_FLAG(double, epochs_per_s, 5, "Of each training.");
ABSL_FLAG(double, heartbeat_s, 1, "Between two heartbeats of a session.");
ABSL_FLAG(absl::Duration, duration, absl::Minutes(5), "Of what is measured.");
ABSL_FLAG(absl::Duration, warm_up, absl::Seconds(10),
          "Before it, with all leases live.");
ABSL_FLAG(absl::Duration, window, absl::Seconds(10), "To a line.");

namespace hwnas::bench {
namespace {

namespace fs = std::filesystem;

constexpr int kEpochCount = 1000;

// What the sessions have seen since the last line. Thread-safe.
class Log {
 public:
  struct Window {
    std::vector<double> ack_s;
    std::vector<double> assign_s;
    int64_t heartbeats = 0;
    int64_t reports = 0;  // Epochs in them.

    void Add(const Window& other) {
      ack_s.insert(ack_s.end(), other.ack_s.begin(), other.ack_s.end());
      assign_s.insert(assign_s.end(), other.assign_s.begin(),
                      other.assign_s.end());
      heartbeats += other.heartbeats;
      reports += other.reports;
    }
  };

  void Acked(double seconds) {
    MutexLock lock(&mutex_);
    window_.ack_s.push_back(seconds);
  }
  void Assigned(double seconds) {
    MutexLock lock(&mutex_);
    window_.assign_s.push_back(seconds);
  }
  void Beat(int reports) {
    MutexLock lock(&mutex_);
    ++window_.heartbeats;
    window_.reports += reports;
  }
  Window Take() {
    MutexLock lock(&mutex_);
    return std::exchange(window_, {});
  }

  // What must not happen.
  std::atomic<int64_t> sessions_lost{0};
  std::atomic<int64_t> cancels{0};
  std::atomic<int64_t> ignored{0};
  std::atomic<int64_t> answers_to_nothing{0};

  std::atomic<int64_t> sessions{0};  // Welcomed and not lost.
  std::atomic<int64_t> leases{0};
  std::atomic<int64_t> unacknowledged{0};

 private:
  Mutex mutex_;
  Window window_ ABSL_GUARDED_BY(mutex_);
};

// In milliseconds.
double Quantile(std::vector<double>* seconds, double q) {
  if (seconds->empty()) return 0;
  const auto at =
      seconds->begin() +
      static_cast<ptrdiff_t>(q * static_cast<double>(seconds->size() - 1));
  std::nth_element(seconds->begin(), at, seconds->end());
  return *at * 1000;
}

// Calls back at given times, in one thread. Thread-safe.
class Timer {
 public:
  using Callback = std::function<void()>;

  Timer() : thread_([this] { Loop(); }) {}
  ~Timer() { Stop(); }

  void At(double when_s, Callback callback) {
    MutexLock lock(&mutex_);
    const bool first = due_.empty() || when_s < due_.begin()->first;
    due_.emplace(when_s, std::move(callback));
    if (first) changed_.Signal();
  }
  // No call begins any more when this returns.
  void Stop() {
    {
      MutexLock lock(&mutex_);
      stopping_ = true;
      changed_.Signal();
    }
    if (thread_.joinable()) thread_.join();
  }

 private:
  void Loop() {
    for (;;) {
      Callback callback;
      {
        MutexLock lock(&mutex_);
        for (;;) {
          if (stopping_) return;
          if (due_.empty()) {
            changed_.Wait(&mutex_);
            continue;
          }
          const double wait_s = due_.begin()->first - Now();
          if (wait_s <= 0) break;
          changed_.WaitWithTimeout(&mutex_, absl::Seconds(wait_s));
        }
        callback = std::move(due_.begin()->second);
        due_.erase(due_.begin());
      }
      callback();
    }
  }

  Mutex mutex_;
  CondVar changed_;
  std::multimap<double, Callback> due_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// One simulated worker.
class Session final
    : public grpc::ClientBidiReactor<v1::SessionRequest, v1::SessionResponse> {
 public:
  Session(int number, v1::FleetService::Stub* stub, Timer* timer, Log* log)
      : number_(number), stub_(stub), timer_(timer), log_(log) {
    random_.seed(static_cast<uint64_t>(number));
  }

  void Begin() {
    stub_->async()->Session(&context_, this);
    v1::SessionRequest request;
    v1::Hello* hello = request.mutable_hello();
    hello->set_kind(v1::WORKER);
    hello->set_executor_id(absl::StrFormat("sim-%05d", number_));
    hello->set_incarnation("1");
    hello->set_host_id(absl::StrCat("host-", number_));
    hello->set_slots(absl::GetFlag(FLAGS_slots));
    hello->add_datasets("fashion-mnist");
    hello->set_protocol_version(1);
    hello->mutable_environment()->set_host(absl::StrCat("host-", number_));
    StartRead(&response_);
    Write(std::move(request));
    StartCall();
  }

  // No more heartbeats and results; what is on its way is waited for.
  void Quiet() {
    MutexLock lock(&mutex_);
    quiet_ = true;
  }
  void End() {
    {
      MutexLock lock(&mutex_);
      ending_ = true;
    }
    context_.TryCancel();
  }
  bool done() const { return done_; }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    switch (response_.message_case()) {
      case v1::SessionResponse::kWelcome:
        OnWelcome();
        break;
      case v1::SessionResponse::kAssignment:
        OnAssignment(response_.assignment().lease());
        break;
      case v1::SessionResponse::kResultAck:
        OnAck(response_.result_ack());
        break;
      case v1::SessionResponse::kCancel:
        ++log_->cancels;
        OnCancel(response_.cancel().lease());
        break;
      default:
        break;
    }
    StartRead(&response_);
  }
  void OnWriteDone(bool ok) override {
    MutexLock lock(&mutex_);
    outbound_.pop_front();
    if (ok && !outbound_.empty()) StartWrite(&outbound_.front());
  }
  void OnDone(const grpc::Status& status) override {
    {
      MutexLock lock(&mutex_);
      if (!ending_) {
        ++log_->sessions_lost;
        --log_->sessions;
        std::fprintf(stderr, "session %d: %d %s\n", number_,
                     status.error_code(), status.error_message().c_str());
        quiet_ = true;
      }
    }
    done_ = true;  // Whoever waits for that may destroy us.
  }

 private:
  struct Lease {
    v1::LeaseKey key;
    double begin_s = 0;
    int epochs = 0;  // Told.
  };

  void Write(v1::SessionRequest request) ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(&mutex_);
    WriteLocked(std::move(request));
  }
  void WriteLocked(v1::SessionRequest request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    outbound_.push_back(std::move(request));
    if (outbound_.size() == 1) StartWrite(&outbound_.front());
  }

  void OnWelcome() {
    ++log_->sessions;
    // Not all at once.
    const double first_s = std::uniform_real_distribution<double>(
        0, absl::GetFlag(FLAGS_heartbeat_s))(random_);
    timer_->At(Now() + first_s, [this] { Beat(); });
  }

  void OnAssignment(const v1::LeaseKey& lease) {
    const double now_s = Now();
    double freed_s = 0, work_s = 0;
    {
      MutexLock lock(&mutex_);
      if (!freed_.empty()) {
        freed_s = freed_.front();
        freed_.pop_front();
      }
      leases_.push_back({.key = lease, .begin_s = now_s});
      work_s = absl::GetFlag(FLAGS_task_s) *
               std::uniform_real_distribution<double>(0.5, 1.5)(random_);
    }
    ++log_->leases;
    if (freed_s > 0) log_->Assigned(now_s - freed_s);
    timer_->At(now_s + work_s, [this, lease] { Finish(lease); });
  }

  void OnAck(const v1::ResultAck& ack) {
    double sent_s = 0;
    {
      MutexLock lock(&mutex_);
      const auto it = sent_.find(ack.lease().task_id());
      if (it == sent_.end()) {
        ++log_->answers_to_nothing;
        return;
      }
      sent_s = it->second;
      sent_.erase(it);
    }
    --log_->unacknowledged;
    log_->ignored += ack.ignored();
    log_->Acked(Now() - sent_s);
  }

  void OnCancel(const v1::LeaseKey& lease) {
    MutexLock lock(&mutex_);
    log_->leases -=
        static_cast<int64_t>(std::erase_if(leases_, [&](const Lease& l) {
          return l.key.task_id() == lease.task_id();
        }));
  }

  // The epochs since the last time. One that is not written yet will do.
  void Beat() {
    timer_->At(Now() + absl::GetFlag(FLAGS_heartbeat_s), [this] { Beat(); });
    MutexLock lock(&mutex_);
    if (quiet_ || outbound_.size() > 1) return;
    const double now_s = Now();
    v1::SessionRequest request;
    v1::Heartbeat* heartbeat = request.mutable_heartbeat();
    int reports = 0;
    for (Lease& lease : leases_) {
      v1::TaskProgress* progress = heartbeat->add_tasks();
      *progress->mutable_lease() = lease.key;
      const int epochs = static_cast<int>((now_s - lease.begin_s) *
                                          absl::GetFlag(FLAGS_epochs_per_s));
      for (int epoch = lease.epochs + 1; epoch <= epochs; ++epoch) {
        *progress->add_epochs() = EpochOf(epoch);
        ++reports;
      }
      if (epochs > 0) *progress->mutable_epoch() = EpochOf(epochs);
      lease.epochs = epochs;
    }
    log_->Beat(reports);
    WriteLocked(std::move(request));
  }

  static v1::EpochReport EpochOf(int epoch) {
    v1::EpochReport report;
    report.set_epoch(epoch);
    report.set_epoch_count(kEpochCount);
    report.set_train_loss(2.0 / (epoch + 1));
    report.set_validation_loss(2.2 / (epoch + 1));
    report.set_validation_accuracy(95.0 - 50.0 / epoch);
    report.set_images_per_second(2000);
    return report;
  }

  void Finish(const v1::LeaseKey& lease) {
    MutexLock lock(&mutex_);
    if (quiet_) return;
    const auto it = std::find_if(
        leases_.begin(), leases_.end(),
        [&](const Lease& l) { return l.key.task_id() == lease.task_id(); });
    if (it == leases_.end()) return;  // Cancelled.
    v1::SessionRequest request;
    v1::TaskResult* result = request.mutable_result();
    *result->mutable_lease() = lease;
    v1::Measurement* m = result->add_measurements();
    m->set_metric("accuracy");
    m->set_unit("%");
    m->set_sample_count(1);
    m->set_value(std::uniform_real_distribution<double>(50, 95)(random_));
    for (int epoch = 1; epoch <= 12; ++epoch) {
      *result->add_epochs() = EpochOf(epoch);
    }
    leases_.erase(it);
    --log_->leases;
    const double now_s = Now();
    sent_[lease.task_id()] = now_s;
    freed_.push_back(now_s);
    ++log_->unacknowledged;
    WriteLocked(std::move(request));
  }

  const int number_;
  v1::FleetService::Stub* const stub_;
  Timer* const timer_;
  Log* const log_;
  grpc::ClientContext context_;
  v1::SessionResponse response_;
  std::atomic<bool> done_{false};

  Mutex mutex_;
  std::mt19937_64 random_;
  // The front is being written.
  std::deque<v1::SessionRequest> outbound_ ABSL_GUARDED_BY(mutex_);
  std::vector<Lease> leases_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, double> sent_ ABSL_GUARDED_BY(mutex_);
  // When slots became free that have got nothing yet.
  std::deque<double> freed_ ABSL_GUARDED_BY(mutex_);
  bool quiet_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
};

std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(),
                                   arguments);
}

// 8^8 networks of eight layers.
v1::StudySpec Spec(int number) {
  v1::StudySpec spec;
  v1::MacroSpace* space = spec.mutable_space()->mutable_macro();
  for (const int size : {1, 28, 28}) space->add_input(size);
  space->set_classes(10);
  for (const char* op :
       {"conv_k3", "conv_k5", "basic", "mbconv_k3_e3", "mbconv_k3_e6",
        "mbconv_k5_e3", "mbconv_k5_e6", "identity"}) {
    space->add_operators(op);
  }
  for (int layer = 0; layer < 8; ++layer) {
    v1::MacroLayer* added = space->add_layers();
    added->set_channels(layer < 4 ? 16 : 32);
    added->set_stride(layer == 4 ? 2 : 1);
  }
  spec.add_objectives()->set_maximize("accuracy");
  spec.add_objectives()->set_minimize("params_m");
  spec.mutable_strategy()->mutable_nsga2()->set_population(50);
  spec.mutable_train()->set_dataset("fashion-mnist");
  spec.mutable_train()->set_epochs(kEpochCount);
  spec.mutable_budget()->set_trials(1'000'000);
  spec.set_seed(static_cast<uint64_t>(number) + 1);
  // A few are ready whenever a slot becomes free.
  const int slots = absl::GetFlag(FLAGS_sessions) * absl::GetFlag(FLAGS_slots);
  spec.set_max_parallel_trials(slots / absl::GetFlag(FLAGS_studies) + 20);
  return spec;
}

// Clients that watch and never read.
class StuckWatchers {
 public:
  StuckWatchers(const std::string& address, int count) {
    for (int i = 0; i < count; ++i) {
      auto& watcher = watchers_.emplace_back(std::make_unique<Watcher>());
      watcher->stub = v1::StudyService::NewStub(Connect(address));
      v1::WatchStudyRequest request;
      request.set_name(
          absl::StrCat("studies/sim-", i % absl::GetFlag(FLAGS_studies)));
      watcher->reader = watcher->stub->WatchStudy(&watcher->context, request);
    }
  }
  ~StuckWatchers() {
    for (const auto& watcher : watchers_) {
      watcher->context.TryCancel();
      watcher->reader->Finish();
    }
  }

 private:
  struct Watcher {
    std::unique_ptr<v1::StudyService::Stub> stub;
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::StudyUpdate>> reader;
  };
  std::vector<std::unique_ptr<Watcher>> watchers_;
};

void Print(const std::string& name, Log::Window window, const Log& log,
           double seconds, double cpu_s, const ControllerProcess& controller) {
  const auto rate = [&](int64_t count) {
    return static_cast<double>(count) / seconds;
  };
  std::printf(
      "%s sessions=%ld leases=%ld results_per_s=%.0f reports_per_s=%.0f "
      "heartbeats_per_s=%.0f ack_p50_ms=%.1f ack_p99_ms=%.1f "
      "assign_p50_ms=%.1f assign_p99_ms=%.1f assign_worst_ms=%.1f "
      "controller_cores=%.2f rss_mb=%.0f\n",
      name.c_str(), log.sessions.load(), log.leases.load(),
      rate(static_cast<int64_t>(window.ack_s.size())), rate(window.reports),
      rate(window.heartbeats), Quantile(&window.ack_s, 0.5),
      Quantile(&window.ack_s, 0.99), Quantile(&window.assign_s, 0.5),
      Quantile(&window.assign_s, 0.99), Quantile(&window.assign_s, 1),
      cpu_s / seconds, controller.rss_mb());
  std::fflush(stdout);
}

absl::Status CreateStudies(const std::string& address) {
  const auto stub = v1::StudyService::NewStub(Connect(address));
  for (int i = 0; i < absl::GetFlag(FLAGS_studies); ++i) {
    v1::CreateStudyRequest request;
    request.set_study_id(absl::StrCat("sim-", i));
    *request.mutable_spec() = Spec(i);
    v1::Study study;
    grpc::ClientContext context;
    HWNAS_RETURN_IF_ERROR(
        FromGrpc(stub->CreateStudy(&context, request, &study)));
  }
  return absl::OkStatus();
}

absl::Status Run() {
  const std::string folder = absl::GetFlag(FLAGS_folder);
  if (folder.empty()) return absl::InvalidArgumentError("--folder is required");
  HWNAS_RETURN_IF_ERROR(MakeDirectories(folder));
  fs::remove_all(folder + "/store");
  std::vector<std::string> flags = absl::GetFlag(FLAGS_controller_flags);
  flags.push_back("--anchor_interval=0");
  ControllerProcess controller({.folder = folder,
                                .program = absl::GetFlag(FLAGS_controller),
                                .flags = flags,
                                .core = absl::GetFlag(FLAGS_controller_core)});
  HWNAS_RETURN_IF_ERROR(controller.Start().status());
  HWNAS_RETURN_IF_ERROR(CreateStudies(controller.address()));
  const StuckWatchers watchers(controller.address(),
                               absl::GetFlag(FLAGS_stuck_watchers));

  std::vector<std::unique_ptr<v1::FleetService::Stub>> stubs;
  for (int i = 0; i < absl::GetFlag(FLAGS_connections); ++i) {
    stubs.push_back(v1::FleetService::NewStub(Connect(controller.address())));
  }
  const int64_t sessions = absl::GetFlag(FLAGS_sessions);
  const int64_t slots = sessions * absl::GetFlag(FLAGS_slots);
  Log log;
  std::vector<std::unique_ptr<Session>> fleet;
  Timer timer;
  const double begin_s = Now();
  for (int i = 0; i < sessions; ++i) {
    fleet.push_back(std::make_unique<Session>(
        i, stubs[static_cast<size_t>(i) % stubs.size()].get(), &timer, &log));
    const double wait_s =
        begin_s + i / double{1.0 * absl::GetFlag(FLAGS_connects_per_s)} - Now();
    if (wait_s > 0) absl::SleepFor(absl::Seconds(wait_s));
    fleet.back()->Begin();
  }
  // Some are always between a result and the next task.
  constexpr double kPatienceS = 300;
  while (log.leases < slots * 99 / 100) {
    if (Now() - begin_s > kPatienceS) {
      std::printf("after %.0f s only %ld sessions have %ld leases\n",
                  kPatienceS, log.sessions.load(), log.leases.load());
      break;
    }
    absl::SleepFor(absl::Milliseconds(100));
  }
  std::printf("%ld sessions have %ld leases after %.1f s\n",
              log.sessions.load(), log.leases.load(), Now() - begin_s);
  absl::SleepFor(absl::GetFlag(FLAGS_warm_up));

  Log::Window all;
  (void)log.Take();
  const double measured_s = Now(), measured_cpu_s = controller.cpu_s();
  double last_s = measured_s, last_cpu_s = measured_cpu_s;
  const double duration_s =
      absl::ToDoubleSeconds(absl::GetFlag(FLAGS_duration));
  while (last_s - measured_s < duration_s) {
    absl::SleepFor(absl::GetFlag(FLAGS_window));
    const Log::Window window = log.Take();
    const double now_s = Now(), cpu_s = controller.cpu_s();
    all.Add(window);
    Print(absl::StrFormat("s=%.0f", now_s - measured_s), window, log,
          now_s - last_s, cpu_s - last_cpu_s, controller);
    last_s = now_s;
    last_cpu_s = cpu_s;
  }
  Print("all", std::move(all), log, last_s - measured_s,
        last_cpu_s - measured_cpu_s, controller);

  for (const auto& session : fleet) session->Quiet();
  for (int i = 0; i < 100 && log.unacknowledged > 0; ++i) {
    absl::SleepFor(absl::Milliseconds(100));
  }
  std::printf(
      "dropped: sessions=%ld results=%ld; cancelled=%ld ignored=%ld "
      "answers_to_nothing=%ld\n",
      log.sessions_lost.load(), log.unacknowledged.load(), log.cancels.load(),
      log.ignored.load(), log.answers_to_nothing.load());
  timer.Stop();
  for (const auto& session : fleet) session->End();
  for (const auto& session : fleet) {
    while (!session->done()) absl::SleepFor(absl::Milliseconds(1));
  }
  controller.Kill(SIGTERM);
  const CommandResult check = RunCommand(
      {controller.program(), "--store=" + folder + "/store", "--check"},
      folder + "/check.log", absl::Minutes(10));
  std::printf("%s", check.output.c_str());
  if (check.code != 0)
    return absl::InternalError("the histories are not right");
  const bool dropped = log.sessions_lost > 0 || log.unacknowledged > 0;
  return dropped ? absl::InternalError("something was dropped")
                 : absl::OkStatus();
}

}  // namespace
}  // namespace hwnas::bench

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  const absl::Status status = hwnas::bench::Run();
  if (!status.ok()) {
    std::fprintf(stderr, "fleet_sim: %s\n",
                 std::string(status.message()).c_str());
  }
  return status.ok() ? 0 : 1;
}
