// A sound history has no violation, and each way to break one is seen.
#include "controller/study/history_check.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "controller/farm/farm_state.h"
#include "gmock/gmock.h"
#include "tests/controller/study/engine_harness.h"

namespace hwnas::controller {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<v1::JournalEvent> EventsOf(JournalStore& store,
                                       const std::string& study) {
  std::vector<v1::JournalEvent> events;
  EXPECT_TRUE(store
                  .Read(study, 0,
                        [&](v1::JournalEvent&& event) {
                          events.push_back(std::move(event));
                          return absl::OkStatus();
                        })
                  .ok());
  return events;
}

// The events of a search that has ended.
const std::vector<v1::JournalEvent>& SoundHistory() {
  static const std::vector<v1::JournalEvent> events = [] {
    EngineHarness h;
    auto worker = h.Connect(WorkerHello("w", "host-w"));
    auto agent = h.Connect(AgentHello("a", "host-a"));
    h.Create("s", ToySpec(20));
    h.Work({&worker, &agent});
    return EventsOf(*h.journals, "s");
  }();
  return events;
}

std::unique_ptr<JournalStore> StoreOf(std::vector<v1::JournalEvent> events) {
  std::unique_ptr<JournalStore> store = CreateMemoryJournalStore();
  EXPECT_TRUE(store->Append("s", 0, absl::MakeSpan(events)).ok());
  return store;
}

HistoryReport Check(std::vector<v1::JournalEvent> events) {
  return CheckHistory(*StoreOf(std::move(events)), "s");
}

// Gives events as they are, numbers included.
class RawStore final : public JournalStore {
 public:
  explicit RawStore(std::vector<v1::JournalEvent> events)
      : events_(std::move(events)) {}

