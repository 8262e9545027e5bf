// The only code that makes or parses resource names.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hwnas {

std::string StudyName(absl::string_view study_id);             // studies/{id}
std::string TrialName(absl::string_view study_id, int64_t n);  // .../trials/{n}
std::string DeviceName(absl::string_view executor_id);         // devices/{id}
std::string WorkerName(absl::string_view executor_id);         // workers/{id}
std::string AgentName(absl::string_view executor_id);          // agents/{id}

// 1 to 63 of [a-z0-9_.-]: a device class, a label.
bool IsLabel(absl::string_view text);
// Labels of one device, or asked for by one study.
inline constexpr int kMaxLabels = 16;
// Priorities reach from -kMaxPriority to kMaxPriority.
inline constexpr int kMaxPriority = 100;
// INVALID_ARGUMENT, naming `field`, unless empty or 1 to 63 of [a-z0-9_.@-].
absl::Status CheckUser(absl::string_view field, absl::string_view user);

struct TrialId {
  std::string study_id;
  int64_t number = 0;
};

// INVALID_ARGUMENT names what was given and the form expected.
absl::StatusOr<std::string> ParseStudyName(absl::string_view name);
absl::StatusOr<TrialId> ParseTrialName(absl::string_view name);
absl::StatusOr<std::string> ParseDeviceName(absl::string_view name);
absl::StatusOr<std::string> ParseAgentName(absl::string_view name);

}  // namespace hwnas
