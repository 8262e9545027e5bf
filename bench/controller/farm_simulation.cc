// A farm of 50 simulated devices of three classes under the controller's own
// engine: three studies and a stream of profiles of two users with quotas, one
// device that is unplugged and one that becomes slower by a tenth. Everything
// but the devices and the clock is the real thing: scheduler, leases, journal,
// anchors, drift.
//
//   farm_simulation [--seed=1] [--trials=2000] [--quota=32]
//
// Prints the utilisation of the devices, the shares of the users, how long
// tasks waited by priority, and what became of the two bad devices.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/log.h"
#include "controller/study/study_engine.h"
#include "prometheus/registry.h"
#include "proto/convert/resource_names.h"
#include "store/journal_store.h"
#include "tests/fakes/memory_artifact_store.h"
#include "tests/fakes/simulated_clock.h"

ABSL_FLAG(int, seed, 1, "Of everything random.");
ABSL_FLAG(int, trials, 2000, "Trials of each study.");
ABSL_FLAG(int, quota, 32, "Measurements that a user may have running.");

namespace hwnas::bench {
namespace {

using controller::ControllerMetrics;
using controller::ExecutorStream;
using controller::StudyEngine;

constexpr absl::Duration kHeartbeat = absl::Seconds(10);
constexpr absl::Duration kTick = absl::Seconds(1);
constexpr absl::Duration kUnplugged = absl::Minutes(30);
constexpr absl::Duration kDriftBegins = absl::Minutes(45);
constexpr absl::Duration kDriftEnds = absl::Minutes(90);
constexpr absl::Duration kGiveUp = absl::Hours(24);
constexpr double kDrift = 1.1;
constexpr double kNoise = 0.004;       // Of a measured median.
constexpr double kBoardSpread = 0.01;  // Between boards of a class.
constexpr double kWrong = 0.05;        // Off by more is wrong.

struct Class {
  const char* name;
  int devices;
  double scale_ms;
};
constexpr Class kClasses[] = {
    {"raspberrypi5", 20, 20}, {"jetson-orin-nano", 15, 6}, {"x86_64", 15, 3}};

// In [0, 1), of a text.
double Hash(const std::string& text) {
  uint64_t bits = 0;
  (void)absl::SimpleHexAtoi(Sha256Hex(text).substr(0, 12), &bits);
  return static_cast<double>(bits) / static_cast<double>(uint64_t{1} << 48);
}

// What the model takes on a board in order.
double TrueLatencyMs(const v1::MeasureTask& task) {
  double scale = 1;
  for (const Class& c : kClasses) {
    if (task.device_class() == c.name) scale = c.scale_ms;
  }
  const std::string model =
      task.has_graph() ? task.graph().SerializeAsString() : task.onnx();
  return scale * (0.3 + 1.4 * Hash(model));
}

class Device final : public ExecutorStream {
 public:
  void Send(const v1::SessionResponse& message) override {
    if (message.has_assignment()) {
      tasks.push_back(message.assignment());
    } else if (message.has_cancel()) {
      std::erase_if(tasks, [&](const v1::Task& task) {
        return task.lease().task_id() == message.cancel().lease().task_id();
      });
    }
  }
  void Close(const absl::Status&) override {}

  std::string id;
  std::string device_class;
  double speed = 1;  // Its own.
  std::string session;
  std::deque<v1::Task> tasks;  // The first is at work.
  bool working = false;
  absl::Time work_begin;
  absl::Time work_end;
  bool unplugged = false;
  absl::Duration busy;
};

struct Waits {
  std::vector<double> seconds;
  void Print(const char* name) {
    if (seconds.empty()) return;
    std::sort(seconds.begin(), seconds.end());
    const auto at = [&](double q) {
      return seconds[static_cast<size_t>(q * (seconds.size() - 1))];
    };
    std::printf("| %s | %zu | %.0f | %.0f | %.0f |\n", name, seconds.size(),
                at(0.5), at(0.9), seconds.back());
  }
};

class Listener final : public controller::ProfileListener {
 public:
  explicit Listener(const SimulatedClock* clock) : clock_(clock) {
    asked_ = clock->Now();
  }
  void OnUpdate(const v1::ProfileModelUpdate& update) override {
    if (update.note() == "assigned" && !wait_) wait_ = clock_->Now() - asked_;
  }
  void OnEnd(const absl::Status& status) override { ok_ = status.ok(); }
  std::optional<absl::Duration> wait() const { return wait_; }
  bool ok() const { return ok_; }

