// Studies and profiles that ask for energy: who measures it, and what happens
// where nobody can.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/controller/study/engine_harness.h"

namespace hwnas::controller {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Session = EngineHarness::Session;

v1::StudySpec EnergySpec() {
  v1::StudySpec spec = ToySpec(4);
  spec.mutable_objectives(1)->set_minimize("energy_mj");
  return spec;
}

v1::Hello Metered(v1::Hello hello) {
  hello.mutable_power()->set_name("rapl");
  hello.mutable_power()->set_includes("processor: package-0");
  return hello;
}

v1::Hello Unmetered(v1::Hello hello) {
  hello.mutable_power()->set_why_none("rapl: no zone of a processor");
  return hello;
}

v1::TaskResult EnergyResult(const v1::Task& task) {
  v1::TaskResult result;
  *result.mutable_lease() = task.lease();
  *result.add_measurements() = Value("latency_ms", 2, "x86_64");
  *result.add_measurements() = Value("energy_mj", 16, "x86_64");
  result.mutable_energy()->mutable_source()->set_name("rapl");
  result.mutable_energy()->set_coverage(1);
  return result;
}

// Ticks go by as they would.
void Pass(EngineHarness& h, absl::Duration time) {
  for (absl::Duration t; t < time; t += absl::Seconds(1)) {
    h.clock.Advance(absl::Seconds(1));
    h.engine->Tick();
  }
}

TEST(EnergyStudy, GoesToAgentsThatMeasureIt) {
  EngineHarness h;
  Session bare = h.Connect(Unmetered(AgentHello("a1", "h1")));
  Session metered = h.Connect(Metered(AgentHello("a2", "h2")));
  h.Create("s", EnergySpec());
  EXPECT_THAT(bare.stream->tasks, IsEmpty());
  const v1::Task task = h.Take(metered);
  EXPECT_TRUE(task.measure().energy());
  h.Reply(metered, EnergyResult(task));
  bool kept = false;
  for (const v1::JournalEvent& event : h.Events("s")) {
    kept |= event.stage_finished().energy().source().name() == "rapl";
  }
  EXPECT_TRUE(kept);
  const auto devices = h.engine->ListDevices({});
  EXPECT_EQ(devices->devices(1).executor().power().name(), "rapl");
  EXPECT_THAT(devices->devices(0).executor().power().why_none(),
              HasSubstr("no zone"));
}

TEST(EnergyStudy, OthersAreNotAskedForIt) {
  EngineHarness h;
  Session agent = h.Connect(Metered(AgentHello("a1", "h1")));
  h.Create("s", ToySpec(2));
  EXPECT_FALSE(h.Take(agent).measure().energy());
}

TEST(EnergyStudy, AResultWithoutItFailsWithTheAgentsReason) {
  EngineHarness h;
  Session agent = h.Connect(Metered(AgentHello("a1", "h1")));
  v1::StudySpec spec = EnergySpec();
  spec.set_max_attempts(1);
  h.Create("s", spec);
  const v1::Task task = h.Take(agent);
  v1::TaskResult result;
  *result.mutable_lease() = task.lease();
  *result.add_measurements() = Value("latency_ms", 2, "x86_64");
  v1::MissingMetric& missing = *result.add_missing_metrics();
  missing.set_metric("energy_mj");
  missing.set_reason("power readings cover 80.0 % of 2s");
  h.Reply(agent, result);
  const v1::Trial trial = h.Trial("s", 1);
  EXPECT_EQ(trial.state(), v1::Trial::INFEASIBLE);
  EXPECT_THAT(trial.infeasible_reason(),
              AllOf(HasSubstr("the result lacks energy_mj@x86_64"),
                    HasSubstr("energy_mj: power readings cover 80.0 %")));
}

TEST(EnergyStudy, EndsWithTheReasonWhereNobodyCanMeasureIt) {
  EngineHarness h;
  Session agent = h.Connect(Unmetered(AgentHello("a1", "h1")));
  Session worker = h.Connect(WorkerHello("w1", "h2"));
  h.Create("s", EnergySpec());
  // One that can may be on its way.
  Pass(h, absl::Seconds(50));
  EXPECT_EQ(h.Study("s").state(), v1::Study::RUNNING);
  Pass(h, absl::Seconds(15));
  EXPECT_EQ(h.Study("s").state(), v1::Study::CANCELLED);
  EXPECT_EQ(h.Trial("s", 1).state(), v1::Trial::CANCELLED);
  EXPECT_THAT(h.Trial("s", 1).stop_reason(),
              AllOf(HasSubstr("no agent of x86_64 can measure the energy"),
                    HasSubstr("agents/a1 has no power source"),
                    HasSubstr("rapl: no zone of a processor")));
  EXPECT_THAT(h.Events("s").back().study_state_changed().reason(),
              HasSubstr("agents/a1 has no power source"));
  h.Restart();
  EXPECT_EQ(h.Study("s").state(), v1::Study::CANCELLED);
}

TEST(EnergyStudy, WaitsWhileNobodyIsThereToSay) {
  EngineHarness h;
  Session other = h.Connect(Unmetered(AgentHello("a1", "h1", "pi")));
  Session worker = h.Connect(WorkerHello("w1", "h2"));
  h.Create("s", EnergySpec());
  Pass(h, absl::Minutes(5));
  EXPECT_EQ(h.Study("s").state(), v1::Study::RUNNING);
}

TEST(EnergyStudy, WaitsForAnAgentThatIsAway) {
  EngineHarness h;
  Session bare = h.Connect(Unmetered(AgentHello("a1", "h1")));
  Session metered = h.Connect(Metered(AgentHello("a2", "h2")));
  h.Create("s", EnergySpec());
  h.engine->Disconnect(metered.id);
  Pass(h, absl::Minutes(5));
  EXPECT_EQ(h.Study("s").state(), v1::Study::RUNNING);
}

TEST(EnergyStudy, DoesNotTakeOverAResultWithoutEnergy) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h2"));
  Session agent = h.Connect(Metered(AgentHello("a1", "h1")));
  h.Create("s", ToySpec(2));
  h.Work({&agent, &worker});
  h.Create("t", EnergySpec());
  // The same networks, as the seed is the same.
  EXPECT_EQ(h.Trial("t", 1).architecture().digest(),
            h.Trial("s", 1).architecture().digest());
  EXPECT_TRUE(h.Take(agent).measure().energy());
}

