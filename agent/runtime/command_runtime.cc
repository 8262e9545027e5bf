#include "agent/runtime/command_runtime.h"

#include <re2/re2.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "agent/runtime/command_presets.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "common/text.h"

namespace hwnas::agent {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxRuntimes = 64;
// Of a file that a command writes.
constexpr size_t kMaxFileBytes = size_t{64} << 20;
constexpr size_t kMaxSamples = 1'000'000;
constexpr size_t kMaxQuoted = 200;

constexpr const char* kPlaceholders[] = {
    "model", "threads", "batch", "precision", "seconds", "folder", "onnx"};
constexpr const char* kPrecisions[] = {"fp32", "fp16", "int8"};
constexpr const char* kLatencies[] = {"median",  "mean", "p90",  "p99",
                                      "samples", "load", "first"};

// "is one of the list".
template <size_t n>
bool OneOf(const char* const (&list)[n], absl::string_view word) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

template <typename... Parts>
absl::Status Wrong(const std::string& where, const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", parts...));
}

absl::Status CheckKeys(const Json& object, const std::string& where,
                       std::initializer_list<absl::string_view> allowed) {
  if (!object.is_object()) {
    return Wrong(where, "expected {\"...\": ...}, not ", object.type_name());
  }
  for (const auto& item : object.items()) {
    if (std::find(allowed.begin(), allowed.end(), item.key()) ==
        allowed.end()) {
      return Wrong(where, "unknown key \"", item.key(), "\": expected ",
                   absl::StrJoin(allowed, ", "));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Text(const Json& object, const char* key,
                                 const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) return std::string();
  if (!found->is_string()) {
    return Wrong(where, "\"", key, "\" is not a string");
  }
  return found->get<std::string>();
}

absl::StatusOr<std::vector<std::string>> Texts(const Json& array,
                                               const std::string& where) {
  std::vector<std::string> texts;
  if (!array.is_array()) return Wrong(where, "expected [\"...\", ...]");
  for (const Json& element : array) {
    if (!element.is_string()) return Wrong(where, "expected strings only");
    texts.push_back(element.get<std::string>());
  }
  return texts;
}

absl::StatusOr<std::vector<std::string>> Command(const Json& array,
                                                 const std::string& where) {
  HWNAS_ASSIGN_OR_RETURN(std::vector<std::string> command, Texts(array, where));
  if (command.empty() || command[0].empty()) {
    return Wrong(where, "expected a program and its arguments");
  }
  static const RE2 placeholder(R"(\{([a-z_]+)\})");
  for (const std::string& word : command) {
    re2::StringPiece rest(word);
    std::string name;
    while (RE2::FindAndConsume(&rest, placeholder, &name)) {
      if (!OneOf(kPlaceholders, name)) {
        return Wrong(where, "unknown placeholder {", name, "}: expected {",
                     absl::StrJoin(kPlaceholders, "}, {"), "}");
      }
    }
  }
  return command;
}

absl::StatusOr<double> Scale(const std::string& statistic,
                             const std::string& unit,
                             const std::string& where) {
  static const auto& times = *new std::map<std::string, double>{
      {"", 1}, {"s", 1e3}, {"ms", 1}, {"us", 1e-3}, {"ns", 1e-6}};
  static const auto& sizes = *new std::map<std::string, double>{
      {"", 1},           {"B", 1e-6},       {"kB", 1e-3}, {"MB", 1},
      {"KiB", 1.024e-3}, {"MiB", 1.048576}, {"GB", 1000}, {"GiB", 1073.741824}};
  static const auto& none = *new std::map<std::string, double>{{"", 1}};
  const auto& units = OneOf(kLatencies, statistic) ? times
                      : statistic == "peak_memory" ? sizes
                                                   : none;
  const auto found = units.find(unit);
  if (found != units.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [name, scale] : units) {
    if (!name.empty()) names.push_back(name);
  }
  return Wrong(where, "unit \"", unit, "\": expected ",
               names.empty() ? "none" : absl::StrJoin(names, ", "));
}

absl::StatusOr<CommandResult> ParseResult(const std::string& statistic,
                                          const Json& json,
                                          const std::string& where) {
  if (!OneOf(kLatencies, statistic) && statistic != "count" &&
      statistic != "peak_memory" && statistic != "version") {
    return Wrong(where, "unknown result: expected ",
                 absl::StrJoin(kLatencies, ", "),
                 ", count, peak_memory or version");
  }
  HWNAS_RETURN_IF_ERROR(
      CheckKeys(json, where, {"file", "regex", "json", "unit"}));
  CommandResult result;
  HWNAS_ASSIGN_OR_RETURN(result.file, Text(json, "file", where));
  HWNAS_ASSIGN_OR_RETURN(result.regex, Text(json, "regex", where));
  HWNAS_ASSIGN_OR_RETURN(result.json, Text(json, "json", where));
  HWNAS_ASSIGN_OR_RETURN(const std::string unit, Text(json, "unit", where));
  HWNAS_ASSIGN_OR_RETURN(result.scale, Scale(statistic, unit, where));
  if (result.regex.empty() == result.json.empty()) {
    return Wrong(where, "expected either \"regex\" or \"json\"");
  }
  if (absl::StrContains(result.file, '/')) {
    return Wrong(where, "file \"", result.file,
                 "\": expected a name, without a folder");
  }
  if (!result.regex.empty()) {
    const RE2 regex(result.regex, RE2::Quiet);
    if (!regex.ok()) return Wrong(where, "regex: ", regex.error());
    if (regex.NumberOfCapturingGroups() < 1) {
      return Wrong(where, "regex \"", result.regex,
                   "\" has no group: expected one around the number");
    }
  } else if (result.json[0] != '/') {
    return Wrong(where, "json \"", result.json,
                 "\": expected a pointer such as /latency/median");
  }
  return result;
}

absl::Status ParsePrecisions(const Json& json, const std::string& where,
                             CommandRuntime* runtime) {
  if (!json.is_object() || json.empty()) {
    return Wrong(where, "expected {\"fp32\": [\"further\", \"arguments\"]}");
  }
  runtime->precisions.clear();
  for (const auto& item : json.items()) {
    if (!OneOf(kPrecisions, item.key())) {
      return Wrong(where, "unknown precision \"", item.key(), "\": expected ",
                   absl::StrJoin(kPrecisions, ", "));
    }
    HWNAS_ASSIGN_OR_RETURN(runtime->precisions[item.key()],
                           Texts(item.value(), where));
  }
  return absl::OkStatus();
}

absl::Status ParseFlag(const Json& json, const char* key,
                       const std::string& where, bool* flag) {
  const auto found = json.find(key);
  if (found == json.end()) return absl::OkStatus();
  if (!found->is_boolean()) {
    return Wrong(where, "\"", key, "\": expected true or false");
  }
  *flag = found->get<bool>();
  return absl::OkStatus();
}

absl::StatusOr<CommandRuntime> ParseRuntime(const Json& json,
                                            const std::string& where) {
  HWNAS_RETURN_IF_ERROR(
      CheckKeys(json, where,
                {"name", "preset", "command", "precisions", "quantize", "model",
                 "convert", "reads", "results"}));
  CommandRuntime runtime;
  HWNAS_ASSIGN_OR_RETURN(runtime.name, Text(json, "name", where));
  HWNAS_ASSIGN_OR_RETURN(const std::string model, Text(json, "model", where));
  if (!model.empty() && model != "onnx" && model != "tflite") {
    return Wrong(where, "model \"", model, "\": expected onnx or tflite");
  }
  runtime.reads_tflite = model == "tflite";
  HWNAS_RETURN_IF_ERROR(ParseFlag(json, "quantize", where, &runtime.quantize));
  if (!json.contains("command") || !json.contains("results")) {
    return Wrong(where, "expected \"command\" and \"results\"");
  }
  HWNAS_ASSIGN_OR_RETURN(runtime.command,
                         Command(json["command"], where + ".command"));
  if (json.contains("convert")) {
    HWNAS_ASSIGN_OR_RETURN(runtime.convert,
                           Command(json["convert"], where + ".convert"));
  }
  if (json.contains("reads")) {
    HWNAS_ASSIGN_OR_RETURN(runtime.reads,
                           Texts(json["reads"], where + ".reads"));
  }
  if (json.contains("precisions")) {
    HWNAS_RETURN_IF_ERROR(
        ParsePrecisions(json["precisions"], where + ".precisions", &runtime));
  }
  if (!json["results"].is_object()) {
    return Wrong(where + ".results", "expected {\"median\": {...}}");
  }
  for (const auto& item : json["results"].items()) {
    HWNAS_ASSIGN_OR_RETURN(
        runtime.results[item.key()],
        ParseResult(item.key(), item.value(),
                    absl::StrCat(where, ".results.", item.key())));
  }
  const auto& results = runtime.results;
  if (!results.count("median") && !results.count("mean") &&
      !results.count("samples")) {
    return Wrong(where + ".results", "expected median, mean or samples");
  }
  return runtime;
}

absl::StatusOr<Json> ParseFile(absl::string_view text) {
  Json file = Json::parse(text.begin(), text.end(), nullptr,
                          /*allow_exceptions=*/false, /*ignore_comments=*/true);
  if (file.is_discarded()) {
    // For its message alone, which says where.
    try {
      file = Json::parse(text.begin(), text.end(), nullptr, true, true);
    } catch (const Json::exception& error) {
      return absl::InvalidArgumentError(error.what());
    }
  }
  HWNAS_RETURN_IF_ERROR(CheckKeys(file, "the file", {"runtimes"}));
  if (!file.contains("runtimes") || !file["runtimes"].is_array() ||
      file["runtimes"].size() > kMaxRuntimes) {
    return Wrong("runtimes", "expected a list of at most ", kMaxRuntimes);
  }
  return file;
}

// Presets by name, as they are written.
const std::map<std::string, Json>& PresetJson() {
  static const auto& presets = *[] {
    auto* all = new std::map<std::string, Json>;
    const Json file = Json::parse(kPresetCommandRuntimes);
    for (const Json& preset : file["runtimes"]) {
      (*all)[preset["name"].get<std::string>()] = preset;
    }
    return all;
  }();
  return presets;
}

// What a preset says and the entry does not.
absl::Status TakeFromPreset(Json& entry, const std::string& where) {
  HWNAS_ASSIGN_OR_RETURN(const std::string name, Text(entry, "preset", where));
  if (name.empty()) return absl::OkStatus();
  const auto preset = PresetJson().find(name);
  if (preset == PresetJson().end()) {
    std::vector<std::string> names;
    for (const auto& [known, json] : PresetJson()) names.push_back(known);
    return Wrong(where, "unknown preset \"", name, "\": expected ",
                 absl::StrJoin(names, ", "));
  }
  Json merged = preset->second;
  merged.update(entry);
  entry = std::move(merged);
  return absl::OkStatus();
}

bool IsOwnName(absl::string_view name) {
  static const RE2 own("x-[a-z0-9_.-]{1,61}");
  return RE2::FullMatch(re2::StringPiece(name.data(), name.size()), own);
}

std::string Quoted(absl::string_view text) {
  return absl::StrCat("\"", Printable(text.substr(0, kMaxQuoted)),
                      text.size() > kMaxQuoted ? "..." : "", "\"");
}

absl::string_view FirstLine(absl::string_view text) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (!line.empty()) return line;
  }
  return "";
}

// All values that `result` finds in `text`, as they are written.
std::vector<std::string> MatchAll(const CommandResult& result,
                                  absl::string_view text) {
  const RE2 regex(result.regex, RE2::Quiet);
  const auto& names = regex.NamedCapturingGroups();
  const auto named = names.find("value");
  const int groups = regex.NumberOfCapturingGroups();
  std::vector<re2::StringPiece> found(groups + 1);
  std::vector<std::string> values;
  re2::StringPiece rest(text.data(), text.size());
  size_t from = 0;
  while (values.size() < kMaxSamples && from <= text.size() &&
         regex.Match(rest, from, rest.size(), RE2::UNANCHORED, found.data(),
                     groups + 1)) {
    // Of alternatives, the one that took part.
    re2::StringPiece value;
    if (named != names.end()) value = found[named->second];
    for (int i = 1; i <= groups && value.empty(); ++i) value = found[i];
    values.emplace_back(value.data(), value.size());
    from = found[0].data() + found[0].size() - rest.data();
    if (found[0].empty()) ++from;
  }
  return values;
}

void Collect(const Json& json, absl::Span<const std::string> path,
             std::vector<std::string>& values) {
  if (values.size() >= kMaxSamples) return;
  if (path.empty()) {
    values.push_back(json.is_string() ? json.get<std::string>() : json.dump());
    return;
  }
  if (json.is_array() && path[0] == "*") {
    for (const Json& element : json) {
      Collect(element, path.subspan(1), values);
    }
    return;
  }
  if (json.is_array()) {
    size_t index = 0;
    if (absl::SimpleAtoi(path[0], &index) && index < json.size()) {
      Collect(json[index], path.subspan(1), values);
    }
    return;
  }
  const auto found = json.find(path[0]);
  if (found != json.end()) Collect(*found, path.subspan(1), values);
}

std::vector<std::string> PointAll(const CommandResult& result,
                                  absl::string_view text) {
  // A tool may talk before its JSON begins.
  Json json = Json::parse(text.begin(), text.end(), nullptr, false);
  if (json.is_discarded() && result.file.empty()) {
    const size_t begin = text.find_first_of("{[");
    if (begin != absl::string_view::npos) {
      text.remove_prefix(begin);
      json = Json::parse(text.begin(), text.end(), nullptr, false);
    }
  }
  std::vector<std::string> values;
  if (json.is_discarded()) return values;
  std::vector<std::string> path = absl::StrSplit(result.json.substr(1), '/');
  for (std::string& token : path) {
    absl::StrReplaceAll({{"~1", "/"}}, &token);
    absl::StrReplaceAll({{"~0", "~"}}, &token);
  }
  Collect(json, path, values);
  return values;
}

// Takes what a command told apart.
class Reader {
 public:
  Reader(const CommandRuntime& runtime, absl::string_view output,
         const std::string& folder)
      : runtime_(runtime), output_(output), folder_(folder) {}

