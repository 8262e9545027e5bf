// How many trials a second a controller hands out and takes back: a real
// hwnas-controller process with its durable store, driven by clients over gRPC
// on loopback. The study has six choices, two objectives and NSGA-II; its
// evaluation costs nothing, so that all time is the controller's and the
// wire's.
//
//   ask_tell_bench --folder=DIR [--clients=4] [--batch=64] [--trials=100000]
//                  [--window=10000] [--together] [--restart]
//
// DIR must be on the disk that is meant; what is in DIR/store goes. One line
// for each window of trials:
//
//   trials=20000 ask_tell_per_s=25312 ask_p50_ms=1.21 ask_p99_ms=3.4 ...
//
// With --keep a run goes on with the store of one that had the same --budget:
// to see at the same moment how fast a study with a long history is, and a
// fresh one. With --restart the controller is killed at the end and started
// again: the line says after how many seconds it served.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
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
#include "common/mutex.h"
#include "common/status_macros.h"
#include "grpcpp/grpcpp.h"
#include "hwnas/v1/study_service.grpc.pb.h"
#include "hwnas/v1/trial_service.grpc.pb.h"
#include "proto/convert/grpc_status.h"

ABSL_FLAG(std::string, folder, "", "Where the store goes. Required.");
ABSL_FLAG(std::string, controller, "",
          "The program; empty: hwnas-controller beside this one.");
ABSL_FLAG(std::vector<std::string>, controller_flags, {},
          "More flags for it, without commas.");
ABSL_FLAG(int, clients, 4, "Clients, each on a connection of its own.");
ABSL_FLAG(int, studies, 1, "Studies, which the clients share evenly.");
ABSL_FLAG(int, batch, 64, "Trials asked for and told in one call, 1 to 64.");
ABSL_FLAG(bool, together, false,
          "Ask for the next trials in the call that tells the last.");
ABSL_FLAG(int64_t, trials, 100000, "Trials in all.");
ABSL_FLAG(int64_t, budget, 0, "Of the studies; 0: so many.");
ABSL_FLAG(bool, keep, false,
          "Go on with the store of a run with the same budget.");
ABSL_FLAG(int64_t, window, 10000, "Trials to a line.");
ABSL_FLAG(int, options, 32, "Options of each of the six choices.");
ABSL_FLAG(int, population, 50, "Of NSGA-II.");
ABSL_FLAG(bool, restart, false, "Kill the controller at the end, start again.");

namespace hwnas::bench {
namespace {

namespace fs = std::filesystem;

constexpr int kChoices = 6;

std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(),
                                   arguments);
}

v1::StudySpec Spec() {
  v1::StudySpec spec;
  for (int i = 0; i < kChoices; ++i) {
    auto* choice = spec.mutable_space()->mutable_declared()->add_choices();
    choice->set_name(absl::StrCat("x", i));
    for (int option = 0; option < absl::GetFlag(FLAGS_options); ++option) {
      choice->add_options(absl::StrCat(option));
    }
  }
  spec.add_objectives()->set_minimize("f1");
  spec.add_objectives()->set_minimize("f2");
  spec.mutable_strategy()->mutable_nsga2()->set_population(
      absl::GetFlag(FLAGS_population));
  spec.mutable_external()->mutable_lease()->set_seconds(3600);
  spec.set_seed(1);
  return spec;
}

// ZDT1 on a grid (Zitzler, Deb and Thiele, 2000).
void Evaluate(const v1::Architecture& architecture, v1::TrialReport* report) {
  const double last = absl::GetFlag(FLAGS_options) - 1;
  const double f1 = architecture.choices(0) / last;
  double rest = 0;
  for (int i = 1; i < kChoices; ++i) rest += architecture.choices(i) / last;
  const double g = 1 + 9 * rest / (kChoices - 1);
  v1::Measurement* m = report->add_measurements();
  m->set_metric("f1");
  m->set_value(f1);
  m = report->add_measurements();
  m->set_metric("f2");
  m->set_value(g * (1 - std::sqrt(f1 / g)));
}

