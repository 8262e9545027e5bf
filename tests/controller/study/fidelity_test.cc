// Studies in which most trials have a part of their training only.
#include <map>
#include <set>

#include "absl/strings/str_format.h"
#include "common/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/controller/study/engine_harness.h"

namespace hwnas::controller {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::SizeIs;

using Session = EngineHarness::Session;

v1::StudySpec RungSpec(int trials) {
  v1::StudySpec spec = ToySpec(trials);
  spec.mutable_train()->set_epochs(9);
  v1::AshaFidelity& asha = *spec.mutable_fidelity()->mutable_asha();
  for (const int epochs : {1, 3, 9}) asha.add_rungs(epochs);
  return spec;
}

std::vector<v1::Trial> Trials(EngineHarness& h) {
  std::vector<v1::Trial> trials;
  const int64_t count = h.Study("s").progress().proposed_count();
  for (int64_t i = 1; i <= count; ++i) trials.push_back(h.Trial("s", i));
  return trials;
}

double Accuracy(const v1::Trial& trial) {
  double accuracy = -1;
  int found = 0;
  for (const v1::Measurement& m : trial.measurements()) {
    if (m.metric() != "accuracy") continue;
    accuracy = m.value();
    ++found;
  }
  EXPECT_LE(found, 1) << trial.name();
  return accuracy;
}

TEST(Fidelity, TrainsMostTrialsALittleAndTheBestToTheEnd) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h1"));
  Session agent = h.Connect(AgentHello("a1", "h2"));
  h.Create("s", RungSpec(40));
  h.Work({&worker, &agent});
  const v1::Study study = h.Study("s");
  ASSERT_EQ(study.state(), v1::Study::COMPLETED);
  const v1::StudyProgress& progress = study.progress();
  EXPECT_EQ(progress.proposed_count(), 40);
  EXPECT_EQ(progress.completed_count() + progress.stopped_count(), 40);
  EXPECT_EQ(progress.paused_count(), 0);
  EXPECT_GE(progress.completed_count(), 4);
  EXPECT_LE(progress.completed_count(), 16);
  std::set<int> stopped_at;
  for (const v1::Trial& trial : Trials(h)) {
    if (trial.state() == v1::Trial::COMPLETED) {
      EXPECT_EQ(trial.trained_epochs(), 9);
      ASSERT_EQ(trial.rungs_size(), 3);
      EXPECT_EQ(trial.rungs(0).epochs(), 1);
      EXPECT_EQ(trial.rungs(2).measurements(0).value(), Accuracy(trial));
      EXPECT_LT(trial.rungs(0).measurements(0).value(), Accuracy(trial));
    } else {
      ASSERT_EQ(trial.state(), v1::Trial::STOPPED);
      EXPECT_LT(trial.trained_epochs(), 9);
      EXPECT_GT(Accuracy(trial), 0);
      EXPECT_EQ(trial.stop_reason(), absl::StrCat("not promoted beyond epoch ",
                                                  trial.trained_epochs()));
      EXPECT_FALSE(trial.on_front());
      EXPECT_EQ(trial.stages(trial.stages_size() - 1).state(),
                v1::TrialStage::SKIPPED);
      stopped_at.insert(trial.trained_epochs());
    }
  }
  EXPECT_THAT(stopped_at, testing::UnorderedElementsAre(1, 3));
  const auto front = h.engine->GetFront("s");
  ASSERT_TRUE(front.ok());
  EXPECT_GT(front->trials_size(), 0);
  for (const v1::Trial& trial : front->trials()) {
    EXPECT_EQ(trial.trained_epochs(), 9);
  }
}