  absl::StatusOr<CommandReport> Read() {
    CommandReport report;
    report.samples_ms = Numbers("samples");
    report.median_ms = Number("median");
    report.mean_ms = Number("mean");
    report.p90_ms = Number("p90");
    report.p99_ms = Number("p99");
    report.load_ms = Number("load");
    report.first_ms = Number("first");
    report.peak_memory_mb = Number("peak_memory");
    if (const auto count = Number("count"); count && *count < 1e15) {
      report.count = static_cast<int64_t>(*count);
    }
    const std::vector<std::string> version = Values("version");
    if (!version.empty())
      report.version = Printable(version.front().substr(0, 100));
    if (report.samples_ms.empty() && !report.median_ms && !report.mean_ms) {
      return absl::InternalError(absl::StrCat(
          runtime_.name, " told no latency: ", absl::StrJoin(missing_, "; ")));
    }
    return report;
  }

 private:
  std::vector<std::string> Values(const std::string& statistic) {
    const auto found = runtime_.results.find(statistic);
    if (found == runtime_.results.end()) return {};
    const CommandResult& result = found->second;
    std::string contents;
    absl::string_view text = output_;
    std::string where = "its output";
    if (!result.file.empty()) {
      auto read = ReadFile(folder_ + "/" + result.file, kMaxFileBytes);
      if (!read.ok()) {
        missing_.push_back(absl::StrCat("it wrote no ", result.file));
        return {};
      }
      contents = *std::move(read);
      text = contents;
      where = result.file;
    }
    std::vector<std::string> values =
        result.regex.empty() ? PointAll(result, text) : MatchAll(result, text);
    if (values.empty()) {
      missing_.push_back(absl::StrCat(
          "no match of ", result.regex.empty() ? "json " : "regex ",
          Quoted(result.regex.empty() ? result.json : result.regex), " for ",
          statistic, " in ", where, ", whose first line is ",
          Quoted(FirstLine(text))));
    }
    return values;
  }

