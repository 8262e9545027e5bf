#include "agent/measuring_runner.h"

#include <unistd.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "agent/device/cores.h"
#include "agent/measure/in_process_measurer.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_interference.h"
#include "tests/fakes/fake_power.h"
#include "tests/fakes/fake_root.h"
#include "tests/fakes/fake_runtime.h"

namespace hwnas::agent {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class FakeContext final : public fleet::TaskContext {
 public:
  bool cancelled() const override { return cancel; }
  void ReportEpoch(const v1::EpochReport&) override {}
  void ReportNote(std::string note) override {
    notes.push_back(note);
    if (note == cancel_at) cancel = true;
  }
  absl::StatusOr<std::string> UploadArtifact(absl::string_view) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<std::string> DownloadArtifact(const std::string&) override {
    return absl::UnimplementedError("");
  }
  bool cancel = false;
  std::string cancel_at = "never";
  std::vector<std::string> notes;
};

class MeasuringRunnerTest : public FakeRootTest {
 protected:
  MeasuringRunnerTest()
      : runtime_(clock_, [](int64_t) { return absl::Milliseconds(4); }),
        metrics_(registry_) {
    measurer_options_.device = "devices/pi-7";
    measurer_options_.interference = &interference_;
    options_.preflight.root = root_;
    options_.device_classes = {"raspberrypi5"};
    options_.cores_lock = ::testing::TempDir() + "/measuring_runner_lock." +
                          std::to_string(getpid());
    task_.mutable_measure()->set_onnx("model");
    task_.mutable_measure()->set_device_class("raspberrypi5");
  }
  v1::TaskResult Run() { return Run(runtime_); }
  v1::TaskResult Run(FakeRuntime& runtime) {
    InProcessMeasurer measurer(
        measurer_options_, &runtime,
        [this](const v1::ModelGraph& graph,
               int batch) -> absl::StatusOr<std::string> {
          exported_batch_ = batch;
          if (graph.nodes().empty()) {
            return absl::InvalidArgumentError("the graph has no nodes");
          }
          return "exported";
        },
        &clock_);
    MeasuringRunner runner(options_, &measurer, &clock_, &metrics_,
                           NullLogger());
    return runner.Run(task_, context_);
  }
  static const v1::Measurement* Find(const v1::TaskResult& result,
                                     const std::string& metric) {
    for (const v1::Measurement& measurement : result.measurements()) {
      if (measurement.metric() == metric) return &measurement;
    }
    return nullptr;
  }

  static std::vector<std::string> Flags(const v1::TaskResult& result,
                                        const std::string& metric) {
    const v1::Measurement* measurement = Find(result, metric);
    if (measurement == nullptr) return {"no " + metric};
    return {measurement->flags().begin(), measurement->flags().end()};
  }