TEST(Fidelity, TellsWorkersHowFarToTrainAndWhereToGoOn) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h1"));
  Session agent = h.Connect(AgentHello("a1", "h2"));
  h.Create("s", RungSpec(12));
  std::map<std::string, std::string> checkpoints;  // By trial.
  std::map<int, int> tasks;                        // By epochs.
  for (;;) {
    if (!agent.stream->tasks.empty()) {
      h.Reply(agent, h.Answer(h.Take(agent)));
      continue;
    }
    if (worker.stream->tasks.empty()) break;
    const v1::Task task = h.Take(worker);
    const v1::TrainTask& train = task.train();
    ++tasks[train.until_epoch()];
    EXPECT_EQ(train.train().epochs(), 9);
    EXPECT_EQ(train.keep_weights(), train.until_epoch() == 0);
    EXPECT_EQ(train.keep_checkpoint(), train.until_epoch() != 0);
    EXPECT_EQ(train.checkpoint_digest(), checkpoints[task.trial()]);
    const v1::TaskResult result = h.Answer(task);
    checkpoints[task.trial()] = result.checkpoint_digest();
    h.Reply(worker, result);
  }
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
  EXPECT_EQ(tasks[1], 12);
  EXPECT_GT(tasks[3], tasks[0]);
  EXPECT_GT(tasks[0], 0);
}

TEST(Fidelity, KeepsACheckpointOnlyAsLongAsATrialMayGoOn) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h1"));
  Session agent = h.Connect(AgentHello("a1", "h2"));
  h.Create("s", RungSpec(12));
  const auto kept = [&] {
    std::set<std::string> digests;
    const auto artifacts = h.artifacts.List();
    for (const auto& artifact : *artifacts) digests.insert(artifact.digest);
    return digests;
  };
  while (h.Work({&worker, &agent}, 1) > 0) {
    // At most one for each active trial, and weights of the front.
    const v1::StudyProgress progress = h.Study("s").progress();
    EXPECT_LE(static_cast<int64_t>(kept().size()),
              progress.paused_count() + progress.running_count() +
                  progress.waiting_count() + progress.front_size());
  }
  ASSERT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
  EXPECT_EQ(static_cast<int64_t>(kept().size()),
            h.Study("s").progress().front_size());
}

TEST(Fidelity, NeedsNoCheckpoint) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h1"));
  Session agent = h.Connect(AgentHello("a1", "h2"));
  h.Create("s", RungSpec(12));
  for (;;) {
    Session* session = !agent.stream->tasks.empty()    ? &agent
                       : !worker.stream->tasks.empty() ? &worker
                                                       : nullptr;
    if (session == nullptr) break;
    const v1::Task task = h.Take(*session);
    EXPECT_EQ(task.train().checkpoint_digest(), "");
    v1::TaskResult result = h.Answer(task);
    result.clear_checkpoint_digest();
    h.Reply(*session, result);
  }
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
}

// One epoch is not enough for what the constraint asks, which says nothing.
TEST(Fidelity, DoesNotRejectATrialForItsValuesAtARung) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h1"));
  Session agent = h.Connect(AgentHello("a1", "h2"));
  v1::StudySpec spec = RungSpec(24);
  auto* constraint = spec.add_constraints();
  constraint->set_metric("accuracy");
  constraint->set_at_least(75);
  h.Create("s", spec);
  h.Work({&worker, &agent});
  const v1::StudyProgress progress = h.Study("s").progress();
  EXPECT_GT(progress.completed_count(), 0);
  for (const v1::Trial& trial : Trials(h)) {
    if (trial.state() == v1::Trial::INFEASIBLE) {
      EXPECT_EQ(trial.trained_epochs(), 9);
      EXPECT_LT(Accuracy(trial), 75);
    }
  }
}

TEST(Fidelity, ATrialThatFailsAfterARungIsInfeasible) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h1"));
  Session agent = h.Connect(AgentHello("a1", "h2"));
  h.Create("s", RungSpec(12));
  int failed = 0;
  for (;;) {
    Session* session = !agent.stream->tasks.empty()    ? &agent
                       : !worker.stream->tasks.empty() ? &worker
                                                       : nullptr;
    if (session == nullptr) break;
    const v1::Task task = h.Take(*session);
    v1::TaskResult result = h.Answer(task);
    if (task.train().until_epoch() == 3 && ++failed <= 2) {
      result = h.Failure(task, "diverges");
      result.set_candidate_fault(true);
    }
    h.Reply(*session, result);
  }
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
  EXPECT_EQ(h.Study("s").progress().infeasible_count(), 2);
  EXPECT_GT(h.Study("s").progress().completed_count(), 0);
}

