// A sound history has no violation, and each way to break one is seen.
#include "controller/study/history_check.h"

#include <functional>

#include "controller/farm/farm_state.h"
#include "gmock/gmock.h"
#include "tests/controller/study/engine_harness.h"

namespace hwnas::controller {
namespace {

using ::testing::Contains;
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

HistoryReport Check(std::vector<v1::JournalEvent> events) {
  const std::unique_ptr<JournalStore> store = CreateMemoryJournalStore();
  EXPECT_TRUE(store->Append("s", 0, absl::MakeSpan(events)).ok());
  return CheckHistory(*store, "s");
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
