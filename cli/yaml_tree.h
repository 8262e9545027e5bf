// YAML as a tree of plain values with positions.
//
// The wire of study files is people: the tree keeps where each value stands, so
// that whoever interprets it can point there. Bounded in every way: nesting,
// number of values, no aliases (hence no "billion laughs").
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "cli/diagnostic.h"

namespace hwnas::cli {

inline constexpr int kMaxYamlDepth = 32;
inline constexpr int kMaxYamlNodes = 200'000;

struct YamlEntry;

struct YamlNode {
  enum Kind { kNull, kScalar, kSequence, kMap };
  Kind kind = kNull;
  int line = 0;    // From 1.
  int column = 0;  // From 1, in characters.
  // kScalar.
  std::string text;
  bool quoted = false;
  // kSequence.
  std::vector<YamlNode> items;
  // kMap, in the order of the file; keys may repeat.
  std::vector<YamlEntry> entries;

  // Characters that the value takes where it begins.
  int length() const;
  // "a list", "a map", "nothing", "the text \"x\"", or the plain scalar.
  std::string Describe() const;
};

struct YamlEntry {
  YamlNode key;  // A scalar.
  YamlNode value;
};

// The only document of `text`, or what is wrong with it.
std::variant<YamlNode, Diagnostic> ParseYaml(const std::string& text);

}  // namespace hwnas::cli
