// A file system in a temporary folder, for code that reads /sys and /proc.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"

namespace hwnas::agent {

class FakeRoot {
 public:
  FakeRoot()
      : path_(::testing::TempDir() + "/power_root." +
              std::to_string(getpid())) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~FakeRoot() { std::filesystem::remove_all(path_); }
  FakeRoot(const FakeRoot&) = delete;
  FakeRoot& operator=(const FakeRoot&) = delete;

  // `file` begins with "/".
  void Write(const std::string& file, const std::string& contents) const {
    const std::filesystem::path path = path_ + file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << contents;
  }
  void Remove(const std::string& file) const {
    std::filesystem::remove_all(path_ + file);
  }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

}  // namespace hwnas::agent
