// Trials that clients ask for and tell: one at a time, in batches, in one call.
#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "controller/study/study_engine.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/controller/study/engine_harness.h"
#include "tests/fakes/forwarding_journal_store.h"

namespace hwnas::controller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

v1::TrialReport Report(const v1::AskedTrial& asked, double score) {
  v1::TrialReport report;
  report.set_trial(asked.trial().name());
  report.set_attempt(asked.attempt());
  *report.add_measurements() = Value("my_score", score);
  return report;
}

v1::AskTrialsRequest Ask(int count) {
  v1::AskTrialsRequest request;
  request.set_parent("studies/s");
  request.set_count(count);
  return request;
}

absl::Status Tell(EngineHarness& h, const v1::TrialReport& report) {
  v1::TellTrialsRequest request;
  *request.add_reports() = report;
  const auto told = h.engine->TellTrials(request);
  if (!told.ok()) return told.status();
  return absl::Status(static_cast<absl::StatusCode>(told->statuses(0).code()),
                      told->statuses(0).message());
}

TEST(AskTell, AsksAndTellsABatchInOneAppendEach) {
  EngineHarness h;
  h.Create("s", ExternalSpec(100));
  for (const int expected : {64, 36}) {
    const size_t before = h.journals->append_ends().size();
    const auto asked = h.engine->AskTrials("s", Ask(64));
    ASSERT_TRUE(asked.ok()) << asked.status();
    ASSERT_EQ(asked->trials_size(), expected);
    EXPECT_THAT(h.journals->append_ends(), SizeIs(before + 1));
    v1::TellTrialsRequest request;
    for (const auto& trial : asked->trials()) {
      *request.add_reports() = Report(trial, trial.trial().number());
    }
    const auto told = h.engine->TellTrials(request);
    ASSERT_TRUE(told.ok()) << told.status();
    ASSERT_EQ(told->statuses_size(), expected);
    for (const auto& status : told->statuses()) EXPECT_EQ(status.code(), 0);
    // With the end of the study in an append of its own.
    EXPECT_THAT(h.journals->append_ends(),
                SizeIs(before + (expected == 64 ? 2 : 3)));
  }
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
  EXPECT_EQ(h.Study("s").progress().completed_count(), 100);
  std::set<std::string> digests;
  for (int i = 1; i <= 100; ++i) {
    digests.insert(h.Trial("s", i).architecture().digest());
  }
  EXPECT_THAT(digests, SizeIs(100));
}

TEST(AskTell, GivesEachReportOfABatchItsOwnStatus) {
  EngineHarness h;
  h.Create("s", ExternalSpec(10));
  h.Create("t", ExternalSpec(10));
  const auto asked = h.engine->AskTrials("s", Ask(4));
  const auto other = h.engine->AskTrials("t", Ask(1));
  ASSERT_TRUE(asked.ok() && other.ok());
  v1::TellTrialsRequest request;
  *request.add_reports() = Report(asked->trials(0), 1);
  v1::TrialReport& empty = *request.add_reports() = Report(asked->trials(1), 2);
  empty.clear_measurements();
  v1::TrialReport& unknown = *request.add_reports() =
      Report(asked->trials(1), 2);
  unknown.set_trial("studies/s/trials/99");
  // The same trial once more: changes nothing.
  *request.add_reports() = Report(asked->trials(0), 7);
  v1::TrialReport& failed = *request.add_reports() =
      Report(asked->trials(2), 3);
  failed.clear_measurements();
  failed.set_error("no such thing");
  failed.set_permanent(true);
  *request.add_reports() = Report(other->trials(0), 4);
  *request.add_reports() = Report(asked->trials(3), 5);
  const auto told = h.engine->TellTrials(request);
  ASSERT_TRUE(told.ok()) << told.status();
  std::vector<absl::StatusCode> codes;
  for (const auto& status : told->statuses()) {
    codes.push_back(static_cast<absl::StatusCode>(status.code()));
  }
  using enum absl::StatusCode;
  EXPECT_THAT(
      codes, ElementsAre(kOk, kInvalidArgument, kNotFound, kOk, kOk, kOk, kOk));
  EXPECT_EQ(h.Trial("s", 1).measurements(0).value(), 1);
  EXPECT_EQ(h.Trial("s", 2).state(), v1::Trial::ACTIVE);
  EXPECT_EQ(h.Trial("s", 3).state(), v1::Trial::INFEASIBLE);
  EXPECT_EQ(h.Trial("s", 4).state(), v1::Trial::COMPLETED);
  EXPECT_EQ(h.Trial("t", 1).measurements(0).value(), 4);
}

