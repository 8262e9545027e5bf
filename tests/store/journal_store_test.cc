// What every journal store promises: the suite runs on each of them.
#include "store/journal_store.h"

#include <atomic>
#include <filesystem>
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/postgres_server.h"

namespace hwnas {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct StoreKind {
  const char* name;
  std::unique_ptr<JournalStore> (*create)(const std::string& folder);
};

const StoreKind kKinds[] = {
    {"Memory", [](const std::string&) { return CreateMemoryJournalStore(); }},
    {"Sqlite",
     [](const std::string& folder) {
       absl::StatusOr<std::unique_ptr<JournalStore>> store =
           OpenSqliteJournalStore({.path = folder + "/journal.db"});
       EXPECT_TRUE(store.ok()) << store.status();
       return *std::move(store);
     }},
    {"Postgres",
     [](const std::string&) -> std::unique_ptr<JournalStore> {
       const auto& server = PostgresServer::Shared();
       if (!server.ok()) return nullptr;
       (*server)->Clear();
       absl::StatusOr<std::unique_ptr<JournalStore>> store =
           OpenPostgresJournalStore({.url = (*server)->url()});
       EXPECT_TRUE(store.ok()) << store.status();
       return *std::move(store);
     }},
};

v1::JournalEvent Event(int64_t trial) {
  v1::JournalEvent event;
  event.mutable_trial_proposed()->set_trial(trial);
  return event;
}

std::vector<v1::JournalEvent> Events(int64_t first, int count) {
  std::vector<v1::JournalEvent> events;
  for (int i = 0; i < count; ++i) events.push_back(Event(first + i));
  return events;
}

class JournalStoreTest : public ::testing::TestWithParam<StoreKind> {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(::testing::TempDir(), "/journal_store_test_",
                           GetParam().name, "_", getpid());
    std::filesystem::remove_all(folder_);
    store_ = GetParam().create(folder_);
    if (store_ == nullptr) {
      const absl::Status status = PostgresServer::Shared().status();
      ASSERT_TRUE(absl::IsNotFound(status)) << status;
      GTEST_SKIP() << status.message();
    }
  }
  void TearDown() override {
    store_.reset();
    std::filesystem::remove_all(folder_);
  }

  absl::Status Append(absl::string_view study, int64_t expected_size,
                      std::vector<v1::JournalEvent> events) {
    return store_->Append(study, expected_size, absl::MakeSpan(events));
  }

  // Trial numbers of the events after `after`; checks their sequence.
  std::vector<int64_t> Trials(absl::string_view study, int64_t after = 0) {
    std::vector<int64_t> trials;
    const absl::Status status =
        store_->Read(study, after, [&](v1::JournalEvent&& event) {
          EXPECT_EQ(event.sequence(),
                    after + 1 + static_cast<int64_t>(trials.size()));
          trials.push_back(event.trial_proposed().trial());
          return absl::OkStatus();
        });
    EXPECT_TRUE(status.ok()) << status;
    return trials;
  }

  std::string folder_;
  std::unique_ptr<JournalStore> store_;
};

TEST_P(JournalStoreTest, ReadsBackInOrderOfAppends) {
  ASSERT_TRUE(Append("a", 0, {Event(10), Event(11)}).ok());
  ASSERT_TRUE(Append("a", 2, {Event(5)}).ok());
  EXPECT_THAT(Trials("a"), ElementsAre(10, 11, 5));
}

TEST_P(JournalStoreTest, AppendSetsTheSequence) {
  std::vector<v1::JournalEvent> events = Events(1, 2);
  ASSERT_TRUE(store_->Append("a", 0, absl::MakeSpan(events)).ok());
  EXPECT_EQ(events[0].sequence(), 1);
  EXPECT_EQ(events[1].sequence(), 2);
  ASSERT_TRUE(store_->Append("a", 2, absl::MakeSpan(events)).ok());
  EXPECT_EQ(events[1].sequence(), 4);
}

TEST_P(JournalStoreTest, ReadsAfterASequence) {
  ASSERT_TRUE(Append("a", 0, Events(1, 5)).ok());
  EXPECT_THAT(Trials("a", 3), ElementsAre(4, 5));
  EXPECT_THAT(Trials("a", 5), IsEmpty());
  EXPECT_THAT(Trials("a", 1000), IsEmpty());
  int events = 0;
  const auto count = [&](v1::JournalEvent&&) {
    ++events;
    return absl::OkStatus();
  };
  ASSERT_TRUE(store_->Read("a", -7, count).ok());
  EXPECT_EQ(events, 5);
}

