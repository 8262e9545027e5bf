#include "controller/study/task_names.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace hwnas::controller {
namespace {

constexpr absl::string_view kProfile = "~profile/";
constexpr absl::string_view kMeasure = "measure:";
constexpr absl::string_view kTrainTo = "train:";

}  // namespace

std::string TaskId(absl::string_view study_id, int64_t trial,
                   const StageKey& stage) {
  const std::string name =
      stage.kind == v1::MEASURE ? absl::StrCat(kMeasure, stage.device_class)
      : stage.rung_epochs > 0   ? absl::StrCat(kTrainTo, stage.rung_epochs)
      : stage.kind == v1::TRAIN ? "train"
                                : "ask";
  return absl::StrCat(study_id, "/", trial, "/", name);
}

absl::StatusOr<TaskKey> ParseTaskId(absl::string_view task_id) {
  const std::vector<absl::string_view> parts =
      absl::StrSplit(task_id, absl::MaxSplits('/', 2));
  TaskKey key;
  if (parts.size() == 3 && absl::SimpleAtoi(parts[1], &key.trial)) {
    key.study_id = std::string(parts[0]);
    if (parts[2] == "train") {
      key.stage.kind = v1::TRAIN;
      return key;
    }
    if (parts[2] == "ask") {
      key.stage.kind = v1::ASK;
      return key;
    }
    if (absl::StartsWith(parts[2], kTrainTo) &&
        absl::SimpleAtoi(parts[2].substr(kTrainTo.size()),
                         &key.stage.rung_epochs)) {
      key.stage.kind = v1::TRAIN;
      return key;
    }
    if (absl::StartsWith(parts[2], kMeasure)) {
      key.stage.kind = v1::MEASURE;
      key.stage.device_class = std::string(parts[2].substr(kMeasure.size()));
      return key;
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("task id '", task_id.substr(0, 200), "'"));
}

std::string ProfileTaskId(int64_t number) {
  return absl::StrCat(kProfile, number);
}

bool IsProfileTask(absl::string_view task_id) {
  return absl::StartsWith(task_id, kProfile);
}

}  // namespace hwnas::controller
