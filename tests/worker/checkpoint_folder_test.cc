#include "worker/train/checkpoint_folder.h"

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/synthetic_dataset.h"

namespace hwnas::worker {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Checkpoint After(int epochs, float parameter = 1) {
  Checkpoint checkpoint;
  checkpoint.epochs.resize(epochs);
  checkpoint.parameters = {parameter};
  return checkpoint;
}

class CheckpointFolderTest : public testing::Test {
 protected:
  CheckpointFolder Open(const std::string& owner,
                        int64_t max_bytes = 1 << 20) const {
    return CheckpointFolder(
        {.path = path_, .owner = owner, .max_bytes = max_bytes}, NullLogger());
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    if (!fs::is_directory(path_)) return names;
    for (const auto& file : fs::directory_iterator(path_)) {
      names.push_back(file.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  void Age(const std::string& name, std::chrono::hours age) const {
    fs::last_write_time(path_ + "/" + name,
                        fs::file_time_type::clock::now() - age);
  }

  const std::string path_ = TestFolder() + "/checkpoints";
};

TEST_F(CheckpointFolderTest, FindsTheFurthestOfAllOwners) {
  CheckpointFolder a = Open("a");
  CheckpointFolder b = Open("b");
  EXPECT_FALSE(a.Find("training", 10).has_value());
  a.Save("training", After(3, 30));
  b.Save("training", After(5, 50));
  b.Save("another", After(9, 90));
  EXPECT_THAT(Files(), SizeIs(3));
  EXPECT_THAT(a.Find("training", 10)->parameters, ElementsAre(50));
  EXPECT_THAT(b.Find("training", 4)->parameters, ElementsAre(30));
  EXPECT_FALSE(b.Find("training", 2).has_value());
}

TEST_F(CheckpointFolderTest, ReplacesItsOwnAndRemovesAllOfATraining) {
  CheckpointFolder a = Open("a");
  CheckpointFolder b = Open("b");
  a.Save("training", After(1, 10));
  a.Save("training", After(2, 20));
  EXPECT_THAT(Files(), SizeIs(1));
  EXPECT_THAT(a.Find("training", 9)->parameters, ElementsAre(20));
  b.Save("training", After(1));
  b.Save("another", After(1));
  a.Remove("training");
  EXPECT_THAT(Files(), SizeIs(1));
  EXPECT_TRUE(a.Find("another", 9).has_value());
}

TEST_F(CheckpointFolderTest, SetsADamagedOrForeignOneAside) {
  CheckpointFolder a = Open("a");
  CheckpointFolder b = Open("b");
  a.Save("training", After(2, 20));
  b.Save("training", After(5, 50));
  const std::string name = Files()[1];
  ASSERT_TRUE(absl::EndsWith(name, ".b.ckpt"));
  // Of another training, under the name of this one.
  WriteBytes(path_ + "/" + name, SerializeCheckpoint("another", After(5)));
  EXPECT_THAT(a.Find("training", 9)->parameters, ElementsAre(20));
  EXPECT_EQ(Files()[1], name + ".bad");
  // The next one takes its place.
  b.Save("training", After(6, 60));
  EXPECT_THAT(a.Find("training", 9)->parameters, ElementsAre(60));
}

TEST_F(CheckpointFolderTest, DeletesTheOldestBeyondItsSizeAndWhatIsTooOld) {
  const int64_t bytes =
      static_cast<int64_t>(SerializeCheckpoint("1", After(1)).size());
  for (const char* training : {"1", "2", "3", "4"}) {
    CheckpointFolder folder = Open("a");
    folder.Save(training, After(1));
  }
  const std::vector<std::string> files = Files();
  ASSERT_THAT(files, SizeIs(4));
  for (int i = 0; i < 3; ++i) Age(files[i], std::chrono::hours(10 - i));
  Age(files[3], std::chrono::hours(24 * 15));
  WriteBytes(path_ + "/notes.txt", std::string(1 << 20, 'x'));
  WriteBytes(path_ + "/" + files[0] + ".tmp.77", "half");
  Age(files[0] + ".tmp.77", std::chrono::hours(2));
  // Room for two.
  CheckpointFolder folder = Open("b", 2 * bytes + bytes / 2);
  folder.Save("5", After(1));
  const std::vector<std::string> left = Files();
  EXPECT_THAT(left, SizeIs(4));  // Two, the new one, and what is not ours.
  EXPECT_EQ(std::count(left.begin(), left.end(), files[0]), 0);
  EXPECT_EQ(std::count(left.begin(), left.end(), files[3]), 0);
  EXPECT_EQ(std::count(left.begin(), left.end(), "notes.txt"), 1);
}

TEST_F(CheckpointFolderTest, WritesNoneLargerThanAllMayBe) {
  CheckpointFolder folder = Open("a", 100);
  folder.Save("training", After(1));
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(CheckpointFolderTest, GoesOnWithoutAFolderItCannotHave) {
  WriteBytes(path_, "not a folder");
  CheckpointFolder folder = Open("a");
  folder.Save("training", After(1));
  EXPECT_FALSE(folder.Find("training", 9).has_value());
  folder.Remove("training");
}

}  // namespace
}  // namespace hwnas::worker