  // Finite and not negative, in our unit.
  std::vector<double> Numbers(const std::string& statistic) {
    std::vector<double> numbers;
    for (const std::string& text : Values(statistic)) {
      double number = 0;
      if (!absl::SimpleAtod(text, &number) || !std::isfinite(number) ||
          number < 0) {
        missing_.push_back(
            absl::StrCat(statistic, " is ", Quoted(text), ", not a number"));
        return {};
      }
      numbers.push_back(number * runtime_.results.at(statistic).scale);
    }
    return numbers;
  }

  // The last one: tools sum up at their end.
  std::optional<double> Number(const std::string& statistic) {
    const std::vector<double> numbers = Numbers(statistic);
    if (numbers.empty()) return std::nullopt;
    return numbers.back();
  }

  const CommandRuntime& runtime_;
  const absl::string_view output_;
  const std::string& folder_;
  // For the error, if there is one.
  std::vector<std::string> missing_;
};

absl::StatusOr<std::string> FindProgram(const std::string& name) {
  std::vector<std::string> candidates;
  if (absl::StrContains(name, '/')) {
    candidates.push_back(name);
  } else if (const char* path =
                 std::getenv("PATH")) {  // NOLINT(concurrency-mt-unsafe)
    for (const absl::string_view folder : absl::StrSplit(path, ':')) {
      if (!folder.empty())
        candidates.push_back(absl::StrCat(folder, "/", name));
    }
  }
  for (const std::string& candidate : candidates) {
    std::error_code ignored;
    if (access(candidate.c_str(), X_OK) == 0 &&
        std::filesystem::is_regular_file(candidate, ignored)) {
      return std::filesystem::absolute(candidate, ignored).string();
    }
  }
  return absl::NotFoundError(
      absl::StrCat("there is no program \"", name, "\""));
}

}  // namespace

