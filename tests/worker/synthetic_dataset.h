// A small data set that a network can learn, written as IDX files.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "common/rng.h"
#include "gtest/gtest.h"
#include "nas/graph/model_graph.h"

namespace hwnas::worker {

// A folder of its own for the running test, empty at first.
inline std::string TestFolder() {
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  std::string name = std::string(info->test_suite_name()) + "." + info->name();
  for (char& c : name) {
    if (c == '/') c = '_';
  }
  const std::string folder = testing::TempDir() + "hwnas_" + name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

inline void WriteBytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string BigEndian(uint32_t value) {
  std::string bytes(4, '\0');
  for (int i = 0; i < 4; ++i)
    bytes[i] = static_cast<char>(value >> (24 - 8 * i));
  return bytes;
}
inline std::string IdxImages(uint32_t count, uint32_t height, uint32_t width,
                             const std::string& pixels) {
  return BigEndian(0x803) + BigEndian(count) + BigEndian(height) +
         BigEndian(width) + pixels;
}
inline std::string IdxLabels(uint32_t count, const std::string& labels) {
  return BigEndian(0x801) + BigEndian(count) + labels;
}

// Images of 8x8 pixels: noise, and a bright bar whose row is the class (0..3).
inline void WriteBars(const std::string& folder, int train, int test) {
  Rng rng(1);
  for (const bool is_train : {true, false}) {
    const int count = is_train ? train : test;
    std::string pixels;
    std::string labels;
    for (int i = 0; i < count; ++i) {
      const int label = i % 4;
      labels += static_cast<char>(label);
      for (int y = 0; y < 8; ++y) {
        for (int x = 0; x < 8; ++x) {
          const int noise = static_cast<int>(rng.Below(80));
          pixels += static_cast<char>(y / 2 == label ? 150 + noise : noise);
        }
      }
    }
    const std::string part = is_train ? "/train" : "/t10k";
    WriteBytes(folder + part + "-images-idx3-ubyte",
               IdxImages(count, 8, 8, pixels));
    WriteBytes(folder + part + "-labels-idx1-ubyte", IdxLabels(count, labels));
  }
}

inline ModelGraph SmallNetwork(int classes = 10) {
  GraphBuilder b;
  int x = b.Input({1, 8, 8});
  x = b.Relu(
      b.BatchNorm(b.Conv2d(x, {.out_channels = 8, .kernel = 3, .padding = 1})));
  x = b.Dropout(b.Flatten(b.AvgPool(x, {.kernel = 2, .stride = 2})), 0.1);
  x = b.Linear(x, classes);
  return *std::move(b).Build();
}

}  // namespace hwnas::worker