// What the clients have seen in the present window.
class Log {
 public:
  // One round of a client. True if a window ended with it: the caller prints.
  bool Add(int trials, double ask_s, double tell_s) {
    MutexLock lock(&mutex_);
    const int64_t window = absl::GetFlag(FLAGS_window);
    if (ask_s > 0) ask_s_.push_back(ask_s);
    tell_s_.push_back(tell_s);
    done_ += trials;
    if (done_ / window == printed_ / window) return false;
    return true;
  }

  void Print(const ControllerProcess& controller) {
    MutexLock lock(&mutex_);
    if (done_ == printed_) return;
    const double now = Now(), cpu = controller.cpu_s();
    std::printf(
        "trials=%ld ask_tell_per_s=%.0f ask_p50_ms=%.3f ask_p99_ms=%.3f "
        "tell_p50_ms=%.3f tell_p99_ms=%.3f worst_ms=%.1f rss_mb=%.1f "
        "controller_cores=%.2f\n",
        done_, static_cast<double>(done_ - printed_) / (now - begin_s_),
        Quantile(&ask_s_, 0.5), Quantile(&ask_s_, 0.99),
        Quantile(&tell_s_, 0.5), Quantile(&tell_s_, 0.99),
        std::max(Quantile(&ask_s_, 1), Quantile(&tell_s_, 1)),
        controller.rss_mb(), (cpu - cpu_s_) / (now - begin_s_));
    std::fflush(stdout);
    Begin(now, cpu);
  }

  int64_t done() {
    MutexLock lock(&mutex_);
    return done_;
  }

  void Start(const ControllerProcess& controller) {
    MutexLock lock(&mutex_);
    Begin(Now(), controller.cpu_s());
  }

 private:
  void Begin(double now, double cpu) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    printed_ = done_;
    begin_s_ = now;
    cpu_s_ = cpu;
    ask_s_.clear();
    tell_s_.clear();
  }
  // In milliseconds.
  static double Quantile(std::vector<double>* seconds, double q) {
    if (seconds->empty()) return 0;
    const auto at =
        seconds->begin() +
        static_cast<ptrdiff_t>(q * static_cast<double>(seconds->size() - 1));
    std::nth_element(seconds->begin(), at, seconds->end());
    return *at * 1000;
  }

  Mutex mutex_;
  int64_t done_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t printed_ ABSL_GUARDED_BY(mutex_) = 0;
  double begin_s_ ABSL_GUARDED_BY(mutex_) = 0;
  double cpu_s_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<double> ask_s_ ABSL_GUARDED_BY(mutex_);
  std::vector<double> tell_s_ ABSL_GUARDED_BY(mutex_);
};