absl::StatusOr<std::vector<CommandRuntime>> ParseCommandRuntimes(
    absl::string_view json) {
  HWNAS_ASSIGN_OR_RETURN(Json file, ParseFile(json));
  std::vector<CommandRuntime> runtimes;
  std::set<std::string> names;
  for (size_t i = 0; i < file["runtimes"].size(); ++i) {
    Json& entry = file["runtimes"][i];
    const std::string where = absl::StrCat("runtimes[", i, "]");
    if (!entry.is_object()) return Wrong(where, "expected {...}");
    HWNAS_RETURN_IF_ERROR(TakeFromPreset(entry, where));
    HWNAS_ASSIGN_OR_RETURN(const std::string name, Text(entry, "name", where));
    if (!IsOwnName(name)) {
      return Wrong(where, "name \"", name,
                   "\": expected x- and 1 to 61 of a-z, 0-9, _, . and -");
    }
    if (!names.insert(name).second) {
      return Wrong(where, "name \"", name, "\" is there twice");
    }
    HWNAS_ASSIGN_OR_RETURN(CommandRuntime runtime, ParseRuntime(entry, where));
    runtimes.push_back(std::move(runtime));
  }
  return runtimes;
}

const std::vector<CommandRuntime>& PresetCommandRuntimes() {
  static const auto& presets = *[] {
    auto* all = new std::vector<CommandRuntime>;
    for (const auto& [name, json] : PresetJson()) {
      all->push_back(*ParseRuntime(json, name));
    }
    return all;
  }();
  return presets;
}