TEST(Fidelity, CancelsAndPausesWithTrialsBetweenRungs) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h1"));
  Session agent = h.Connect(AgentHello("a1", "h2"));
  h.Create("s", RungSpec(30));
  while (h.Study("s").progress().paused_count() < 2) {
    ASSERT_GT(h.Work({&worker, &agent}, 1), 0);
  }
  ASSERT_TRUE(h.engine->PauseStudy("s").ok());
  h.Work({&worker, &agent});
  EXPECT_EQ(h.CountEvents("s", v1::JournalEvent::kTrialPromoted),
            h.CountEvents("s", v1::JournalEvent::kTrialPromoted));
  ASSERT_TRUE(h.engine->ResumeStudy("s").ok());
  h.Work({&worker, &agent}, 6);
  ASSERT_TRUE(h.engine->CancelStudy("s").ok());
  EXPECT_EQ(h.Study("s").progress().paused_count(), 0);
  h.Restart();
  EXPECT_EQ(h.Study("s").state(), v1::Study::CANCELLED);
}

TEST(Fidelity, TheEndOfTheTimeEndsPausedTrials) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h1"));
  Session agent = h.Connect(AgentHello("a1", "h2"));
  v1::StudySpec spec = RungSpec(1000);
  *spec.mutable_budget()->mutable_wall_clock() = ToProto(absl::Hours(1));
  h.Create("s", spec);
  while (h.Study("s").progress().paused_count() < 5) {
    ASSERT_GT(h.Work({&worker, &agent}, 1), 0);
  }
  h.clock.Advance(absl::Hours(1));
  h.Work({&worker, &agent});
  h.engine->Tick();
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
  EXPECT_GE(h.Study("s").progress().stopped_count(), 5);
}

// Every kind of study that pauses or stops trials.
struct Named {
  std::string name;
  v1::StudySpec (*spec)();
};
void PrintTo(const Named& named, std::ostream* out) { *out << named.name; }

class FidelitySuite : public ::testing::TestWithParam<Named> {};

