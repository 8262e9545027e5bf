#include "proto/convert/validate/checker.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "proto/convert/convert.h"
#include "proto/convert/nearest_name.h"

namespace hwnas {
namespace {

// Enough for any file written by hand; a hostile one gets no longer answer.
constexpr size_t kMaxErrors = 100;

}  // namespace

std::string Quoted(absl::string_view text) {
  constexpr size_t kShown = 80;
  return absl::StrCat("\"", absl::CHexEscape(text.substr(0, kShown)),
                      text.size() > kShown ? "..." : "", "\"");
}

std::string UnknownName(absl::string_view what, absl::string_view name,
                        absl::Span<const absl::string_view> names) {
  const std::string nearest = NearestName(name, names);
  return absl::StrCat(
      "unknown ", what, " ", Quoted(name),
      nearest.empty()
          ? absl::StrCat(": expected one of ", absl::StrJoin(names, ", "))
          : absl::StrCat("; did you mean ", nearest, "?"));
}

bool OnlyHas(absl::string_view text, absl::string_view extra) {
  return std::all_of(text.begin(), text.end(), [extra](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           extra.find(c) != absl::string_view::npos;
  });
}

std::string Number(double value) { return absl::StrFormat("%.10g", value); }

void Checker::Add(std::string path, std::string message) {
  if (errors_.size() < kMaxErrors) {
    errors_.push_back({std::move(path), std::move(message)});
  }
}

void Checker::Range(std::string path, int64_t value, int64_t low,
                    int64_t high) {
  if (value >= low && value <= high) return;
  Add(std::move(path), absl::StrFormat("%d is out of range: expected %d to %d",
                                       value, low, high));
}

void Checker::RangeIfSet(std::string path, int64_t value, int64_t low,
                         int64_t high) {
  if (value != 0) Range(std::move(path), value, low, high);
}

void Checker::Require(bool ok, std::string path, double value,
                      absl::string_view expected) {
  if (ok && std::isfinite(value)) return;
  Add(std::move(path),
      absl::StrCat(Number(value), " is out of range: expected ", expected));
}

void Checker::OneOf(std::string path, absl::string_view what,
                    absl::string_view value,
                    absl::Span<const absl::string_view> names) {
  if (std::find(names.begin(), names.end(), value) != names.end()) return;
  Add(std::move(path), UnknownName(what, value, names));
}

bool Checker::PositiveDuration(std::string path,
                               const google::protobuf::Duration& proto) {
  const bool valid = std::abs(int64_t{proto.nanos()}) <= 999'999'999 &&
                     proto.seconds() <= 315'576'000'000 &&
                     proto.seconds() >= -315'576'000'000 &&
                     (proto.seconds() <= 0 || proto.nanos() >= 0) &&
                     (proto.seconds() >= 0 || proto.nanos() <= 0);
  if (valid && FromProto(proto) > absl::ZeroDuration()) return true;
  Add(std::move(path),
      absl::StrCat(absl::FormatDuration(FromProto(proto)),
                   " is out of range: expected longer than 0, such as "
                   "\"90s\" or \"1.5h\""));
  return false;
}

void CheckMetricName(const std::string& path, const std::string& metric,
                     Checker* out) {
  if (!metric.empty() && metric.size() <= 64 && OnlyHas(metric, "_")) return;
  out->Add(path, absl::StrCat("metric ", Quoted(metric),
                              " is malformed: expected 1 to 64 of [a-z0-9_]"));
}

void CheckDeviceClass(const std::string& device, const std::string& path,
                      Checker* out) {
  if (!device.empty() && device.size() <= 63 && OnlyHas(device, "_-")) return;
  out->Add(path, absl::StrCat("device class ", Quoted(device),
                              " is malformed: expected 1 to 63 of [a-z0-9_-], "
                              "such as x86_64"));
}

}  // namespace hwnas