 private:
  const SimulatedClock* const clock_;
  absl::Time asked_;
  std::optional<absl::Duration> wait_;
  bool ok_ = false;
};

v1::StudySpec Spec(int trials, uint64_t seed, int priority) {
  v1::StudySpec spec;
  auto* space = spec.mutable_space()->mutable_nasbench201();
  for (const int size : {3, 32, 32}) space->add_input(size);
  space->set_channels(16);
  space->set_cells(1);
  space->set_classes(10);
  spec.add_objectives()->set_minimize("params_m");
  v1::Objective* latency = spec.add_objectives();
  latency->set_minimize("latency_ms");
  for (const Class& c : kClasses) latency->add_devices(c.name);
  spec.mutable_strategy()->mutable_random();
  spec.mutable_budget()->set_trials(trials);
  spec.set_max_parallel_trials(80);
  spec.set_seed(seed);
  spec.set_priority(priority);
  return spec;
}

class Simulation {
 public:
  int Run() {
    random_.seed(absl::GetFlag(FLAGS_seed));
    auto registry = std::make_shared<prometheus::Registry>();
    metrics_ = std::make_unique<ControllerMetrics>(registry);
    controller::EngineOptions options;
    options.checks.anchor_interval = absl::Minutes(10);
    options.checks.cross_check_share = 0.02;
    options.quotas.everybody = absl::GetFlag(FLAGS_quota);
    auto engine = StudyEngine::Create(options, {.journals = journals_.get(),
                                                .artifacts = &artifacts_,
                                                .clock = &clock_,
                                                .metrics = metrics_.get(),
                                                .logger = NullLogger()});
    if (!engine.ok()) return Fail(engine.status());
    engine_ = *std::move(engine);
    begin_ = clock_.Now();
    Plug();
    const int trials = absl::GetFlag(FLAGS_trials);
    // Ann has two studies, Bob one: together they get the same.
    for (const auto& [name, user, priority] :
         {std::make_tuple("ann-usual", "ann", 0),
          std::make_tuple("ann-low", "ann", -10),
          std::make_tuple("bob-usual", "bob", 0)}) {
      v1::CreateStudyRequest request;
      request.set_study_id(name);
      request.set_user(user);
      *request.mutable_spec() = Spec(trials, studies_.size() + 1, priority);
      if (const auto s = engine_->CreateStudy(request); !s.ok()) {
        return Fail(s.status());
      }
      studies_.push_back(name);
    }
    while (!Ended() && clock_.Now() - begin_ < kGiveUp) Step();
    if (!Ended()) {
      std::fprintf(stderr, "the studies did not end\n");
      return 1;
    }
    return Report();
  }

 private:
  static int Fail(const absl::Status& status) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return 1;
  }

  absl::Duration Elapsed() const { return clock_.Now() - begin_; }

  void Connect(const std::shared_ptr<Device>& device) {
    v1::Hello hello;
    hello.set_kind(v1::AGENT);
    hello.set_executor_id(device->id);
    hello.set_incarnation("1");
    hello.set_host_id(device->id);
    hello.set_slots(1);
    hello.add_device_classes(device->device_class);
    hello.add_runtimes("onnxruntime");
    hello.set_protocol_version(1);
    device->session = *engine_->Connect(hello, device);
  }

  void Plug() {
    std::normal_distribution<double> normal(0, kBoardSpread);
    for (const Class& c : kClasses) {
      for (int i = 1; i <= c.devices; ++i) {
        auto device = std::make_shared<Device>();
        device->id = absl::StrCat(c.name == std::string("x86_64") ? "x86"
                                  : c.name[0] == 'r'              ? "pi"
                                                                  : "jetson",
                                  "-", i);
        device->device_class = c.name;
        device->speed = 1 + normal(random_);
        devices_.push_back(device);
        Connect(device);
      }
    }
  }

  bool Drifts(const Device& device, absl::Duration at) const {
    return device.id == "jetson-2" && at >= kDriftBegins && at < kDriftEnds;
  }

  void Begin(Device& device) {
    if (device.working || device.tasks.empty()) return;
    // Loading, warming up, measuring.
    std::lognormal_distribution<double> seconds(std::log(20), 0.4);
    device.working = true;
    device.work_begin = clock_.Now();
    device.work_end = clock_.Now() + absl::Seconds(seconds(random_));
  }

  void Finish(Device& device) {
    const v1::Task task = device.tasks.front();
    device.tasks.pop_front();
    device.working = false;
    device.busy += clock_.Now() - device.work_begin;
    std::normal_distribution<double> noise(1, kNoise);
    v1::TaskResult result;
    *result.mutable_lease() = task.lease();
    v1::Measurement* m = result.add_measurements();
    m->set_metric("latency_ms");
    m->set_device_class(task.measure().device_class());
    m->set_sample_count(30);
    m->set_value(TrueLatencyMs(task.measure()) * device.speed * noise(random_) *
                 (Drifts(device, Elapsed()) ? kDrift : 1));
    *result.mutable_started() = ToProto(device.work_begin);
    *result.mutable_executed() = ToProto(clock_.Now());
    engine_->OnResult(device.session, result);
  }

