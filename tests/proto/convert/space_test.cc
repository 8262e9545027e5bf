#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/convert/convert.h"

namespace hwnas {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::SpaceSpec Nasbench201Spec() {
  v1::SpaceSpec spec;
  v1::Nasbench201Space& space = *spec.mutable_nasbench201();
  for (const int v : {1, 28, 28}) space.add_input(v);
  space.set_classes(10);
  return spec;
}

TEST(SpaceConversion, GivesNasbench201ItsDefaults) {
  const absl::StatusOr<SpaceConfig> config = FromProto(Nasbench201Spec());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(
      std::get<Nasbench201Config>(*config),
      (Nasbench201Config{.input = {1, 28, 28}, .channels = 16, .cells = 5}));
}

TEST(SpaceConversion, TakesEveryFieldOfTheMobileSpace) {
  v1::SpaceSpec spec;
  v1::MobileSpace& space = *spec.mutable_mobile();
  for (const int v : {3, 32, 48}) space.add_input(v);
  space.set_classes(100);
  space.add_kernel_choices(5);
  space.add_expansion_choices(2);
  space.add_depth_choices(1);
  space.add_width_choices(0.5);
  space.add_resolution_choices(24);
  space.set_search_squeeze_excite(true);
  space.set_stem_channels(8);
  space.set_stem_stride(1);
  v1::MobileStage& stage = *space.add_stages();
  stage.set_channels(24);
  stage.set_squeeze_excite(true);
  stage.set_hard_swish(true);
  space.add_stages()->set_channels(40);
  space.mutable_stages(1)->set_stride(2);
  space.set_head_channels(128);
  const absl::StatusOr<SpaceConfig> config = FromProto(spec);
  ASSERT_TRUE(config.ok()) << config.status();
  const MobileConfig& mobile = std::get<MobileConfig>(*config);
  EXPECT_EQ(mobile.input, (TensorShape{3, 32, 48}));
  EXPECT_EQ(mobile.classes, 100);
  EXPECT_THAT(mobile.kernel_choices, ElementsAre(5));
  EXPECT_THAT(mobile.expansion_choices, ElementsAre(2));
  EXPECT_THAT(mobile.depth_choices, ElementsAre(1));
  EXPECT_THAT(mobile.width_choices, ElementsAre(0.5));
  EXPECT_THAT(mobile.resolution_choices, ElementsAre(24));
  EXPECT_TRUE(mobile.search_squeeze_excite);
  EXPECT_EQ(mobile.stem_channels, 8);
  EXPECT_EQ(mobile.stem_stride, 1);
  EXPECT_THAT(mobile.stages,
              ElementsAre(MobileStageConfig{24, 1, true, true},
                          MobileStageConfig{40, 2, false, false}));
  EXPECT_EQ(mobile.head_channels, 128);
}

TEST(SpaceConversion, NeedsAKindAndAnImage) {
  EXPECT_THAT(std::string(FromProto(v1::SpaceSpec()).status().message()),
              HasSubstr("nasbench201 or mobile"));
  v1::SpaceSpec spec = Nasbench201Spec();
  spec.mutable_nasbench201()->add_input(7);
  EXPECT_THAT(std::string(FromProto(spec).status().message()),
              HasSubstr("nasbench201.input: 4 numbers: expected 3"));
}

class ArchitectureConversionTest : public ::testing::Test {
 protected:
  ArchitectureConversionTest()
      : space_(*CreateSpace(*FromProto(Nasbench201Spec()))) {}
  std::unique_ptr<SearchSpace> space_;
};

TEST_F(ArchitectureConversionTest, RoundTripsWithTextAndDigest) {
  Rng rng(3);
  for (int i = 0; i < 50; ++i) {
    const Architecture architecture = space_->Sample(rng);
    const v1::Architecture proto = ToProto(*space_, architecture);
    EXPECT_EQ(proto.digest(), space_->Digest(architecture));
    EXPECT_EQ(proto.text(), space_->ToText(architecture));
    const absl::StatusOr<Architecture> back = FromProto(*space_, proto);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, architecture);
  }
}

TEST_F(ArchitectureConversionTest, RefusesWhatIsNotOfTheSpace) {
  Rng rng(3);
  const v1::Architecture good = ToProto(*space_, space_->Sample(rng));
  v1::Architecture bad = good;
  bad.add_choices(0);
  EXPECT_THAT(std::string(FromProto(*space_, bad).status().message()),
              HasSubstr("choices: 7 numbers"));
  for (const int choice : {-1, 5, INT32_MAX, INT32_MIN}) {
    bad = good;
    bad.set_choices(2, choice);
    const absl::Status status = FromProto(*space_, bad).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("choices"));
  }
  bad = good;
  bad.set_digest(std::string(64, '0'));
  EXPECT_THAT(std::string(FromProto(*space_, bad).status().message()),
              HasSubstr("digest"));
  bad.clear_digest();  // Not known to the sender.
  EXPECT_TRUE(FromProto(*space_, bad).ok());
}

}  // namespace
}  // namespace hwnas
