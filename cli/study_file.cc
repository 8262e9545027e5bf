#include "cli/study_file.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <utility>
#include <variant>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "cli/yaml_tree.h"
#include "common/files.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/message.h"
#include "proto/convert/convert.h"
#include "proto/convert/nearest_name.h"

namespace hwnas::cli {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;
using google::protobuf::Reflection;

namespace {

std::string Join(const std::string& path, absl::string_view name) {
  return path.empty() ? std::string(name) : absl::StrCat(path, ".", name);
}

// How the file spells a field: its proto name, and `apiVersion`.
std::string Spelling(const FieldDescriptor& field) {
  return field.name() == "api_version" ? "apiVersion" : field.name();
}

std::vector<std::string> FieldNames(const Descriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.field_count(); ++i) {
    names.push_back(Spelling(*type.field(i)));
  }
  return names;
}

const FieldDescriptor* FindField(const Descriptor& type,
                                 const std::string& key) {
  if (const FieldDescriptor* field = type.FindFieldByName(key)) return field;
  for (int i = 0; i < type.field_count(); ++i) {
    if (type.field(i)->json_name() == key) return type.field(i);
  }
  return nullptr;
}

std::vector<std::string> MemberNames(const OneofDescriptor& oneof) {
  std::vector<std::string> names;
  for (int i = 0; i < oneof.field_count(); ++i) {
    names.push_back(oneof.field(i)->name());
  }
  return names;
}

// The oneof that lets a message be written as a bare name: its only one, all of
// whose members are messages. nullptr if there is none.
const OneofDescriptor* ShorthandOneof(const Descriptor& type) {
  if (type.real_oneof_decl_count() != 1) return nullptr;
  const OneofDescriptor* oneof = type.oneof_decl(0);
  for (int i = 0; i < oneof->field_count(); ++i) {
    if (oneof->field(i)->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      return nullptr;
    }
  }
  return oneof;
}

bool IsDuration(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field.message_type()->full_name() == "google.protobuf.Duration";
}

std::string Nearest(const std::string& word,
                    absl::Span<const std::string> candidates) {
  return NearestName(word, std::vector<absl::string_view>(candidates.begin(),
                                                          candidates.end()));
}

std::string DidYouMean(const std::string& word,
                       absl::Span<const std::string> candidates) {
  const std::string nearest = Nearest(word, candidates);
  return nearest.empty() ? "" : absl::StrCat("; did you mean '", nearest, "'?");
}

bool LooksLikeInteger(absl::string_view text) {
  if (absl::StartsWith(text, "-") || absl::StartsWith(text, "+")) {
    text.remove_prefix(1);
  }
  if (text.empty()) return false;
  for (char c : text) {
    if (!absl::ascii_isdigit(c)) return false;
  }
  return true;
}

bool LooksLikeNumber(absl::string_view text) {
  for (char c : text) {
    if (!absl::ascii_isdigit(c) && !absl::StrContains("+-.eE", c)) return false;
  }
  double value = 0;
  return absl::SimpleAtod(text, &value);
}

}  // namespace

// Fills a message from a tree and notes what is wrong. Lives for one call.
class StudyFileReader {
 public:
  explicit StudyFileReader(LoadedStudy* study) : study_(*study) {}

  void Read(const YamlNode& root) {
    if (root.kind != YamlNode::kMap) {
      Error(root, "",
            absl::StrCat("expected a map with the keys apiVersion, kind, "
                         "metadata and spec, found ",
                         root.Describe()));
      return;
    }
    ReadMessage(root, "", &study_.file_);
  }

  // Whether something at, above or below `path` was already reported.
  bool Reported(const std::string& path) const {
    auto within = [](const std::string& inner, const std::string& outer) {
      return inner == outer || absl::StartsWith(inner, outer + ".") ||
             absl::StartsWith(inner, outer + "[");
    };
    for (const std::string& bad : bad_paths_) {
      if (within(path, bad) || within(bad, path)) return true;
    }
    return false;
  }

 private:
  using Location = LoadedStudy::Location;

  void Error(const YamlNode& at, const std::string& path, std::string message) {
    if (study_.errors_.size() >= 100) return;  // Enough to work on.
    study_.errors_.push_back(
        {at.line, at.column, at.length(), path, std::move(message)});
    bad_paths_.insert(path);
  }

