#include "store/journal_file.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/faulty_journal_store.h"
#include "tests/fakes/postgres_server.h"

namespace hwnas {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

void Silent(const TransferProgress&) {}

void Fill(JournalStore& store, const std::string& study, int count,
          const std::string& origin = "random") {
  std::vector<v1::JournalEvent> events(count);
  for (int i = 0; i < count; ++i) {
    events[i].mutable_trial_proposed()->set_trial(i + 1);
    events[i].mutable_trial_proposed()->set_origin(origin);
  }
  ASSERT_TRUE(store.Append(study, 0, absl::MakeSpan(events)).ok());
}

// Everything in a store, as text.
std::string Dump(JournalStore& store) {
  std::string text;
  const std::vector<std::string> studies = *store.ListStudies();
  for (const std::string& study : studies) {
    absl::StrAppend(&text, "study ", study, "\n");
    EXPECT_TRUE(store
                    .Read(study, 0,
                          [&](v1::JournalEvent&& event) {
                            absl::StrAppend(&text, event.ShortDebugString(),
                                            "\n");
                            return absl::OkStatus();
                          })
                    .ok());
  }
  return text;
}

class JournalFileTest : public ::testing::Test {
 protected:
  JournalFileTest()
      : folder_(absl::StrCat(::testing::TempDir(), "/journal_file_test_",
                             getpid())),
        file_(folder_ + "/journals") {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    Fill(*source_, "a", 3000);
    Fill(*source_, "b", 1);
  }
  ~JournalFileTest() override { fs::remove_all(folder_); }

  absl::Status Export(const std::vector<std::string>& studies = {"a", "b"}) {
    return ExportJournals(*source_, studies, file_, Silent);
  }

