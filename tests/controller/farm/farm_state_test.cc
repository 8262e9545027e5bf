#include "controller/farm/farm_state.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/convert/convert.h"

namespace hwnas::controller {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr char kPi[] = "devices/pi-1";
const absl::Time kNow = absl::FromUnixSeconds(1700000000);

class FarmStateTest : public ::testing::Test {
 protected:
  absl::Status Apply(const v1::DeviceEvent& e) {
    v1::JournalEvent event;
    event.set_sequence(farm_.sequence() + 1);
    *event.mutable_device_event() = e;
    event.mutable_device_event()->set_device(kPi);
    return farm_.Apply(event);
  }
  void Anchor(double latency_ms, bool good, const std::string& flag = "") {
    v1::DeviceEvent event;
    v1::AnchorRecord* anchor = event.mutable_anchor();
    *anchor->mutable_time() = ToProto(kNow + absl::Minutes(farm_.sequence()));
    anchor->set_latency_ms(latency_ms);
    anchor->set_good(good);
    if (!flag.empty()) anchor->add_flags(flag);
    ASSERT_TRUE(Apply(event).ok());
  }
  const DeviceRecord& Pi() const { return farm_.Find(kPi); }

  FarmState farm_;
};

TEST_F(FarmStateTest, RemembersNothingOfAnUnknownDevice) {
  EXPECT_FALSE(Pi().reservation);
  EXPECT_FALSE(Pi().quarantined);
  EXPECT_EQ(Pi().BaselineMs(), 0);
}

TEST_F(FarmStateTest, TheBaselineIsTheMedianOfTheFirstThreeGoodAnchors) {
  Anchor(4.0, true);
  EXPECT_EQ(Pi().BaselineMs(), 4.0);
  Anchor(9.9, false);
  Anchor(4.2, true);
  Anchor(4.1, true);
  EXPECT_EQ(Pi().BaselineMs(), 4.1);
  Anchor(4.2, true);  // Later ones do not let it creep.
  Anchor(4.2, true);
  EXPECT_EQ(Pi().BaselineMs(), 4.1);
}

TEST_F(FarmStateTest, CountsBadAnchorsSinceTheLastGoodOne) {
  Anchor(4.0, true);
  const absl::Time good = Pi().last_good_anchor;
  Anchor(5.0, false);
  Anchor(5.0, false, "NOISY: load 3");
  EXPECT_EQ(Pi().bad_anchors, 2);
  EXPECT_EQ(Pi().clean_bad_anchors, 1);
  EXPECT_EQ(Pi().last_good_anchor, good);
  Anchor(4.0, true);
  EXPECT_EQ(Pi().bad_anchors, 0);
  EXPECT_GT(Pi().last_good_anchor, good);
}

TEST_F(FarmStateTest, AGoodAnchorEndsOnlyAQuarantineThatWaitsForIt) {
  v1::DeviceEvent event;
  event.mutable_quarantined()->set_reason("drift");
  event.mutable_quarantined()->set_recheck(true);
  event.mutable_quarantined()->set_invalidated_count(7);
  ASSERT_TRUE(Apply(event).ok());
  EXPECT_TRUE(Pi().quarantined);
  Anchor(4.0, true);
  EXPECT_FALSE(Pi().quarantined);
  EXPECT_EQ(Pi().reason, "");
  EXPECT_EQ(Pi().invalidated_count, 7);
  event.mutable_quarantined()->set_recheck(false);
  ASSERT_TRUE(Apply(event).ok());
  Anchor(4.0, true);
  EXPECT_TRUE(Pi().quarantined);
}

TEST_F(FarmStateTest, ResumingTakesTheDeviceAsItIsNow) {
  Anchor(4.0, true);
  v1::DeviceEvent event;
  event.mutable_drained()->set_reason("new fan");
  ASSERT_TRUE(Apply(event).ok());
  EXPECT_TRUE(Pi().drained);
  event.mutable_resumed();
  ASSERT_TRUE(Apply(event).ok());
  EXPECT_FALSE(Pi().drained);
  EXPECT_EQ(Pi().BaselineMs(), 0);
  Anchor(3.0, true);
  EXPECT_EQ(Pi().BaselineMs(), 3.0);
}

TEST_F(FarmStateTest, KeepsABoundedHistory) {
  for (int i = 0; i < 100; ++i) Anchor(4 + i, true);
  EXPECT_THAT(Pi().anchors, SizeIs(DeviceRecord::kMaxHistory));
  EXPECT_EQ(Pi().anchors.back().latency_ms(), 103);
}

TEST_F(FarmStateTest, ReservationsBeginAndEnd) {
  v1::DeviceEvent event;
  event.mutable_reserved()->set_user("ann");
  ASSERT_TRUE(Apply(event).ok());
  EXPECT_EQ(Pi().reservation->user(), "ann");
  event.mutable_reservation_ended();
  ASSERT_TRUE(Apply(event).ok());
  EXPECT_FALSE(Pi().reservation);
}

TEST_F(FarmStateTest, RefusesWhatDoesNotFit) {
  v1::JournalEvent event;
  event.set_sequence(2);
  event.mutable_device_event()->set_device(kPi);
  event.mutable_device_event()->mutable_drained();
  EXPECT_THAT(farm_.Apply(event).message(), HasSubstr("number 1"));
  event.set_sequence(1);
  event.mutable_trial_proposed();
  EXPECT_TRUE(absl::IsDataLoss(farm_.Apply(event)));
  EXPECT_EQ(farm_.sequence(), 0);
}

}  // namespace
}  // namespace hwnas::controller