  void Locate(const std::string& path, const YamlNode& at) {
    study_.locations_[path] = Location{at.line, at.column, at.length()};
  }

  void ReadMessage(const YamlNode& map, const std::string& path,
                   Message* message) {
    const Descriptor& type = *message->GetDescriptor();
    std::map<const FieldDescriptor*, int> first_line;
    std::map<const OneofDescriptor*, std::pair<std::string, int>> chosen;
    for (const YamlEntry& entry : map.entries) {
      if (entry.key.kind != YamlNode::kScalar) {
        Error(entry.key, path,
              absl::StrCat("expected the name of a field, found ",
                           entry.key.Describe()));
        continue;
      }
      const std::string& key = entry.key.text;
      const FieldDescriptor* field = FindField(type, key);
      if (field == nullptr) {
        UnknownKey(entry, path, type);
        continue;
      }
      const std::string child = Join(path, field->name());
      const auto [seen, is_new] = first_line.emplace(field, entry.key.line);
      if (!is_new) {
        Error(entry.key, child,
              absl::StrCat("given twice: first on line ", seen->second));
        continue;
      }
      if (const OneofDescriptor* oneof = field->real_containing_oneof()) {
        const auto [other, first] =
            chosen.emplace(oneof, std::pair(key, entry.key.line));
        if (!first) {
          Error(entry.key, child,
                absl::StrCat("cannot stand beside '", other->second.first,
                             "' on line ", other->second.second,
                             ": expected exactly one of ",
                             JoinChoices(MemberNames(*oneof))));
          continue;
        }
      }
      const bool container = entry.value.kind == YamlNode::kMap ||
                             entry.value.kind == YamlNode::kSequence ||
                             entry.value.kind == YamlNode::kNull;
      Locate(child, container ? entry.key : entry.value);
      ReadField(entry, *field, child, message);
    }
  }

  void UnknownKey(const YamlEntry& entry, const std::string& path,
                  const Descriptor& type) {
    const std::string& key = entry.key.text;
    const std::vector<std::string> names = FieldNames(type);
    std::string message = absl::StrCat("unknown key '", Printable(key), "'");
    // `space: {kind: nasbench201}` is a natural first try.
    if (const OneofDescriptor* oneof = ShorthandOneof(type);
        oneof != nullptr && key == oneof->name() &&
        entry.value.kind == YamlNode::kScalar) {
      absl::StrAppend(&message, ": expected the ", key, " itself as the key, '",
                      Printable(entry.value.text), ": {...}', one of ",
                      JoinChoices(MemberNames(*oneof)));
      Error(entry.key, path, message);
      return;
    }
    const std::string nearest = Nearest(key, names);
    if (!nearest.empty()) {
      absl::StrAppend(&message, "; did you mean '", nearest, "'?");
      const FieldDescriptor* meant = FindField(type, nearest);
      bad_paths_.insert(Join(path, meant->name()));
    } else if (type.field_count() == 0) {
      absl::StrAppend(&message, ": expected an empty map");
    } else {
      absl::StrAppend(&message, ": expected ", JoinChoices(names));
    }
    Error(entry.key, Join(path, Printable(key)), message);
    study_.errors_.back().field = path;
  }

  void ReadField(const YamlEntry& entry, const FieldDescriptor& field,
                 const std::string& path, Message* message) {
    const YamlNode& value = entry.value;
    if (field.is_repeated()) {
      if (value.kind != YamlNode::kSequence) {
        std::string expected =
            absl::StrCat("expected a list, found ", value.Describe());
        if (value.kind == YamlNode::kScalar) {
          absl::StrAppend(&expected, ": write [", Printable(value.text), "]");
        }
        Error(value.kind == YamlNode::kScalar ? value : entry.key, path,
              expected);
        return;
      }
      for (size_t i = 0; i < value.items.size(); ++i) {
        const std::string item = absl::StrCat(path, "[", i, "]");
        Locate(item, value.items[i]);
        ReadValue(value.items[i], value.items[i], field, item, message);
      }
      return;
    }
    ReadValue(value, entry.key, field, path, message);
  }

