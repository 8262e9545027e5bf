#include "store/sqlite_backup.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "store/journal_store.h"

namespace hwnas {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

void Silent(int64_t, int64_t) {}

absl::Status AppendOne(JournalStore& store, int64_t size) {
  v1::JournalEvent event;
  event.mutable_trial_proposed()->set_trial(size + 1);
  event.mutable_trial_proposed()->set_origin(std::string(1000, 'x'));
  return store.Append("a", size, {&event, 1});
}

int64_t Count(JournalStore& store) {
  int64_t count = 0;
  EXPECT_TRUE(store
                  .Read("a", 0,
                        [&](v1::JournalEvent&& event) {
                          EXPECT_EQ(event.trial_proposed().trial(), ++count);
                          return absl::OkStatus();
                        })
                  .ok());
  return count;
}

class SqliteBackupTest : public ::testing::Test {
 protected:
  SqliteBackupTest()
      : folder_(absl::StrCat(::testing::TempDir(), "/sqlite_backup_test_",
                             getpid())),
        path_(folder_ + "/journal.db"),
        copy_(folder_ + "/copy.db") {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~SqliteBackupTest() override { fs::remove_all(folder_); }

  const std::string folder_;
  const std::string path_;
  const std::string copy_;
};

TEST_F(SqliteBackupTest, IsConsistentWhileAThreadAppends) {
  const std::unique_ptr<JournalStore> store =
      *OpenSqliteJournalStore({.path = path_});
  std::atomic<int64_t> size = 0;
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    while (!stop) {
      ASSERT_TRUE(AppendOne(*store, size).ok());
      ++size;
    }
  });
  while (size < 20) std::this_thread::yield();
  for (int i = 0; i < 5; ++i) {
    const std::string copy = absl::StrCat(copy_, i);
    const int64_t acknowledged = size;
    const absl::Status status = BackupSqliteJournal(path_, copy, Silent);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_FALSE(fs::exists(copy + ".partial"));
    const std::unique_ptr<JournalStore> copied =
        *OpenSqliteJournalStore({.path = copy});
    EXPECT_GE(Count(*copied), acknowledged);
  }
  stop = true;
  writer.join();
  EXPECT_EQ(Count(*store), size);
}

TEST_F(SqliteBackupTest, TellsHowFarItIs) {
  {
    const auto store = *OpenSqliteJournalStore({.path = path_});
    for (int64_t size = 0; size < 50; ++size) {
      ASSERT_TRUE(AppendOne(*store, size).ok());
    }
  }
  int64_t done = 0, total = 0;
  ASSERT_TRUE(BackupSqliteJournal(path_, copy_, [&](int64_t d, int64_t t) {
                done = d;
                total = t;
              }).ok());
  EXPECT_GT(total, 10);
  EXPECT_EQ(done, total);
}

TEST_F(SqliteBackupTest, OverwritesNothing) {
  OpenSqliteJournalStore({.path = path_})->reset();
  ASSERT_TRUE(WriteFileAtomically(copy_, "precious").ok());
  EXPECT_EQ(BackupSqliteJournal(path_, copy_, Silent).code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(*ReadFile(copy_), "precious");
}

TEST_F(SqliteBackupTest, LeavesNoCopyOfWhatIsNoJournal) {
  EXPECT_EQ(BackupSqliteJournal(path_, copy_, Silent).code(),
            absl::StatusCode::kNotFound);
  EXPECT_FALSE(fs::exists(path_));
  std::ofstream(path_) << std::string(10'000, 'z');
  const absl::Status status = BackupSqliteJournal(path_, copy_, Silent);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
  EXPECT_FALSE(fs::exists(copy_));
  EXPECT_FALSE(fs::exists(copy_ + ".partial"));
}

}  // namespace
}  // namespace hwnas
