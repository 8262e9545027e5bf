// hwnas store, on real stores in folders.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "cli/context.h"
#include "common/files.h"
#include "common/secret_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "store/artifact_store.h"
#include "store/journal_store.h"
#include "store/leader_lease.h"
#include "store/store_folder.h"
#include "tests/fakes/postgres_server.h"

namespace hwnas::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
namespace fs = std::filesystem;

class StoreCommandsTest : public ::testing::Test {
 protected:
  StoreCommandsTest()
      : dir_(absl::StrCat(::testing::TempDir(), "/hwnas_store_commands_",
                          getpid())),
        store_(dir_ + "/store") {
    unsetenv("HWNAS_STORE_URL");
    fs::remove_all(dir_);
    fs::create_directories(dir_);
    Fill("a", 30);
    Fill("b", 1);
    weights_ = *(*OpenFolderArtifactStore({.folder = ArtifactsPath(store_)}))
                    ->Put("weights");
  }
  ~StoreCommandsTest() override { fs::remove_all(dir_); }

  void Fill(const std::string& study, int count) {
    const auto store = *OpenSqliteJournalStore({.path = JournalPath(store_)});
    std::vector<v1::JournalEvent> events(count);
    for (int i = 0; i < count; ++i) {
      events[i].mutable_trial_proposed()->set_trial(i + 1);
    }
    ASSERT_TRUE(store->Append(study, 0, absl::MakeSpan(events)).ok());
  }
  static int64_t Count(JournalStore& store, const std::string& study) {
    int64_t count = 0;
    (void)store.Read(study, 0, [&](v1::JournalEvent&&) {
      ++count;
      return absl::OkStatus();
    });
    return count;
  }
  int64_t CountIn(const std::string& folder, const std::string& study) {
    return Count(**OpenSqliteJournalStore({.path = JournalPath(folder)}),
                 study);
  }

  int Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "store");
    out_.str("");
    err_.str("");
    Context context;
    context.out = &out_;
    context.err = &err_;
    return RunCli(std::move(arguments), std::move(context));
  }

  const std::string dir_;
  const std::string store_;
  std::string weights_;
  std::ostringstream out_, err_;
};

TEST_F(StoreCommandsTest, RestoresWhatItHasBackedUp) {
  const std::string backup = dir_ + "/backup", restored = dir_ + "/restored";
  ASSERT_EQ(Run({"backup", store_, backup}), kExitOk) << err_.str();
  EXPECT_THAT(err_.str(), AllOf(HasSubstr("100 %"), HasSubstr("1 artifacts")));
  Fill("later", 5);
  ASSERT_EQ(Run({"restore", backup, restored}), kExitOk) << err_.str();
  EXPECT_EQ(CountIn(restored, "a"), 30);
  EXPECT_EQ(CountIn(restored, "b"), 1);
  EXPECT_EQ(CountIn(restored, "later"), 0);
  EXPECT_EQ(*(*OpenFolderArtifactStore({.folder = ArtifactsPath(restored)}))
                 ->Get(weights_),
            "weights");
  EXPECT_FALSE(fs::exists(backup + ".partial"));
}

TEST_F(StoreCommandsTest, OverwritesNothing) {
  const std::string backup = dir_ + "/backup";
  ASSERT_EQ(Run({"backup", store_, backup}), kExitOk) << err_.str();
  EXPECT_EQ(Run({"backup", store_, backup}), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("exists already"));
  EXPECT_EQ(Run({"restore", backup, store_}), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("holds studies already"));
  EXPECT_EQ(CountIn(store_, "a"), 30);
}

TEST_F(StoreCommandsTest, RestoresBesideNothingOfAnotherJournal) {
  const std::string backup = dir_ + "/backup", restored = dir_ + "/restored";
  ASSERT_EQ(Run({"backup", store_, backup}), kExitOk) << err_.str();
  fs::create_directories(restored);
  // SQLite would play it over the backup.
  const std::string wal = JournalPath(restored) + "-wal";
  std::ofstream(wal) << "of a journal that was moved away";
  EXPECT_EQ(Run({"restore", backup, restored}), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("journal.db-wal"));
  fs::remove(wal);
  EXPECT_EQ(Run({"restore", backup, restored}), kExitOk) << err_.str();
  EXPECT_EQ(CountIn(restored, "a"), 30);
}

