// Whole searches on tables, in simulated time.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "absl/strings/str_format.h"
#include "common/files.h"
#include "controller/study/study_engine.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/space/space_factory.h"
#include "tests/controller/study/engine_harness.h"

namespace hwnas::controller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// All cells of skip, 1x1 and 3x3, with made-up but sensible values: more
// convolutions are better, slower, and cost more.
std::string ToyTable() {
  std::string text = "op0,op1,op2,op3,op4,op5,acc,latency,score,secs\n";
  for (int code = 0; code < 729; ++code) {
    double acc = 20, latency = 1, secs = 100;
    int rest = code;
    for (int edge = 0; edge < 6; ++edge, rest /= 3) {
      const int op = 1 + rest % 3;
      absl::StrAppend(&text, op, ",");
      const double size = op == 3 ? 9 : op == 2 ? 1 : 0;
      acc += 10 * size / (size + 2 + edge);
      latency += size * (1 + 0.1 * edge);
      secs += 7 * size + edge;
    }
    absl::StrAppendFormat(&text, "%.6f,%.6f,%.6f,%.6f\n", acc, latency, acc / 2,
                          secs);
  }
  return text;
}

class ReplayTest : public ::testing::Test {
 protected:
  ReplayTest() {
    const std::string name =
        ::testing::UnitTest::GetInstance()->current_test_info()->name();
    dir_ = absl::StrCat(::testing::TempDir(), "/replay_", name);
    std::filesystem::remove_all(dir_);
    EXPECT_TRUE(MakeDirectories(dir_).ok());
    Write(ToyTable());
  }

  void Write(const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(dir_ + "/toy.csv", text).ok());
  }

  static v1::StudySpec Spec(int trials, int workers) {
    v1::StudySpec spec = ToySpec(trials);
    spec.clear_train();
    spec.mutable_objectives(1)->set_device("pi");
    spec.mutable_objectives(1)->set_reference(100);
    v1::ReplaySpec& replay = *spec.mutable_replay();
    replay.add_tables()->set_path("toy.csv");
    v1::ReplayKey& key = *replay.add_keys();
    key.add_columns("op{0..5}");
    for (const char* code : {"0", "1", "2", "3", "4"}) key.add_codes(code);
    v1::ReplayMetric& accuracy = *replay.add_metrics();
    accuracy.set_metric("accuracy");
    accuracy.set_column("acc");
    v1::ReplayMetric& latency = *replay.add_metrics();
    latency.set_metric("latency_ms");
    latency.set_device("pi");
    latency.set_column("latency");
    v1::ReplayMetric& score = *replay.add_metrics();
    score.set_metric("naswot");
    score.set_column("score");
    score.set_stage(v1::ReplayMetric::SCREEN);
    replay.mutable_cost()->set_column("secs");
    replay.set_workers(workers);
    replay.set_restrict(true);
    return spec;
  }

  EngineHarness Harness() const {
    return EngineHarness(std::make_shared<FaultyJournalStore>(), dir_);
  }
  // Until nothing moves any more.
  static void Run(EngineHarness& h) {
    while (h.engine->Tick()) {
    }
  }
  // What a search is, with its simulated times.
  static std::vector<std::string> SearchInTime(EngineHarness& h) {
    std::vector<std::string> lines = h.Search("s");
    const v1::StudyProgress progress = h.Study("s").progress();
    for (int64_t i = 1; i <= progress.proposed_count(); ++i) {
      const v1::Trial trial = h.Trial("s", i);
      lines.push_back(absl::StrFormat("%d %.17g to %.17g", i,
                                      trial.simulated_create_seconds(),
                                      trial.simulated_end_seconds()));
    }
    lines.push_back(absl::StrFormat("%.17g %.17g", progress.simulated_seconds(),
                                    progress.simulated_work_seconds()));
    return lines;
  }

  std::string dir_;
};

