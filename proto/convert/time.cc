#include "absl/time/time.h"

#include <algorithm>

#include "proto/convert/convert.h"

namespace hwnas {
namespace {

// What google.protobuf.Timestamp and Duration may hold. Values beyond are
// moved to the nearest end.
constexpr int64_t kMinTimestampSeconds = -62135596800;  // 0001-01-01.
constexpr int64_t kMaxTimestampSeconds = 253402300799;  // 9999-12-31T23:59:59.
constexpr int64_t kMaxDurationSeconds = 315'576'000'000;
constexpr int32_t kMaxNanos = 999'999'999;

}  // namespace

google::protobuf::Timestamp ToProto(absl::Time time) {
  google::protobuf::Timestamp proto;
  // Rounds towards the past, so that the remainder is never negative.
  const int64_t seconds = absl::ToUnixSeconds(time);
  if (seconds < kMinTimestampSeconds) {
    proto.set_seconds(kMinTimestampSeconds);
  } else if (seconds > kMaxTimestampSeconds) {
    proto.set_seconds(kMaxTimestampSeconds);
    proto.set_nanos(kMaxNanos);
  } else {
    proto.set_seconds(seconds);
    proto.set_nanos(static_cast<int32_t>(
        (time - absl::FromUnixSeconds(seconds)) / absl::Nanoseconds(1)));
  }
  return proto;
}

absl::Time FromProto(const google::protobuf::Timestamp& proto) {
  return absl::FromUnixSeconds(std::clamp(proto.seconds(), kMinTimestampSeconds,
                                          kMaxTimestampSeconds)) +
         absl::Nanoseconds(std::clamp(proto.nanos(), 0, kMaxNanos));
}

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration proto;
  const absl::Duration limit =
      absl::Seconds(kMaxDurationSeconds) + absl::Nanoseconds(kMaxNanos);
  absl::Duration rest = std::clamp(duration, -limit, limit);
  proto.set_seconds(absl::IDivDuration(rest, absl::Seconds(1), &rest));
  proto.set_nanos(static_cast<int32_t>(
      absl::IDivDuration(rest, absl::Nanoseconds(1), &rest)));
  return proto;
}

absl::Duration FromProto(const google::protobuf::Duration& proto) {
  return absl::Seconds(std::clamp(proto.seconds(), -kMaxDurationSeconds,
                                  kMaxDurationSeconds)) +
         absl::Nanoseconds(std::clamp(proto.nanos(), -kMaxNanos, kMaxNanos));
}

}  // namespace hwnas
