#include "proto/convert/resource_names.h"

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/text.h"

namespace hwnas {
namespace {

// One segment of a name.
bool IsId(absl::string_view id) { return IsShortName(id, "-"); }

// 1, 2, ... without sign or leading zeros, so that a trial has one name.
bool ParseNumber(absl::string_view text, int64_t* number) {
  // SimpleAtoi takes signs and surrounding white space; we do not.
  return !text.empty() && text[0] != '0' &&
         text.find_first_not_of("0123456789") == absl::string_view::npos &&
         absl::SimpleAtoi(text, number);
}

absl::Status Malformed(absl::string_view name, absl::string_view form) {
  return absl::InvalidArgumentError(
      absl::StrCat("name \"", absl::CHexEscape(name.substr(0, 128)),
                   name.size() > 128 ? "..." : "", "\": expected ", form));
}

}  // namespace

std::string StudyName(absl::string_view study_id) {
  return absl::StrCat("studies/", study_id);
}

std::string TrialName(absl::string_view study_id, int64_t n) {
  return absl::StrCat("studies/", study_id, "/trials/", n);
}

std::string DeviceName(absl::string_view executor_id) {
  return absl::StrCat("devices/", executor_id);
}

std::string WorkerName(absl::string_view executor_id) {
  return absl::StrCat("workers/", executor_id);
}

std::string AgentName(absl::string_view executor_id) {
  return absl::StrCat("agents/", executor_id);
}

bool IsLabel(absl::string_view text) { return IsShortName(text, "_.-"); }

absl::Status CheckUser(absl::string_view field, absl::string_view user) {
  if (user.empty() || IsShortName(user, "_.@-")) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, " \"", absl::CHexEscape(user.substr(0, 63)),
                   "\": expected 1 to 63 of [a-z0-9_.@-]"));
}

absl::StatusOr<std::string> ParseStudyName(absl::string_view name) {
  absl::string_view id = name;
  if (!absl::ConsumePrefix(&id, "studies/") || !IsId(id)) {
    return Malformed(name, "studies/{study_id}");
  }
  return std::string(id);
}

absl::StatusOr<TrialId> ParseTrialName(absl::string_view name) {
  constexpr absl::string_view kForm = "studies/{study_id}/trials/{number}";
  absl::string_view rest = name;
  if (!absl::ConsumePrefix(&rest, "studies/")) return Malformed(name, kForm);
  const size_t slash = rest.find('/');
  if (slash == absl::string_view::npos) return Malformed(name, kForm);
  TrialId result;
  result.study_id = std::string(rest.substr(0, slash));
  rest.remove_prefix(slash);
  if (!IsId(result.study_id) || !absl::ConsumePrefix(&rest, "/trials/") ||
      !ParseNumber(rest, &result.number)) {
    return Malformed(name, kForm);
  }
  return result;
}

absl::StatusOr<std::string> ParseAgentName(absl::string_view name) {
  absl::string_view id = name;
  if (!absl::ConsumePrefix(&id, "agents/") || !IsId(id)) {
    return Malformed(name, "agents/{executor_id}");
  }
  return std::string(id);
}

absl::StatusOr<std::string> ParseDeviceName(absl::string_view name) {
  absl::string_view id = name;
  if (!absl::ConsumePrefix(&id, "devices/") || !IsId(id)) {
    return Malformed(name, "devices/{executor_id}");
  }
  return std::string(id);
}

}  // namespace hwnas