  // `around` is where to point if there is no value.
  void ReadValue(const YamlNode& value, const YamlNode& around,
                 const FieldDescriptor& field, const std::string& path,
                 Message* message) {
    const Reflection& reflection = *message->GetReflection();
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
        !IsDuration(field)) {
      Message* child = field.is_repeated()
                           ? reflection.AddMessage(message, &field)
                           : reflection.MutableMessage(message, &field);
      ReadChild(value, around, path, child);
      return;
    }
    if (value.kind != YamlNode::kScalar) {
      const bool list = value.kind == YamlNode::kSequence;
      Error(value.kind == YamlNode::kNull ? around : value, path,
            absl::StrCat("expected ", Expectation(field), ", found ",
                         value.Describe(),
                         list ? ": only one value is allowed here" : ""));
      return;
    }
    ReadScalar(value, field, path, message);
  }

  void ReadChild(const YamlNode& value, const YamlNode& around,
                 const std::string& path, Message* child) {
    if (value.kind == YamlNode::kMap) {
      ReadMessage(value, path, child);
      return;
    }
    if (value.kind == YamlNode::kNull) return;  // Everything by default.
    const Descriptor& type = *child->GetDescriptor();
    const OneofDescriptor* oneof = ShorthandOneof(type);
    if (oneof == nullptr) {
      std::string expected =
          absl::StrCat("expected a map, found ", value.Describe());
      if (type.field_count() > 0) {
        absl::StrAppend(&expected, "; its keys are ",
                        JoinChoices(FieldNames(type)));
      }
      Error(value.kind == YamlNode::kScalar ? value : around, path, expected);
      return;
    }
    const std::vector<std::string> names = MemberNames(*oneof);
    if (value.kind != YamlNode::kScalar) {
      Error(around, path,
            absl::StrCat("expected ", JoinChoices(names), ", found ",
                         value.Describe()));
      return;
    }
    const FieldDescriptor* member = type.FindFieldByName(value.text);
    if (member == nullptr || member->containing_oneof() != oneof) {
      Error(value, path,
            absl::StrCat("unknown ", oneof->name(), " ", value.Describe(),
                         ": expected ", JoinChoices(names),
                         DidYouMean(value.text, names)));
      return;
    }
    child->GetReflection()->MutableMessage(child, member);
    Locate(Join(path, member->name()), value);
  }

  static std::string Expectation(const FieldDescriptor& field) {
    if (IsDuration(field)) return "a duration such as 90s, 1.5h or 8h";
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
      case FieldDescriptor::CPPTYPE_INT64:
      case FieldDescriptor::CPPTYPE_UINT32:
      case FieldDescriptor::CPPTYPE_UINT64:
        return "an integer";
      case FieldDescriptor::CPPTYPE_DOUBLE:
      case FieldDescriptor::CPPTYPE_FLOAT:
        return "a number";
      case FieldDescriptor::CPPTYPE_BOOL:
        return "true or false";
      case FieldDescriptor::CPPTYPE_ENUM:
        return JoinChoices(EnumNames(*field.enum_type()));
      case FieldDescriptor::CPPTYPE_STRING:
        return "a text";
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return "a map";
    }
    return "a value";
  }

  static std::vector<std::string> EnumNames(const EnumDescriptor& type) {
    std::vector<std::string> names;
    for (int i = 0; i < type.value_count(); ++i) {
      if (type.value(i)->number() != 0) {
        names.push_back(absl::AsciiStrToLower(type.value(i)->name()));
      }
    }
    return names;
  }

  void WrongType(const YamlNode& value, const FieldDescriptor& field,
                 const std::string& path, absl::string_view advice = "") {
    Error(value, path,
          absl::StrCat("expected ", Expectation(field), ", found ",
                       value.Describe(), advice));
  }

  // Parses an integer of a range; reports and returns false otherwise.
  template <typename T>
  bool ReadInteger(const YamlNode& value, const FieldDescriptor& field,
                   const std::string& path, T* out) {
    if (value.quoted) {
      WrongType(value, field, path,
                LooksLikeInteger(value.text) ? ": remove the quotes" : "");
      return false;
    }
    if (!LooksLikeInteger(value.text)) {
      std::string advice;
      double number = 0;
      if (LooksLikeNumber(value.text) &&
          absl::SimpleAtod(value.text, &number) &&
          number == std::floor(number) && std::fabs(number) < 1e15) {
        advice = absl::StrCat(": write ", static_cast<int64_t>(number));
      }
      WrongType(value, field, path, advice);
      return false;
    }
    if (absl::SimpleAtoi(value.text, out)) return true;
    Error(value, path,
          absl::StrCat(Printable(value.text),
                       " is out of range: expected an integer from ",
                       std::numeric_limits<T>::min(), " to ",
                       std::numeric_limits<T>::max()));
    return false;
  }

  void ReadScalar(const YamlNode& value, const FieldDescriptor& field,
                  const std::string& path, Message* message) {
    const Reflection& reflection = *message->GetReflection();
    const bool repeated = field.is_repeated();
    // Sets or adds, by type.
#define HWNAS_STORE(Type, x)                           \
  (repeated ? reflection.Add##Type(message, &field, x) \
            : reflection.Set##Type(message, &field, x))
    if (IsDuration(field)) {
      ReadDuration(value, field, path, message);
      return;
    }
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32: {
        int32_t x = 0;
        if (ReadInteger(value, field, path, &x)) HWNAS_STORE(Int32, x);
        return;
      }
      case FieldDescriptor::CPPTYPE_INT64: {
        int64_t x = 0;
        if (ReadInteger(value, field, path, &x)) HWNAS_STORE(Int64, x);
        return;
      }
      case FieldDescriptor::CPPTYPE_UINT32: {
        uint32_t x = 0;
        if (ReadInteger(value, field, path, &x)) HWNAS_STORE(UInt32, x);
        return;
      }
      case FieldDescriptor::CPPTYPE_UINT64: {
        uint64_t x = 0;
        if (ReadInteger(value, field, path, &x)) HWNAS_STORE(UInt64, x);
        return;
      }
      case FieldDescriptor::CPPTYPE_DOUBLE:
      case FieldDescriptor::CPPTYPE_FLOAT: {
        double x = 0;
        if (value.quoted || !LooksLikeNumber(value.text) ||
            !absl::SimpleAtod(value.text, &x)) {
          WrongType(value, field, path,
                    value.quoted && LooksLikeNumber(value.text)
                        ? ": remove the quotes"
                        : "");
          return;
        }
        if (!std::isfinite(x)) {
          Error(value, path,
                absl::StrCat(Printable(value.text),
                             " is out of range: expected a finite number"));
          return;
        }
        if (field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
          HWNAS_STORE(Double, x);
        } else {
          HWNAS_STORE(Float, static_cast<float>(x));
        }
        return;
      }
      case FieldDescriptor::CPPTYPE_BOOL: {
        if (value.quoted || (value.text != "true" && value.text != "false")) {
          WrongType(value, field, path);
          return;
        }
        HWNAS_STORE(Bool, value.text == "true");
        return;
      }
      case FieldDescriptor::CPPTYPE_ENUM: {
        const EnumDescriptor& type = *field.enum_type();
        for (int i = 0; i < type.value_count(); ++i) {
          if (type.value(i)->number() != 0 &&
              absl::EqualsIgnoreCase(type.value(i)->name(), value.text)) {
            HWNAS_STORE(Enum, type.value(i));
            return;
          }
        }
        WrongType(value, field, path, DidYouMean(value.text, EnumNames(type)));
        return;
      }
      case FieldDescriptor::CPPTYPE_STRING:
        HWNAS_STORE(String, value.text);
        return;
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return;  // Handled by the caller.
    }
#undef HWNAS_STORE
  }

  void ReadDuration(const YamlNode& value, const FieldDescriptor& field,
                    const std::string& path, Message* message) {
    absl::Duration duration;
    if (!absl::ParseDuration(value.text, &duration)) {
      WrongType(value, field, path,
                LooksLikeNumber(value.text)
                    ? absl::StrCat(": add a unit, such as ", value.text, "s")
                    : "");
      return;
    }
    if (value.text == "0") {
      WrongType(value, field, path, ": add a unit");
      return;
    }
    // What a google.protobuf.Duration can hold.
    const absl::Duration most = absl::Seconds(int64_t{315'576'000'000});
    if (duration < absl::ZeroDuration() || duration > most) {
      Error(value, path,
            absl::StrCat(Printable(value.text),
                         " is out of range: expected a duration from 0s to "
                         "10000 years"));
      return;
    }
    const google::protobuf::Duration proto = ToProto(duration);
    const Reflection& reflection = *message->GetReflection();
    Message* out = field.is_repeated()
                       ? reflection.AddMessage(message, &field)
                       : reflection.MutableMessage(message, &field);
    out->CopyFrom(proto);
  }

  LoadedStudy& study_;
  std::set<std::string> bad_paths_;
};

LoadedStudy LoadedStudy::Load(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path, kMaxStudyFileBytes);
  if (!text.ok()) {
    LoadedStudy study;
    study.file_name_ = path;
    std::string message(text.status().message());
    if (absl::IsNotFound(text.status())) {
      message = "no such file: expected the path of a study file";
    } else if (absl::IsResourceExhausted(text.status())) {
      message = absl::StrCat("larger than ", kMaxStudyFileBytes,
                             " bytes: expected a study file");
    }
    study.errors_.push_back({0, 0, 1, "", std::move(message)});
    return study;
  }
  return Parse(path, *std::move(text));
}