  FakeSteadyClock clock_;
  FakeInterference interference_;
  FakeRuntime runtime_;
  prometheus::Registry registry_;
  AgentMetrics metrics_;
  MeasuringRunnerOptions options_;
  InProcessMeasurerOptions measurer_options_;
  v1::Task task_;
  FakeContext context_;
  int exported_batch_ = 0;
};

TEST_F(MeasuringRunnerTest, ReportsLatencyWithEverythingNeededToTrustIt) {
  const v1::TaskResult result = Run();
  ASSERT_EQ(result.error(), "");
  const v1::Measurement* latency = Find(result, "latency_ms");
  ASSERT_NE(latency, nullptr);
  EXPECT_DOUBLE_EQ(latency->value(), 4);
  EXPECT_EQ(latency->unit(), "ms");
  EXPECT_DOUBLE_EQ(latency->spread(), 0);
  EXPECT_DOUBLE_EQ(latency->ci_low(), 4);
  EXPECT_DOUBLE_EQ(latency->ci_high(), 4);
  EXPECT_EQ(latency->sample_count(), 25);  // Blocks of 12 ms in 0.3 s.
  EXPECT_EQ(latency->provenance(), v1::MEASURED);
  EXPECT_EQ(latency->device_class(), "raspberrypi5");
  EXPECT_EQ(latency->device(), "devices/pi-7");
  const v1::Measurement* p90 = Find(result, "latency_p90_ms");
  ASSERT_NE(p90, nullptr);
  EXPECT_DOUBLE_EQ(p90->value(), 4);
  EXPECT_EQ(p90->sample_count(), 75);
  EXPECT_EQ(result.latency_samples().block_latency_ms_size(), 25);
  EXPECT_EQ(result.latency_samples().inferences_per_block(), 3);
  EXPECT_DOUBLE_EQ(result.latency_samples().load_ms(), 7);
  EXPECT_DOUBLE_EQ(result.latency_samples().first_ms(), 4);
  EXPECT_EQ(result.environment().runtime(), "fake 1.0");
  EXPECT_EQ(result.environment().threads(), 1);
  if (AllowedCores().size() > 1) {
    EXPECT_EQ(result.environment().pinned_cores_size(), 1);
  }
  EXPECT_THAT(context_.notes, Contains("waiting for the cores"));
  EXPECT_THAT(context_.notes, Contains("warming up"));
}

TEST_F(MeasuringRunnerTest, MarksEveryNumberOfAnEmulatedProcessor) {
  EXPECT_FALSE(Run().environment().emulated());
  options_.why_emulated = "an emulator runs this program";
  const v1::TaskResult result = Run();
  ASSERT_EQ(result.error(), "");
  EXPECT_TRUE(result.environment().emulated());
  ASSERT_GE(result.measurements_size(), 2);
  for (const v1::Measurement& measurement : result.measurements()) {
    EXPECT_THAT(measurement.flags(),
                Contains("EMULATED: an emulator runs this program"));
  }
}

// 6 W while the fake infers, which is whenever its clock moves in small steps;
// 2 W at rest.
double WattsOfAFake(const std::vector<TimeWindow>& busy, absl::Duration t) {
  for (const TimeWindow& window : busy) {
    if (t >= window.begin && t <= window.end) return 6;
  }
  return 2;
}

TEST_F(MeasuringRunnerTest, MeasuresEnergyIfItIsAskedFor) {
  std::vector<TimeWindow> busy;
  FakeRuntime runtime(clock_, [&](int64_t) {
    const absl::Duration now = clock_.Now();
    if (busy.empty() || busy.back().end != now) busy.push_back({now, now});
    busy.back().end = now + absl::Milliseconds(4);
    return absl::Milliseconds(4);
  });
  FakePowerRecorder power(
      &clock_, [&](absl::Duration t) { return WattsOfAFake(busy, t); });
  measurer_options_.power = &power;
  v1::TaskResult result = Run(runtime);
  ASSERT_EQ(result.error(), "");
  EXPECT_EQ(Find(result, "energy_mj"), nullptr);
  EXPECT_EQ(power.starts, 0);

  task_.mutable_measure()->set_energy(true);
  result = Run(runtime);
  ASSERT_EQ(result.error(), "");
  ASSERT_EQ(result.missing_metrics_size(), 1);
  EXPECT_EQ(result.missing_metrics(0).metric(), "latency_p99_ms");
  const v1::Measurement* net = Find(result, "energy_mj");
  ASSERT_NE(net, nullptr);
  EXPECT_NEAR(net->value(), 16, 0.016);
  EXPECT_EQ(net->unit(), "mJ");
  EXPECT_TRUE(net->has_spread());
  EXPECT_NEAR(static_cast<double>(net->sample_count()), 200, 2);
  EXPECT_EQ(net->device_class(), "raspberrypi5");
  EXPECT_EQ(net->device(), "devices/pi-7");
  EXPECT_EQ(net->provenance(), v1::MEASURED);
  EXPECT_NEAR(Find(result, "energy_gross_mj")->value(), 24, 0.024);
  EXPECT_NEAR(Find(result, "power_w")->value(), 6, 0.006);
  EXPECT_EQ(result.energy().source().name(), "fake");
  EXPECT_EQ(result.energy().source().includes(), "a made-up board");
  EXPECT_NEAR(result.energy().idle_before_w(), 2, 1e-3);
  EXPECT_NEAR(result.energy().idle_after_w(), 2, 1e-3);
  EXPECT_DOUBLE_EQ(result.energy().coverage(), 1);
  EXPECT_THAT(context_.notes, Contains("measuring energy: idle"));
}

TEST_F(MeasuringRunnerTest, SaysWhyThereIsNoEnergy) {
  task_.mutable_measure()->set_energy(true);
  measurer_options_.why_no_power = "rapl: not here";
  const v1::TaskResult result = Run();
  ASSERT_EQ(result.error(), "");
  EXPECT_NE(Find(result, "latency_ms"), nullptr);
  EXPECT_EQ(Find(result, "energy_mj"), nullptr);
  ASSERT_EQ(result.missing_metrics_size(), 4);
  EXPECT_EQ(result.missing_metrics(1).metric(), "energy_mj");
  EXPECT_EQ(result.missing_metrics(1).reason(),
            "this agent has no power source: rapl: not here");
}

TEST_F(MeasuringRunnerTest, FlagsThrottling) {
  uint32_t bits = 0x50000;  // Of before.
  measurer_options_.throttled = [&]() -> std::optional<uint32_t> {
    return bits;
  };
  EXPECT_THAT(Find(Run(), "latency_ms")->flags(), IsEmpty());
  int reads = 0;
  measurer_options_.throttled = [&]() -> std::optional<uint32_t> {
    return reads++ == 0 ? 0x0 : 0x20000;
  };
  EXPECT_THAT(Find(Run(), "latency_ms")->flags(),
              Contains("THROTTLED: frequency capped"));
}

TEST_F(MeasuringRunnerTest, TellsFirstWarmUpAndLoadApart) {
  FakeRuntime runtime(clock_, [](int64_t i) {
    return i == 0 ? absl::Milliseconds(90) : absl::Milliseconds(i < 40 ? 8 : 4);
  });
  const v1::TaskResult result = Run(runtime);
  ASSERT_EQ(result.error(), "");
  EXPECT_DOUBLE_EQ(Find(result, "latency_ms")->value(), 4);
  EXPECT_DOUBLE_EQ(Find(result, "latency_first_ms")->value(), 90);
  EXPECT_EQ(Find(result, "latency_first_ms")->sample_count(), 1);
  EXPECT_DOUBLE_EQ(Find(result, "load_ms")->value(), 7);
  const v1::Measurement* warmup = Find(result, "latency_warmup_ms");
  ASSERT_NE(warmup, nullptr);
  EXPECT_DOUBLE_EQ(warmup->value(), 8);
  EXPECT_EQ(warmup->unit(), "ms");
  EXPECT_EQ(warmup->sample_count(),
            result.latency_samples().warmup_block_latency_ms_size());
  EXPECT_GE(warmup->sample_count(), 6);
}

TEST_F(MeasuringRunnerTest, TellsThe99thPercentileOrWhyNot) {
  v1::TaskResult result = Run();
  EXPECT_EQ(Find(result, "latency_p99_ms"), nullptr);
  ASSERT_EQ(result.missing_metrics_size(), 1);
  EXPECT_EQ(result.missing_metrics(0).metric(), "latency_p99_ms");
  EXPECT_EQ(result.missing_metrics(0).reason(),
            "75 inferences were timed: expected at least 300; a longer "
            "min_time gives them");
  task_.mutable_measure()->mutable_measure()->mutable_min_time()->set_seconds(
      2);
  result = Run();
  ASSERT_NE(Find(result, "latency_p99_ms"), nullptr);
  EXPECT_DOUBLE_EQ(Find(result, "latency_p99_ms")->value(), 4);
  EXPECT_GE(Find(result, "latency_p99_ms")->sample_count(), 300);
  EXPECT_THAT(result.missing_metrics(), IsEmpty());
}

TEST_F(MeasuringRunnerTest, FlagsWhatThePreflightCouldNotWaitFor) {
  Write("/sys/class/thermal/thermal_zone0/temp", "90000\n");
  const v1::TaskResult result = Run();
  const std::string flag =
      "NOISY: temperature: 90.0 C just before, more than 75 C";
  EXPECT_THAT(Flags(result, "latency_ms"), ElementsAre(flag));
  EXPECT_THAT(Flags(result, "latency_first_ms"), ElementsAre(flag));
  EXPECT_THAT(Flags(result, "peak_memory_mb"), IsEmpty());
  EXPECT_THAT(context_.notes,
              Contains(HasSubstr("waiting for the machine: temperature")));
}

TEST_F(MeasuringRunnerTest, WaitsLessAndLessForAMachineThatIsNeverFit) {
  Write("/sys/class/thermal/thermal_zone0/temp", "90000\n");
  InProcessMeasurer measurer(measurer_options_, &runtime_, nullptr, &clock_);
  MeasuringRunner runner(options_, &measurer, &clock_, &metrics_, NullLogger());
  const auto seconds = [&] {
    const absl::Duration begin = clock_.Now();
    EXPECT_EQ(runner.Run(task_, context_).error(), "");
    return absl::ToDoubleSeconds(clock_.Now() - begin);
  };
  const double first = seconds();
  const double second = seconds();
  EXPECT_NEAR(first - second, 5, 0.2);
  EXPECT_NEAR(second - seconds(), 2.5, 0.2);
  // Once it is fit, the next wait is as long as ever.
  Write("/sys/class/thermal/thermal_zone0/temp", "40000\n");
  seconds();
  Write("/sys/class/thermal/thermal_zone0/temp", "90000\n");
  EXPECT_NEAR(seconds(), first, 0.2);
}

TEST_F(MeasuringRunnerTest, PinsToTheCoresThatAreAskedFor) {
  const int first = AllowedCores().front();
  v1::MeasureSpec& spec = *task_.mutable_measure()->mutable_measure();
  spec.add_cores(first);
  const v1::TaskResult result = Run();
  ASSERT_EQ(result.error(), "");
  EXPECT_THAT(result.environment().pinned_cores(), ElementsAre(first));
  spec.add_cores(first);
  EXPECT_THAT(Run().error(), HasSubstr("is named twice"));
  spec.set_cores(1, 7999);
  EXPECT_THAT(Run().error(),
              HasSubstr("cores 7999 are not available here: expected some of"));
  spec.clear_cores();
  spec.add_cores(first);
  spec.set_threads(2);
  EXPECT_THAT(Run().error(), HasSubstr("cores names 1 for 2 threads"));
}

class ProfileTest : public MeasuringRunnerTest {
 protected:
  ProfileTest() : governors_(root_ + "/governors", root_) {
    Write("/proc/sys/kernel/random/boot_id", "boot\n");
    for (const int core : AllowedCores()) {
      WriteCore(core, "cpufreq/scaling_governor", "ondemand\n");
    }
    options_.governors = &governors_;
  }
  std::set<std::string> Governors() {
    std::set<std::string> governors;
    for (const int core : AllowedCores()) {
      governors.insert(Read(CoreFile(core, "cpufreq/scaling_governor")));
    }
    return governors;
  }
  // The governors while the model ran.
  FakeRuntime Watching(std::set<std::string>* seen) {
    return FakeRuntime(clock_, [this, seen](int64_t) {
      if (seen->empty()) *seen = Governors();
      return absl::Milliseconds(4);
    });
  }
  GovernorControl governors_;
};

TEST_F(ProfileTest, IsAsShippedUnlessAsked) {
  std::set<std::string> seen;
  FakeRuntime runtime = Watching(&seen);
  const v1::TaskResult result = Run(runtime);
  EXPECT_EQ(result.environment().profile(), "as_shipped");
  EXPECT_THAT(seen, ElementsAre("ondemand\n"));
}

TEST_F(ProfileTest, PinnedSetsTheGovernorMeanwhile) {
  for (const bool by_flag : {false, true}) {
    if (by_flag) {
      options_.profile = "pinned";
      task_.mutable_measure()->mutable_measure()->clear_profile();
    } else {
      task_.mutable_measure()->mutable_measure()->set_profile("pinned");
    }
    std::set<std::string> seen;
    FakeRuntime runtime = Watching(&seen);
    const v1::TaskResult result = Run(runtime);
    ASSERT_EQ(result.error(), "");
    EXPECT_EQ(result.environment().profile(), "pinned");
    EXPECT_THAT(seen, Contains("performance\n"));
    EXPECT_THAT(Governors(), ElementsAre("ondemand\n"));
  }
}

TEST_F(ProfileTest, PinnedIsUndoneWhenTheMeasurementFails) {
  task_.mutable_measure()->mutable_measure()->set_profile("pinned");
  task_.mutable_measure()->set_onnx("broken");
  EXPECT_THAT(Run().error(), HasSubstr("cannot be loaded"));
  EXPECT_THAT(Governors(), ElementsAre("ondemand\n"));
}

TEST_F(ProfileTest, RefusesPinnedWhereItCannotBe) {
  options_.governors = nullptr;
  options_.why_not_pinned = "no cpufreq";
  task_.mutable_measure()->mutable_measure()->set_profile("pinned");
  v1::TaskResult result = Run();
  EXPECT_EQ(result.error(),
            "profile \"pinned\" is not available here: no cpufreq");
  EXPECT_FALSE(result.candidate_fault());
  task_.mutable_measure()->mutable_measure()->set_profile("fast");
  EXPECT_THAT(Run().error(), HasSubstr("expected as_shipped or pinned"));
}

TEST_F(MeasuringRunnerTest, LeavesTheThreadUnpinned) {
  const std::vector<int> before = AllowedCores();
  Run();
  EXPECT_EQ(AllowedCores(), before);
}

TEST_F(MeasuringRunnerTest, ExportsAGraphForTheBatch) {
  task_.mutable_measure()->mutable_graph()->add_nodes();
  task_.mutable_measure()->mutable_measure()->set_batch(8);
  EXPECT_EQ(Run().error(), "");
  EXPECT_EQ(exported_batch_, 8);
  EXPECT_EQ(runtime_.last_model, "exported");
  EXPECT_EQ(runtime_.last_options.batch, 8);
}

TEST_F(MeasuringRunnerTest, BlamesTheCandidateForAModelThatCannotRun) {
  task_.mutable_measure()->set_onnx("broken");
  v1::TaskResult result = Run();
  EXPECT_THAT(result.error(), HasSubstr("cannot be loaded"));
  EXPECT_TRUE(result.candidate_fault());
  EXPECT_THAT(result.measurements(), IsEmpty());
  task_.mutable_measure()->mutable_graph();
  result = Run();
  EXPECT_THAT(result.error(), HasSubstr("no nodes"));
  EXPECT_TRUE(result.candidate_fault());
  task_.mutable_measure()->clear_model();
  EXPECT_THAT(Run().error(), HasSubstr("names no model"));
}

TEST_F(MeasuringRunnerTest, MeasuresWithWhatItHas) {
  v1::RuntimeCapability& tool = options_.capabilities.emplace_back();
  tool.set_runtime("x-tool");
  tool.add_precisions("fp16");
  v1::MeasureSpec& spec = *task_.mutable_measure()->mutable_measure();
  spec.set_precision("int8");
  EXPECT_EQ(Run().error(), "");
  spec.set_runtime("x-tool");
  spec.set_precision("fp16");
  EXPECT_EQ(Run().error(), "");
}

TEST_F(MeasuringRunnerTest, RefusesWhatItCannotDoWithoutBlame) {
  v1::RuntimeCapability& tool = options_.capabilities.emplace_back();
  tool.set_runtime("x-tool");
  tool.add_precisions("fp16");
  const auto refusal = [&](auto change) {
    const v1::Task original = task_;
    change(*task_.mutable_measure());
    const v1::TaskResult result = Run();
    EXPECT_FALSE(result.candidate_fault());
    task_ = original;
    return result.error();
  };
  EXPECT_THAT(refusal([](v1::MeasureTask& t) { t.set_device_class("tpu"); }),
              HasSubstr("\"tpu\" is not measured here: expected raspberrypi5"));
  EXPECT_THAT(refusal([](v1::MeasureTask& t) {
                t.mutable_measure()->set_runtime("libtorch");
              }),
              HasSubstr("runtime \"libtorch\" is not available here: expected "
                        "onnxruntime (fp32, int8), x-tool (fp16)"));
  EXPECT_THAT(refusal([](v1::MeasureTask& t) {
                t.mutable_measure()->set_precision("fp16");
              }),
              HasSubstr("precision \"fp16\" is not available with onnxruntime "
                        "here: expected fp32 or int8; on a processor it has no "
                        "fp16 kernels"));
  EXPECT_THAT(refusal([](v1::MeasureTask& t) {
                t.mutable_measure()->set_runtime("x-tool");
              }),
              HasSubstr("\"fp32\" is not available with x-tool here: expected "
                        "fp16"));
  EXPECT_THAT(refusal([](v1::MeasureTask& t) {
                t.mutable_measure()->set_threads(100000);
              }),
              HasSubstr("100000 threads"));
  EXPECT_THAT(
      refusal([](v1::MeasureTask& t) { t.mutable_measure()->set_batch(-1); }),
      HasSubstr("batch is -1"));
  EXPECT_THAT(refusal([](v1::MeasureTask& t) {
                t.mutable_measure()->set_target_half_width(0);
              }),
              HasSubstr("target_half_width is 0"));
  EXPECT_THAT(refusal([](v1::MeasureTask& t) {
                t.mutable_measure()->mutable_max_time()->set_seconds(1000000);
              }),
              HasSubstr("max_time is"));
  task_.clear_work();
  EXPECT_THAT(Run().error(), HasSubstr("expected a task to measure"));
}

TEST_F(MeasuringRunnerTest, StopsWaitingForTheCoresWhenCancelled) {
  auto training = *HostCoresLock::Open(options_.cores_lock);
  ASSERT_TRUE(
      training->Acquire(HostCoresLock::kShared, [] { return false; }).ok());
  context_.cancel_at = "waiting for the cores";
  const v1::TaskResult result = Run();
  EXPECT_THAT(result.error(), HasSubstr("cancelled"));
  EXPECT_FALSE(result.candidate_fault());
  EXPECT_EQ(runtime_.last_model, "");
}

TEST_F(MeasuringRunnerTest, StopsMeasuringWhenCancelled) {
  context_.cancel_at = "warming up";
  EXPECT_THAT(Run().error(), HasSubstr("cancelled"));
  // The cores are free again.
  auto next = *HostCoresLock::Open(options_.cores_lock);
  EXPECT_TRUE(
      next->Acquire(HostCoresLock::kExclusive, [] { return true; }).ok());
}

// Tells a pause after each pass, and which task was inside.
class PassingMeasurer final : public Measurer {
 public:
  absl::Status Measure(const v1::MeasureTask& task, const LatencyHooks& hooks,
                       v1::TaskResult&) override {
    for (int pass = 0; pass < 3; ++pass) {
      EXPECT_EQ(++inside_, 1);
      {
        MutexLock lock(&mutex_);
        order_ += task.onnx();
        changed_.SignalAll();
        // The first one waits for the other to come.
        while (pass == 0 && order_.size() == 1 && !other_came_) {
          changed_.Wait(&mutex_);
        }
      }
      --inside_;
      const auto others = hooks.pause();
      HWNAS_RETURN_IF_ERROR(others.status());
      if (*others) ++used_pauses_;
    }
    return absl::OkStatus();
  }
  void OtherCame() {
    MutexLock lock(&mutex_);
    other_came_ = true;
    changed_.SignalAll();
  }
  std::string order() {
    MutexLock lock(&mutex_);
    return order_;
  }
  int used_pauses() const { return used_pauses_; }

