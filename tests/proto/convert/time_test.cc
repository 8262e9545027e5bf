#include <limits>

#include "gtest/gtest.h"
#include "proto/convert/convert.h"

namespace hwnas {
namespace {

google::protobuf::Timestamp Timestamp(int64_t seconds, int32_t nanos) {
  google::protobuf::Timestamp proto;
  proto.set_seconds(seconds);
  proto.set_nanos(nanos);
  return proto;
}

google::protobuf::Duration Duration(int64_t seconds, int32_t nanos) {
  google::protobuf::Duration proto;
  proto.set_seconds(seconds);
  proto.set_nanos(nanos);
  return proto;
}

TEST(TimestampConversion, RoundTripsToTheNanosecond) {
  for (const absl::Time time :
       {absl::UnixEpoch(), absl::FromUnixNanos(1'700'000'000'123'456'789),
        absl::FromUnixNanos(-1), absl::FromUnixSeconds(-62135596800),
        absl::FromCivil(absl::CivilSecond(9999, 12, 31, 23, 59, 59),
                        absl::UTCTimeZone())}) {
    EXPECT_EQ(FromProto(ToProto(time)), time) << time;
    EXPECT_GE(ToProto(time).nanos(), 0);
  }
  // Before 1970 the nanoseconds still count forward, as protobuf asks.
  EXPECT_EQ(ToProto(absl::FromUnixNanos(-1)).seconds(), -1);
  EXPECT_EQ(ToProto(absl::FromUnixNanos(-1)).nanos(), 999'999'999);
}

TEST(TimestampConversion, StaysInRangeWhateverComes) {
  EXPECT_EQ(ToProto(absl::InfiniteFuture()).seconds(), 253402300799);
  EXPECT_EQ(ToProto(absl::InfinitePast()).seconds(), -62135596800);
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  constexpr int32_t kMax32 = std::numeric_limits<int32_t>::max();
  EXPECT_LT(FromProto(Timestamp(kMax, kMax32)), absl::InfiniteFuture());
  EXPECT_GT(FromProto(Timestamp(kMin, -kMax32)), absl::InfinitePast());
  EXPECT_EQ(FromProto(Timestamp(5, -7)), absl::FromUnixSeconds(5));
}

TEST(DurationConversion, RoundTripsToTheNanosecond) {
  for (const absl::Duration duration :
       {absl::ZeroDuration(), absl::Nanoseconds(1), absl::Nanoseconds(-1),
        absl::Seconds(90), absl::Milliseconds(-1500), absl::Hours(24 * 365)}) {
    EXPECT_EQ(FromProto(ToProto(duration)), duration) << duration;
  }
  // Seconds and nanoseconds have the same sign, as protobuf asks.
  EXPECT_EQ(ToProto(absl::Milliseconds(-1500)).seconds(), -1);
  EXPECT_EQ(ToProto(absl::Milliseconds(-1500)).nanos(), -500'000'000);
}

TEST(DurationConversion, StaysInRangeWhateverComes) {
  EXPECT_EQ(ToProto(absl::InfiniteDuration()).seconds(), 315'576'000'000);
  EXPECT_EQ(ToProto(-absl::InfiniteDuration()).seconds(), -315'576'000'000);
  EXPECT_LT(FromProto(Duration(std::numeric_limits<int64_t>::max(),
                               std::numeric_limits<int32_t>::max())),
            absl::InfiniteDuration());
}

}  // namespace
}  // namespace hwnas