// Asks, evaluates and tells until the study has ended, or all is done.
absl::Status RunClient(const ControllerProcess& controller,
                       const std::string& study, int number, Log* log) {
  const auto stub = v1::TrialService::NewStub(Connect(controller.address()));
  v1::AskTrialsRequest ask;
  ask.set_parent(study);
  ask.set_count(absl::GetFlag(FLAGS_batch));
  ask.set_client_id(absl::StrCat("bench-", number));
  v1::AskTrialsResponse asked;
  for (;;) {
    double ask_s = 0;
    if (asked.trials().empty()) {
      grpc::ClientContext ask_context;
      const double begin = Now();
      HWNAS_RETURN_IF_ERROR(
          FromGrpc(stub->AskTrials(&ask_context, ask, &asked)));
      ask_s = Now() - begin;
    }
    if (asked.trials().empty()) {
      if (asked.study_ended()) return absl::OkStatus();
      absl::SleepFor(absl::Milliseconds(1));  // The others have the last ones.
      continue;
    }
    v1::TellTrialsRequest tell;
    for (const v1::AskedTrial& trial : asked.trials()) {
      v1::TrialReport* report = tell.add_reports();
      report->set_trial(trial.trial().name());
      report->set_attempt(trial.attempt());
      Evaluate(trial.trial().architecture(), report);
    }
    asked.Clear();
    if (absl::GetFlag(FLAGS_together)) *tell.mutable_next() = ask;
    v1::TellTrialsResponse told;
    grpc::ClientContext tell_context;
    const double told_begin = Now();
    HWNAS_RETURN_IF_ERROR(
        FromGrpc(stub->TellTrials(&tell_context, tell, &told)));
    const double tell_s = Now() - told_begin;
    for (const v1::ReportStatus& status : told.statuses()) {
      if (status.code() != 0) return absl::InternalError(status.message());
    }
    if (told.next_status().code() != 0) {
      return absl::InternalError(told.next_status().message());
    }
    asked.Swap(told.mutable_next());
    if (log->Add(tell.reports_size(), ask_s, tell_s)) log->Print(controller);
    if (log->done() >= absl::GetFlag(FLAGS_trials)) return absl::OkStatus();
  }
}

absl::Status Run() {
  const std::string folder = absl::GetFlag(FLAGS_folder);
  if (folder.empty()) return absl::InvalidArgumentError("--folder is required");
  HWNAS_RETURN_IF_ERROR(MakeDirectories(folder));
  if (!absl::GetFlag(FLAGS_keep)) fs::remove_all(folder + "/store");
  ControllerProcess controller(
      {.folder = folder,
       .program = absl::GetFlag(FLAGS_controller),
       .flags = absl::GetFlag(FLAGS_controller_flags)});
  HWNAS_RETURN_IF_ERROR(controller.Start().status());

  const auto studies = v1::StudyService::NewStub(Connect(controller.address()));
  const int study_count = absl::GetFlag(FLAGS_studies);
  for (int i = 0; i < study_count; ++i) {
    v1::CreateStudyRequest request;
    request.set_study_id(absl::StrCat("bench-", i));
    *request.mutable_spec() = Spec();
    const int64_t budget = absl::GetFlag(FLAGS_budget);
    request.mutable_spec()->mutable_budget()->set_trials(static_cast<int32_t>(
        (budget > 0 ? budget : absl::GetFlag(FLAGS_trials)) / study_count));
    v1::Study study;
    grpc::ClientContext context;
    HWNAS_RETURN_IF_ERROR(
        FromGrpc(studies->CreateStudy(&context, request, &study)));
  }

  Log log;
  log.Start(controller);
  std::vector<std::thread> threads;
  std::vector<absl::Status> statuses(absl::GetFlag(FLAGS_clients));
  for (size_t i = 0; i < statuses.size(); ++i) {
    threads.emplace_back([&, i] {
      statuses[i] = RunClient(
          controller,
          absl::StrCat("studies/bench-", i % static_cast<size_t>(study_count)),
          static_cast<int>(i), &log);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) HWNAS_RETURN_IF_ERROR(status);
  log.Print(controller);

  if (absl::GetFlag(FLAGS_restart)) {
    controller.Kill();
    HWNAS_ASSIGN_OR_RETURN(const double seconds, controller.Start());
    uintmax_t bytes = 0;
    for (const auto& file : fs::directory_iterator(folder + "/store")) {
      if (file.is_regular_file()) bytes += file.file_size();
    }
    std::printf("replay_s=%.2f rss_mb=%.1f journal_mb=%.1f\n", seconds,
                controller.rss_mb(), static_cast<double>(bytes) / (1 << 20));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace hwnas::bench

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  const absl::Status status = hwnas::bench::Run();
  if (!status.ok()) {
    std::fprintf(stderr, "ask_tell_bench: %s\n",
                 std::string(status.message()).c_str());
  }
  return status.ok() ? 0 : 1;
}
