#include "store/artifact_store.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/digest.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

class FolderArtifactStoreTest : public ::testing::Test {
 protected:
  FolderArtifactStoreTest()
      : folder_(absl::StrCat(::testing::TempDir(), "/artifact_store_test_",
                             getpid())) {
    fs::remove_all(folder_);
    Open();
  }
  ~FolderArtifactStoreTest() override { fs::remove_all(folder_); }

  void Open() {
    absl::StatusOr<std::unique_ptr<ArtifactStore>> store =
        OpenFolderArtifactStore(
            {.folder = folder_, .max_artifact_bytes = 1000});
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  std::string PathOf(const std::string& digest) {
    return absl::StrCat(folder_, "/", digest.substr(0, 2), "/", digest);
  }

  std::vector<std::string> Digests() {
    std::vector<std::string> digests;
    const std::vector<StoredArtifact> list = *store_->List();
    for (const StoredArtifact& artifact : list) {
      digests.push_back(artifact.digest);
    }
    return digests;
  }

  const std::string folder_;
  std::unique_ptr<ArtifactStore> store_;
};

TEST_F(FolderArtifactStoreTest, ReturnsWhatWasPut) {
  const std::string data("weights\0with zeros", 18);
  const absl::StatusOr<std::string> digest = store_->Put(data);
  ASSERT_TRUE(digest.ok()) << digest.status();
  EXPECT_EQ(*digest, Sha256Hex(data));
  EXPECT_EQ(*store_->Get(*digest), data);
  Open();  // It lies on disk.
  EXPECT_EQ(*store_->Get(*digest), data);
}

TEST_F(FolderArtifactStoreTest, TakesAnEmptyArtifactAndRepeats) {
  const std::string digest = *store_->Put("");
  EXPECT_EQ(*store_->Get(digest), "");
  EXPECT_EQ(*store_->Put(""), digest);
  EXPECT_THAT(Digests(), ElementsAre(digest));
}

TEST_F(FolderArtifactStoreTest, KnowsWhenAnArtifactWasPutLast) {
  const std::string digest = *store_->Put("x");
  const auto long_ago =
      fs::last_write_time(PathOf(digest)) - std::chrono::hours(48);
  fs::last_write_time(PathOf(digest), long_ago);
  Open();
  EXPECT_LT((*store_->List())[0].put_time, absl::Now() - absl::Hours(47));
  ASSERT_TRUE(store_->Put("x").ok());
  EXPECT_GT((*store_->List())[0].put_time, absl::Now() - absl::Hours(1));
}

TEST_F(FolderArtifactStoreTest, RefusesWhatIsTooLarge) {
  EXPECT_TRUE(store_->Put(std::string(1000, 'x')).ok());
  const absl::Status status = store_->Put(std::string(1001, 'x')).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("1001 bytes is too large: expected at most 1000"));
}

TEST_F(FolderArtifactStoreTest, TakesNoMoreThanItMay) {
  const auto open = [&] {
    store_ = *OpenFolderArtifactStore({.folder = folder_,
                                       .max_artifact_bytes = 1000,
                                       .max_total_bytes = 1000});
  };
  open();
  const std::string a = *store_->Put(std::string(600, 'a'));
  const absl::Status full = store_->Put(std::string(401, 'b')).status();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()),
              HasSubstr("it has 600 of 1000 bytes and 401 more do not fit"));
  EXPECT_TRUE(store_->Put(std::string(600, 'a')).ok());  // It is there.
  EXPECT_TRUE(store_->Put(std::string(400, 'c')).ok());
  // What lies there counts after a restart, what is deleted does not.
  open();
  EXPECT_FALSE(store_->Put("d").ok());
  ASSERT_TRUE(store_->Delete(a).ok());
  ASSERT_TRUE(store_->Delete(a).ok());
  EXPECT_TRUE(store_->Put(std::string(600, 'd')).ok());
  EXPECT_FALSE(store_->Put("e").ok());
}

TEST_F(FolderArtifactStoreTest, LeavesWhatAnotherProcessIsWriting) {
  const std::string temporary = PathOf(*store_->Put("x")) + ".tmp.123";
  std::ofstream(temporary) << "half";
  ASSERT_TRUE(
      OpenFolderArtifactStore({.folder = folder_, .shared = true}).ok());
  EXPECT_TRUE(fs::exists(temporary));
}

TEST_F(FolderArtifactStoreTest, RefusesNamesThatAreNoDigest) {
  const std::string digest = *store_->Put("x");
  for (const std::string& name :
       {std::string(), std::string("../../../etc/passwd"), digest.substr(0, 63),
        digest + "0", std::string(64, 'A'), std::string(64, '/'),
        digest.substr(0, 63) + std::string(1, '\0')}) {
    EXPECT_EQ(store_->Get(name).status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(store_->Delete(name).code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(FolderArtifactStoreTest, SaysThatNoneIsThere) {
  EXPECT_EQ(store_->Get(Sha256Hex("absent")).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(FolderArtifactStoreTest, NoticesDamageAndRepairsItWhenPutAgain) {
  const std::string digest = *store_->Put("precious");
  std::ofstream(PathOf(digest)) << "precioux";
  EXPECT_EQ(store_->Get(digest).status().code(), absl::StatusCode::kDataLoss);
  ASSERT_TRUE(store_->Put("precious").ok());
  EXPECT_EQ(*store_->Get(digest), "precious");
}

TEST_F(FolderArtifactStoreTest, DeletesAlsoWhatIsGone) {
  const std::string digest = *store_->Put("x");
  EXPECT_TRUE(store_->Delete(digest).ok());
  EXPECT_TRUE(store_->Delete(digest).ok());
  EXPECT_EQ(store_->Get(digest).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Digests(), IsEmpty());
}

TEST_F(FolderArtifactStoreTest, IgnoresStrayFilesAndClearsTemporaries) {
  const std::string digest = *store_->Put("x");
  const std::string temporary = PathOf(digest) + ".tmp.123";
  std::ofstream(temporary) << "half";
  std::ofstream(folder_ + "/notes.txt") << "stray";
  // A digest in the wrong folder cannot be fetched, so it is not listed.
  fs::create_directories(folder_ + "/zz");
  std::ofstream(folder_ + "/zz/" + digest) << "x";
  Open();
  EXPECT_FALSE(fs::exists(temporary));
  EXPECT_THAT(Digests(), ElementsAre(digest));
}

TEST_F(FolderArtifactStoreTest, TakesTheSameArtifactFromManyThreads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) {
        const absl::StatusOr<std::string> digest =
            store_->Put(absl::StrCat("artifact ", i));
        ASSERT_TRUE(digest.ok()) << digest.status();
        ASSERT_EQ(*store_->Get(*digest), absl::StrCat("artifact ", i));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(store_->List()->size(), 10);
}

TEST(OpenFolderArtifactStore, NamesAFolderThatCannotBe) {
  const std::string file =
      absl::StrCat(::testing::TempDir(), "/artifact_file_", getpid());
  std::ofstream(file) << "x";
  const absl::Status status =
      OpenFolderArtifactStore({.folder = file + "/sub"}).status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(file));
  fs::remove(file);
}

}  // namespace
}  // namespace hwnas
