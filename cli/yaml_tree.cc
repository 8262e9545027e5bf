#include "cli/yaml_tree.h"

#include <algorithm>
#include <sstream>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/exceptions.h"
#include "yaml-cpp/parser.h"

namespace hwnas::cli {
namespace {

// yaml-cpp counts bytes; people count characters.
class Columns {
 public:
  explicit Columns(absl::string_view text)
      : lines_(absl::StrSplit(text, '\n')) {}

  int Of(const YAML::Mark& mark) const {
    if (mark.line < 0 || mark.line >= static_cast<int>(lines_.size())) {
      return mark.column + 1;
    }
    const absl::string_view before =
        lines_[mark.line].substr(0, std::max(0, mark.column));
    return 1 + static_cast<int>(
                   std::count_if(before.begin(), before.end(),
                                 [](char c) { return (c & 0xc0) != 0x80; }));
  }

 private:
  const std::vector<absl::string_view> lines_;
};

// Thrown through yaml-cpp's parser, which has no other way to stop.
struct Stop {
  Diagnostic diagnostic;
};

class TreeBuilder final : public YAML::EventHandler {
 public:
  // `columns` must outlive the builder.
  explicit TreeBuilder(const Columns* columns) : columns_(*columns) {}

  YamlNode TakeRoot() { return std::move(root_); }
  bool has_root() const { return has_root_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0) {
      Fail(mark, "a second document: expected one study in a file");
    }
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Add(Make(YamlNode::kNull, mark));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Fail(mark, "aliases (*name) are not supported: write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag,
                YAML::anchor_t anchor, const std::string& value) override {
    YamlNode node = Make(YamlNode::kScalar, mark);
    CheckTag(mark, tag);
    node.text = value;
    node.quoted = tag == "!";
    if (!node.quoted && (value == "~" || value == "null" || value.empty())) {
      node.kind = YamlNode::kNull;
    }
    Add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag,
                       YAML::anchor_t anchor,
                       YAML::EmitterStyle::value style) override {
    CheckTag(mark, tag);
    Push(Make(YamlNode::kSequence, mark), mark);
  }
  void OnSequenceEnd() override { Pop(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag,
                  YAML::anchor_t anchor,
                  YAML::EmitterStyle::value style) override {
    CheckTag(mark, tag);
    Push(Make(YamlNode::kMap, mark), mark);
  }
  void OnMapEnd() override { Pop(); }

 private:
  struct Open {
    YamlNode node;
    bool has_key = false;
    YamlNode key;
  };

  [[noreturn]] void Fail(const YAML::Mark& mark, std::string message) const {
    Diagnostic diagnostic;
    diagnostic.line = mark.line + 1;
    diagnostic.column = columns_.Of(mark);
    diagnostic.message = std::move(message);
    throw Stop{std::move(diagnostic)};
  }
  void CheckTag(const YAML::Mark& mark, const std::string& tag) const {
    if (!tag.empty() && tag != "?" && tag != "!") {
      Fail(mark, absl::StrCat("the tag ", Printable(tag),
                              " is not supported: expected a plain value"));
    }
  }
  YamlNode Make(YamlNode::Kind kind, const YAML::Mark& mark) {
    if (++nodes_ > kMaxYamlNodes) {
      Fail(mark, absl::StrCat("more than ", kMaxYamlNodes, " values"));
    }
    YamlNode node;
    node.kind = kind;
    node.line = mark.line + 1;
    node.column = columns_.Of(mark);
    return node;
  }
  void Push(YamlNode node, const YAML::Mark& mark) {
    if (static_cast<int>(stack_.size()) >= kMaxYamlDepth) {
      Fail(mark, absl::StrCat("nested deeper than ", kMaxYamlDepth, " levels"));
    }
    if (!stack_.empty() && stack_.back().node.kind == YamlNode::kMap &&
        !stack_.back().has_key) {
      Fail(mark, "a list or map as a key: expected a name");
    }
    stack_.push_back({std::move(node)});
  }
  void Pop() {
    YamlNode node = std::move(stack_.back().node);
    stack_.pop_back();
    Add(std::move(node));
  }
  void Add(YamlNode node) {
    if (stack_.empty()) {
      root_ = std::move(node);
      has_root_ = true;
      return;
    }
    Open& open = stack_.back();
    if (open.node.kind == YamlNode::kSequence) {
      open.node.items.push_back(std::move(node));
    } else if (!open.has_key) {
      open.key = std::move(node);
      open.has_key = true;
    } else {
      open.node.entries.push_back({std::move(open.key), std::move(node)});
      open.has_key = false;
    }
  }

  const Columns& columns_;
  std::vector<Open> stack_;
  YamlNode root_;
  bool has_root_ = false;
  int documents_ = 0;
  int nodes_ = 0;
};

}  // namespace

int YamlNode::length() const {
  if (kind != kScalar) return 1;
  const std::string first = text.substr(0, text.find('\n'));
  const auto characters = std::count_if(
      first.begin(), first.end(), [](char c) { return (c & 0xc0) != 0x80; });
  return std::max<int>(1, static_cast<int>(characters) + (quoted ? 2 : 0));
}

std::string YamlNode::Describe() const {
  switch (kind) {
    case kNull:
      return "nothing";
    case kSequence:
      return "a list";
    case kMap:
      return "a map";
    case kScalar:
      break;
  }
  if (quoted) return absl::StrCat("the text \"", Printable(text), "\"");
  return absl::StrCat("'", Printable(text), "'");
}

std::variant<YamlNode, Diagnostic> ParseYaml(const std::string& text) {
  const Columns columns(text);
  TreeBuilder builder(&columns);
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Stop& stop) {
    return stop.diagnostic;
  } catch (const YAML::Exception& error) {
    Diagnostic diagnostic;
    if (!error.mark.is_null()) {
      diagnostic.line = error.mark.line + 1;
      diagnostic.column = columns.Of(error.mark);
    }
    diagnostic.message =
        absl::StrCat("not valid YAML: ", Printable(error.msg, 200));
    return diagnostic;
  } catch (const std::exception& error) {
    Diagnostic diagnostic;
    diagnostic.message =
        absl::StrCat("not valid YAML: ", Printable(error.what(), 200));
    return diagnostic;
  }
  if (!builder.has_root()) {
    Diagnostic diagnostic;
    diagnostic.message =
        "the file is empty: expected a study (see docs/study-file.md)";
    return diagnostic;
  }
  return builder.TakeRoot();
}

}  // namespace hwnas::cli
