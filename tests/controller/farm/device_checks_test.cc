#include "controller/farm/device_checks.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "estimator/estimator.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/convert/convert.h"

namespace hwnas::controller {
namespace {

using ::testing::HasSubstr;

constexpr char kPi[] = "devices/pi-1";
// Counted by hand: stem 442,368; 18 convolutions of 2,359,296; two residual
// blocks of 3,670,016; classifier 640.
constexpr double kAnchorMflops = 50.250368;
constexpr char kAnchorDigest[] =
    "0f49729b98dcdf2c22aac15e6f87b9b19ed918ccea9dda68d56784a6f4b88518";
const absl::Time kNow = absl::FromUnixSeconds(1700000000);

class DeviceChecksTest : public ::testing::Test {
 protected:
  void Add(const std::string& device, v1::DeviceEvent event) {
    v1::JournalEvent journal;
    journal.set_sequence(farm_.sequence() + 1);
    event.set_device(device);
    *journal.mutable_device_event() = std::move(event);
    ASSERT_TRUE(farm_.Apply(journal).ok());
  }
  v1::AnchorRecord Anchor(double latency_ms,
                          const std::vector<std::string>& flags = {}) {
    v1::DeviceEvent event;
    *event.mutable_anchor() =
        JudgeAnchor(farm_.Find(kPi), latency_ms, flags, kNow, 0.05);
    Add(kPi, event);
    return event.anchor();
  }
  std::optional<std::string> Reason() const {
    return ReasonToQuarantine(farm_.Find(kPi), 0.05);
  }
  // `device` takes `ratio` times as long as `other`.
  void Compare(const std::string& device, const std::string& other,
               double ratio) {
    for (const bool mirrored : {false, true}) {
      v1::DeviceEvent event;
      event.mutable_cross_check()->set_other_device(mirrored ? device : other);
      event.mutable_cross_check()->set_ratio(mirrored ? 1 / ratio : ratio);
      Add(mirrored ? other : device, event);
    }
  }

  FarmState farm_;
};

TEST_F(DeviceChecksTest, TheAnchorNeverChanges) {
  // The history of every device hangs on it: a new value here means that all
  // devices must be resumed by hand.
  const auto estimates = CreateAnalyticEstimator()->Predict(AnchorGraph());
  ASSERT_TRUE(estimates.ok());
  double mflops = 0;
  for (const Estimate& estimate : *estimates) {
    if (estimate.key.metric == "flops_m") mflops = estimate.value;
  }
  // NAS-Bench-201's all-3x3 cell with one cell in each stage.
  EXPECT_NEAR(mflops, kAnchorMflops, 1e-9);
  EXPECT_EQ(Sha256Hex(ToProto(AnchorGraph()).SerializeAsString()),
            kAnchorDigest);
}

TEST_F(DeviceChecksTest, AnAnchorWithinTheLimitIsGood) {
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Anchor(4.0).good());
  EXPECT_TRUE(Anchor(4.19).good());
  EXPECT_TRUE(Anchor(3.81).good());
  const v1::AnchorRecord slow = Anchor(4.4);
  EXPECT_FALSE(slow.good());
  EXPECT_NEAR(slow.ratio(), 1.1, 1e-12);
}

TEST_F(DeviceChecksTest, ADeviceBeginsWithAnAnchorBeyondDoubt) {
  EXPECT_FALSE(Anchor(9.0, {"NOISY: load 4"}).good());
  EXPECT_EQ(farm_.Find(kPi).BaselineMs(), 0);
  EXPECT_EQ(Reason(), std::nullopt);
  EXPECT_TRUE(Anchor(4.0).good());
  EXPECT_EQ(farm_.Find(kPi).BaselineMs(), 4.0);
}

TEST_F(DeviceChecksTest, TwoBadAnchorsAreProof) {
  Anchor(4.0);
  Anchor(4.4);
  EXPECT_EQ(Reason(), std::nullopt);
  Anchor(4.4);
  ASSERT_TRUE(Reason());
  EXPECT_THAT(*Reason(), HasSubstr("4.4 ms instead of 4 ms (+10.0 %"));
}

TEST_F(DeviceChecksTest, NoiseIsNoProof) {
  const DeviceCheckOptions options = {.anchor_interval = absl::Minutes(10),
                                      .recheck_interval = absl::Minutes(1)};
  const auto next = [&] { return NextAnchorAfter(farm_.Find(kPi), options); };
  Anchor(4.0);
  for (const int minutes : {0, 0, 1, 2, 4, 8, 10, 10}) {
    Anchor(5.0, {"NOISY: load 4"});
    EXPECT_EQ(Reason(), std::nullopt);
    // A machine with other work gets some of ours, too.
    EXPECT_EQ(next(), absl::Minutes(minutes));
  }
  Anchor(5.0);
  EXPECT_EQ(Reason(), std::nullopt);
  Anchor(5.0);
  EXPECT_TRUE(Reason());
}

TEST_F(DeviceChecksTest, AnchorsComeOftenWhileTheyAreBad) {
  const DeviceCheckOptions options = {.anchor_interval = absl::Minutes(10),
                                      .recheck_interval = absl::Minutes(1)};
  Anchor(4.0);
  EXPECT_EQ(NextAnchorAfter(farm_.Find(kPi), options), absl::Minutes(10));
  Anchor(4.4);
  EXPECT_EQ(NextAnchorAfter(farm_.Find(kPi), options), absl::ZeroDuration());
  Anchor(4.4);
  v1::DeviceEvent event;
  event.mutable_quarantined()->set_recheck(true);
  Add(kPi, event);
  EXPECT_EQ(NextAnchorAfter(farm_.Find(kPi), options), absl::Minutes(1));
  Anchor(4.4);
  EXPECT_EQ(NextAnchorAfter(farm_.Find(kPi), options), absl::Minutes(2));
  for (int i = 0; i < 10; ++i) Anchor(4.4);
  EXPECT_EQ(NextAnchorAfter(farm_.Find(kPi), options), absl::Minutes(10));
}

TEST_F(DeviceChecksTest, FindsTheOddDevice) {
  const std::vector<std::string> all = {"devices/a", "devices/b", "devices/c",
                                        "devices/d"};
  // d is 12 % slower than all others, which differ by 1 %.
  Compare("devices/a", "devices/b", 1.01);
  Compare("devices/b", "devices/c", 0.99);
  Compare("devices/c", "devices/a", 1.0);
  Compare("devices/d", "devices/a", 1.12);
  Compare("devices/d", "devices/b", 1.13);
  EXPECT_FALSE(FindOddDevice(farm_, all, 0.1));  // Two are not enough.
  Compare("devices/d", "devices/a", 1.11);
  const auto odd = FindOddDevice(farm_, all, 0.1);
  ASSERT_TRUE(odd);
  EXPECT_EQ(odd->device, "devices/d");
  EXPECT_THAT(odd->reason, HasSubstr("+11.5 %"));
  EXPECT_FALSE(FindOddDevice(farm_, all, 0.15));
}

TEST_F(DeviceChecksTest, OfTwoDevicesNobodyCanTellWhichIsOdd) {
  for (int i = 0; i < 10; ++i) Compare("devices/a", "devices/b", 1.5);
  EXPECT_FALSE(FindOddDevice(farm_, {"devices/a", "devices/b"}, 0.1));
}

}  // namespace
}  // namespace hwnas::controller
