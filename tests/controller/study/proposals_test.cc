// Slow strategies that propose apart from the loop.
#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "controller/study/history_check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/controller/study/engine_harness.h"

namespace hwnas::controller {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

class ProposalsTest : public ::testing::Test {
 protected:
  ProposalsTest() {
    h_.propose_apart = true;
    h_.Restart();
  }

  static v1::StudySpec FleetSpec(int trials) {
    v1::StudySpec spec = ToySpec(trials);
    spec.mutable_strategy()->mutable_motpe()->set_initial(4);
    return spec;
  }
  // Of 2 x 3 architectures, if `options` is 3.
  static v1::StudySpec ExternalSpec(int trials, int options) {
    v1::StudySpec spec;
    for (const int count : {2, options}) {
      auto* choice = spec.mutable_space()->mutable_declared()->add_choices();
      choice->set_name(absl::StrCat("of_", count));
      for (int i = 0; i < count; ++i) choice->add_options(absl::StrCat(i));
    }
    spec.add_objectives()->set_maximize("score");
    spec.add_objectives()->set_minimize("cost");
    spec.mutable_strategy()->mutable_motpe()->set_initial(4);
    spec.mutable_external()->mutable_lease()->set_seconds(60);
    spec.mutable_budget()->set_trials(trials);
    return spec;
  }

  // Of a fleet of two, until nobody has anything to do.
  void Work(std::vector<EngineHarness::Session*> sessions) {
    while (h_.engine->Propose(absl::ZeroDuration()) || h_.Work(sessions) > 0) {
    }
  }

  // Tells values of all that was asked for, and asks on with the reports.
  void AskAndTell(const std::string& study, int count) {
    v1::AskTrialsRequest ask;
    ask.set_parent("studies/" + study);
    ask.set_count(count);
    v1::AskTrialsResponse asked;
    for (;;) {
      if (asked.trials().empty()) {
        const auto answer = h_.engine->AskTrials(study, ask);
        ASSERT_TRUE(answer.ok()) << answer.status();
        asked = *answer;
      }
      if (asked.study_ended()) return;
      v1::TellTrialsRequest tell;
      for (const v1::AskedTrial& trial : asked.trials()) {
        v1::TrialReport* report = tell.add_reports();
        report->set_trial(trial.trial().name());
        report->set_attempt(trial.attempt());
        const std::string& digest = trial.trial().architecture().digest();
        *report->add_measurements() = Value("score", Noise(digest, 1));
        *report->add_measurements() = Value("cost", Noise(digest, 2));
      }
      if (tell.reports().empty()) continue;
      *tell.mutable_next() = ask;
      const auto told = h_.engine->TellTrials(tell);
      ASSERT_TRUE(told.ok()) << told.status();
      for (const v1::ReportStatus& status : told->statuses()) {
        ASSERT_EQ(status.code(), 0) << status.message();
      }
      ASSERT_EQ(told->next_status().code(), 0) << told->next_status().message();
      asked = told->next();
    }
  }

  // All trials done, each another network, and nothing wrong in the journal.
  void ExpectDone(const std::string& study, int trials) {
    EXPECT_EQ(h_.Study(study).state(), v1::Study::COMPLETED);
    std::set<std::string> digests;
    for (int i = 1; i <= trials; ++i) {
      digests.insert(h_.Trial(study, i).architecture().digest());
    }
    EXPECT_THAT(digests, SizeIs(trials));
    EXPECT_EQ(h_.Study(study).progress().proposed_count(), trials);
    const HistoryReport history = CheckHistory(*h_.journals, study);
    EXPECT_THAT(history.violations, IsEmpty());
    EXPECT_EQ(history.lost, 0);
  }

