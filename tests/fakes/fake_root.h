// A folder that stands for "/", with the files that the test writes.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "gtest/gtest.h"

namespace hwnas::agent {

class FakeRootTest : public ::testing::Test {
 protected:
  FakeRootTest()
      : root_(::testing::TempDir() + "/fake_root." + std::to_string(getpid())) {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
  }
  ~FakeRootTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& contents) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << contents;
  }
  std::string Read(const std::string& path) const {
    std::ostringstream contents;
    contents << std::ifstream(root_ + path, std::ios::binary).rdbuf();
    return contents.str();
  }
  void WriteCore(int core, const std::string& file, const std::string& value) {
    Write(CoreFile(core, file), value);
  }
  static std::string CoreFile(int core, const std::string& file) {
    return "/sys/devices/system/cpu/cpu" + std::to_string(core) + "/" + file;
  }

  const std::string root_;
};

}  // namespace hwnas::agent