TEST_P(JournalStoreTest, KeepsEveryFieldOfAnEvent) {
  v1::JournalEvent event;
  event.mutable_time()->set_seconds(1234);
  v1::StageFinished& finished = *event.mutable_stage_finished();
  finished.set_trial(3);
  finished.set_stage(v1::MEASURE);
  finished.set_device_class("x86_64");
  finished.add_measurements()->set_value(1.0 / 3);
  finished.mutable_latency_samples()->add_block_latency_ms(0.1);
  ASSERT_TRUE(Append("a", 0, {event}).ok());
  event.set_sequence(1);
  std::string read;
  ASSERT_TRUE(store_
                  ->Read("a", 0,
                         [&](v1::JournalEvent&& e) {
                           read = e.SerializeAsString();
                           return absl::OkStatus();
                         })
                  .ok());
  EXPECT_EQ(read, event.SerializeAsString());
}

TEST_P(JournalStoreTest, RefusesAnotherSizeThanExpected) {
  ASSERT_TRUE(Append("a", 0, Events(1, 3)).ok());
  for (const int64_t wrong : {0, 1, 2, 4}) {
    const absl::Status status = Append("a", wrong, Events(99, 2));
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("has 3 events"));
  }
  EXPECT_EQ(Append("b", 1, Events(1, 1)).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Trials("a"), ElementsAre(1, 2, 3));
  // Nothing is left of the refused ones, and the right size is still welcome.
  ASSERT_TRUE(Append("a", 3, Events(4, 1)).ok());
  EXPECT_THAT(Trials("a"), ElementsAre(1, 2, 3, 4));
}