 private:
  std::atomic<int> inside_{0};
  std::atomic<int> used_pauses_{0};
  Mutex mutex_;
  CondVar changed_;
  std::string order_ ABSL_GUARDED_BY(mutex_);
  bool other_came_ ABSL_GUARDED_BY(mutex_) = false;
};

TEST_F(MeasuringRunnerTest, MeasuresInTurns) {
  PassingMeasurer measurer;
  RealSteadyClock clock;
  options_.preflight.wait = absl::ZeroDuration();
  options_.preflight.root = root_;
  MeasuringRunner runner(options_, &measurer, &clock, &metrics_, NullLogger());
  // Waits for its turn while the other one measures.
  class Second final : public fleet::TaskContext {
   public:
    explicit Second(PassingMeasurer* measurer) : measurer_(measurer) {}
    bool cancelled() const override {
      measurer_->OtherCame();  // Asked when it waits.
      return false;
    }
    void ReportEpoch(const v1::EpochReport&) override {}
    void ReportNote(std::string) override {}
    absl::StatusOr<std::string> UploadArtifact(absl::string_view) override {
      return absl::UnimplementedError("");
    }
    absl::StatusOr<std::string> DownloadArtifact(const std::string&) override {
      return absl::UnimplementedError("");
    }

   private:
    PassingMeasurer* const measurer_;
  };
  v1::Task second = task_;
  task_.mutable_measure()->set_onnx("a");
  second.mutable_measure()->set_onnx("b");
  std::thread other([&] {
    while (measurer.order().empty()) std::this_thread::yield();
    Second context(&measurer);
    EXPECT_EQ(runner.Run(second, context).error(), "");
  });
  EXPECT_EQ(runner.Run(task_, context_).error(), "");
  other.join();
  // Whoever pauses lets the other one in.
  EXPECT_EQ(measurer.order(), "ababab");
  EXPECT_GE(measurer.used_pauses(), 4);
}

TEST_F(MeasuringRunnerTest, CountsOutcomes) {
  Run();
  task_.mutable_measure()->set_onnx("broken");
  Run();
  double ok = -1, failed = -1;
  for (const auto& family : registry_.Collect()) {
    if (family.name != "hwnas_agent_measurements_total") continue;
    for (const auto& metric : family.metric) {
      if (metric.label[0].value == "ok") ok = metric.counter.value;
      if (metric.label[0].value == "failed") failed = metric.counter.value;
    }
  }
  EXPECT_EQ(ok, 1);
  EXPECT_EQ(failed, 1);
}

}  // namespace
}  // namespace hwnas::agent
