// The rules of a whole study.
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/convert/convert.h"
#include "proto/convert/resource_names.h"
#include "proto/convert/validate/checker.h"
#include "proto/convert/validate/rules.h"

namespace hwnas {
namespace {

constexpr int64_t kMaxTrials = 10'000'000;
constexpr int kMaxSources = 8;

void CheckBudget(const v1::StudySpec& spec, Checker* out) {
  if (spec.budget().trials() == 0) {
    out->Add("spec.budget.trials",
             absl::StrCat("is required: expected 1 to ", kMaxTrials));
  } else {
    out->Range("spec.budget.trials", spec.budget().trials(), 1, kMaxTrials);
  }
  if (spec.budget().has_wall_clock()) {
    out->PositiveDuration("spec.budget.wall_clock", spec.budget().wall_clock());
  }
}

void CheckWarmStart(const v1::StudySpec& spec, Checker* out) {
  if (spec.warm_start_size() > kMaxSources) {
    out->Add(
        "spec.warm_start",
        absl::StrCat(spec.warm_start_size(),
                     " sources are too many: expected at most ", kMaxSources));
    return;
  }
  std::set<std::pair<std::string, std::string>> seen;
  for (int i = 0; i < spec.warm_start_size(); ++i) {
    const v1::WarmStartSource& source = spec.warm_start(i);
    const std::string path = absl::StrCat("spec.warm_start[", i, "]");
    if (source.study().empty() == source.folder().empty()) {
      out->Add(path, source.study().empty()
                         ? "names no source: expected study, the name of a "
                           "study, or folder, that of its results"
                         : "has study beside folder: expected one of the two");
      continue;
    }
    if (!source.study().empty()) {
      if (absl::Status id = CheckStudyId(source.study()); !id.ok()) {
        out->Add(path + ".study", std::string(id.message()));
      }
    } else if (source.folder().size() > kMaxPathBytes ||
               source.folder().find('\0') != std::string::npos) {
      out->Add(path + ".folder", absl::StrCat(Quoted(source.folder()),
                                              " is no path: expected at most ",
                                              kMaxPathBytes, " bytes"));
    }
    if (!seen.insert({source.study(), source.folder()}).second) {
      out->Add(path, absl::StrCat(Quoted(source.study() + source.folder()),
                                  " is listed twice"));
    }
  }
}

}  // namespace

std::vector<FieldError> ValidateStudySpec(const v1::StudySpec& spec) {
  Checker out;
  CheckSpace(spec, &out);
  const size_t before = out.size();
  CheckObjectives(spec, &out);
  if (out.size() == before) {
    CheckScalarization(spec, &out);
    CheckPreference(spec, &out);
  }
  CheckConstraints(spec, &out);
  CheckStrategy(spec.strategy(), &out);
  CheckTrain(spec, &out);
  CheckFidelity(spec, &out);
  CheckMeasure(spec, &out);
  CheckReplay(spec, &out);
  CheckBudget(spec, &out);
  CheckWarmStart(spec, &out);
  if (spec.has_external() && spec.external().has_lease()) {
    out.PositiveDuration("spec.external.lease", spec.external().lease());
  }
  out.Range("spec.priority", spec.priority(), -kMaxPriority, kMaxPriority);
  out.RangeIfSet("spec.max_attempts", spec.max_attempts(), 1, 20);
  out.RangeIfSet("spec.max_parallel_trials", spec.max_parallel_trials(), 1,
                 10000);
  return std::move(out).Take();
}

absl::Status CheckStudySpec(const v1::StudySpec& spec) {
  const std::vector<FieldError> errors = ValidateStudySpec(spec);
  if (errors.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(
      errors, "\n", [](std::string* out, const FieldError& error) {
        absl::StrAppend(out, error.path, ": ", error.message);
      }));
}

absl::Status CheckStudyId(absl::string_view study_id) {
  if (!study_id.empty() && study_id.size() <= 63 && study_id[0] >= 'a' &&
      study_id[0] <= 'z' && OnlyHas(study_id, "-")) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("study id ", Quoted(study_id),
                   " is malformed: expected 1 to 63 of [a-z0-9-], starting "
                   "with a letter"));
}

}  // namespace hwnas