LoadedStudy LoadedStudy::Parse(const std::string& file_name, std::string text) {
  LoadedStudy study;
  study.file_name_ = file_name;
  study.text_ = std::move(text);
  if (study.text_.size() > kMaxStudyFileBytes) {
    study.errors_.push_back({0, 0, 1, "",
                             absl::StrCat("larger than ", kMaxStudyFileBytes,
                                          " bytes: expected a study file")});
    return study;
  }
  auto tree = ParseYaml(study.text_);
  if (Diagnostic* error = std::get_if<Diagnostic>(&tree)) {
    study.errors_.push_back(std::move(*error));
    return study;
  }
  StudyFileReader reader(&study);
  reader.Read(std::get<YamlNode>(tree));

  const bool readable = study.ok();
  auto check = [&](const std::string& path, std::string message) {
    if (!reader.Reported(path)) study.AddError(path, std::move(message));
  };
  const v1::StudyFile& file = study.file_;
  if (std::get<YamlNode>(tree).kind != YamlNode::kMap) return study;
  if (file.api_version() != "hwnas/v1") {
    check("api_version",
          file.api_version().empty()
              ? "apiVersion is missing: expected 'apiVersion: hwnas/v1'"
              : absl::StrCat("'", Printable(file.api_version()),
                             "' is unknown: expected hwnas/v1"));
  }
  if (file.kind() != "Study") {
    check("kind", file.kind().empty()
                      ? "missing: expected 'kind: Study'"
                      : absl::StrCat("'", Printable(file.kind()),
                                     "' is unknown: expected Study"));
  }
  if (file.metadata().name().empty()) {
    check("metadata.name",
          "missing: expected the study's name, 1 to 63 of [a-z0-9-], starting "
          "with a letter");
  } else if (absl::Status id = CheckStudyId(file.metadata().name()); !id.ok()) {
    check("metadata.name", std::string(id.message()));
  }
  if (file.metadata().description().size() > 4096) {
    check("metadata.description",
          absl::StrCat(file.metadata().description().size(),
                       " bytes are too long: expected at most 4096"));
  }
  if (!file.has_spec()) {
    check("spec", "missing: expected what to search");
    return study;
  }
  for (FieldError& error : ValidateStudySpec(file.spec())) {
    // What is wrong as a whole may only follow from what could not be read.
    if (!readable && error.path == "spec") continue;
    check(error.path, std::move(error.message));
  }
  return study;
}

void LoadedStudy::AddError(const std::string& field, std::string message) {
  Location location;
  std::string path = field;
  while (!path.empty()) {
    if (const auto found = locations_.find(path); found != locations_.end()) {
      location = found->second;
      break;
    }
    const size_t cut = path.find_last_of(".[");
    path = cut == std::string::npos ? "" : path.substr(0, cut);
  }
  errors_.push_back({location.line, location.column, location.length,
                     field == "api_version" ? "apiVersion" : field,
                     std::move(message)});
}

std::string LoadedStudy::Render() const {
  return RenderDiagnostics(file_name_, text_, errors_);
}

}  // namespace hwnas::cli
