// The farm through the engine: anchors and what drift takes back, cross-checks,
// reservations, drains, users.
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/controller/study/engine_harness.h"

namespace hwnas::controller {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using Session = EngineHarness::Session;

v1::TaskResult Latency(const v1::Task& task, double latency_ms,
                       const std::string& flag = "") {
  v1::TaskResult result;
  *result.mutable_lease() = task.lease();
  *result.add_measurements() =
      Value("latency_ms", latency_ms, task.measure().device_class());
  if (!flag.empty()) result.mutable_measurements(0)->add_flags(flag);
  return result;
}

// A search by latency alone: nothing is trained.
v1::StudySpec LatencySpec(int trials, uint64_t seed = 1) {
  v1::StudySpec spec = ToySpec(trials, seed);
  spec.clear_train();
  spec.mutable_objectives(0)->clear_maximize();
  spec.mutable_objectives(0)->set_minimize("params_m");
  return spec;
}

bool IsCheck(const v1::Task& task) { return task.trial().empty(); }

class DevicesTest : public ::testing::Test {
 protected:
  DevicesTest() {
    h.checks.anchor_interval = absl::Minutes(10);
    h.Restart();
  }

  // Answers the anchor that the agent was given first of all.
  void Anchor(Session& agent, double latency_ms, const std::string& flag = "") {
    ASSERT_THAT(agent.stream->tasks, Not(IsEmpty()));
    const v1::Task task = EngineHarness::Take(agent);
    ASSERT_TRUE(IsCheck(task));
    ASSERT_TRUE(task.measure().has_graph());
    h.Reply(agent, Latency(task, latency_ms, flag));
    h.clock.Advance(absl::Seconds(1));
  }
  Session ConnectGood(const std::string& id) {
    Session agent = h.Connect(AgentHello(id, id));
    Anchor(agent, 4.0);
    return agent;
  }
  // Lets time go by, with the agents alive.
  void Pass(absl::Duration time, const std::vector<Session*>& agents) {
    for (absl::Duration t; t < time; t += absl::Seconds(10)) {
      h.clock.Advance(absl::Seconds(10));
      for (Session* agent : agents) {
        v1::Heartbeat heartbeat;
        for (const v1::Task& task : agent->stream->tasks) {
          *heartbeat.add_tasks()->mutable_lease() = task.lease();
        }
        ASSERT_TRUE(h.engine->OnHeartbeat(agent->id, heartbeat).ok());
      }
      h.engine->Tick();
    }
  }
  // The agent works on its task for so long; then it answers.
  void PassBusy(absl::Duration time, Session& agent) {
    const v1::Task task = EngineHarness::Take(agent);
    v1::Heartbeat heartbeat;
    *heartbeat.add_tasks()->mutable_lease() = task.lease();
    for (absl::Duration t; t < time; t += absl::Seconds(10)) {
      h.clock.Advance(absl::Seconds(10));
      ASSERT_TRUE(h.engine->OnHeartbeat(agent.id, heartbeat).ok());
      h.engine->Tick();
    }
    h.Reply(agent, h.Answer(task));
  }
  v1::Device Device(const std::string& id) {
    const auto device = h.engine->GetDevice(id);
    EXPECT_TRUE(device.ok()) << device.status();
    return device.value_or(v1::Device());
  }
  int64_t Profile(const std::string& user, const std::string& device = "") {
    v1::ProfileModelRequest request;
    request.set_onnx("model");
    request.set_device_class("x86_64");
    request.set_user(user);
    request.set_device(device);
    const auto id = h.engine->StartProfile(request, listener);
    EXPECT_TRUE(id.ok()) << id.status();
    return id.value_or(0);
  }