  void Step() {
    clock_.Advance(kTick);
    const absl::Duration now = Elapsed();
    for (const auto& device : devices_) {
      if (device->id == "pi-3" && !device->unplugged && now >= kUnplugged) {
        // Without a word; the connection breaks.
        device->unplugged = true;
        unplugged_holding_ = static_cast<int>(device->tasks.size());
        engine_->Disconnect(device->session);
      }
      if (device->unplugged) continue;
      if (device->working && device->tasks.empty()) device->working = false;
      if (device->working && device->work_end <= clock_.Now()) Finish(*device);
      Begin(*device);
    }
    if (absl::ToInt64Seconds(now) % absl::ToInt64Seconds(kHeartbeat) == 0) {
      for (const auto& device : devices_) {
        if (device->unplugged) continue;
        v1::Heartbeat heartbeat;
        for (const v1::Task& task : device->tasks) {
          *heartbeat.add_tasks()->mutable_lease() = task.lease();
        }
        (void)engine_->OnHeartbeat(device->session, heartbeat);
      }
    }
    // Now and then somebody is in a hurry.
    if (absl::ToInt64Seconds(now) % 60 == 30) {
      v1::ProfileModelRequest request;
      request.set_onnx(absl::StrCat("model ", absl::ToInt64Seconds(now)));
      request.set_device_class(kClasses[profiles_.size() % 3].name);
      request.set_user(profiles_.size() % 2 == 0 ? "ann" : "bob");
      request.set_priority(10);
      auto listener = std::make_shared<Listener>(&clock_);
      if (engine_->StartProfile(request, listener).ok()) {
        profiles_.push_back(listener);
      }
    }
    (void)engine_->Tick();
    Watch();
  }

  void Watch() {
    const auto device = engine_->GetDevice("jetson-2");
    const bool quarantined =
        device->executor().state() == v1::Executor::QUARANTINED;
    if (quarantined && !drift_found_) drift_found_ = Elapsed();
    if (!quarantined && drift_found_ && !drift_over_) drift_over_ = Elapsed();
    // As long as everybody has something to do, all devices can be busy.
    bool all = true;
    for (const std::string& id : studies_) {
      all &= engine_->GetStudy(id)->progress().proposed_count() <
             absl::GetFlag(FLAGS_trials);
    }
    if (!all) return;
    contended_until_ = Elapsed();
    available_ += kTick * static_cast<int>(devices_.size()) -
                  kTick * (quarantined ? 1 : 0) -
                  kTick * (Elapsed() >= kUnplugged ? 1 : 0);
    for (const auto& d : devices_) {
      if (!d->unplugged && d->working) worked_ += kTick;
    }
  }

  bool Ended() const {
    for (const std::string& id : studies_) {
      if (engine_->GetStudy(id)->state() == v1::Study::RUNNING) return false;
    }
    return true;
  }

  // Jain's fairness index: 1 if all have the same.
  static double Jain(const std::vector<double>& shares) {
    double sum = 0, squares = 0;
    for (const double share : shares) {
      sum += share;
      squares += share * share;
    }
    return sum * sum / (static_cast<double>(shares.size()) * squares);
  }