  absl::Status Append(absl::string_view, int64_t,
                      absl::Span<v1::JournalEvent>) override {
    return absl::UnimplementedError("");
  }
  absl::Status Read(
      absl::string_view, int64_t,
      const std::function<absl::Status(v1::JournalEvent&&)>& visit) override {
    for (v1::JournalEvent event : events_) {
      if (absl::Status status = visit(std::move(event)); !status.ok()) {
        return status;
      }
    }
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<std::string>> ListStudies() override {
    return std::vector<std::string>{"s"};
  }

 private:
  std::vector<v1::JournalEvent> events_;
};

StudyState Fold(const std::vector<v1::JournalEvent>& events) {
  StudyState state;
  for (const v1::JournalEvent& event : events) {
    EXPECT_TRUE(state.Apply(event).ok());
  }
  return state;
}

int IndexOf(const std::function<bool(const v1::JournalEvent&)>& wanted) {
  const std::vector<v1::JournalEvent>& events = SoundHistory();
  const auto it = std::find_if(events.begin(), events.end(), wanted);
  EXPECT_NE(it, events.end());
  return static_cast<int>(it - events.begin());
}

TEST(CheckHistory, FindsNothingInASoundOne) {
  const HistoryReport report = Check(SoundHistory());
  EXPECT_THAT(report.violations, IsEmpty());
  EXPECT_TRUE(report.ended);
  EXPECT_EQ(report.events, static_cast<int64_t>(SoundHistory().size()));
  EXPECT_EQ(report.proposed, 20);
  EXPECT_EQ(report.ended_trials, 20);
  EXPECT_EQ(report.attempts, 40);
  EXPECT_EQ(report.lost, 0);
  EXPECT_EQ(report.repeated, 0);
}

// Wherever a crash cut it.
TEST(CheckHistory, FindsNothingInAnyBeginningOfIt) {
  for (size_t size = 1; size <= SoundHistory().size(); ++size) {
    EXPECT_THAT(Check({SoundHistory().begin(), SoundHistory().begin() + size})
                    .violations,
                IsEmpty())
        << size;
  }
}

TEST(CheckHistory, SeesAResultThatCountsTwice) {
  std::vector<v1::JournalEvent> events = SoundHistory();
  const int at = IndexOf(
      [](const auto& e) { return e.stage_finished().stage() == v1::MEASURE; });
  events.insert(events.begin() + at + 1, events[at]);
  const HistoryReport report = Check(events);
  EXPECT_THAT(report.violations, Contains(HasSubstr("finished twice")));
  EXPECT_EQ(report.repeated, 1);
}

TEST(CheckHistory, SeesATrialThatEndsTwice) {
  std::vector<v1::JournalEvent> events = SoundHistory();
  const int at = IndexOf([](const auto& e) { return e.has_trial_ended(); });
  events.insert(events.begin() + at + 1, events[at]);
  const HistoryReport report = Check(events);
  EXPECT_THAT(report.violations, Contains(HasSubstr("ended twice")));
  EXPECT_EQ(report.repeated, 1);
}

TEST(CheckHistory, SeesTwoLiveLeasesOnOneStage) {
  std::vector<v1::JournalEvent> events = SoundHistory();
  const int at = IndexOf([](const auto& e) { return e.has_task_leased(); });
  v1::JournalEvent again = events[at];
  again.mutable_task_leased()->set_attempt(2);
  events.insert(events.begin() + at + 1, again);
  const HistoryReport report = Check(events);
  EXPECT_THAT(report.violations, Contains(HasSubstr("two live leases")));
  EXPECT_THAT(report.violations, Contains(HasSubstr("token")));
}

TEST(CheckHistory, SeesABudgetThatWasExceeded) {
  std::vector<v1::JournalEvent> events = SoundHistory();
  events[0]
      .mutable_study_created()
      ->mutable_spec()
      ->mutable_budget()
      ->set_trials(19);
  EXPECT_THAT(Check(events).violations,
              Contains(HasSubstr("20 trials exceed the budget of 19")));
}

TEST(CheckHistory, SeesAStudyThatEndedWithoutATrial) {
  std::vector<v1::JournalEvent> events = SoundHistory();
  const int at = IndexOf([](const auto& e) { return e.has_trial_ended(); });
  events.erase(events.begin() + at);
  const HistoryReport report = Check(events);
  EXPECT_THAT(report.violations, Contains(HasSubstr("1 trials never ended")));
  EXPECT_EQ(report.lost, 1);
}

TEST(CheckHistory, SeesARepeatedProposal) {
  std::vector<v1::JournalEvent> events = SoundHistory();
  const auto is = [](int trial) {
    return
        [trial](const auto& e) { return e.trial_proposed().trial() == trial; };
  };
  *events[IndexOf(is(2))].mutable_trial_proposed()->mutable_architecture() =
      events[IndexOf(is(1))].trial_proposed().architecture();
  EXPECT_THAT(Check(events).violations,
              Contains(HasSubstr("trial 2 repeats a digest")));
}

// ---- Each proof, on a journal that breaks it ----

// The events with one more, behind the last that is like `like`.
std::vector<v1::JournalEvent> With(
    const std::function<bool(const v1::JournalEvent&)>& like,
    const v1::JournalEvent& added) {
  std::vector<v1::JournalEvent> events = SoundHistory();
  const auto at = std::find_if(events.rbegin(), events.rend(), like);
  EXPECT_NE(at, events.rend());
  events.insert(at.base(), added);
  return events;
}

bool IsEndOfFirst(const v1::JournalEvent& e) {
  return e.trial_ended().trial() == 1;
}

TEST(CheckHistory, SeesAMissingEvent) {
  std::vector<v1::JournalEvent> events = SoundHistory();
  events.erase(events.begin() + IndexOf([](const auto& e) {
                 return e.has_result_ignored() || e.has_stage_finished();
               }));
  RawStore store(events);
  EXPECT_THAT(CheckHistory(store, "s").violations,
              Contains(HasSubstr("at position")));
}

TEST(CheckHistory, SeesAProposalThatIsMissing) {
  std::vector<v1::JournalEvent> events = SoundHistory();
  events.erase(events.begin() + IndexOf([](const auto& e) {
                 return e.trial_proposed().trial() == 3;
               }));
  EXPECT_THAT(Check(events).violations,
              Contains(HasSubstr("trial 4 proposed as number 3")));
}

TEST(CheckHistory, SeesATokenThatIsOlderThanTheOneBefore) {
  std::vector<v1::JournalEvent> events = SoundHistory();
  events[IndexOf([](const auto& e) { return e.task_leased().token() == 2; })]
      .mutable_task_leased()
      ->set_token(1);
  EXPECT_THAT(Check(events).violations, Contains("token 1 after 1"));
}

TEST(CheckHistory, SeesALeaseOnAFinishedStage) {
  const int measured = IndexOf([](const auto& e) {
    return e.stage_finished().trial() == 1 &&
           e.stage_finished().stage() == v1::MEASURE;
  });
  v1::JournalEvent lease = SoundHistory()[IndexOf([](const auto& e) {
    return e.task_leased().trial() == 1 &&
           e.task_leased().stage() == v1::MEASURE;
  })];
  lease.mutable_task_leased()->set_attempt(2);
  std::vector<v1::JournalEvent> events = SoundHistory();
  events.insert(events.begin() + measured + 1, lease);
  EXPECT_THAT(Check(events).violations,
              Contains("lease of a finished stage of trial 1"));
}

TEST(CheckHistory, SeesWhatHappensAfterATrialsEnd) {
  const std::vector<v1::JournalEvent>& sound = SoundHistory();
  const auto of_first = [&](v1::JournalEvent::EventCase kind) {
    return sound[IndexOf([kind](const auto& e) {
      return e.event_case() == kind &&
             (e.task_leased().trial() == 1 || e.stage_finished().trial() == 1);
    })];
  };
  const v1::JournalEvent lease = of_first(v1::JournalEvent::kTaskLeased);
  v1::JournalEvent failure;
  auto* failed = failure.mutable_attempt_failed();
  failed->set_trial(1);
  failed->set_stage(lease.task_leased().stage());
  failed->set_device_class(lease.task_leased().device_class());
  failed->set_attempt(1);
  failed->set_outcome(v1::AttemptFailed::EXPIRED);
  v1::JournalEvent promotion;
  promotion.mutable_trial_promoted()->set_trial(1);
  const std::vector<std::pair<v1::JournalEvent, std::string>> late = {
      {lease, "lease"},
      {of_first(v1::JournalEvent::kStageFinished), "result"},
      {failure, "failure"},
      {promotion, "promotion"}};
  for (const auto& [event, what] : late) {
    EXPECT_THAT(Check(With(IsEndOfFirst, event)).violations,
                Contains(what + " after the end of trial 1"));
  }
}

TEST(CheckHistory, SeesWhatHappensAfterTheStudysEnd) {
  const auto ended = [](const v1::JournalEvent& e) {
    return e.has_study_state_changed();
  };
  v1::JournalEvent proposal;
  proposal.mutable_trial_proposed()->set_trial(21);
  EXPECT_THAT(Check(With(ended, proposal)).violations,
              Contains("trial 21 proposed after the study's end"));
  v1::JournalEvent running;
  running.mutable_study_state_changed()->set_state(v1::Study::RUNNING);
  EXPECT_THAT(Check(With(ended, running)).violations,
              Contains("a change of state after the study's end"));
}

TEST(CheckHistory, SeesAResultThatNobodyWasAskedFor) {
  std::vector<v1::JournalEvent> events = SoundHistory();
  events[IndexOf([](const auto& e) {
    return e.stage_finished().stage() == v1::MEASURE;
  })].mutable_stage_finished()
      ->set_attempt(2);
  EXPECT_THAT(Check(events).violations,
              Contains(HasSubstr("result of attempt 2 at a stage of trial")));
}

TEST(CheckHistory, SeesAFailureWithoutALiveLease) {
  const int leased =
      IndexOf([](const auto& e) { return e.task_leased().trial() == 2; });
  v1::JournalEvent failure;
  auto* failed = failure.mutable_attempt_failed();
  failed->set_trial(2);
  failed->set_stage(SoundHistory()[leased].task_leased().stage());
  failed->set_device_class(SoundHistory()[leased].task_leased().device_class());
  failed->set_attempt(2);
  failed->set_outcome(v1::AttemptFailed::EXPIRED);
  std::vector<v1::JournalEvent> events = SoundHistory();
  events.insert(events.begin() + leased + 1, failure);
  EXPECT_THAT(
      Check(events).violations,
      Contains(HasSubstr("failure of attempt 2 at a stage of trial 2")));
}

TEST(CheckHistory, SeesEventsOfTrialsThatNeverWere) {
  v1::JournalEvent end;
  end.mutable_trial_ended()->set_trial(99);
  EXPECT_THAT(Check(With(IsEndOfFirst, end)).violations,
              Contains("end of unknown trial 99"));
}

// The result is in the journal, but does not count.
TEST(CheckHistory, SeesAFinishedTrialThatIsNotCompleted) {
  std::vector<v1::JournalEvent> events = SoundHistory();
  events[IndexOf(IsEndOfFirst)].mutable_trial_ended()->set_state(
      v1::Trial::INFEASIBLE);
  EXPECT_THAT(Check(events).violations,
              Contains("trial 1 ended INFEASIBLE, but its results are those of "
                       "a completed one"));
}

TEST(CheckHistory, SeesACompletedTrialWithoutAResult) {
  std::vector<v1::JournalEvent> events = SoundHistory();
  events.erase(events.begin() + IndexOf([](const auto& e) {
                 return e.stage_finished().trial() == 1 &&
                        e.stage_finished().stage() == v1::MEASURE;
               }));
  EXPECT_THAT(Check(events).violations,
              Contains("trial 1 ended COMPLETED, but its results are not those "
                       "of a completed one"));
}

TEST(CheckHistory, SeesAValueThatIsNone) {
  std::vector<v1::JournalEvent> events = SoundHistory();
  events[IndexOf([](const auto& e) {
    return e.stage_finished().stage() == v1::TRAIN;
  })].mutable_stage_finished()
      ->mutable_measurements(0)
      ->set_value(std::numeric_limits<double>::quiet_NaN());
  EXPECT_THAT(Check(events).violations,
              Contains(HasSubstr("has accuracy = nan")));
}

// What is shown is held against the results, not against itself.
TEST(CheckHistory, SeesAFrontThatTheResultsDoNotGive) {
  const std::unique_ptr<JournalStore> store = StoreOf(SoundHistory());
  EXPECT_THAT(CheckHistory(*store, "s", Fold(SoundHistory())).violations,
              IsEmpty());
  const StudyState sound = Fold(SoundHistory());
  const int64_t best = sound.Members(sound.fronts()[0]).front();

  std::vector<v1::JournalEvent> other_value = SoundHistory();
  auto* measurement = other_value[IndexOf([best](const auto& e) {
                        return e.stage_finished().trial() == best &&
                               e.stage_finished().stage() == v1::MEASURE;
                      })].mutable_stage_finished()
                          ->mutable_measurements(0);
  measurement->set_value(measurement->value() * 1.001);
  EXPECT_THAT(CheckHistory(*store, "s", Fold(other_value)).violations,
              ElementsAre(HasSubstr("the front has ")));

  // One that lacks its best trial.
  std::vector<v1::JournalEvent> cancelled = SoundHistory();
  cancelled[IndexOf([best](const auto& e) {
    return e.trial_ended().trial() == best;
  })].mutable_trial_ended()
      ->set_state(v1::Trial::CANCELLED);
  EXPECT_THAT(CheckHistory(*store, "s", Fold(cancelled)).violations,
              ElementsAre(HasSubstr("the front has ")));
}

// ---- Measurements that are taken back ----

v1::JournalEvent TakenBack(int64_t trial) {
  v1::JournalEvent event;
  auto* taken = event.mutable_stage_invalidated();
  taken->set_trial(trial);
  taken->set_stage(v1::MEASURE);
  taken->set_device_class("x86_64");
  return event;
}

TEST(CheckHistory, LetsATrialEndAgainWhoseMeasurementWasTakenBack) {
  std::vector<v1::JournalEvent> events = SoundHistory();
  const int end = IndexOf(IsEndOfFirst);
  const v1::JournalEvent ended = events[end];
  v1::JournalEvent lease = events[IndexOf([](const auto& e) {
    return e.task_leased().trial() == 1 &&
           e.task_leased().stage() == v1::MEASURE;
  })];
  v1::JournalEvent result = events[IndexOf([](const auto& e) {
    return e.stage_finished().trial() == 1 &&
           e.stage_finished().stage() == v1::MEASURE;
  })];
  lease.mutable_task_leased()->set_attempt(2);
  result.mutable_stage_finished()->set_attempt(2);
  // Leases of others follow: they need larger tokens.
  int64_t token = 0;
  for (int i = 0; i <= end; ++i) {
    token = std::max(token, events[i].task_leased().token());
  }
  lease.mutable_task_leased()->set_token(token + 1);
  for (size_t i = end + 1; i < events.size(); ++i) {
    if (!events[i].has_task_leased()) continue;
    auto* later = events[i].mutable_task_leased();
    later->set_token(later->token() + 1);
  }
  const std::vector<v1::JournalEvent> again = {TakenBack(1), lease, result,
                                               ended};
  events.insert(events.begin() + end + 1, again.begin(), again.end());
  EXPECT_THAT(Check(events).violations, IsEmpty());
  // But not without having measured it.
  events.erase(events.begin() + end + 2, events.begin() + end + 4);
  EXPECT_THAT(Check(events).violations,
              Contains(HasSubstr("trial 1 ended COMPLETED, but")));
}

// Nothing is begun again: the trial is not lost.
TEST(CheckHistory, KnowsThatATrialThatFailedStaysEnded) {
  EngineHarness h;
  auto worker = h.Connect(WorkerHello("w", "host-w"));
  auto agent = h.Connect(AgentHello("a", "host-a"));
  v1::StudySpec spec = ToySpec(4);
  spec.set_max_attempts(1);
  h.Create("s", spec);
  while (worker.stream->tasks.empty()) h.Work({&agent}, 1);
  h.Reply(worker, h.Failure(h.Take(worker), "out of memory"));
  h.Work({&worker, &agent});
  std::vector<v1::JournalEvent> events = EventsOf(*h.journals, "s");
  const auto failed =
      std::find_if(events.begin(), events.end(), [](const auto& e) {
        return e.trial_ended().state() == v1::Trial::INFEASIBLE;
      });
  ASSERT_NE(failed, events.end());
  const v1::JournalEvent taken = TakenBack(failed->trial_ended().trial());
  events.insert(failed + 1, taken);
  const HistoryReport report = Check(events);
  EXPECT_THAT(report.violations, IsEmpty());
  EXPECT_EQ(report.lost, 0);
}

TEST(CheckHistory, ReadsTheFarmsJournalToo) {
  const std::unique_ptr<JournalStore> store = CreateMemoryJournalStore();
  v1::JournalEvent event;
  event.mutable_device_event()->set_device("devices/a");
  ASSERT_TRUE(store->Append(kFarmJournal, 0, {&event, 1}).ok());
  const HistoryReport report = CheckHistory(*store, kFarmJournal);
  EXPECT_THAT(report.violations, IsEmpty());
  EXPECT_EQ(report.events, 1);
  EXPECT_THAT(CheckHistory(*store, "none").violations,
              Contains(HasSubstr("no study none")));
}

}  // namespace
}  // namespace hwnas::controller