TEST_P(FidelitySuite, GoesOnWithTheVerySameSearchAfterACrashAtAnyInstant) {
  EngineHarness whole;
  Session worker = whole.Connect(WorkerHello("w1", "h"));
  Session agent = whole.Connect(AgentHello("a1", "h"));
  whole.Create("s", GetParam().spec());
  whole.Work({&worker, &agent});
  ASSERT_EQ(whole.Study("s").state(), v1::Study::COMPLETED);
  const std::vector<std::string> expected = whole.Search("s");
  for (const int64_t end : whole.journals->append_ends()) {
    EngineHarness h(Prefix(whole, "s", end));
    Session new_worker = h.Connect(WorkerHello("w1", "h"));
    Session new_agent = h.Connect(AgentHello("a1", "h"));
    h.Work({&new_worker, &new_agent});
    ASSERT_EQ(h.Study("s").state(), v1::Study::COMPLETED) << "event " << end;
    ASSERT_EQ(h.Search("s"), expected) << "crash after event " << end;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, FidelitySuite,
    ::testing::Values(
        Named{"Asha", [] { return RungSpec(20); }},
        Named{"AshaBrackets",
              [] {
                v1::StudySpec spec = RungSpec(20);
                spec.mutable_fidelity()->mutable_asha()->set_brackets(3);
                return spec;
              }},
        Named{"SuccessiveHalving",
              [] {
                v1::StudySpec spec = RungSpec(20);
                spec.mutable_fidelity()->mutable_successive_halving();
                return spec;
              }},
        Named{"Hyperband",
              [] {
                v1::StudySpec spec = RungSpec(20);
                spec.mutable_fidelity()->mutable_hyperband()->set_min_epochs(1);
                return spec;
              }}),
    [](const auto& info) { return info.param.name; });

// Sends the epochs of a training one by one until it is told to stop. Returns
// the last epoch sent; the result follows if it was never stopped.
int Stream(EngineHarness& h, Session& worker, const v1::Task& task,
           int epochs) {
  const auto id = ParseTrialName(task.trial());
  const std::string digest = h.Trial("s", id->number).architecture().digest();
  for (int epoch = 1; epoch <= epochs; ++epoch) {
    v1::Heartbeat heartbeat;
    v1::TaskProgress& progress = *heartbeat.add_tasks();
    *progress.mutable_lease() = task.lease();
    *progress.mutable_epoch() = EngineHarness::Epoch(digest, epoch, epochs);
    *progress.add_epochs() = progress.epoch();
    EXPECT_TRUE(h.engine->OnHeartbeat(worker.id, heartbeat).ok());
    if (!worker.stream->cancels.empty()) {
      EXPECT_EQ(worker.stream->cancels[0].lease().task_id(),
                task.lease().task_id());
      worker.stream->cancels.clear();
      v1::TaskResult cancelled;
      *cancelled.mutable_lease() = task.lease();
      cancelled.set_error("cancelled");
      cancelled.set_handed_back(true);
      h.Reply(worker, cancelled);
      return epoch;
    }
  }
  h.Reply(worker, h.Answer(task));
  return epochs;
}

void StreamAll(EngineHarness& h, Session& worker, Session& agent) {
  for (;;) {
    if (!agent.stream->tasks.empty()) {
      h.Reply(agent, h.Answer(h.Take(agent)));
    } else if (!worker.stream->tasks.empty()) {
      Stream(h, worker, h.Take(worker), 9);
    } else {
      return;
    }
  }
}

v1::StudySpec StopSpec(bool median) {
  v1::StudySpec spec = ToySpec(30);
  spec.mutable_train()->set_epochs(9);
  if (median) {
    spec.mutable_fidelity()->mutable_median_stop();
  } else {
    spec.mutable_fidelity()->mutable_learning_curve_stop();
  }
  return spec;
}

class EarlyStop : public ::testing::TestWithParam<bool> {};

TEST_P(EarlyStop, EndsTrainingsWhileTheyRun) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h1"));
  Session agent = h.Connect(AgentHello("a1", "h2"));
  h.Create("s", StopSpec(GetParam()));
  StreamAll(h, worker, agent);
  const v1::Study study = h.Study("s");
  ASSERT_EQ(study.state(), v1::Study::COMPLETED);
  EXPECT_THAT(study.progress().stopped_count(), AllOf(Gt(2), Le(25)));
  EXPECT_EQ(
      study.progress().stopped_count() + study.progress().completed_count(),
      30);
  for (const v1::Trial& trial : Trials(h)) {
    if (trial.state() != v1::Trial::STOPPED) continue;
    EXPECT_THAT(trial.trained_epochs(), AllOf(Gt(0), Le(8)));
    EXPECT_GT(Accuracy(trial), 0);
    EXPECT_THAT(trial.stop_reason(), HasSubstr("finished trials"));
    EXPECT_FALSE(trial.on_front());
    EXPECT_EQ(trial.weights_digest(), "");
    EXPECT_EQ(trial.stages(2).attempt_count(), 1);
  }
}

TEST_P(EarlyStop, StopsTheSameTrialsAfterARestart) {
  EngineHarness whole;
  Session worker = whole.Connect(WorkerHello("w1", "h1"));
  Session agent = whole.Connect(AgentHello("a1", "h2"));
  whole.Create("s", StopSpec(GetParam()));
  StreamAll(whole, worker, agent);
  const std::vector<std::string> expected = whole.Search("s");
  for (const int64_t end : whole.journals->append_ends()) {
    EngineHarness h(Prefix(whole, "s", end));
    Session new_worker = h.Connect(WorkerHello("w1", "h1"));
    Session new_agent = h.Connect(AgentHello("a1", "h2"));
    StreamAll(h, new_worker, new_agent);
    ASSERT_EQ(h.Search("s"), expected) << "crash after event " << end;
  }
}

INSTANTIATE_TEST_SUITE_P(Rules, EarlyStop, ::testing::Bool(),
                         [](const auto& info) {
                           return info.param ? "Median" : "LearningCurve";
                         });