  int Report() {
    std::map<std::string, Waits> waits;
    std::map<std::string, double> device_seconds;
    int64_t results = 0, wrong = 0, marked_count = 0;
    int64_t replaced = 0, repeated = 0;
    std::map<std::string, double> speed;
    for (const auto& device : devices_) {
      speed[DeviceName(device->id)] = device->speed;
    }
    for (const std::string& id : studies_) {
      const v1::Study study = *engine_->GetStudy(id);
      std::map<std::pair<int64_t, std::string>, absl::Time> queued;
      const absl::Status read =
          journals_->Read(id, 0, [&](v1::JournalEvent&& e) {
            const absl::Duration at = FromProto(e.time()) - begin_;
            if (e.has_task_leased() && e.task_leased().has_queued()) {
              waits[study.spec().priority() < 0 ? "low (-10)" : "usual (0)"]
                  .seconds.push_back(absl::ToDoubleSeconds(
                      FromProto(e.time()) -
                      FromProto(e.task_leased().queued())));
            }
            if (e.has_stage_invalidated()) ++replaced;
            if (e.has_attempt_failed() &&
                e.attempt_failed().outcome() == v1::AttemptFailed::EXPIRED) {
              ++repeated;
            }
            if (e.has_stage_finished() &&
                e.stage_finished().stage() == v1::MEASURE &&
                !e.stage_finished().reused() && at <= contended_until_) {
              const v1::StageFinished& f = e.stage_finished();
              device_seconds[study.user()] +=
                  absl::ToDoubleSeconds(FromProto(f.times().executed()) -
                                        FromProto(f.times().started()));
            }
            return absl::OkStatus();
          });
      if (!read.ok()) return Fail(read);
      for (int64_t number = 1; number <= study.progress().proposed_count();
           ++number) {
        const v1::Trial trial = *engine_->GetTrial(id, number);
        const auto model = engine_->ModelOf(id, number);
        if (!model.ok()) return Fail(model.status());
        for (const v1::Measurement& m : trial.measurements()) {
          if (m.metric() != "latency_ms") continue;
          ++results;
          v1::MeasureTask task;
          *task.mutable_graph() = ToProto(model->graph);
          task.set_device_class(m.device_class());
          const double expected = TrueLatencyMs(task) * speed[m.device()];
          // Of a study that has ended: it stays, and says what it is.
          const bool marked = std::any_of(
              m.flags().begin(), m.flags().end(), [](const std::string& flag) {
                return absl::StartsWith(flag, "INVALIDATED");
              });
          if (marked) {
            ++marked_count;
          } else if (std::abs(m.value() / expected - 1) > kWrong) {
            ++wrong;
          }
        }
      }
    }
    Waits hurry;
    int64_t lost_profiles = 0;
    for (const auto& profile : profiles_) {
      if (profile->wait()) {
        hurry.seconds.push_back(absl::ToDoubleSeconds(*profile->wait()));
      }
      lost_profiles += !profile->ok();
    }
    std::printf(
        "%d devices of 3 classes, %d studies of %d trials, %lld "
        "measurements, %.1f h of simulated time\n\n",
        static_cast<int>(devices_.size()), static_cast<int>(studies_.size()),
        absl::GetFlag(FLAGS_trials), static_cast<long long>(results),
        absl::ToDoubleHours(Elapsed()));
    std::printf("| | |\n|---|---|\n");
    std::printf(
        "| devices at work while all studies have something to do "
        "(%.0f min) | %.1f %% |\n",
        absl::ToDoubleMinutes(contended_until_),
        100 * absl::FDivDuration(worked_, available_));
    std::printf("| device hours of ann and bob in that time | %.2f, %.2f |\n",
                device_seconds["ann"] / 3600, device_seconds["bob"] / 3600);
    std::printf("| Jain index of the users | %.4f |\n",
                Jain({device_seconds["ann"], device_seconds["bob"]}));
    std::printf(
        "| unplugged at %.0f min: tasks it held, given to others "
        "| %d, %lld |\n",
        absl::ToDoubleMinutes(kUnplugged), unplugged_holding_,
        static_cast<long long>(repeated));
    std::printf("| slower by a tenth from %.0f min: found after | %s |\n",
                absl::ToDoubleMinutes(kDriftBegins),
                drift_found_
                    ? absl::FormatDuration(*drift_found_ - kDriftBegins).c_str()
                    : "never");
    std::printf("| as before from %.0f min: at work again after | %s |\n",
                absl::ToDoubleMinutes(kDriftEnds),
                drift_over_
                    ? absl::FormatDuration(*drift_over_ - kDriftEnds).c_str()
                    : "not before the end");
    std::printf("| results taken back, measured again | %lld |\n",
                static_cast<long long>(replaced));
    std::printf("| values off by more than 5 %% in the end | %lld of %lld |\n",
                static_cast<long long>(wrong), static_cast<long long>(results));
    std::printf(
        "| values marked INVALIDATED in a study that had ended | %lld "
        "|\n",
        static_cast<long long>(marked_count));
    std::printf("| profiles without an answer | %lld of %zu |\n\n",
                static_cast<long long>(lost_profiles), profiles_.size());
    std::printf(
        "| priority | tasks | wait [s], median | 90 %% | longest |\n"
        "|---|---:|---:|---:|---:|\n");
    hurry.Print("high (10), profiles");
    for (auto it = waits.rbegin(); it != waits.rend(); ++it) {
      it->second.Print(it->first.c_str());
    }
    return wrong == 0 && drift_found_ ? 0 : 1;
  }

  SimulatedClock clock_;
  absl::Time begin_;
  std::unique_ptr<JournalStore> journals_ = CreateMemoryJournalStore();
  MemoryArtifactStore artifacts_{&clock_};
  std::unique_ptr<ControllerMetrics> metrics_;
  std::unique_ptr<StudyEngine> engine_;
  std::mt19937_64 random_;
  std::vector<std::shared_ptr<Device>> devices_;
  std::vector<std::string> studies_;
  std::vector<std::shared_ptr<Listener>> profiles_;
  int unplugged_holding_ = 0;
  std::optional<absl::Duration> drift_found_, drift_over_;
  absl::Duration contended_until_;
  absl::Duration available_, worked_;
};

}  // namespace
}  // namespace hwnas::bench

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  return hwnas::bench::Simulation().Run();
}
