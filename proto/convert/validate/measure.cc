// Measurements on devices.
#include <set>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/convert/convert.h"
#include "proto/convert/resource_names.h"
#include "proto/convert/validate/checker.h"
#include "proto/convert/validate/rules.h"

namespace hwnas {
namespace {

// Runtimes of an agent, the last three of which are commands that hwnas knows;
// others have a name of the agent's own after the prefix.
constexpr absl::string_view kRuntimes[] = {"onnxruntime", "libtorch", "trtexec",
                                           "benchmark_model",
                                           "onnxruntime_perf_test"};
constexpr absl::string_view kOwnRuntimePrefix = "x-";

void CheckCores(const v1::MeasureSpec& measure, const std::string& path,
                Checker* out) {
  constexpr int kMaxCores = 256;
  constexpr int kMaxCore = 1023;
  if (measure.cores().empty()) return;
  if (measure.cores_size() > kMaxCores) {
    out->Add(path, absl::StrCat("has ", measure.cores_size(),
                                " entries: expected at most ", kMaxCores));
    return;
  }
  for (int i = 0; i < measure.cores_size(); ++i) {
    out->Range(absl::StrCat(path, "[", i, "]"), measure.cores(i), 0, kMaxCore);
  }
  const std::set<int> distinct(measure.cores().begin(), measure.cores().end());
  if (static_cast<int>(distinct.size()) < measure.cores_size()) {
    out->Add(path, "names a core twice: expected different ones");
  } else if (measure.cores_size() < measure.threads()) {
    out->Add(path, absl::StrCat("names ", measure.cores_size(),
                                " cores: expected at least one for each of ",
                                measure.threads(), " threads"));
  }
}

void CheckLabels(const v1::MeasureSpec& measure, const std::string& path,
                 Checker* out) {
  if (measure.labels_size() > kMaxLabels) {
    out->Add(path, absl::StrCat("has ", measure.labels_size(),
                                " entries: expected at most ", kMaxLabels));
    return;
  }
  for (int i = 0; i < measure.labels_size(); ++i) {
    if (IsLabel(measure.labels(i))) continue;
    out->Add(
        absl::StrCat(path, "[", i, "]"),
        absl::StrCat("\"", absl::CHexEscape(measure.labels(i).substr(0, 63)),
                     "\": expected 1 to 63 of [a-z0-9_.-]"));
  }
}

}  // namespace

void CheckMeasure(const v1::StudySpec& spec, Checker* out) {
  if (!spec.has_measure() || spec.has_replay()) return;
  const v1::MeasureSpec& measure = spec.measure();
  const std::string path = "spec.measure";
  if (!measure.runtime().empty() &&
      !(IsLabel(measure.runtime()) &&
        absl::StartsWith(measure.runtime(), kOwnRuntimePrefix))) {
    out->OneOf(path + ".runtime", "runtime", measure.runtime(), kRuntimes);
  }
  out->RangeIfSet(path + ".threads", measure.threads(), 1, 1024);
  out->RangeIfSet(path + ".batch", measure.batch(), 1, 4096);
  if (!measure.precision().empty()) {
    out->OneOf(path + ".precision", "precision", measure.precision(),
               {"fp32", "fp16", "int8"});
  }
  if (!measure.profile().empty()) {
    out->OneOf(path + ".profile", "profile", measure.profile(),
               {"as_shipped", "pinned"});
  }
  CheckCores(measure, path + ".cores", out);
  CheckLabels(measure, path + ".labels", out);
  if (measure.has_target_half_width()) {
    const double v = measure.target_half_width();
    out->Require(v > 0 && v <= 1, path + ".target_half_width", v,
                 "greater than 0, at most 1");
  }
  bool times_ok = true;
  if (measure.has_min_time()) {
    times_ok &= out->PositiveDuration(path + ".min_time", measure.min_time());
  }
  if (measure.has_max_time()) {
    times_ok &= out->PositiveDuration(path + ".max_time", measure.max_time());
  }
  if (!times_ok) return;
  const v1::MeasureSpec filled = WithDefaults(spec).measure();
  if (spec.has_external()) return;
  const absl::Duration min_time = FromProto(filled.min_time());
  const absl::Duration max_time = FromProto(filled.max_time());
  if (min_time > max_time) {
    // Blame what was written, not the default.
    const bool blame_max = !measure.has_min_time();
    out->Add(
        path + (blame_max ? ".max_time" : ".min_time"),
        absl::StrCat(
            absl::FormatDuration(blame_max ? max_time : min_time),
            blame_max ? " is less than min_time, " : " is more than max_time, ",
            absl::FormatDuration(blame_max ? min_time : max_time)));
  }
}

}  // namespace hwnas