  EngineHarness h_;
};

TEST_F(ProposalsTest, TheLoopDoesNotWaitForASlowStrategy) {
  auto worker = h_.Connect(WorkerHello("w", "a"));
  auto agent = h_.Connect(AgentHello("d", "b"));
  h_.Create("s", FleetSpec(12));
  h_.engine->Tick();
  EXPECT_EQ(h_.Study("s").progress().proposed_count(), 0);
  EXPECT_TRUE(h_.engine->Propose(absl::ZeroDuration()));
  const int proposed = h_.Study("s").progress().proposed_count();
  EXPECT_GT(proposed, 0);
  Work({&worker, &agent});
  ExpectDone("s", 12);
  EXPECT_FALSE(h_.engine->Propose(absl::ZeroDuration()));
}

TEST_F(ProposalsTest, AQuickStrategyProposesAtOnce) {
  v1::StudySpec spec = FleetSpec(3);
  spec.mutable_strategy()->mutable_random();
  auto worker = h_.Connect(WorkerHello("w", "a"));
  auto agent = h_.Connect(AgentHello("d", "b"));
  h_.Create("s", spec);
  EXPECT_GT(h_.Study("s").progress().proposed_count(), 0);
  EXPECT_FALSE(h_.engine->Propose(absl::ZeroDuration()));
}

TEST_F(ProposalsTest, GoesOnAfterARestart) {
  h_.Create("s", FleetSpec(20));
  for (int incarnation = 1; incarnation < 40; ++incarnation) {
    v1::Hello hellos[] = {WorkerHello("w", "a"), AgentHello("d", "b")};
    for (v1::Hello& hello : hellos) {
      hello.set_incarnation(absl::StrCat(incarnation));
    }
    auto worker = h_.Connect(hellos[0]);
    auto agent = h_.Connect(hellos[1]);
    (void)h_.engine->Propose(absl::ZeroDuration());
    h_.Work({&worker, &agent}, incarnation);
    h_.Restart();
  }
  ExpectDone("s", 20);
}

TEST_F(ProposalsTest, StopsWithTheSpace) {
  h_.Create("s", ExternalSpec(100, 3));
  AskAndTell("s", 4);
  ExpectDone("s", 6);
}

TEST_F(ProposalsTest, PausesAndResumes) {
  auto worker = h_.Connect(WorkerHello("w", "a"));
  auto agent = h_.Connect(AgentHello("d", "b"));
  h_.Create("s", FleetSpec(8));
  ASSERT_TRUE(h_.engine->PauseStudy("s").ok());
  EXPECT_TRUE(h_.engine->Propose(absl::ZeroDuration()));
  EXPECT_EQ(h_.Study("s").progress().proposed_count(), 0);
  ASSERT_TRUE(h_.engine->ResumeStudy("s").ok());
  Work({&worker, &agent});
  ExpectDone("s", 8);
}

TEST_F(ProposalsTest, ForgetsWhatWasReadyWhenTheStoreRefuses) {
  auto worker = h_.Connect(WorkerHello("w", "a"));
  auto agent = h_.Connect(AgentHello("d", "b"));
  h_.Create("s", FleetSpec(8));
  h_.journals->FailWith(absl::ResourceExhaustedError("full"));
  EXPECT_TRUE(h_.engine->Propose(absl::ZeroDuration()));
  EXPECT_EQ(h_.Study("s").progress().proposed_count(), 0);
  h_.journals->FailWith(absl::OkStatus());
  h_.engine->Tick();
  Work({&worker, &agent});
  ExpectDone("s", 8);
}

TEST_F(ProposalsTest, CancelledWhileItIsWanted) {
  h_.Create("s", FleetSpec(8));
  ASSERT_TRUE(h_.engine->CancelStudy("s").ok());
  EXPECT_TRUE(h_.engine->Propose(absl::ZeroDuration()));
  EXPECT_EQ(h_.Study("s").progress().proposed_count(), 0);
  EXPECT_FALSE(h_.engine->Propose(absl::ZeroDuration()));
}

// Several studies and clients at once; for the thread sanitizer.
TEST_F(ProposalsTest, ManyStudiesAndClientsAtOnce) {
  constexpr int kTrials = 60;
  const std::vector<std::string> studies = {"one", "two"};
  for (const std::string& study : studies) {
    h_.Create(study, ExternalSpec(kTrials, 64));
  }
  h_.Create("fleet", FleetSpec(kTrials));
  std::atomic<bool> done = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      while (!done) (void)h_.engine->Propose(absl::Milliseconds(1));
    });
  }
  threads.emplace_back([&] {
    while (!done) {
      h_.engine->Tick();
      (void)h_.Study("fleet");
      std::this_thread::yield();
    }
  });
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&, i] { AskAndTell(studies[i % 2], 1 + i); });
  }
  // Connected, the executors would get their tasks in any of the threads.
  for (std::thread& client : clients) client.join();
  while (h_.Study("fleet").progress().proposed_count() == 0) {
    std::this_thread::yield();
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  for (const std::string& study : studies) ExpectDone(study, kTrials);
}

}  // namespace
}  // namespace hwnas::controller