TEST_F(ReplayTest, SearchesATableInSimulatedTime) {
  EngineHarness h = Harness();
  h.Create("s", Spec(60, 4));
  Run(h);
  const v1::Study study = h.Study("s");
  EXPECT_EQ(study.state(), v1::Study::COMPLETED);
  EXPECT_EQ(study.progress().completed_count(), 60);
  EXPECT_EQ(study.progress().infeasible_count(), 0);
  EXPECT_GT(study.progress().hypervolume(), 0);
  // Nobody connected, and no real time passed.
  EXPECT_EQ(study.progress().elapsed_seconds(), 0);
  const double time = study.progress().simulated_seconds();
  const double work = study.progress().simulated_work_seconds();
  EXPECT_GT(work, 60 * 100);
  // Four workers are busy but for the end.
  EXPECT_GT(time, work / 4);
  EXPECT_LT(time, work / 4 + 600);
  const v1::Trial trial = h.Trial("s", 1);
  std::map<std::string, v1::Provenance> provenance;
  for (const v1::Measurement& m : trial.measurements()) {
    provenance[m.metric()] = m.provenance();
  }
  EXPECT_EQ(provenance.at("accuracy"), v1::TABULAR);
  EXPECT_EQ(provenance.at("latency_ms"), v1::TABULAR);
  EXPECT_EQ(provenance.at("naswot"), v1::TABULAR);
  EXPECT_EQ(provenance.at("params_m"), v1::ANALYTIC);
}

TEST_F(ReplayTest, KeepsEverySimulatedWorkerBusyWithOneTrialAtATime) {
  EngineHarness h = Harness();
  h.Create("s", Spec(40, 3));
  Run(h);
  struct Span {
    double begin, end;
  };
  std::map<std::string, std::vector<Span>> by_worker;
  std::map<int64_t, int> order;  // Position in the order of ends.
  double last = 0;
  for (const v1::JournalEvent& event : h.Events("s")) {
    EXPECT_GE(event.simulated_seconds(), last);
    last = event.simulated_seconds();
    if (event.has_task_leased()) {
      const v1::TaskLeased& leased = event.task_leased();
      by_worker[leased.executor()].push_back(
          {event.simulated_seconds(), leased.simulated_end_seconds()});
    } else if (event.has_stage_finished() &&
               event.stage_finished().attempt() > 0) {
      const auto& spans = by_worker[event.stage_finished().executor()];
      EXPECT_EQ(spans.back().end, event.simulated_seconds());
    }
  }
  ASSERT_THAT(by_worker, SizeIs(3));
  double earliest_idle = last;
  for (const auto& [worker, spans] : by_worker) {
    EXPECT_EQ(spans[0].begin, 0);
    for (size_t i = 1; i < spans.size(); ++i) {
      EXPECT_EQ(spans[i].begin, spans[i - 1].end) << worker;
    }
    earliest_idle = std::min(earliest_idle, spans.back().end);
  }
  EXPECT_GT(earliest_idle, 0);
}

TEST_F(ReplayTest, GoesOnWithTheVerySameSearchAfterACrashAtAnyInstant) {
  EngineHarness whole = Harness();
  v1::StudySpec spec = Spec(30, 4);
  v1::Constraint& constraint = *spec.add_constraints();
  constraint.set_metric("latency_ms");
  constraint.set_device("pi");
  constraint.set_at_most(30);
  whole.Create("s", spec);
  Run(whole);
  ASSERT_EQ(whole.Study("s").state(), v1::Study::COMPLETED);
  ASSERT_GT(whole.Study("s").progress().infeasible_count(), 0);
  const std::vector<std::string> expected = SearchInTime(whole);
  const std::vector<v1::JournalEvent> events = whole.Events("s");
  for (const int64_t end : whole.journals->append_ends()) {
    auto store = std::make_shared<FaultyJournalStore>();
    std::vector<v1::JournalEvent> prefix(events.begin(), events.begin() + end);
    ASSERT_TRUE(store->Append("s", 0, absl::MakeSpan(prefix)).ok());
    EngineHarness h(store, dir_);
    h.clock.Advance(absl::Hours(7));
    Run(h);
    ASSERT_EQ(SearchInTime(h), expected) << "crash after event " << end;
  }
}