TEST(AskTell, NothingOfABatchCountsIfTheStoreRefusesIt) {
  EngineHarness h;
  h.Create("s", ExternalSpec(10));
  h.journals->FailWith(absl::ResourceExhaustedError("disk full"));
  EXPECT_EQ(h.engine->AskTrials("s", Ask(4)).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(h.Study("s").progress().proposed_count(), 0);
  h.journals->FailWith(absl::OkStatus());
  const auto asked = h.engine->AskTrials("s", Ask(4));
  ASSERT_TRUE(asked.ok()) << asked.status();
  v1::TellTrialsRequest request;
  for (const auto& trial : asked->trials()) {
    *request.add_reports() = Report(trial, 1);
  }
  h.journals->FailWith(absl::UnavailableError("gone"));
  auto told = h.engine->TellTrials(request);
  ASSERT_TRUE(told.ok()) << told.status();
  for (const auto& status : told->statuses()) {
    EXPECT_EQ(status.code(), static_cast<int>(absl::StatusCode::kUnavailable));
  }
  EXPECT_EQ(h.Study("s").progress().completed_count(), 0);
  h.journals->FailWith(absl::OkStatus());
  told = h.engine->TellTrials(request);
  ASSERT_TRUE(told.ok()) << told.status();
  for (const auto& status : told->statuses()) EXPECT_EQ(status.code(), 0);
  EXPECT_EQ(h.Study("s").progress().completed_count(), 4);
}

// A store whose appends, once begun, wait to be let through.
class GatedJournalStore final : public ForwardingJournalStore {
 public:
  std::shared_ptr<PendingAppend> Start(
      absl::string_view study_id, int64_t expected_size,
      absl::Span<v1::JournalEvent> events) override {
    ++begun;
    return std::make_shared<Gated>(
        this, ForwardingJournalStore::Start(study_id, expected_size, events));
  }

  void Open() {
    MutexLock lock(&mutex_);
    is_open = true;
    opened_.SignalAll();
  }

  std::atomic<int> begun{0};
  std::atomic<bool> is_open{false};

 private:
  class Gated final : public PendingAppend {
   public:
    Gated(GatedJournalStore* store, std::shared_ptr<PendingAppend> append)
        : store_(store), append_(std::move(append)) {}
    absl::Status Wait() override {
      MutexLock lock(&store_->mutex_);
      while (!store_->is_open) store_->opened_.Wait(&store_->mutex_);
      return append_->Wait();
    }

   private:
    GatedJournalStore* const store_;
    const std::shared_ptr<PendingAppend> append_;
  };

  Mutex mutex_;
  CondVar opened_;
};

TEST(AskTell, AsksShareASyncAndNobodySeesWhatIsNotDurable) {
  auto gate = std::make_unique<GatedJournalStore>();
  GatedJournalStore& store = *gate;
  EngineHarness h(std::make_shared<FaultyJournalStore>(std::move(gate)));
  h.Create("s", ExternalSpec(100));
  // Both are begun before either is durable.
  std::vector<std::thread> asking;
  std::atomic<int> answered_early{0};
  for (int i = 0; i < 2; ++i) {
    asking.emplace_back([&] {
      const auto asked = h.engine->AskTrials("s", Ask(1));
      EXPECT_TRUE(asked.ok()) << asked.status();
      if (!store.is_open) ++answered_early;
    });
  }
  while (store.begun < 2) std::this_thread::yield();
  std::thread reading([&] {
    EXPECT_EQ(h.Study("s").progress().proposed_count(), 2);
    if (!store.is_open) ++answered_early;
  });
  store.Open();
  for (std::thread& thread : asking) thread.join();
  reading.join();
  EXPECT_EQ(answered_early, 0);
}

TEST(AskTell, TellsAndAsksInOneCall) {
  EngineHarness h;
  h.Create("s", ExternalSpec(3));
  const auto first = h.engine->AskTrials("s", Ask(2));
  ASSERT_TRUE(first.ok()) << first.status();
  v1::TellTrialsRequest request;
  *request.add_reports() = Report(first->trials(0), 1);
  *request.add_reports() = Report(first->trials(1), 2);
  *request.mutable_next() = Ask(2);
  auto told = h.engine->TellTrials(request);
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_EQ(told->next_status().code(), 0) << told->next_status().message();
  ASSERT_THAT(told->next().trials(), SizeIs(1));
  EXPECT_EQ(told->next().trials(0).trial().number(), 3);
  EXPECT_FALSE(told->next().study_ended());
  EXPECT_EQ(h.Study("s").progress().completed_count(), 2);

  // With the last report the study ends.
  request.clear_reports();
  *request.add_reports() = Report(told->next().trials(0), 3);
  told = h.engine->TellTrials(request);
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_TRUE(told->next().study_ended());
  EXPECT_THAT(told->next().trials(), SizeIs(0));
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
}

TEST(AskTell, ReportsCountWhateverBecomesOfTheQuestionWithThem) {
  EngineHarness h;
  h.Create("s", ExternalSpec(9));
  for (const auto& [parent, count] : std::vector<std::pair<std::string, int>>{
           {"studies/s", 65}, {"studies/none", 1}, {"s", 1}}) {
    const auto asked = h.engine->AskTrials("s", Ask(1));
    ASSERT_TRUE(asked.ok()) << asked.status();
    v1::TellTrialsRequest request;
    *request.add_reports() = Report(asked->trials(0), 1);
    request.mutable_next()->set_parent(parent);
    request.mutable_next()->set_count(count);
    const auto told = h.engine->TellTrials(request);
    ASSERT_TRUE(told.ok()) << told.status();
    EXPECT_EQ(told->statuses(0).code(), 0);
    EXPECT_NE(told->next_status().code(), 0) << parent;
    EXPECT_FALSE(told->has_next());
  }
  EXPECT_EQ(h.Study("s").progress().completed_count(), 3);
}

TEST(AskTell, NeitherReportsNorTrialsIfTheStoreRefuses) {
  EngineHarness h;
  h.Create("s", ExternalSpec(9));
  const auto asked = h.engine->AskTrials("s", Ask(1));
  ASSERT_TRUE(asked.ok()) << asked.status();
  v1::TellTrialsRequest request;
  *request.add_reports() = Report(asked->trials(0), 1);
  *request.mutable_next() = Ask(1);
  h.journals->FailWith(absl::UnavailableError("gone"));
  auto told = h.engine->TellTrials(request);
  ASSERT_TRUE(told.ok()) << told.status();
  constexpr int kUnavailable = static_cast<int>(absl::StatusCode::kUnavailable);
  EXPECT_EQ(told->statuses(0).code(), kUnavailable);
  EXPECT_EQ(told->next_status().code(), kUnavailable);
  EXPECT_FALSE(told->has_next());
  EXPECT_EQ(h.Study("s").progress().proposed_count(), 1);
  h.journals->FailWith(absl::OkStatus());
  told = h.engine->TellTrials(request);
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_EQ(told->statuses(0).code(), 0) << told->statuses(0).message();
  EXPECT_THAT(told->next().trials(), SizeIs(1));
}

TEST(AskTell, ManyClientsAtOnceLeaveOneHistory) {
  constexpr int kClients = 4, kTrials = 400;
  EngineHarness h;
  h.Create("s", ExternalSpec(kTrials));
  std::vector<std::thread> clients;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([&, c] {
      v1::AskTrialsResponse next;
      for (;;) {
        if (next.trials().empty()) {
          auto asked = h.engine->AskTrials("s", Ask(1 + c));
          ASSERT_TRUE(asked.ok()) << asked.status();
          next = *std::move(asked);
        }
        if (next.study_ended()) return;
        v1::TellTrialsRequest request;
        for (const auto& trial : next.trials()) {
          *request.add_reports() = Report(trial, trial.trial().number());
        }
        if (request.reports().empty()) continue;
        // Some ask with their reports.
        if (c % 2 == 1) *request.mutable_next() = Ask(1 + c);
        const auto told = h.engine->TellTrials(request);
        ASSERT_TRUE(told.ok()) << told.status();
        for (const auto& status : told->statuses()) {
          EXPECT_EQ(status.code(), 0) << status.message();
        }
        next = told->next();
      }
    });
  }
  std::thread watching([&] {
    while (h.Study("s").state() == v1::Study::RUNNING) {
      h.engine->Tick();
      std::this_thread::yield();
    }
  });
  for (std::thread& client : clients) client.join();
  watching.join();
  EXPECT_EQ(h.Study("s").progress().completed_count(), kTrials);
  const std::vector<std::string> search = h.Search("s");
  h.Restart();
  EXPECT_EQ(h.Search("s"), search);
}