  const std::string folder_;
  const std::string file_;
  const std::unique_ptr<JournalStore> source_ = CreateMemoryJournalStore();
  const std::unique_ptr<JournalStore> target_ = CreateMemoryJournalStore();
};

TEST_F(JournalFileTest, CarriesStudiesFromStoreToStore) {
  std::vector<std::string> told;
  ASSERT_TRUE(Export().ok());
  ASSERT_TRUE(ImportJournals(file_, *target_, [&](const TransferProgress& at) {
                told.push_back(
                    absl::StrCat(at.study_id, at.study, " ", at.events));
              }).ok());
  EXPECT_EQ(Dump(*target_), Dump(*source_));
  EXPECT_THAT(told, ElementsAre("a1 3000", "b2 1"));
}

TEST_F(JournalFileTest, GoesFromSqliteToPostgresAndBack) {
  HWNAS_REQUIRE_POSTGRES(server);
  ASSERT_TRUE(Export().ok());
  std::vector<std::unique_ptr<JournalStore>> stores;
  stores.push_back(*OpenSqliteJournalStore({.path = folder_ + "/one.db"}));
  stores.push_back(*OpenPostgresJournalStore({.url = server.url()}));
  stores.push_back(*OpenSqliteJournalStore({.path = folder_ + "/two.db"}));
  for (const auto& store : stores) {
    absl::Status status = ImportJournals(file_, *store, Silent);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(Dump(*store), Dump(*source_));
    fs::remove(file_);
    status = ExportJournals(*store, *store->ListStudies(), file_, Silent);
    ASSERT_TRUE(status.ok()) << status;
  }
}

TEST_F(JournalFileTest, OverwritesNoFile) {
  ASSERT_TRUE(WriteFileAtomically(file_, "precious").ok());
  EXPECT_EQ(Export().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(*ReadFile(file_), "precious");
}

TEST_F(JournalFileTest, LeavesNothingIfAStudyDoesNotExist) {
  const absl::Status status = Export({"a", "nope"});
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("nope"));
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(JournalFileTest, ChangesNoStudyOfAnotherHistory) {
  ASSERT_TRUE(Export().ok());
  Fill(*target_, "b", 1, "another");
  const std::string before = Dump(*target_);
  absl::Status status = ImportJournals(file_, *target_, Silent);
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("study b"));
  EXPECT_EQ(Dump(*target_), before);
  // One that went on since is not the same either.
  const std::unique_ptr<JournalStore> longer = CreateMemoryJournalStore();
  Fill(*longer, "b", 2);
  status = ImportJournals(file_, *longer, Silent);
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << status;
}

TEST_F(JournalFileTest, CompletesAnInterruptedImport) {
  ASSERT_TRUE(Export().ok());
  Fill(*target_, "a", 1234);
  ASSERT_TRUE(ImportJournals(file_, *target_, Silent).ok());
  EXPECT_EQ(Dump(*target_), Dump(*source_));
  // And a second time changes nothing.
  ASSERT_TRUE(ImportJournals(file_, *target_, Silent).ok());
  EXPECT_EQ(Dump(*target_), Dump(*source_));
}

TEST_F(JournalFileTest, PassesTheStoresErrorOnAndCanBeTriedAgain) {
  ASSERT_TRUE(Export().ok());
  FaultyJournalStore faulty;
  faulty.FailWith(absl::ResourceExhaustedError("full"));
  EXPECT_EQ(ImportJournals(file_, faulty, Silent),
            absl::ResourceExhaustedError("full"));
  faulty.FailWith(absl::OkStatus());
  ASSERT_TRUE(ImportJournals(file_, faulty, Silent).ok());
  EXPECT_EQ(Dump(faulty), Dump(*source_));
}

// Cut anywhere, or with any byte changed, the file is refused as a whole.
TEST_F(JournalFileTest, WritesNothingOfADamagedFile) {
  const std::unique_ptr<JournalStore> small = CreateMemoryJournalStore();
  Fill(*small, "a", 3);
  Fill(*small, "b", 1);
  ASSERT_TRUE(
      ExportJournals(*small, *small->ListStudies(), file_, Silent).ok());
  const std::string good = *ReadFile(file_);
  for (size_t i = 0; i < good.size(); ++i) {
    for (const std::string& bad :
         {good.substr(0, i), good.substr(0, i) +
                                 static_cast<char>(good[i] ^ 0x11) +
                                 good.substr(i + 1)}) {
      std::ofstream(file_, std::ios::binary) << bad;
      const absl::Status status = ImportJournals(file_, *target_, Silent);
      EXPECT_TRUE(absl::IsDataLoss(status) || absl::IsInvalidArgument(status) ||
                  absl::IsFailedPrecondition(status))
          << i << ": " << status;
    }
  }
  EXPECT_THAT(*target_->ListStudies(), IsEmpty());
}

TEST_F(JournalFileTest, RefusesIdsThatNoStudyHas) {
  for (const std::string& id :
       {std::string("a\0b", 3), std::string("a b"), std::string("\xff"),
        std::string("../a"), std::string(64, 'a')}) {
    const std::unique_ptr<JournalStore> odd = CreateMemoryJournalStore();
    Fill(*odd, "a", 1);
    Fill(*odd, id, 1);
    fs::remove(file_);
    ASSERT_TRUE(ExportJournals(*odd, {{"a", id}}, file_, Silent).ok());
    const absl::Status status = ImportJournals(file_, *target_, Silent);
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(*target_->ListStudies(), IsEmpty());
  }
}

TEST_F(JournalFileTest, RefusesOtherFilesAndNewerFormats) {
  std::ofstream(file_) << "apiVersion: hwnas/v1\n";
  EXPECT_EQ(ImportJournals(file_, *target_, Silent).code(),
            absl::StatusCode::kInvalidArgument);
  std::ofstream(file_) << "hwnas journals 2\n";
  const absl::Status status = ImportJournals(file_, *target_, Silent);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("format 2"));
  EXPECT_EQ(ImportJournals(folder_ + "/none", *target_, Silent).code(),
            absl::StatusCode::kNotFound);
  EXPECT_THAT(*target_->ListStudies(), IsEmpty());
}

}  // namespace
}  // namespace hwnas
