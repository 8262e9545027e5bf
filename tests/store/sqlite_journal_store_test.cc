// What only a store on disk can do wrong.
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "store/journal_store.h"
#include "tests/store/journal_events.h"

namespace {

// Syncs of a write-ahead log so far.
std::atomic<int> log_syncs{0};

}  // namespace

// SQLite syncs through this one instead of the C library's.
extern "C" int fdatasync(int fd) {
  std::error_code error;
  const std::string path =
      std::filesystem::read_symlink(absl::StrCat("/proc/self/fd/", fd), error);
  const int result = static_cast<int>(syscall(SYS_fdatasync, fd));
  if (result == 0 && path.ends_with("-wal")) ++log_syncs;
  return result;
}

namespace hwnas {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class SqliteJournalStoreTest : public ::testing::Test {
 protected:
  SqliteJournalStoreTest()
      : folder_(absl::StrCat(::testing::TempDir(), "/sqlite_store_test_",
                             getpid())),
        path_(folder_ + "/deep/journal.db") {
    fs::remove_all(folder_);
    fs::create_directories(folder_ + "/deep");
  }
  ~SqliteJournalStoreTest() override { fs::remove_all(folder_); }

  std::unique_ptr<JournalStore> Open() {
    absl::StatusOr<std::unique_ptr<JournalStore>> store =
        OpenSqliteJournalStore({.path = path_});
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }
  absl::Status OpenStatus() {
    return OpenSqliteJournalStore({.path = path_, .busy_timeout_ms = 10})
        .status();
  }

  // Runs SQL behind the store's back.
  void Sql(const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &error),
              SQLITE_OK)
        << error;
    sqlite3_close(db);
  }

  const std::string folder_;
  const std::string path_;
};

TEST_F(SqliteJournalStoreTest, CreatesItsFolderAndKeepsEventsAfterClosing) {
  fs::remove_all(folder_);
  for (int64_t size = 0; size < 5; ++size) {
    std::unique_ptr<JournalStore> store = Open();
    ASSERT_NE(store, nullptr);
    EXPECT_EQ(Count(*store, "a"), size);
    ASSERT_TRUE(AppendOne(*store, "a", size).ok());
  }
}

TEST_F(SqliteJournalStoreTest, SyncsEveryCommitOfAWriteAheadLog) {
  const std::unique_ptr<JournalStore> store = Open();
  ASSERT_TRUE(AppendOne(*store, "a", 0).ok());
  std::ifstream file(path_);
  std::string header(20, '\0');
  file.read(header.data(), 20);
  // Bytes 18 and 19 of the header say 2 for WAL (sqlite.org/fileformat.html).
  EXPECT_EQ(header[18], 2);
  EXPECT_EQ(header[19], 2);
  // No append returns before what it wrote to the log is on the disk.
  for (int64_t size = 1; size < 20; ++size) {
    const int before = log_syncs;
    ASSERT_TRUE(AppendOne(*store, "a", size).ok());
    EXPECT_GT(log_syncs, before) << size;
  }
}

// A child appends and tells each acknowledged event through a pipe, until it is
// killed at a random moment. Whatever it told must be there.
TEST_F(SqliteJournalStoreTest, LosesNothingAcknowledgedWhenKilled) {
  constexpr int kKills = 25;
  constexpr int kStudies = 3;
  Rng rng(20240607);
  std::vector<int64_t> acknowledged(kStudies, 0);
  int64_t told = 0;
  for (int kill_number = 0; kill_number < kKills; ++kill_number) {
    int pipe_ends[2];
    ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      // One thread for each study, so that commits are shared.
      absl::StatusOr<std::unique_ptr<JournalStore>> store =
          OpenSqliteJournalStore({.path = path_});
      if (!store.ok()) _exit(1);
      std::vector<std::thread> threads;
      for (int s = 0; s < kStudies; ++s) {
        threads.emplace_back([&, s] {
          const std::string study = absl::StrCat("study-", s);
          for (int64_t size = Count(**store, study);; ++size) {
            if (!AppendOne(**store, study, size, size % 5000).ok()) _exit(2);
            const int64_t message[2] = {s, size + 1};
            if (write(pipe_ends[1], message, sizeof(message)) < 0) _exit(3);
          }
        });
      }
      for (std::thread& thread : threads) thread.join();
    }
    close(pipe_ends[1]);
    // After a random number of acknowledgements and a moment more, so that the
    // kill falls anywhere in the writing of the next.
    const int64_t patience = 1 + rng.Below(40);
    const useconds_t moment = static_cast<useconds_t>(rng.Below(2000));
    int64_t message[2];
    int64_t heard = 0;
    while (heard < patience &&
           read(pipe_ends[0], message, sizeof(message)) == sizeof(message)) {
      acknowledged[message[0]] = message[1];
      ++heard;
    }
    usleep(moment);
    kill(child, SIGKILL);
    while (read(pipe_ends[0], message, sizeof(message)) == sizeof(message)) {
      acknowledged[message[0]] = message[1];
      ++heard;
    }
    close(pipe_ends[0]);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "exit " << WEXITSTATUS(status);
    told += heard;

    const std::unique_ptr<JournalStore> store = Open();
    ASSERT_NE(store, nullptr);
    for (int s = 0; s < kStudies; ++s) {
      const int64_t there = Count(*store, absl::StrCat("study-", s));
      EXPECT_GE(there, acknowledged[s]);
      // At most the one append that was under way.
      EXPECT_LE(there, acknowledged[s] + 1);
      acknowledged[s] = there;
    }
  }
  EXPECT_GE(told, kKills);
}

