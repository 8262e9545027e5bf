#include "nas/replay.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"

namespace hwnas {
namespace {

constexpr size_t kMaxNames = 4096;

absl::Status Malformed(absl::string_view name) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", name, "\" is malformed: expected a name such as op0, ",
                   "or op{0..5} for six of them"));
}

// All names of a list; `path` names the list.
absl::StatusOr<std::vector<std::string>> Expand(
    const std::vector<std::string>& names, const std::string& path) {
  std::vector<std::string> all;
  for (size_t i = 0; i < names.size(); ++i) {
    absl::StatusOr<std::vector<std::string>> some = ExpandBraces(names[i]);
    if (!some.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, "[", i, "]: ", some.status().message()));
    }
    all.insert(all.end(), some->begin(), some->end());
  }
  return all;
}

}  // namespace

ReplayStage DefaultReplayStage(const MetricKey& key) {
  if (const MetricInfo* info = FindMetric(key.metric)) {
    switch (info->source) {
      case MetricSource::kAnalytic:
        return ReplayStage::kScreen;
      case MetricSource::kMeasured:
        return ReplayStage::kMeasure;
      case MetricSource::kTrained:
      case MetricSource::kExternal:
        return ReplayStage::kTrain;
    }
  }
  return key.device_class.empty() ? ReplayStage::kTrain : ReplayStage::kMeasure;
}

absl::StatusOr<std::vector<std::string>> ExpandBraces(absl::string_view name) {
  std::vector<std::string> done = {""};
  absl::string_view rest = name;
  while (!rest.empty()) {
    const size_t open = rest.find('{');
    const absl::string_view plain = rest.substr(0, open);
    if (plain.find('}') != absl::string_view::npos) return Malformed(name);
    for (std::string& prefix : done) absl::StrAppend(&prefix, plain);
    if (open == absl::string_view::npos) break;
    const size_t close = rest.find('}', open);
    if (close == absl::string_view::npos) return Malformed(name);
    const std::vector<absl::string_view> ends =
        absl::StrSplit(rest.substr(open + 1, close - open - 1), "..");
    int first = 0, last = 0;
    if (ends.size() != 2 || !absl::SimpleAtoi(ends[0], &first) ||
        !absl::SimpleAtoi(ends[1], &last) || first < 0 || last < first) {
      return Malformed(name);
    }
    const size_t count = static_cast<size_t>(last - first) + 1;
    if (count > kMaxNames || done.size() * count > kMaxNames) {
      return absl::InvalidArgumentError(absl::StrCat(
          "\"", name, "\" stands for more than ", kMaxNames, " names"));
    }
    std::vector<std::string> longer;
    longer.reserve(done.size() * count);
    for (const std::string& prefix : done) {
      for (int i = first; i <= last; ++i) {
        longer.push_back(absl::StrCat(prefix, i));
      }
    }
    done = std::move(longer);
    rest = rest.substr(close + 1);
  }
  return done;
}

absl::StatusOr<std::vector<ReplayColumn>> ResolveKeys(
    absl::Span<const ReplayKey> keys, absl::Span<const Decision> decisions) {
  std::vector<std::optional<ReplayColumn>> found(decisions.size());
  size_t next = 0;  // No decision before it is free.
  for (size_t k = 0; k < keys.size(); ++k) {
    const ReplayKey& key = keys[k];
    const std::string path = absl::StrCat("keys[", k, "]");
    HWNAS_ASSIGN_OR_RETURN(const std::vector<std::string> columns,
                           Expand(key.columns, path + ".columns"));
    HWNAS_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                           Expand(key.decisions, path + ".decisions"));
    if (!names.empty() && names.size() != columns.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ".decisions: ", names.size(), " names for ",
                       columns.size(), " columns: expected as many"));
    }
    for (size_t i = 0; i < columns.size(); ++i) {
      size_t at = next;
      if (names.empty()) {
        while (at < found.size() && found[at]) ++at;
        next = at;
        if (at == found.size()) {
          return absl::InvalidArgumentError(
              absl::StrCat(path, ".columns: no decision is left for column ",
                           columns[i], ": the space has ", decisions.size()));
        }
      } else {
        at = std::find_if(
                 decisions.begin(), decisions.end(),
                 [&](const Decision& d) { return d.name == names[i]; }) -
             decisions.begin();
        if (at == decisions.size()) {
          return absl::InvalidArgumentError(absl::StrCat(
              path, ".decisions: the space has no decision \"", names[i],
              "\": expected some of ",
              absl::StrJoin(decisions, ", ",
                            [](std::string* out, const Decision& d) {
                              absl::StrAppend(out, d.name);
                            })));
        }
        if (found[at]) {
          return absl::InvalidArgumentError(
              absl::StrCat(path, ".decisions: decision ", names[i],
                           " has a column already: ", found[at]->column));
        }
      }
      const Decision& decision = decisions[at];
      if (!key.codes.empty() && key.codes.size() != decision.options.size()) {
        return absl::InvalidArgumentError(absl::StrCat(
            path, ".codes: ", key.codes.size(), " codes, but decision ",
            decision.name, " has ", decision.options.size(),
            " options: ", absl::StrJoin(decision.options, ", ")));
      }
      found[at] = {.column = columns[i],
                   .codes = key.codes.empty() ? decision.options : key.codes,
                   .absent = key.absent};
    }
  }
  std::vector<ReplayColumn> resolved;
  resolved.reserve(found.size());
  for (size_t i = 0; i < found.size(); ++i) {
    if (!found[i]) {
      return absl::InvalidArgumentError(absl::StrCat(
          "keys: decision ", decisions[i].name,
          " has no column: expected one for each decision of the space"));
    }
    resolved.push_back(*std::move(found[i]));
  }
  return resolved;
}

}  // namespace hwnas