TEST_P(JournalStoreTest, AppendsInTheOrderOfTheirBegins) {
  std::vector<v1::JournalEvent> first = Events(1, 2), second = Events(3, 3);
  std::vector<v1::JournalEvent> rival = Events(9, 1), third = Events(6, 1);
  const auto a = store_->Start("a", 0, absl::MakeSpan(first));
  const auto b = store_->Start("a", 2, absl::MakeSpan(second));
  const auto wrong = store_->Start("a", 2, absl::MakeSpan(rival));
  const auto c = store_->Start("a", 5, absl::MakeSpan(third));
  // However they are waited for, and as often as anybody likes.
  EXPECT_TRUE(c->Wait().ok());
  EXPECT_TRUE(c->Wait().ok());
  EXPECT_EQ(wrong->Wait().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(a->Wait().ok());
  EXPECT_TRUE(b->Wait().ok());
  EXPECT_THAT(Trials("a"), ElementsAre(1, 2, 3, 4, 5, 6));
  // Nobody has to wait.
  std::vector<v1::JournalEvent> last = Events(7, 1);
  store_->Start("a", 6, absl::MakeSpan(last));
  EXPECT_THAT(Trials("a"), ElementsAre(1, 2, 3, 4, 5, 6, 7));
  EXPECT_EQ(store_->Start("", 0, {})->Wait().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_P(JournalStoreTest, RefusesMalformedArguments) {
  EXPECT_EQ(Append("", 0, Events(1, 1)).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Append("a", -1, Events(1, 1)).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_P(JournalStoreTest, AppendOfNothingOnlyChecksTheSize) {
  EXPECT_TRUE(Append("a", 0, {}).ok());
  EXPECT_EQ(Append("a", 1, {}).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(*store_->ListStudies(), IsEmpty());
}

TEST_P(JournalStoreTest, SaysThatAStudyDoesNotExist) {
  ASSERT_TRUE(Append("a", 0, Events(1, 1)).ok());
  const absl::Status status = store_->Read(
      "nope", 0, [](v1::JournalEvent&&) { return absl::OkStatus(); });
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("nope"));
}

TEST_P(JournalStoreTest, KeepsStudiesApartAndListsThemSorted) {
  EXPECT_THAT(*store_->ListStudies(), IsEmpty());
  std::vector<std::string> ids;
  for (int i = 0; i < 120; ++i) {
    ids.push_back(absl::StrCat("study-", i));
    ASSERT_TRUE(Append(ids.back(), 0, Events(i * 10, i % 4 + 1)).ok());
  }
  std::vector<std::string> sorted = ids;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(*store_->ListStudies(), sorted);
  EXPECT_THAT(Trials("study-7"), ElementsAre(70, 71, 72, 73));
  EXPECT_THAT(Trials("study-70"), ElementsAre(700, 701, 702));
}

TEST_P(JournalStoreTest, PassesTheVisitorsErrorOnAndStops) {
  ASSERT_TRUE(Append("a", 0, Events(1, 5)).ok());
  int visited = 0;
  const absl::Status status = store_->Read("a", 0, [&](v1::JournalEvent&&) {
    return ++visited == 2 ? absl::AbortedError("enough") : absl::OkStatus();
  });
  EXPECT_EQ(status, absl::AbortedError("enough"));
  EXPECT_EQ(visited, 2);
}

TEST_P(JournalStoreTest, VisitorMayAppendAndRead) {
  ASSERT_TRUE(Append("a", 0, Events(1, 3)).ok());
  int64_t copied = 0;
  ASSERT_TRUE(
      store_
          ->Read(
              "a", 0,
              [&](v1::JournalEvent&& event) {
                absl::Status status = store_->Append("b", copied, {&event, 1});
                ++copied;
                EXPECT_EQ(Trials("b").size(), copied);
                return status;
              })
          .ok());
  EXPECT_THAT(Trials("b"), ElementsAre(1, 2, 3));
}

TEST_P(JournalStoreTest, ReadsJournalsOfManyPages) {
  constexpr int kCount = 3000;
  for (int size = 0; size < kCount; size += 500) {
    ASSERT_TRUE(Append("a", size, Events(size, 500)).ok());
  }
  // Large payloads: several pages by size, too.
  v1::JournalEvent large = Event(0);
  large.mutable_trial_proposed()->set_origin(std::string(1 << 20, 'x'));
  ASSERT_TRUE(Append("b", 0, std::vector<v1::JournalEvent>(12, large)).ok());
  EXPECT_EQ(Trials("a").size(), kCount);
  EXPECT_EQ(Trials("b").size(), 12);
}

// Each thread has its own study: all succeed, whoever shares whose commit.
TEST_P(JournalStoreTest, TakesAppendsOfManyThreadsAtOnce) {
  constexpr int kThreads = 8;
  constexpr int kAppends = 40;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const std::string study = absl::StrCat("study-", t);
      for (int i = 0; i < kAppends; ++i) {
        const absl::Status status = Append(study, 2 * i, Events(2 * i, 2));
        EXPECT_TRUE(status.ok()) << status;
        // What was acknowledged can be read at once.
        EXPECT_EQ(Trials(study, 2 * i).size(), 2);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int t = 0; t < kThreads; ++t) {
    const std::vector<int64_t> trials = Trials(absl::StrCat("study-", t));
    ASSERT_EQ(trials.size(), 2 * kAppends);
    for (int i = 0; i < 2 * kAppends; ++i) EXPECT_EQ(trials[i], i);
  }
}

// Threads race for one study: each position is won exactly once, and a loser
// hears of it, also where winner and loser share a commit.
TEST_P(JournalStoreTest, LetsExactlyOneOfRivalAppendsWin) {
  constexpr int kThreads = 6;
  constexpr int kRounds = 30;
  std::map<int64_t, int64_t> winner;
  for (int round = 0; round < kRounds; ++round) {
    std::atomic<int> wins = 0;
    std::atomic<int64_t> by = -1;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        const absl::Status status = Append("a", round, {Event(t)});
        if (status.ok()) {
          ++wins;
          by = t;
        } else {
          EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(wins, 1);
    winner[round] = by;
  }
  const std::vector<int64_t> trials = Trials("a");
  ASSERT_EQ(trials.size(), kRounds);
  for (int round = 0; round < kRounds; ++round) {
    EXPECT_EQ(trials[round], winner[round]);
  }
}

INSTANTIATE_TEST_SUITE_P(All, JournalStoreTest, ::testing::ValuesIn(kKinds),
                         [](const ::testing::TestParamInfo<StoreKind>& info) {
                           return info.param.name;
                         });

}  // namespace
}  // namespace hwnas