// A limit on file sizes stands for a full disk; raising it for space freed.
TEST_F(SqliteJournalStoreTest, SaysThatTheDiskIsFullAndGoesOnWhenItIsNot) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const int exit_code = [&] {
      std::unique_ptr<JournalStore> store = Open();
      if (store == nullptr) return 1;
      rlimit limit;
      getrlimit(RLIMIT_FSIZE, &limit);
      limit.rlim_cur = 300'000;
      setrlimit(RLIMIT_FSIZE, &limit);
      int64_t size = 0;
      absl::Status status;
      for (; size < 10'000 && status.ok(); ++size) {
        status = AppendOne(*store, "a", size, 4000);
      }
      --size;  // The last one failed.
      if (!absl::IsResourceExhausted(status)) return 2;
      if (std::string(status.message()).find(path_) == std::string::npos) {
        return 3;
      }
      // It fails again, loses nothing, and reading still works.
      if (AppendOne(*store, "a", size, 4000).ok()) return 4;
      if (size < 10 || Count(*store, "a") != size) return 5;
      limit.rlim_cur = limit.rlim_max;
      setrlimit(RLIMIT_FSIZE, &limit);
      if (!AppendOne(*store, "a", size, 4000).ok()) return 6;
      if (Count(*store, "a") != size + 1) return 7;
      store.reset();
      store = Open();
      return Count(*store, "a") == size + 1 ? 0 : 8;
    }();
    _exit(exit_code);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(SqliteJournalStoreTest, SaysWhoToBlameWhileAnotherProcessHoldsTheFile) {
  std::unique_ptr<JournalStore> store =
      *OpenSqliteJournalStore({.path = path_, .busy_timeout_ms = 10});
  ASSERT_TRUE(AppendOne(*store, "a", 0).ok());
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr),
            SQLITE_OK);
  const absl::Status status = AppendOne(*store, "a", 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("another process"));
  EXPECT_EQ(Count(*store, "a"), 1);
  sqlite3_exec(other, "ROLLBACK", nullptr, nullptr, nullptr);
  sqlite3_close(other);
  EXPECT_TRUE(AppendOne(*store, "a", 1).ok());
}

TEST_F(SqliteJournalStoreTest, AcknowledgesNothingOnceItsFileIsGone) {
  const std::unique_ptr<JournalStore> store = Open();
  ASSERT_TRUE(AppendOne(*store, "a", 0).ok());
  fs::rename(path_, path_ + ".moved");
  const absl::Status status = AppendOne(*store, "a", 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("removed or replaced"));
  fs::rename(path_ + ".moved", path_);
  EXPECT_TRUE(AppendOne(*store, "a", 1).ok());
}

TEST_F(SqliteJournalStoreTest, RefusesANewerSchema) {
  Open().reset();
  Sql("PRAGMA user_version = 99");
  const absl::Status status = OpenStatus();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(path_), HasSubstr("schema version 99"),
                    HasSubstr("newer release")));
}

TEST_F(SqliteJournalStoreTest, RefusesAndLeavesAlonesAnotherProgramsDatabase) {
  Sql("CREATE TABLE photos (id INTEGER)");
  const auto size = fs::file_size(path_);
  const absl::Status status = OpenStatus();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("another program"));
  EXPECT_EQ(fs::file_size(path_), size);
  EXPECT_FALSE(fs::exists(path_ + "-wal"));
}

