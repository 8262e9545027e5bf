// Finds the public benchmark tables that some tests check against. They are not
// part of the project: $HWNAS_DATA_DIR, else ../shared/data beside the
// checkout.
#pragma once

#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"

namespace hwnas {

inline std::optional<std::string> BenchmarkDataDir() {
  const char* set = std::getenv("HWNAS_DATA_DIR");
  const std::string dir =
      set != nullptr ? set : std::string(HWNAS_SOURCE_DIR) + "/../shared/data";
  if (!std::filesystem::exists(dir + "/oracles.csv")) return std::nullopt;
  return dir;
}

// A CSV file (plain or gzip) without quoting, as columns of text.
struct CsvTable {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;

  int Column(const std::string& name) const {
    for (size_t i = 0; i < header.size(); ++i) {
      if (header[i] == name) return static_cast<int>(i);
    }
    return -1;
  }
};

inline CsvTable ReadCsv(const std::string& path) {
  CsvTable table;
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) return table;
  std::string text;
  char buffer[1 << 16];
  int n;
  while ((n = gzread(file, buffer, sizeof(buffer))) > 0) text.append(buffer, n);
  gzclose(file);
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    std::vector<std::string> cells = absl::StrSplit(line, ',');
    if (table.header.empty()) {
      table.header = std::move(cells);
    } else {
      table.rows.push_back(std::move(cells));
    }
  }
  return table;
}

}  // namespace hwnas

// In a test body: `HWNAS_REQUIRE_DATA(dir);` then use `dir`.
#define HWNAS_REQUIRE_DATA(dir)                                              \
  const auto hwnas_data_dir_ = ::hwnas::BenchmarkDataDir();                  \
  if (!hwnas_data_dir_) {                                                    \
    GTEST_SKIP() << "benchmark tables not found: set HWNAS_DATA_DIR or put " \
                    "them in ../shared/data";                                \
  }                                                                          \
  const std::string& dir = *hwnas_data_dir_