TEST(EnergyProfile, NeedsADeviceWithAPowerSource) {
  EngineHarness h;
  Session bare = h.Connect(Unmetered(AgentHello("a1", "h1")));
  v1::ProfileModelRequest request;
  request.set_onnx("not looked at by the controller");
  request.set_device_class("x86_64");
  auto listener = std::make_shared<FakeListener>();
  ASSERT_TRUE(h.engine->StartProfile(request, listener).ok());
  EXPECT_FALSE(h.Take(bare).measure().energy());
  request.set_energy(true);
  EXPECT_THAT(h.engine->StartProfile(request, listener).status().message(),
              AllOf(HasSubstr("and a power source is connected"),
                    HasSubstr("agents/a1 has no power source")));
  Session metered = h.Connect(Metered(AgentHello("a2", "h2")));
  ASSERT_TRUE(h.engine->StartProfile(request, listener).ok());
  EXPECT_TRUE(h.Take(metered).measure().energy());
}

TEST(EnergyAgent, MayNotSayTooMuch) {
  EngineHarness h;
  v1::Hello hello = AgentHello("a1", "h1");
  hello.mutable_power()->set_why_none(std::string(100'000, 'x'));
  EXPECT_THAT(h.engine->Connect(hello, std::make_shared<FakeStream>())
                  .status()
                  .message(),
              HasSubstr("hello.power has more than"));
}

}  // namespace
}  // namespace hwnas::controller