TEST(EarlyStop, IgnoresALateResultOfAStoppedTraining) {
  EngineHarness h;
  Session worker = h.Connect(WorkerHello("w1", "h1"));
  Session agent = h.Connect(AgentHello("a1", "h2"));
  h.Create("s", StopSpec(true));
  v1::Task task;
  while (h.Study("s").progress().stopped_count() == 0) {
    if (!agent.stream->tasks.empty()) {
      h.Reply(agent, h.Answer(h.Take(agent)));
      continue;
    }
    task = h.Take(worker);
    Stream(h, worker, task, 9);
  }
  h.Reply(worker, h.Answer(task));
  EXPECT_TRUE(worker.stream->acks.back().ignored());
  EXPECT_EQ(h.Study("s").progress().stopped_count(), 1);
}

// Tables of a hundred cells with results after 1, 3 and 9 epochs.
TEST(Fidelity, DrivesATableInSimulatedTime) {
  const std::string dir = absl::StrCat(::testing::TempDir(), "/fidelity");
  ASSERT_TRUE(MakeDirectories(dir).ok());
  std::string text = "op0,op1,op2,op3,op4,op5,acc1,acc3,acc9,latency,epoch_s\n";
  for (int code = 0; code < 729; ++code) {
    double size = 0;
    for (int edge = 0, rest = code; edge < 6; ++edge, rest /= 3) {
      absl::StrAppend(&text, 1 + rest % 3, ",");
      size += rest % 3;
    }
    const double accuracy = 30 + 5 * size + code % 7;
    absl::StrAppendFormat(&text, "%g,%g,%g,%g,%g\n", accuracy / 2 + code % 5,
                          accuracy / 1.5 + code % 3, accuracy, 1 + size,
                          10 + size);
  }
  ASSERT_TRUE(WriteFileAtomically(dir + "/toy.csv", text).ok());
  v1::StudySpec spec = ToySpec(60);
  spec.clear_train();
  spec.mutable_objectives(1)->set_reference(20);
  v1::ReplaySpec& replay = *spec.mutable_replay();
  replay.add_tables()->set_path("toy.csv");
  v1::ReplayKey& key = *replay.add_keys();
  key.add_columns("op{0..5}");
  for (const char* op : {"0", "1", "2", "3", "4"}) key.add_codes(op);
  const auto add = [](auto* out, const char* metric, const char* column) {
    v1::ReplayMetric& m = *out->add_metrics();
    m.set_metric(metric);
    m.set_column(column);
    return &m;
  };
  add(&replay, "accuracy", "acc9");
  add(&replay, "latency_ms", "latency")->set_device("x86_64");
  replay.mutable_cost()->set_column("epoch_s");
  replay.mutable_cost()->set_scale(9);
  replay.set_epochs(9);
  for (const int epochs : {1, 3}) {
    v1::ReplayFidelity& shorter = *replay.add_fidelities();
    shorter.set_epochs(epochs);
    add(&shorter, "accuracy", epochs == 1 ? "acc1" : "acc3");
    shorter.mutable_cost()->set_column("epoch_s");
    shorter.mutable_cost()->set_scale(epochs);
  }
  replay.set_workers(4);
  replay.set_restrict(true);
  double whole_s = 0;
  std::vector<std::string> first;
  for (const bool rungs : {false, true, true}) {
    if (rungs) spec.mutable_fidelity()->mutable_asha();
    EngineHarness h(std::make_shared<FaultyJournalStore>(), dir);
    h.Create("s", spec);
    while (h.engine->Tick()) {
    }
    const v1::Study study = h.Study("s");
    ASSERT_EQ(study.state(), v1::Study::COMPLETED);
    if (!rungs) {
      whole_s = study.progress().simulated_seconds();
      continue;
    }
    EXPECT_GT(study.progress().stopped_count(), 30);
    EXPECT_GT(study.progress().completed_count(), 3);
    EXPECT_LT(study.progress().simulated_seconds(), 0.6 * whole_s);
    double work = 0;
    for (const v1::Trial& trial : Trials(h)) {
      double size = 0;
      for (const v1::Measurement& m : trial.measurements()) {
        if (m.metric() == "latency_ms") size = m.value() - 1;
      }
      work += trial.trained_epochs() * (10 + size);
    }
    EXPECT_NEAR(study.progress().simulated_work_seconds(), work, 1e-6);
    if (first.empty()) {
      first = h.Search("s");
    } else {
      EXPECT_EQ(h.Search("s"), first);
    }
  }
}

}  // namespace
}  // namespace hwnas::controller