TEST_F(SqliteJournalStoreTest, SaysThatAFileIsNoJournal) {
  std::ofstream(path_) << std::string(10'000, 'z');
  const absl::Status status = OpenStatus();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(path_), HasSubstr("not a journal"),
                    HasSubstr("restore a backup")));
}

TEST_F(SqliteJournalStoreTest, SaysThatPagesAreDamaged) {
  {
    const std::unique_ptr<JournalStore> store = Open();
    for (int64_t size = 0; size < 100; ++size) {
      ASSERT_TRUE(AppendOne(*store, "a", size, 1000).ok());
    }
  }
  {
    // All pages but the first, which holds the schema.
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096);
    file << std::string(fs::file_size(path_) - 4096, '\x5a');
  }
  const std::unique_ptr<JournalStore> store = Open();
  ASSERT_NE(store, nullptr);
  for (const absl::Status& status :
       {AppendOne(*store, "a", 100), store->ListStudies().status(),
        store->Read("a", 0,
                    [](v1::JournalEvent&&) { return absl::OkStatus(); })}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(path_), HasSubstr(".recover")));
  }
}

TEST_F(SqliteJournalStoreTest, NoticesAMissingOrForeignEvent) {
  {
    const std::unique_ptr<JournalStore> store = Open();
    for (int64_t size = 0; size < 5; ++size) {
      ASSERT_TRUE(AppendOne(*store, "a", size).ok());
      ASSERT_TRUE(AppendOne(*store, "b", size).ok());
    }
  }
  Sql("DELETE FROM event WHERE study_id = 'a' AND sequence = 3");
  Sql("UPDATE event SET payload = x'ff' WHERE study_id = 'b' AND sequence = 4");
  const std::unique_ptr<JournalStore> store = Open();
  const auto ignore = [](v1::JournalEvent&&) { return absl::OkStatus(); };
  absl::Status status = store->Read("a", 0, ignore);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("event 3 of study a"));
  status = store->Read("b", 0, ignore);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("event 4 of study b"));
}

TEST_F(SqliteJournalStoreTest, KeepsAnAppendOfManyEventsInOneRow) {
  {
    const std::unique_ptr<JournalStore> store = Open();
    std::vector<v1::JournalEvent> events(300);
    for (int i = 0; i < 300; ++i) {
      events[i].mutable_trial_proposed()->set_trial(i + 1);
      // Sizes of one, two and three bytes.
      events[i].mutable_trial_proposed()->set_origin(std::string(i < 100 ? 0
                                                                 : i < 200
                                                                     ? 1000
                                                                     : 20000,
                                                                 'x'));
    }
    ASSERT_TRUE(store->Append("a", 0, absl::MakeSpan(events)).ok());
    ASSERT_TRUE(AppendOne(*store, "a", 300).ok());
    EXPECT_EQ(Count(*store, "a"), 301);
  }
  // Cut short, or with a number of events that it does not hold.
  const std::unique_ptr<JournalStore> store = Open();
  const auto ignore = [](v1::JournalEvent&&) { return absl::OkStatus(); };
  for (const char* damage :
       {"payload = substr(payload, 1, length(payload) - 1)", "count = 0",
        "count = -1"}) {
    Sql(absl::StrCat("UPDATE event SET ", damage, " WHERE sequence = 300"));
    const absl::Status status = store->Read("a", 0, ignore);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << damage;
    EXPECT_THAT(std::string(status.message()), HasSubstr("event 300 of study"));
  }
}

TEST_F(SqliteJournalStoreTest, TakesOverTheFirstSchema) {
  {
    const std::unique_ptr<JournalStore> store = Open();
    for (int64_t size = 0; size < 5; ++size) {
      ASSERT_TRUE(AppendOne(*store, "a", size).ok());
    }
  }
  Sql("ALTER TABLE event DROP COLUMN count; PRAGMA user_version = 1");
  const std::unique_ptr<JournalStore> store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(Count(*store, "a"), 5);
  ASSERT_TRUE(AppendOne(*store, "a", 5).ok());
  EXPECT_EQ(Count(*store, "a"), 6);
}

TEST_F(SqliteJournalStoreTest, NamesAPlaceThatCannotBeOpened) {
  fs::create_directories(path_);  // A folder where the file should be.
  const absl::Status status = OpenStatus();
  EXPECT_THAT(status.code(), AnyOf(absl::StatusCode::kPermissionDenied,
                                   absl::StatusCode::kUnavailable));
  EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
}

}  // namespace
}  // namespace hwnas