TEST_F(ReplayTest, PaysNothingForWhatAMeasurementRulesOut) {
  EngineHarness h = Harness();
  v1::StudySpec spec = Spec(40, 2);
  v1::Constraint& constraint = *spec.add_constraints();
  constraint.set_metric("latency_ms");
  constraint.set_device("pi");
  constraint.set_at_most(20);
  h.Create("s", spec);
  Run(h);
  int rejected = 0;
  for (int i = 1; i <= 40; ++i) {
    const v1::Trial trial = h.Trial("s", i);
    if (trial.state() != v1::Trial::INFEASIBLE) continue;
    ++rejected;
    EXPECT_THAT(trial.infeasible_reason(), HasSubstr("latency_ms@pi is"));
    EXPECT_EQ(trial.simulated_end_seconds(), trial.simulated_create_seconds());
    ASSERT_EQ(trial.stages_size(), 3);
    EXPECT_EQ(trial.stages(2).state(), v1::TrialStage::SKIPPED);
    for (const v1::Measurement& m : trial.measurements()) {
      EXPECT_NE(m.metric(), "accuracy");
    }
  }
  EXPECT_GT(rejected, 0);
}

TEST_F(ReplayTest, TheTimeBudgetIsSimulated) {
  EngineHarness h = Harness();
  v1::StudySpec spec = Spec(700, 4);
  spec.mutable_budget()->mutable_wall_clock()->set_seconds(3600);
  h.Create("s", spec);
  Run(h);
  const v1::Study study = h.Study("s");
  EXPECT_EQ(study.state(), v1::Study::COMPLETED);
  EXPECT_LT(study.progress().proposed_count(), 200);
  EXPECT_GE(study.progress().simulated_seconds(), 3600);
  EXPECT_LT(study.progress().simulated_seconds(), 3600 + 700);
}

TEST_F(ReplayTest, EndsWhenTheTableIsExhausted) {
  EngineHarness h = Harness();
  h.Create("s", Spec(1000, 8));
  Run(h);
  const v1::Study study = h.Study("s");
  EXPECT_EQ(study.state(), v1::Study::COMPLETED);
  std::set<std::string> digests;
  for (int i = 1; i <= study.progress().proposed_count(); ++i) {
    EXPECT_TRUE(digests.insert(h.Trial("s", i).architecture().digest()).second);
  }
  EXPECT_GT(digests.size(), 100u);
  EXPECT_LT(digests.size(), 730u);
}

TEST_F(ReplayTest, WhatIsNotInTheTableIsInfeasible) {
  EngineHarness h = Harness();
  v1::StudySpec spec = Spec(40, 2);
  spec.mutable_replay()->clear_restrict();
  spec.mutable_strategy()->mutable_random();
  h.Create("s", spec);
  Run(h);
  const v1::Study study = h.Study("s");
  EXPECT_EQ(study.state(), v1::Study::COMPLETED);
  EXPECT_GT(study.progress().infeasible_count(), 0);
  for (int i = 1; i <= 40; ++i) {
    const v1::Trial trial = h.Trial("s", i);
    if (trial.state() != v1::Trial::INFEASIBLE) continue;
    EXPECT_EQ(trial.infeasible_reason(),
              "the table has no row for this architecture");
  }
}

TEST_F(ReplayTest, SimulatedTimeStandsStillInAPause) {
  EngineHarness whole = Harness();
  whole.Create("s", Spec(200, 4));
  Run(whole);
  const std::vector<std::string> expected = SearchInTime(whole);

  EngineHarness h = Harness();
  h.Create("s", Spec(200, 4));  // Makes its first round.
  const v1::Study before = h.Study("s");
  ASSERT_EQ(before.state(), v1::Study::RUNNING);
  ASSERT_GT(before.progress().completed_count(), 0);
  ASSERT_TRUE(h.engine->PauseStudy("s").ok());
  h.clock.Advance(absl::Hours(5));
  Run(h);
  EXPECT_EQ(h.Study("s").progress().simulated_seconds(),
            before.progress().simulated_seconds());
  ASSERT_TRUE(h.engine->ResumeStudy("s").ok());
  Run(h);
  EXPECT_EQ(SearchInTime(h), expected);
}