TEST(AskTell, GoesBackToTheJournalIfAnAppendUnderWayFails) {
  EngineHarness h;
  h.Create("s", ExternalSpec(10));
  const auto first = h.engine->AskTrials("s", Ask(2));
  ASSERT_TRUE(first.ok());
  h.journals->FailWith(absl::UnavailableError("gone"));
  EXPECT_EQ(h.engine->AskTrials("s", Ask(2)).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(h.Study("s").progress().proposed_count(), 2);
  EXPECT_EQ(h.Study("s").progress().running_count(), 2);
  h.journals->FailWith(absl::OkStatus());
  const auto again = h.engine->AskTrials("s", Ask(1));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->trials(0).trial().number(), 3);
  ASSERT_TRUE(Tell(h, Report(first->trials(1), 1)).ok());
  EXPECT_EQ(h.Trial("s", 2).state(), v1::Trial::COMPLETED);
}

TEST(AskTell, AskAndTellDriveAStudy) {
  EngineHarness h;
  h.Create("s", ExternalSpec(10));
  int told = 0;
  for (;;) {
    const auto response = h.engine->AskTrials("s", Ask(3));
    ASSERT_TRUE(response.ok()) << response.status();
    if (response->study_ended()) break;
    ASSERT_FALSE(response->trials().empty());
    for (const auto& asked : response->trials()) {
      EXPECT_EQ(asked.parameters_size(), 6);
      ASSERT_TRUE(Tell(h, Report(asked, told++)).ok());
    }
  }
  EXPECT_EQ(told, 10);
  EXPECT_EQ(h.Study("s").progress().best_values(0), 9);
}