absl::StatusOr<CommandRuntime> FindPrograms(CommandRuntime runtime) {
  HWNAS_ASSIGN_OR_RETURN(runtime.command[0], FindProgram(runtime.command[0]));
  if (!runtime.convert.empty()) {
    HWNAS_ASSIGN_OR_RETURN(runtime.convert[0], FindProgram(runtime.convert[0]));
  }
  return runtime;
}

v1::RuntimeCapability CapabilityOf(const CommandRuntime& runtime) {
  v1::RuntimeCapability capability;
  capability.set_runtime(runtime.name);
  for (const auto& [precision, arguments] : runtime.precisions) {
    capability.add_precisions(precision);
  }
  capability.set_description(runtime.command[0]);
  return capability;
}

std::vector<std::string> FillIn(
    const std::vector<std::string>& command,
    const std::map<std::string, std::string>& values) {
  std::vector<std::pair<std::string, std::string>> replacements;
  for (const auto& [name, value] : values) {
    replacements.emplace_back(absl::StrCat("{", name, "}"), value);
  }
  std::vector<std::string> filled;
  for (const std::string& word : command) {
    filled.push_back(absl::StrReplaceAll(word, replacements));
  }
  return filled;
}

absl::StatusOr<CommandReport> ReadCommandReport(const CommandRuntime& runtime,
                                                absl::string_view output,
                                                const std::string& folder) {
  return Reader(runtime, output, folder).Read();
}

}  // namespace hwnas::agent
