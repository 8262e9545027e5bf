// Ids of tasks: opaque to executors, parsed only here.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/convert/convert.h"

namespace hwnas::controller {

struct TaskKey {
  std::string study_id;
  int64_t trial = 0;
  StageKey stage;
};

// "{study_id}/{trial}/train", "{study_id}/{trial}/measure:{device_class}"; a
// rung is "{study_id}/{trial}/train:{epochs}".
std::string TaskId(absl::string_view study_id, int64_t trial,
                   const StageKey& stage);
absl::StatusOr<TaskKey> ParseTaskId(absl::string_view task_id);

// "~profile/{number}": no study id begins so.
std::string ProfileTaskId(int64_t number);
bool IsProfileTask(absl::string_view task_id);

}  // namespace hwnas::controller
