#include "agent/measure/meter_options.h"

#include "absl/strings/str_cat.h"
#include "proto/convert/convert.h"

namespace hwnas::agent {
namespace {

// A task that wants more would hold the device for ever.
constexpr absl::Duration kMaxTime = absl::Minutes(30);

}  // namespace

absl::StatusOr<LatencyMeterOptions> MeterOptions(const v1::MeasureSpec& spec) {
  LatencyMeterOptions options;
  if (spec.has_target_half_width()) {
    options.target_half_width = spec.target_half_width();
  }
  if (spec.has_min_time()) options.min_time = FromProto(spec.min_time());
  if (spec.has_max_time()) options.max_time = FromProto(spec.max_time());
  if (!(options.target_half_width > 0 && options.target_half_width <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("target_half_width is ", options.target_half_width,
                     ": expected more than 0, at most 1"));
  }
  if (options.max_time <= absl::ZeroDuration() || options.max_time > kMaxTime) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_time is ", absl::FormatDuration(options.max_time),
        ": expected more than 0, at most ", absl::FormatDuration(kMaxTime)));
  }
  if (options.min_time < absl::ZeroDuration() ||
      options.min_time > options.max_time) {
    return absl::InvalidArgumentError(absl::StrCat(
        "min_time is ", absl::FormatDuration(options.min_time),
        ": expected 0 to max_time, ", absl::FormatDuration(options.max_time)));
  }
  return options;
}

}  // namespace hwnas::agent
