// What every journal store answers in the same words.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace hwnas {

inline absl::Status CheckAppend(absl::string_view study_id,
                                int64_t expected_size) {
  if (study_id.empty()) {
    return absl::InvalidArgumentError("study id is empty");
  }
  if (expected_size < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "study ", study_id, ": expected size ", expected_size, " is negative"));
  }
  return absl::OkStatus();
}

inline absl::Status SizeConflict(absl::string_view study_id, int64_t expected,
                                 int64_t actual) {
  return absl::FailedPreconditionError(absl::StrCat(
      "journal of study ", study_id, " has ", actual, " events, not the ",
      expected, " expected: somebody else appended to it, or it exists"));
}

inline absl::Status NoSuchStudy(absl::string_view study_id) {
  return absl::NotFoundError(absl::StrCat("no study ", study_id));
}

}  // namespace hwnas
