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

// Their cells have values of their own in tables.
TEST(SpaceConversion, StudiesOnTablesHaveTheBenchmarksClasses) {
  v1::StudySpec spec;
  *spec.mutable_space() = Nasbench201Spec();
  const Architecture one{{0, 3, 0, 0, 0, 2}}, other{{3, 0, 0, 0, 2, 0}};
  const auto equal = [&] {
    const auto space = CreateSpace(*SearchedSpace(spec)).value();
    return space->Digest(one) == space->Digest(other);
  };
  EXPECT_TRUE(equal());
  spec.mutable_replay();
  EXPECT_FALSE(equal());

  v1::HierarchicalSpace& cells = *spec.mutable_space()->mutable_hierarchical();
  for (const int v : {1, 28, 28}) cells.add_input(v);
  cells.set_classes(10);
  cells.mutable_cell()->mutable_nasbench201();
  EXPECT_NE((*CreateSpace(*SearchedSpace(spec)))->key(),
            (*CreateSpace(*FromProto(spec.space())))->key());
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

TEST(SpaceConversion, TakesEveryFieldOfTheMacroSpace) {
  v1::SpaceSpec spec;
  v1::MacroSpace& space = *spec.mutable_macro();
  for (const int v : {3, 32, 48}) space.add_input(v);
  space.set_classes(100);
  space.set_preset("transnasbench101");
  space.add_channel_choices(24);
  space.set_stem_stride(2);
  space.add_operators("conv_k3");
  space.add_layers()->set_channels(40);
  space.mutable_layers(0)->set_stride(2);
  space.add_layers()->set_channels(41);
  space.add_depth_choices(3);
  space.set_min_doublings(0);
  space.set_max_doublings(1);
  space.set_min_halvings(2);
  space.set_max_halvings(3);
  space.set_blocks(4);
  space.set_final_channels(128);
  const absl::StatusOr<SpaceConfig> config = FromProto(spec);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(std::get<MacroConfig>(*config),
            (MacroConfig{.input = {3, 32, 48},
                         .classes = 100,
                         .preset = "transnasbench101",
                         .channel_choices = {24},
                         .stem_stride = 2,
                         .operators = {"conv_k3"},
                         .layers = {{40, 2}, {41, 1}},
                         .depth_choices = {3},
                         .min_doublings = 0,
                         .max_doublings = 1,
                         .min_halvings = 2,
                         .max_halvings = 3,
                         .blocks = 4,
                         .final_channels = 128}));
}

TEST(SpaceConversion, TakesEveryFieldOfTheHierarchicalSpace) {
  v1::SpaceSpec spec;
  v1::HierarchicalSpace& space = *spec.mutable_hierarchical();
  for (const int v : {1, 28, 28}) space.add_input(v);
  space.set_classes(10);
  space.add_channel_choices(8);
  space.set_stem_stride(2);
  space.add_depth_choices(3);
  space.set_min_doublings(0);
  space.set_max_doublings(1);
  space.set_min_halvings(2);
  space.set_max_halvings(3);
  space.set_cells(2);
  space.mutable_cell()->mutable_nasbench201()->add_operations("none");
  const absl::StatusOr<SpaceConfig> config = FromProto(spec);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(
      std::get<MacroConfig>(*config),
      (MacroConfig{.kind = "hierarchical",
                   .input = {1, 28, 28},
                   .channel_choices = {8},
                   .stem_stride = 2,
                   .depth_choices = {3},
                   .min_doublings = 0,
                   .max_doublings = 1,
                   .min_halvings = 2,
                   .max_halvings = 3,
                   .blocks = 2,
                   .cell = Nasbench201CellConfig{.operations = {"none"}}}));
}

TEST(SpaceConversion, TakesEveryFieldOfTheDagSpace) {
  v1::SpaceSpec spec;
  v1::DagSpace& space = *spec.mutable_dag();
  for (const int v : {1, 28, 28}) space.add_input(v);
  space.set_classes(10);
  EXPECT_EQ(std::get<DagConfig>(*FromProto(spec)),
            (DagConfig{.input = {1, 28, 28}}));
  space.set_nodes(4);  // With all of its edges.
  EXPECT_EQ(std::get<DagConfig>(*FromProto(spec)).cell.max_edges, 6);
  space.set_channels(8);
  space.set_stacks(2);
  space.set_cells(1);
  space.set_max_edges(5);
  space.add_operations("conv1x1");
  EXPECT_EQ(
      std::get<DagConfig>(*FromProto(spec)),
      (DagConfig{
          .input = {1, 28, 28},
          .channels = 8,
          .stacks = 2,
          .cells = 1,
          .cell = {.nodes = 4, .max_edges = 5, .operations = {"conv1x1"}}}));
  v1::HierarchicalSpace& hierarchical = *spec.mutable_hierarchical();
  for (const int v : {1, 28, 28}) hierarchical.add_input(v);
  hierarchical.set_classes(10);
  hierarchical.mutable_cell()->mutable_dag()->set_nodes(4);
  EXPECT_EQ(std::get<MacroConfig>(*FromProto(spec)).cell,
            CellConfig(DagCellConfig{.nodes = 4, .max_edges = 6}));
}

TEST(SpaceConversion, NamesFbnetAndOnceForAll) {
  v1::SpaceSpec spec;
  v1::FbnetSpace& fbnet = *spec.mutable_fbnet();
  for (const int v : {3, 32, 32}) fbnet.add_input(v);
  fbnet.set_classes(100);
  auto space = CreateSpace(*FromProto(spec));
  ASSERT_TRUE(space.ok()) << space.status();
  EXPECT_EQ((*space)->decisions().size(), 22u);
  EXPECT_EQ((*space)->decisions()[0].options.size(), 9u);

  v1::OfaSpace& ofa = *spec.mutable_ofa();
  for (const int v : {3, 224, 224}) ofa.add_input(v);
  ofa.set_classes(1000);
  space = CreateSpace(*FromProto(spec));
  ASSERT_TRUE(space.ok()) << space.status();
  // Resolution, 5 depths, 20 kernels and 20 expansions.
  EXPECT_EQ((*space)->decisions().size(), 1u + 5 + 20 + 20);
  EXPECT_EQ((*space)->decisions()[0].options.size(), 25u);
  ofa.set_input(1, 32);
  ofa.set_input(2, 32);
  space = CreateSpace(*FromProto(spec));
  ASSERT_TRUE(space.ok()) << space.status();
  EXPECT_EQ((*space)->decisions()[0].name, "stage1.depth");
}

TEST(SpaceConversion, TakesEveryFieldOfTheDeclaredSpace) {
  v1::SpaceSpec spec;
  v1::DeclaredSpace& space = *spec.mutable_declared();
  v1::DeclaredChoice& op = *space.add_choices();
  op.set_name("op{0..1}");
  op.add_options("conv");
  op.add_options("pool");
  v1::DeclaredChoice& kernel = *space.add_choices();
  kernel.set_name("kernel{0..1}");
  kernel.add_ordered("3");
  v1::DeclaredCondition& when = *kernel.add_when();
  when.set_choice("op#");
  when.add_is("conv");
  v1::DeclaredChoice& depth = *space.add_choices();
  depth.set_name("depth");
  depth.mutable_integers()->set_from(1);
  depth.mutable_integers()->set_to(9);
  v1::DeclaredCondition& forbidden = *space.add_forbid()->add_all();
  forbidden.set_choice("depth");
  forbidden.add_is("2");
  const absl::StatusOr<SpaceConfig> config = FromProto(spec);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(
      std::get<DeclaredConfig>(*config),
      (DeclaredConfig{
          .choices = {{.name = "op{0..1}", .options = {"conv", "pool"}},
                      {.name = "kernel{0..1}",
                       .ordered = {"3"},
                       .when = {{"op#", {"conv"}}}},
                      {.name = "depth", .integers = IntegerRange{1, 9, 1}}},
          .forbid = {{{"depth", {"2"}}}}}));
}

TEST(SpaceConversion, NeedsAKindAndAnImage) {
  EXPECT_THAT(std::string(FromProto(v1::SpaceSpec()).status().message()),
              HasSubstr("expected nasbench201, mobile, macro"));
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
