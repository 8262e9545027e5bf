// Tables that answer in place of trainings and devices.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/digest.h"
#include "proto/convert/convert.h"
#include "proto/convert/validate/checker.h"
#include "proto/convert/validate/rules.h"

namespace hwnas {
namespace {

constexpr int kMaxReplayTables = 16;
constexpr int kMaxReplayKeys = 256;
constexpr int kMaxReplayMetrics = 256;
constexpr int kMaxReplayFidelities = 64;

void CheckReplayFile(const v1::ReplayFile& file, const std::string& path,
                     Checker* out) {
  const std::vector<absl::string_view> parts = absl::StrSplit(file.path(), '/');
  if (file.path().empty()) {
    out->Add(path + ".path",
             "is required: expected a CSV file, such as cells.csv.gz");
  } else if (file.path().size() > kMaxPathBytes || parts[0].empty() ||
             file.path().find('\0') != std::string::npos ||
             std::find(parts.begin(), parts.end(), "..") != parts.end()) {
    out->Add(path + ".path",
             absl::StrCat(Quoted(file.path()),
                          " is not below the folder of tables: expected a "
                          "relative path without \"..\", at most ",
                          kMaxPathBytes, " bytes"));
  }
  if (!file.sha256().empty() && !IsSha256Hex(file.sha256())) {
    out->Add(path + ".sha256",
             absl::StrCat(Quoted(file.sha256()),
                          " is no SHA-256: expected 64 of [0-9a-f]"));
  }
}

// `read` is what FromProto makes of them.
void CheckReplayMetrics(
    const google::protobuf::RepeatedPtrField<v1::ReplayMetric>& metrics,
    const std::vector<ReplayMetric>& read, const std::string& path,
    bool only_trained, Checker* out) {
  if (metrics.size() > kMaxReplayMetrics) {
    out->Add(path, absl::StrCat(metrics.size(),
                                " metrics are too many: expected at most ",
                                kMaxReplayMetrics));
    return;
  }
  std::map<MetricKey, int> seen;
  for (int i = 0; i < metrics.size(); ++i) {
    const v1::ReplayMetric& metric = metrics[i];
    const std::string item = absl::StrCat(path, "[", i, "]");
    CheckMetricName(item + ".metric", metric.metric(), out);
    if (!metric.device().empty()) {
      CheckDeviceClass(metric.device(), item + ".device", out);
    }
    if (metric.column().empty()) {
      out->Add(item + ".column", "is required: expected the name of a column");
    }
    if (metric.has_scale()) {
      out->Require(metric.scale() != 0, item + ".scale", metric.scale(),
                   "a finite number other than 0");
    }
    const ReplayStage stage = read[i].stage;
    if (stage == ReplayStage::kMeasure && metric.device().empty()) {
      out->Add(item + ".device",
               absl::StrCat("is required: ", metric.metric(),
                            " is measured; expected a device class such as "
                            "raspberrypi5, or stage: screen or train"));
    }
    if (only_trained && stage != ReplayStage::kTrain) {
      out->Add(item, absl::StrCat(metric.metric(),
                                  " does not come from training: expected only "
                                  "metrics that do"));
    }
    const auto [first, added] =
        seen.emplace(MetricKey{metric.metric(), metric.device()}, i);
    if (!added) {
      out->Add(item + ".metric", absl::StrCat(Quoted(first->first.ToString()),
                                              " is given twice: it is already ",
                                              path, "[", first->second, "]"));
    }
  }
}

// Without what the search is for, a rung would compare nothing.
void CheckTrainedAt(const v1::StudySpec& spec, const ReplayConfig& config,
                    int fidelity, const std::string& path, Checker* out) {
  const std::vector<MetricKey> wanted = ProblemFromProto(spec).Keys();
  const auto is_named = [](const std::vector<ReplayMetric>& metrics,
                           const MetricKey& key) {
    return std::any_of(
        metrics.begin(), metrics.end(), [&](const ReplayMetric& metric) {
          return metric.key == key && metric.stage == ReplayStage::kTrain;
        });
  };
  for (const MetricKey& key : wanted) {
    if (is_named(config.metrics, key) &&
        !is_named(config.fidelities[fidelity].metrics, key)) {
      out->Add(path, absl::StrCat("lacks ", key.ToString(),
                                  ", by which spec.fidelity compares trials"));
    }
  }
}

void CheckReplayCost(const v1::ReplayCost& cost, const std::string& path,
                     Checker* out) {
  if (cost.has_scale()) {
    out->Require(cost.scale() > 0, path + ".scale", cost.scale(),
                 "greater than 0");
    if (cost.column().empty()) {
      out->Add(path + ".column", "is required with scale");
    }
  }
  out->Require(cost.seconds() >= 0, path + ".seconds", cost.seconds(),
               "0 or greater");
}

void CheckReplayKeys(const v1::StudySpec& spec, Checker* out) {
  const v1::ReplaySpec& replay = spec.replay();
  if (replay.architecture().empty() == replay.keys().empty()) {
    out->Add("spec.replay",
             absl::StrCat(replay.keys().empty() ? "does not say" : "says twice",
                          " what a row's architecture is: expected either "
                          "architecture, a column with the space's notation, "
                          "or keys, columns for its decisions"));
    return;
  }
  if (replay.keys().empty()) return;
  if (replay.keys_size() > kMaxReplayKeys) {
    out->Add(
        "spec.replay.keys",
        absl::StrCat(replay.keys_size(),
                     " keys are too many: expected at most ", kMaxReplayKeys));
    return;
  }
  const size_t before = out->size();
  for (int i = 0; i < replay.keys_size(); ++i) {
    const v1::ReplayKey& key = replay.keys(i);
    const std::string path = absl::StrCat("spec.replay.keys[", i, "]");
    if (key.columns().empty()) {
      out->Add(path + ".columns",
               "is required: expected names of columns, such as [op{0..5}]");
    }
    std::set<std::string> codes;
    for (int j = 0; j < key.codes_size(); ++j) {
      if (!codes.insert(key.codes(j)).second) {
        out->Add(absl::StrCat(path, ".codes[", j, "]"),
                 absl::StrCat(Quoted(key.codes(j)), " is listed twice"));
      }
    }
  }
  if (out->size() != before) return;
  const absl::StatusOr<SpaceConfig> config = SearchedSpace(spec);
  if (!config.ok()) return;  // CheckSpace says so.
  const absl::StatusOr<std::unique_ptr<SearchSpace>> space =
      CreateSpace(*config);
  if (!space.ok()) return;
  const absl::StatusOr<std::vector<ReplayColumn>> resolved =
      ResolveKeys(FromProto(replay).keys, (*space)->decisions());
  if (resolved.ok()) return;
  const std::pair<std::string, std::string> parts = absl::StrSplit(
      std::string(resolved.status().message()), absl::MaxSplits(": ", 1));
  out->Add("spec.replay." + parts.first, parts.second);
}

}  // namespace

void CheckReplay(const v1::StudySpec& spec, Checker* out) {
  if (!spec.has_replay()) return;
  const v1::ReplaySpec& replay = spec.replay();
  const std::string path = "spec.replay";
  const auto stands_alone = [&](bool given, absl::string_view field) {
    if (!given) return;
    out->Add(absl::StrCat("spec.", field),
             "cannot stand beside replay: trials are answered from tables");
  };
  stands_alone(spec.has_external(), "external");
  stands_alone(spec.has_train(), "train");
  stands_alone(spec.has_measure(), "measure");
  if (replay.tables().empty() || replay.tables_size() > kMaxReplayTables) {
    out->Add(path + ".tables",
             absl::StrCat(replay.tables_size(), " files: expected 1 to ",
                          kMaxReplayTables));
  } else {
    for (int i = 0; i < replay.tables_size(); ++i) {
      const std::string item = absl::StrCat(path, ".tables[", i, "]");
      CheckReplayFile(replay.tables(i), item, out);
      if (i == 0 && !replay.tables(0).join().empty()) {
        out->Add(item + ".join",
                 "is not expected: other files are joined to the first");
      }
    }
  }
  CheckReplayKeys(spec, out);
  if (replay.metrics().empty()) {
    out->Add(path + ".metrics",
             "is required: expected what the tables give, such as "
             "[{metric: accuracy, column: test_acc}]");
  }
  const ReplayConfig config = FromProto(replay);
  CheckReplayMetrics(replay.metrics(), config.metrics, path + ".metrics",
                     /*only_trained=*/false, out);
  CheckReplayCost(replay.cost(), path + ".cost", out);
  out->RangeIfSet(path + ".workers", replay.workers(), 1, 10000);
  out->RangeIfSet(path + ".epochs", replay.epochs(), 1, kMaxEpochs);
  if (replay.fidelities().empty()) return;
  if (replay.epochs() == 0) {
    out->Add(path + ".epochs", "is required with fidelities");
  }
  if (replay.fidelities_size() > kMaxReplayFidelities) {
    out->Add(path + ".fidelities",
             absl::StrCat(replay.fidelities_size(),
                          " fidelities are too many: expected at most ",
                          kMaxReplayFidelities));
    return;
  }
  int least = 1;
  for (int i = 0; i < replay.fidelities_size(); ++i) {
    const v1::ReplayFidelity& fidelity = replay.fidelities(i);
    const std::string item = absl::StrCat(path, ".fidelities[", i, "]");
    const int most = replay.epochs() > 0 ? replay.epochs() - 1 : kMaxEpochs - 1;
    if (fidelity.epochs() < least || fidelity.epochs() > most) {
      out->Add(item + ".epochs",
               absl::StrCat(fidelity.epochs(), " is out of range: expected ",
                            least, " to ", most, ", ascending and less than ",
                            path, ".epochs"));
    }
    least = std::max(least, fidelity.epochs() + 1);
    CheckReplayMetrics(fidelity.metrics(), config.fidelities[i].metrics,
                       item + ".metrics", /*only_trained=*/true, out);
    if (spec.has_fidelity()) {
      CheckTrainedAt(spec, config, i, item + ".metrics", out);
    }
    CheckReplayCost(fidelity.cost(), item + ".cost", out);
  }
}

}  // namespace hwnas
