// What the programs' sources say, to hold files of deploy/ against.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/files.h"

namespace hwnas {

inline std::string SourceFile(const std::string& path) {
  const auto text = ReadFile(absl::StrCat(HWNAS_SOURCE_DIR, "/", path));
  return text.ok() ? *text : "";
}

// Flags of "hwnas-worker" and the like.
inline std::set<std::string> FlagsOf(const std::string& program) {
  std::set<std::string> flags;
  const std::string source = SourceFile(
      absl::StrCat(program.substr(std::string("hwnas-").size()), "/main.cc"));
  const std::vector<std::string> parts = absl::StrSplit(source, "ABSL_FLAG(");
  for (size_t i = 1; i < parts.size(); ++i) {
    // type, name, default, ...
    const std::vector<std::string> words =
        absl::StrSplit(parts[i], absl::MaxSplits(", ", 2));
    if (words.size() == 3) flags.insert(words[1]);
  }
  return flags;
}

}  // namespace hwnas