TEST(AskTell, TellingTwiceOrLateIsHarmless) {
  EngineHarness h;
  h.Create("s", ExternalSpec(2));
  const v1::AskedTrial first = h.engine->AskTrials("s", Ask(1))->trials(0);
  h.clock.Advance(absl::Seconds(61));
  h.engine->Tick();
  const v1::AskedTrial again = h.engine->AskTrials("s", Ask(1))->trials(0);
  EXPECT_EQ(again.trial().name(), first.trial().name());
  EXPECT_EQ(again.attempt(), 2);
  v1::ReportProgressRequest progress;
  progress.set_trial(first.trial().name());
  progress.set_attempt(1);
  EXPECT_EQ(h.engine->ReportProgress(progress).status().code(),
            absl::StatusCode::kAborted);
  ASSERT_TRUE(Tell(h, Report(first, 5)).ok());  // Late: recorded.
  ASSERT_TRUE(Tell(h, Report(first, 6)).ok());  // Repeat.
  ASSERT_TRUE(Tell(h, Report(again, 7)).ok());  // Too late.
  EXPECT_EQ(h.Trial("s", 1).measurements(0).value(), 5);
  EXPECT_EQ(h.CountEvents("s", v1::JournalEvent::kStageFinished), 1);
}

TEST(AskTell, ProgressExtendsAnAskedLease) {
  EngineHarness h;
  h.Create("s", ExternalSpec(1));
  const v1::AskedTrial asked = h.engine->AskTrials("s", Ask(1))->trials(0);
  for (int i = 0; i < 5; ++i) {
    h.clock.Advance(absl::Seconds(50));
    h.engine->Tick();
    v1::ReportProgressRequest progress;
    progress.set_trial(asked.trial().name());
    progress.set_attempt(1);
    ASSERT_TRUE(h.engine->ReportProgress(progress).ok());
  }
  ASSERT_TRUE(Tell(h, Report(asked, 1)).ok());
  EXPECT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
}

TEST(AskTell, ExplainsWhatIsWrongWithATell) {
  EngineHarness h;
  h.Create("s", ExternalSpec(2));
  const v1::AskedTrial asked = h.engine->AskTrials("s", Ask(1))->trials(0);
  v1::TrialReport empty;
  empty.set_trial(asked.trial().name());
  empty.set_attempt(1);
  const absl::Status missing = Tell(h, empty);
  EXPECT_EQ(missing.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("lack my_score"));
  v1::TrialReport wrong = Report(asked, 1);
  wrong.set_attempt(9);
  EXPECT_EQ(Tell(h, wrong).code(), absl::StatusCode::kInvalidArgument);
  wrong.set_trial("studies/s/trials/99");
  EXPECT_EQ(Tell(h, wrong).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(h.engine->AskTrials("s", Ask(1000)).status().code(),
            absl::StatusCode::kInvalidArgument);
  h.Create("t", ToySpec(2));
  EXPECT_EQ(h.engine->AskTrials("t", Ask(1)).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace hwnas::controller
