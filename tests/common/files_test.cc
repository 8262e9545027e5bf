#include "common/files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "common/secret_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

std::string FreshDir(const std::string& name) {
  const std::string dir = ::testing::TempDir() + "/" + name;
  fs::remove_all(dir);
  fs::create_directories(dir);
  return dir;
}

TEST(WriteFileAtomically, ReplacesAndLeavesNoTemporary) {
  const std::string dir = FreshDir("files_test");
  const std::string path = dir + "/a";
  ASSERT_TRUE(WriteFileAtomically(path, "one").ok());
  ASSERT_TRUE(WriteFileAtomically(path, "two").ok());
  EXPECT_EQ(*ReadFile(path), "two");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir), {}), 1);
}

TEST(WriteFileAtomically, NamesTheFolderThatIsMissing) {
  const absl::Status status = WriteFileAtomically("/no/such/folder/a", "x");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/no/such/folder/a"));
}

TEST(ReadFile, SaysWhatIsWrong) {
  EXPECT_EQ(ReadFile("/no/such").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadFile("/tmp").status().code(),
            absl::StatusCode::kInvalidArgument);
  const std::string path = FreshDir("files_test_big") + "/big";
  ASSERT_TRUE(WriteFileAtomically(path, std::string(100, 'x')).ok());
  EXPECT_EQ(ReadFile(path, 99).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(ReadFile(path, 100).ok());
}

TEST(ReadSecretFile, TakesOnlyWhatOthersCannotRead) {
  const std::string path = FreshDir("files_test_secret") + "/key";
  ASSERT_TRUE(WriteSecretFile(path, "secret").ok());
  EXPECT_EQ(*ReadSecretFile(path, 100), "secret");
  EXPECT_EQ(*ReadServiceSecretFile(path, 100), "secret");
  for (const mode_t mode : {0640, 0620, 0604, 0444}) {
    ASSERT_EQ(chmod(path.c_str(), mode), 0);
    const absl::Status status = ReadSecretFile(path, 100).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), HasSubstr("chmod 600 " + path));
    // A file of root's is readable for the group of the service it is for.
    EXPECT_EQ(ReadServiceSecretFile(path, 100).ok(),
              mode == 0640 && geteuid() == 0)
        << mode;
  }
}

}  // namespace
}  // namespace hwnas
