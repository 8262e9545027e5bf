// What every rule of a study's validation reports to, and the rules of names.
// Internal to proto/convert.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "google/protobuf/duration.pb.h"
#include "nas/graph/model_graph.h"
#include "proto/convert/convert.h"

namespace hwnas {

// Bounds of rules in several files.
inline constexpr int kMaxEpochs = 10000;
inline constexpr int kMaxImageSide = GraphLimits::kMaxImageSide;
inline constexpr size_t kMaxPathBytes = 4096;

// Text from outside, fit for one line of a message.
std::string Quoted(absl::string_view text);

// One of `names`, or a message with the nearest.
std::string UnknownName(absl::string_view what, absl::string_view name,
                        absl::Span<const absl::string_view> names);

// Nothing but lower-case letters, digits and those of `extra`.
bool OnlyHas(absl::string_view text, absl::string_view extra);

std::string Number(double value);

// Collects what is wrong.
class Checker {
 public:
  void Add(std::string path, std::string message);

  void Range(std::string path, int64_t value, int64_t low, int64_t high);

  // 0 means unset, which is fine.
  void RangeIfSet(std::string path, int64_t value, int64_t low, int64_t high);

  // `ok` is false for NaN in every caller, since comparisons with it are.
  void Require(bool ok, std::string path, double value,
               absl::string_view expected);

  void OneOf(std::string path, absl::string_view what, absl::string_view value,
             absl::Span<const absl::string_view> names);

  // Valid by protobuf's rules, and longer than nothing. True if it is.
  bool PositiveDuration(std::string path,
                        const google::protobuf::Duration& proto);

  size_t size() const { return errors_.size(); }
  std::vector<FieldError> Take() && { return std::move(errors_); }

 private:
  std::vector<FieldError> errors_;
};

void CheckMetricName(const std::string& path, const std::string& metric,
                     Checker* out);
void CheckDeviceClass(const std::string& device, const std::string& path,
                      Checker* out);

}  // namespace hwnas
