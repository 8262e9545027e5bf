#include "agent/measuring_runner.h"

#include <unistd.h>

#include <thread>

#include "agent/device/cores.h"
#include "agent/measure/in_process_measurer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_power.h"
#include "tests/fakes/fake_runtime.h"

namespace hwnas::agent {
namespace {

using ::testing::Contains;
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

class MeasuringRunnerTest : public ::testing::Test {
 protected:
  MeasuringRunnerTest()
      : runtime_(clock_, [](int64_t) { return absl::Milliseconds(4); }),
        metrics_(registry_) {
    measurer_options_.device = "devices/pi-7";
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

  FakeSteadyClock clock_;
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
  EXPECT_THAT(result.missing_metrics(), IsEmpty());
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
  ASSERT_EQ(result.missing_metrics_size(), 3);
  EXPECT_EQ(result.missing_metrics(0).metric(), "energy_mj");
  EXPECT_EQ(result.missing_metrics(0).reason(),
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

TEST_F(MeasuringRunnerTest, RefusesWhatItCannotDoWithoutBlame) {
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
              HasSubstr("\"libtorch\""));
  EXPECT_THAT(refusal([](v1::MeasureTask& t) {
                t.mutable_measure()->set_precision("int8");
              }),
              HasSubstr("\"int8\""));
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