TEST_F(ReplayTest, MoreTrialsThanWorkersWaitTheirTurn) {
  EngineHarness h = Harness();
  v1::StudySpec spec = Spec(30, 2);
  spec.set_max_parallel_trials(5);
  h.Create("s", spec);
  Run(h);
  EXPECT_EQ(h.Study("s").progress().completed_count(), 30);
  int64_t last = 0;
  std::set<std::string> workers;
  for (const v1::JournalEvent& event : h.Events("s")) {
    if (!event.has_task_leased()) continue;
    EXPECT_GT(event.task_leased().trial(), last);  // First come, first served.
    last = event.task_leased().trial();
    workers.insert(event.task_leased().executor());
  }
  EXPECT_THAT(workers, ElementsAre("simulated/1", "simulated/2"));
}

TEST_F(ReplayTest, CanBeCancelled) {
  EngineHarness h = Harness();
  h.Create("s", Spec(600, 4));
  ASSERT_EQ(h.Study("s").state(), v1::Study::RUNNING);
  ASSERT_TRUE(h.engine->CancelStudy("s").ok());
  EXPECT_EQ(h.Study("s").state(), v1::Study::CANCELLED);
  EXPECT_FALSE(h.engine->Tick());
  h.Restart();
  EXPECT_EQ(h.Study("s").state(), v1::Study::CANCELLED);
}

TEST_F(ReplayTest, WaitsForAStoreThatRefuses) {
  EngineHarness whole = Harness();
  whole.Create("s", Spec(200, 4));
  Run(whole);
  EngineHarness h = Harness();
  h.Create("s", Spec(200, 4));
  h.journals->FailWith(absl::ResourceExhaustedError("disk full"));
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(h.engine->Tick());
  h.journals->FailWith(absl::OkStatus());
  h.journals->LoseNextAnswer();
  for (int i = 0; i < 100; ++i) h.engine->Tick();
  EXPECT_EQ(SearchInTime(h), SearchInTime(whole));
}

TEST_F(ReplayTest, TheTablesOfAStudyStayTheSame) {
  EngineHarness h = Harness();
  h.Create("s", Spec(600, 4));
  EXPECT_THAT(h.Study("s").spec().replay().tables(0).sha256(), SizeIs(64));
  // Submitting again is harmless.
  v1::CreateStudyRequest request;
  request.set_study_id("s");
  *request.mutable_spec() = Spec(600, 4);
  EXPECT_TRUE(h.engine->CreateStudy(request).ok());
  Write(ToyTable() + "3,3,3,3,3,3,90,10,3,1000\n");
  h.Restart();
  const auto study = h.engine->GetStudy("s");
  EXPECT_EQ(study.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(study.status().message()),
              HasSubstr("spec.replay.tables[0].sha256: toy.csv is not the file "
                        "that the study began with"));
  Write(ToyTable());
  h.Restart();
  Run(h);
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
}

TEST_F(ReplayTest, AnEndedStudyIsShownWithoutItsTables) {
  EngineHarness h = Harness();
  h.Create("s", Spec(20, 4));
  Run(h);
  const std::vector<std::string> expected = SearchInTime(h);
  h.tables_dir = "";
  h.Restart();
  EXPECT_EQ(SearchInTime(h), expected);
}

TEST_F(ReplayTest, ABadTableIsRefusedAndLeavesNothingBehind) {
  EngineHarness h = Harness();
  const auto error = [&](const v1::StudySpec& spec) {
    v1::CreateStudyRequest request;
    request.set_study_id("s");
    *request.mutable_spec() = spec;
    const auto study = h.engine->CreateStudy(request);
    EXPECT_FALSE(study.ok());
    return std::string(study.status().message());
  };
  v1::StudySpec spec = Spec(10, 1);
  spec.mutable_replay()->mutable_metrics(0)->set_column("accuracy");
  EXPECT_THAT(error(spec), HasSubstr("spec.replay.metrics[0].column: "));
  spec = Spec(10, 1);
  spec.mutable_replay()->mutable_tables(0)->set_path("other.csv");
  EXPECT_THAT(error(spec), HasSubstr("spec.replay.tables[0].path: "));
  h.tables_dir = "";
  h.Restart();
  EXPECT_THAT(error(Spec(10, 1)), HasSubstr("--tables_dir"));
  EXPECT_EQ(h.engine->GetStudy("s").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace hwnas::controller