  EngineHarness h;
  std::shared_ptr<FakeListener> listener = std::make_shared<FakeListener>();
};

// ---- Anchors ----

TEST_F(DevicesTest, ADeviceMeasuresTheAnchorBeforeAnythingElse) {
  h.Create("s", LatencySpec(4));
  Session agent = h.Connect(AgentHello("a1", "h1"));
  ASSERT_THAT(agent.stream->tasks, SizeIs(1));
  Anchor(agent, 4.0);
  ASSERT_THAT(agent.stream->tasks, SizeIs(1));
  EXPECT_FALSE(IsCheck(agent.stream->tasks[0]));
  ASSERT_THAT(Device("a1").health().anchors(), SizeIs(1));
  EXPECT_TRUE(Device("a1").health().anchors(0).good());
  // After it came back, again.
  h.engine->Disconnect(agent.id);
  Session again = h.Connect(AgentHello("a1", "h1"));
  EXPECT_TRUE(IsCheck(again.stream->tasks.at(0)));
}

TEST_F(DevicesTest, MeasuresTheAnchorRegularly) {
  Session agent = ConnectGood("a1");
  Pass(absl::Minutes(9), {&agent});
  EXPECT_THAT(agent.stream->tasks, IsEmpty());
  Pass(absl::Minutes(1), {&agent});
  Anchor(agent, 4.1);
  EXPECT_THAT(Device("a1").health().anchors(), SizeIs(2));
}

TEST_F(DevicesTest, WithoutAnIntervalThereAreNone) {
  EngineHarness plain;
  Session agent = plain.Connect(AgentHello("a1", "h1"));
  EXPECT_THAT(agent.stream->tasks, IsEmpty());
}

TEST_F(DevicesTest, DriftTakesBackWhatWasMeasuredSinceTheLastGoodAnchor) {
  Session one = ConnectGood("a1");
  h.Create("s", LatencySpec(8));
  for (int i = 0; i < 2; ++i) h.Reply(one, h.Answer(h.Take(one)));
  // A good anchor: these two stay.
  PassBusy(absl::Minutes(10), one);
  Anchor(one, 4.05);
  for (int i = 0; i < 3; ++i) {
    // The hardware has become slower by a tenth.
    const v1::Task task = h.Take(one);
    v1::TaskResult result = h.Answer(task);
    result.mutable_measurements(0)->set_value(1.1 *
                                              result.measurements(0).value());
    h.Reply(one, result);
  }
  PassBusy(absl::Minutes(10), one);
  const v1::Trial wrong = h.Trial("s", 6);
  Anchor(one, 4.4);
  EXPECT_EQ(Device("a1").executor().state(), v1::Executor::CONNECTED);
  Anchor(one, 4.41);
  const v1::Device device = Device("a1");
  EXPECT_EQ(device.executor().state(), v1::Executor::QUARANTINED);
  EXPECT_THAT(device.health().reason(), HasSubstr("instead of 4.0"));
  // Three slow ones and the last one.
  EXPECT_EQ(device.health().invalidated_count(), 4);
  EXPECT_EQ(h.CountEvents("s", v1::JournalEvent::kStageInvalidated), 4);
  EXPECT_EQ(h.Study("s").progress().completed_count(), 3);
  EXPECT_THAT(one.stream->tasks, IsEmpty());
  EXPECT_EQ(wrong.state(), v1::Trial::COMPLETED);
  EXPECT_EQ(h.Trial("s", 6).state(), v1::Trial::ACTIVE);

  // Another device does it again; in the end all is as if nothing had been.
  Session two = ConnectGood("a2");
  h.Work({&two});
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
  EXPECT_EQ(h.Study("s").progress().completed_count(), 8);
  for (int i = 1; i <= 8; ++i) {
    const v1::Trial trial = h.Trial("s", i);
    int latencies = 0;
    for (const v1::Measurement& m : trial.measurements()) {
      if (m.metric() != "latency_ms") continue;
      ++latencies;
      EXPECT_DOUBLE_EQ(m.value(),
                       1 + 9 * Noise(trial.architecture().digest(), 3));
    }
    EXPECT_EQ(latencies, 1) << i;
  }
  // And a restart tells the same.
  const std::vector<std::string> search = h.Search("s");
  h.Restart();
  EXPECT_EQ(h.Search("s"), search);
  Session back = h.Connect(AgentHello("a1", "h1"));
  EXPECT_EQ(Device("a1").executor().state(), v1::Executor::QUARANTINED);
}

TEST_F(DevicesTest, AGoodAnchorEndsTheQuarantine) {
  Session one = ConnectGood("a1");
  Pass(absl::Minutes(10), {&one});
  Anchor(one, 5);
  Anchor(one, 5);
  ASSERT_EQ(Device("a1").executor().state(), v1::Executor::QUARANTINED);
  h.Create("s", LatencySpec(4));
  EXPECT_THAT(one.stream->tasks, IsEmpty());
  Pass(absl::Minutes(1), {&one});
  Anchor(one, 4.01);
  EXPECT_EQ(Device("a1").executor().state(), v1::Executor::CONNECTED);
  EXPECT_THAT(one.stream->tasks, SizeIs(1));
  h.Work({&one});
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
}

TEST_F(DevicesTest, AnAnchorThatCannotBeMeasuredIsNoGoodSign) {
  Session one = h.Connect(AgentHello("a1", "h1"));
  for (int i = 0; i < 3; ++i) {
    h.Reply(one, h.Failure(h.Take(one), "the runtime is broken"));
  }
  EXPECT_EQ(Device("a1").executor().state(), v1::Executor::QUARANTINED);
  EXPECT_THAT(Device("a1").health().reason(),
              HasSubstr("cannot be measured: the runtime is broken"));
}

TEST_F(DevicesTest, WhatOthersTookOverIsTakenBackAsWell) {
  Session one = ConnectGood("a1");
  h.Create("s", LatencySpec(6));
  h.Work({&one});
  h.Create("t", LatencySpec(12));  // The same seed: the same first trials.
  int reused = 0;
  for (int i = 1; i <= 6; ++i) {
    reused += !h.Trial("t", i).stages(1).reused_from().empty();
  }
  ASSERT_EQ(reused, 6);
  PassBusy(absl::Minutes(10), one);
  Anchor(one, 5);
  Anchor(one, 5);
  // And its own one.
  EXPECT_EQ(h.CountEvents("t", v1::JournalEvent::kStageInvalidated), 7);
  // The first study has ended: its values stay, and say so.
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
  for (int i = 1; i <= 6; ++i) {
    const v1::Trial trial = h.Trial("s", i);
    EXPECT_EQ(trial.state(), v1::Trial::COMPLETED);
    EXPECT_THAT(trial.measurements(trial.measurements_size() - 1).flags(),
                Contains(HasSubstr("INVALIDATED: devices/a1: the anchor")));
  }
  // And nobody takes them over again.
  Session two = ConnectGood("a2");
  h.Work({&two});
  EXPECT_EQ(h.Study("t").state(), v1::Study::COMPLETED);
  for (int i = 1; i <= 12; ++i) {
    EXPECT_EQ(h.Trial("t", i).stages(1).reused_from(), "") << i;
    EXPECT_EQ(h.Trial("t", i).stages(1).executor(), "agents/a2") << i;
  }
}

TEST_F(DevicesTest, TrainingGoesOnWhileItsTrialIsMeasuredAgain) {
  Session one = ConnectGood("a1");
  Session worker = h.Connect(WorkerHello("w1", "w"));
  h.Create("s", ToySpec(1));
  h.Reply(one, h.Answer(h.Take(one)));
  Pass(absl::Minutes(10), {&one, &worker});
  Anchor(one, 5);
  Anchor(one, 5);
  EXPECT_THAT(worker.stream->cancels, IsEmpty());
  h.Reply(worker, h.Answer(h.Take(worker)));
  EXPECT_EQ(h.Trial("s", 1).state(), v1::Trial::ACTIVE);
  Session two = ConnectGood("a2");
  h.Work({&two});
  const v1::Trial trial = h.Trial("s", 1);
  EXPECT_EQ(trial.state(), v1::Trial::COMPLETED);
  EXPECT_EQ(trial.stages(1).attempt_count(), 2);
  EXPECT_EQ(trial.stages(2).attempt_count(), 1);
}

TEST_F(DevicesTest, AResultThatWasTakenBackDoesNotComeBack) {
  Session one = ConnectGood("a1");
  h.Create("s", LatencySpec(3));
  const v1::TaskResult result = h.Answer(h.Take(one));
  h.Reply(one, result);
  PassBusy(absl::Minutes(10), one);
  Anchor(one, 5);
  Anchor(one, 5);
  ASSERT_EQ(h.Trial("s", 1).stages(1).state(), v1::TrialStage::QUEUED);
  // The agent had missed the acknowledgement and sends it again.
  h.Reply(one, result);
  EXPECT_TRUE(one.stream->acks.back().ignored());
  EXPECT_EQ(h.Trial("s", 1).stages(1).state(), v1::TrialStage::QUEUED);
}

TEST_F(DevicesTest, ATrialThatAWrongValueRuledOutGetsAnotherChance) {
  Session one = ConnectGood("a1");
  v1::StudySpec spec = LatencySpec(3);
  auto* constraint = spec.add_constraints();
  constraint->set_metric("latency_ms");
  constraint->set_device("x86_64");
  constraint->set_at_most(20);
  h.Create("s", spec);
  h.Reply(one, Latency(h.Take(one), 25));
  EXPECT_EQ(h.Trial("s", 1).state(), v1::Trial::INFEASIBLE);
  PassBusy(absl::Minutes(10), one);
  Anchor(one, 6);
  Anchor(one, 6);
  EXPECT_EQ(h.Trial("s", 1).state(), v1::Trial::ACTIVE);
  EXPECT_EQ(h.Study("s").progress().infeasible_count(), 0);
  Session two = ConnectGood("a2");
  h.Work({&two});
  EXPECT_EQ(h.Trial("s", 1).state(), v1::Trial::COMPLETED);
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
}

// ---- Cross-checks ----

TEST_F(DevicesTest, CrossChecksFindTheOddDevice) {
  h.checks.cross_check_share = 1;
  h.Restart();
  Session agents[] = {ConnectGood("a1"), ConnectGood("a2"), ConnectGood("a3")};
  const double speed[] = {1, 1.15, 1.01};
  h.Create("s", LatencySpec(24));
  for (int step = 0; step < 400; ++step) {
    bool any = false;
    for (int i = 0; i < 3; ++i) {
      if (agents[i].stream->tasks.empty()) continue;
      any = true;
      const v1::Task task = h.Take(agents[i]);
      // Of equal networks equal latencies, but for the device.
      const std::string graph = task.measure().graph().SerializeAsString();
      h.Reply(agents[i],
              Latency(task, speed[i] * (1 + Noise(Sha256Hex(graph), 1))));
    }
    if (!any) break;
  }
  EXPECT_EQ(Device("a1").executor().state(), v1::Executor::CONNECTED);
  EXPECT_EQ(Device("a3").executor().state(), v1::Executor::CONNECTED);
  EXPECT_EQ(Device("a2").executor().state(), v1::Executor::QUARANTINED);
  EXPECT_THAT(Device("a2").health().reason(),
              HasSubstr("differs by at least +1"));
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
}

// ---- Reservations, drains, users ----

TEST_F(DevicesTest, AReservationGivesTheDeviceToAPerson) {
  Session agent = ConnectGood("a1");
  h.Create("s", LatencySpec(4));
  const v1::Task running = h.Take(agent);
  v1::ReserveDeviceRequest request;
  request.set_device_class("x86_64");
  request.set_user("ann");
  request.set_note("new kernel");
  *request.mutable_duration() = ToProto(absl::Minutes(30));
  const auto device = h.engine->ReserveDevice(request);
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ(device->name(), "devices/a1");
  EXPECT_EQ(device->reservation().user(), "ann");
  // The running task goes back and does not count as an attempt.
  ASSERT_THAT(agent.stream->cancels, SizeIs(1));
  EXPECT_EQ(agent.stream->cancels[0].lease().task_id(),
            running.lease().task_id());
  EXPECT_THAT(agent.stream->tasks, IsEmpty());
  Profile("bob");
  EXPECT_THAT(agent.stream->tasks, IsEmpty());
  Profile("ann");
  ASSERT_THAT(agent.stream->tasks, SizeIs(1));
  h.Reply(agent, Latency(h.Take(agent), 3));
  // Nobody else gets it meanwhile, also after a restart.
  request.set_user("bob");
  EXPECT_THAT(h.engine->ReserveDevice(request).status().message(),
              HasSubstr("no device of class 'x86_64'"));
  request.clear_device_class();
  request.set_name("devices/a1");
  EXPECT_THAT(h.engine->ReserveDevice(request).status().message(),
              HasSubstr("is reserved for ann until"));
  h.Restart();
  Session back = h.Connect(AgentHello("a1", "a1"));
  EXPECT_THAT(back.stream->tasks, IsEmpty());
  Pass(absl::Minutes(30), {&back});
  EXPECT_FALSE(Device("a1").has_reservation());
  // Whoever had it may have changed it.
  Anchor(back, 4.0);
  h.Work({&back});
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
}

TEST_F(DevicesTest, OnlyWhoHasItReleasesIt) {
  Session agent = ConnectGood("a1");
  v1::ReserveDeviceRequest request;
  request.set_name("devices/a1");
  request.set_user("ann");
  ASSERT_TRUE(h.engine->ReserveDevice(request).ok());
  v1::ReleaseDeviceRequest release;
  release.set_name("devices/a1");
  release.set_user("bob");
  EXPECT_THAT(h.engine->ReleaseDevice(release).status().message(),
              HasSubstr("is reserved for ann, not for 'bob'"));
  release.set_force(true);
  EXPECT_TRUE(h.engine->ReleaseDevice(release).ok());
  EXPECT_FALSE(Device("a1").has_reservation());
}

TEST_F(DevicesTest, BadReservationsAreRefused) {
  Session agent = ConnectGood("a1");
  const auto error = [&](auto change) {
    v1::ReserveDeviceRequest request;
    request.set_name("devices/a1");
    request.set_user("ann");
    change(request);
    return std::string(h.engine->ReserveDevice(request).status().message());
  };
  EXPECT_THAT(error([](auto& r) { r.set_user(""); }),
              HasSubstr("user is empty"));
  EXPECT_THAT(error([](auto& r) { r.set_user("Ann B"); }),
              HasSubstr("\"Ann B\": expected 1 to 63"));
  EXPECT_THAT(error([](auto& r) { r.set_device_class("x86_64"); }),
              HasSubstr("either the name of a device or a device class"));
  EXPECT_THAT(error([](auto& r) { r.set_name("devices/a9"); }),
              HasSubstr("there is no device 'devices/a9'"));
  EXPECT_THAT(error([](auto& r) { r.mutable_duration()->set_seconds(1); }),
              HasSubstr("duration is 1s: expected 1m to 720h"));
}

TEST_F(DevicesTest, ADrainedDeviceFinishesItsWorkAndGetsNoMore) {
  Session agent = ConnectGood("a1");
  h.Create("s", LatencySpec(4));
  v1::DrainDeviceRequest drain;
  drain.set_name("devices/a1");
  drain.set_reason("moving it");
  ASSERT_TRUE(h.engine->DrainDevice(drain).ok());
  EXPECT_THAT(agent.stream->cancels, IsEmpty());
  h.Reply(agent, h.Answer(h.Take(agent)));
  EXPECT_THAT(agent.stream->tasks, IsEmpty());
  EXPECT_EQ(Device("a1").executor().state(), v1::Executor::DRAINING);
  h.Restart();
  Session back = h.Connect(AgentHello("a1", "a1"));
  EXPECT_THAT(back.stream->tasks, IsEmpty());
  EXPECT_EQ(Device("a1").health().reason(), "moving it");
  v1::ResumeDeviceRequest resume;
  resume.set_name("devices/a1");
  ASSERT_TRUE(h.engine->ResumeDevice(resume).ok());
  Anchor(back, 7);  // As it is now.
  h.Work({&back});
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
}

TEST_F(DevicesTest, AQuarantineByAPersonLastsUntilAPersonEndsIt) {
  Session agent = ConnectGood("a1");
  h.Create("s", LatencySpec(4));
  h.Reply(agent, h.Answer(h.Take(agent)));
  v1::QuarantineDeviceRequest quarantine;
  quarantine.set_name("devices/a1");
  quarantine.set_reason("the fan was off");
  quarantine.set_invalidate(true);
  const auto device = h.engine->QuarantineDevice(quarantine);
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ(device->health().invalidated_count(), 1);
  EXPECT_THAT(agent.stream->cancels, SizeIs(1));
  agent.stream->tasks.clear();
  Pass(absl::Minutes(30), {&agent});
  EXPECT_THAT(agent.stream->tasks, IsEmpty());
  v1::ResumeDeviceRequest resume;
  resume.set_name("devices/a1");
  ASSERT_TRUE(h.engine->ResumeDevice(resume).ok());
  Anchor(agent, 4);
  h.Work({&agent});
  EXPECT_EQ(h.Study("s").progress().completed_count(), 4);
}

TEST_F(DevicesTest, AProfileMayNameItsDevice) {
  Session one = ConnectGood("a1");
  Session two = ConnectGood("a2");
  Profile("ann", "devices/a2");
  EXPECT_THAT(one.stream->tasks, IsEmpty());
  EXPECT_THAT(two.stream->tasks, SizeIs(1));
  v1::ProfileModelRequest request;
  request.set_onnx("model");
  request.set_device_class("x86_64");
  request.set_device("devices/a7");
  EXPECT_THAT(h.engine->StartProfile(request, listener).status().message(),
              HasSubstr("the name 'agents/a7'"));
}

TEST_F(DevicesTest, UsersShareAndKeepTheirQuota) {
  h.quotas.by_user = {{"ann", 1}};
  h.Restart();
  Session one = ConnectGood("a1");
  Session two = ConnectGood("a2");
  Session three = ConnectGood("a3");
  h.Create("s", LatencySpec(8, 1), "ann");
  h.Create("t", LatencySpec(8, 2), "ann");
  EXPECT_EQ(one.stream->tasks.size() + two.stream->tasks.size() +
                three.stream->tasks.size(),
            1u);
  h.Create("u", LatencySpec(8, 3), "bob");
  EXPECT_THAT(three.stream->tasks, SizeIs(1));
  EXPECT_EQ(h.Study("u").user(), "bob");
  v1::CreateStudyRequest request;
  request.set_study_id("v");
  *request.mutable_spec() = LatencySpec(1);
  request.set_user("No One");
  EXPECT_THAT(h.engine->CreateStudy(request).status().message(),
              HasSubstr("user \"No One\""));
}

TEST_F(DevicesTest, GivesTheRawSamplesOfATrial) {
  Session agent = ConnectGood("a1");
  h.Create("s", LatencySpec(2));
  v1::TaskResult result = h.Answer(h.Take(agent));
  for (const double ms : {4.0, 4.1, 4.2}) {
    result.mutable_latency_samples()->add_block_latency_ms(ms);
  }
  result.mutable_environment()->set_cpu_model("Cortex-A76");
  h.Reply(agent, result);
  auto samples = h.engine->GetTrialSamples("s", 1);
  ASSERT_TRUE(samples.ok()) << samples.status();
  ASSERT_THAT(samples->stages(), SizeIs(1));
  EXPECT_EQ(samples->stages(0).device(), "devices/a1");
  EXPECT_THAT(samples->stages(0).latency_samples().block_latency_ms(),
              ElementsAre(4.0, 4.1, 4.2));
  EXPECT_EQ(samples->stages(0).environment().cpu_model(), "Cortex-A76");
  // Of values taken over: those of the trial that measured them.
  h.Create("t", LatencySpec(2));
  samples = h.engine->GetTrialSamples("t", 1);
  ASSERT_TRUE(samples.ok());
  ASSERT_THAT(samples->stages(), SizeIs(1));
  EXPECT_EQ(samples->stages(0).reused_from(), "studies/s/trials/1");
  EXPECT_THAT(samples->stages(0).latency_samples().block_latency_ms(),
              SizeIs(3));
  EXPECT_EQ(h.engine->GetTrialSamples("s", 99).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(DevicesTest, TheJournalIsTheTruthIfAnAnswerWasLost) {
  Session agent = ConnectGood("a1");
  v1::DrainDeviceRequest drain;
  drain.set_name("devices/a1");
  h.journals->LoseNextAnswer();
  EXPECT_FALSE(h.engine->DrainDevice(drain).ok());
  // The next event does not fit, which tells that something is missing here.
  v1::ResumeDeviceRequest resume;
  resume.set_name("devices/a1");
  EXPECT_FALSE(h.engine->ResumeDevice(resume).ok());
  EXPECT_EQ(Device("a1").executor().state(), v1::Executor::DRAINING);
  EXPECT_TRUE(h.engine->ResumeDevice(resume).ok());
  EXPECT_EQ(Device("a1").executor().state(), v1::Executor::CONNECTED);
}

TEST_F(DevicesTest, StudiesGoOnIfTheFarmsJournalIsCorrupt) {
  std::vector<v1::JournalEvent> events(1);
  events[0].mutable_trial_proposed()->set_trial(1);
  ASSERT_TRUE(h.journals->Append(kFarmJournal, 0, absl::MakeSpan(events)).ok());
  h.Restart();
  Session agent = h.Connect(AgentHello("a1", "a1"));
  h.Create("s", LatencySpec(4));
  h.Work({&agent});
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
  v1::DrainDeviceRequest drain;
  drain.set_name("devices/a1");
  EXPECT_EQ(h.engine->DrainDevice(drain).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(DevicesTest, AHeartbeatTellsHowTheMachineIs) {
  Session agent = ConnectGood("a1");
  v1::Heartbeat heartbeat;
  heartbeat.mutable_environment()->set_temperature_c(61.5);
  ASSERT_TRUE(h.engine->OnHeartbeat(agent.id, heartbeat).ok());
  heartbeat.mutable_environment()->clear_temperature_c();
  heartbeat.mutable_environment()->set_load_average(0.5);
  ASSERT_TRUE(h.engine->OnHeartbeat(agent.id, heartbeat).ok());
  const v1::Environment environment = Device("a1").executor().environment();
  EXPECT_EQ(environment.temperature_c(), 61.5);
  EXPECT_EQ(environment.load_average(), 0.5);
}

}  // namespace
}  // namespace hwnas::controller