TEST_F(StoreCommandsTest, SaysThatThereIsNothingToBackUpOrRestore) {
  EXPECT_EQ(Run({"backup", dir_ + "/none", dir_ + "/backup"}), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("no journal"));
  EXPECT_FALSE(fs::exists(dir_ + "/none"));
  EXPECT_FALSE(fs::exists(dir_ + "/backup"));
  EXPECT_FALSE(fs::exists(dir_ + "/backup.partial"));
  EXPECT_EQ(Run({"restore", dir_ + "/none", dir_ + "/restored"}),
            kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("is no backup"));
  EXPECT_EQ(Run({"export", dir_ + "/file", "--store", dir_ + "/none"}),
            kExitBadInput);
  EXPECT_FALSE(fs::exists(dir_ + "/none"));
}

TEST_F(StoreCommandsTest, MovesChosenStudies) {
  const std::string file = dir_ + "/one", target = dir_ + "/target";
  ASSERT_EQ(Run({"export", file, "--store", store_, "--study", "studies/a"}),
            kExitOk)
      << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("1 journals -> " + file));
  ASSERT_EQ(Run({"import", file, "--store", target}), kExitOk) << err_.str();
  EXPECT_THAT(err_.str(), HasSubstr("study a: 30 events"));
  EXPECT_EQ(CountIn(target, "a"), 30);
  EXPECT_EQ(CountIn(target, "b"), 0);
}

TEST_F(StoreCommandsTest, ImportsIntoNoStoreInUse) {
  const std::string file = dir_ + "/all", target = dir_ + "/target";
  ASSERT_EQ(Run({"export", file, "--store", store_}), kExitOk) << err_.str();
  fs::create_directories(target);
  const auto lock = StoreFolderLock::Take(target);
  ASSERT_TRUE(lock.ok());
  EXPECT_NE(Run({"import", file, "--store", target}), kExitOk);
  EXPECT_THAT(err_.str(), HasSubstr("in use by another controller"));
}

TEST_F(StoreCommandsTest, MovesEverythingToPostgresAndBack) {
  HWNAS_REQUIRE_POSTGRES(server);
  const std::string url_file = dir_ + "/url";
  ASSERT_TRUE(WriteSecretFile(url_file, server.url() + "\n").ok());
  const std::string there = dir_ + "/there", back = dir_ + "/back";
  ASSERT_EQ(Run({"export", there, "--store", store_}), kExitOk) << err_.str();
  {
    const auto lease =
        *OpenPostgresLease({.url = server.url(), .holder = "host-a"});
    ASSERT_TRUE(lease->TryAcquire().ok());
    EXPECT_EQ(Run({"import", there, "--store-url-file", url_file}),
              kExitFailure);
    EXPECT_THAT(err_.str(), HasSubstr("host-a leads"));
    ASSERT_TRUE(lease->Release().ok());
  }
  ASSERT_EQ(Run({"import", there, "--store-url-file", url_file}), kExitOk)
      << err_.str();
  setenv("HWNAS_STORE_URL", server.url().c_str(), 1);
  ASSERT_EQ(Run({"export", back}), kExitOk) << err_.str();
  EXPECT_EQ(*ReadFile(back), *ReadFile(there));
}

TEST_F(StoreCommandsTest, AsksForAStore) {
  EXPECT_EQ(Run({"export", dir_ + "/file"}), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("no store: give --store DIR"));
  EXPECT_EQ(Run({"import", dir_ + "/none", "--store", store_}), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr(dir_ + "/none"));
  ASSERT_TRUE(WriteSecretFile(dir_ + "/empty", "\n").ok());
  EXPECT_EQ(
      Run({"export", dir_ + "/file", "--store-url-file", dir_ + "/empty"}),
      kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("is empty"));
}

TEST_F(StoreCommandsTest, RefusesAConnectionStringThatOthersMayRead) {
  const std::string url = dir_ + "/url";
  ASSERT_TRUE(
      WriteFileAtomically(url, "postgresql://u:hidden@127.0.0.1:1/d\n").ok());
  EXPECT_NE(Run({"export", dir_ + "/file", "--store-url-file", url}), kExitOk);
  EXPECT_THAT(err_.str(),
              AllOf(HasSubstr("chmod 600 " + url), Not(HasSubstr("hidden"))));
}

}  // namespace
}  // namespace hwnas::cli
