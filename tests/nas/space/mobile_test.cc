#include "nas/space/mobile.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas {
namespace {

using testing::HasSubstr;

std::unique_ptr<MobileSpace> MakeSpace(const MobileConfig& config = {}) {
  return MobileSpace::Create(config).value();
}

std::string MessageOf(const MobileConfig& config) {
  const auto space = CreateSpace(config);
  return space.ok() ? "OK" : std::string(space.status().message());
}

std::vector<std::string> NamesOf(const SearchSpace& space) {
  std::vector<std::string> names;
  for (const Decision& decision : space.decisions()) {
    names.push_back(decision.name);
  }
  return names;
}

TEST(MobileSpace, DecidesOnlyWhatHasOptions) {
  const auto space = MakeSpace({.input = {1, 28, 28},
                                .classes = 10,
                                .kernel_choices = {3, 5},
                                .expansion_choices = {4},
                                .depth_choices = {1, 2},
                                .width_choices = {0.5, 1},
                                .search_squeeze_excite = true,
                                .stages = {{16, 2}}});
  EXPECT_THAT(
      NamesOf(*space),
      testing::ElementsAre("width", "stage1.depth", "stage1.squeeze_excite",
                           "stage1.kernel1", "stage1.kernel2"));
  EXPECT_NEAR(space->Log10Size(), std::log10(32), 1e-12);
}

TEST(MobileSpace, LastBlocksOfAShallowStageDoNotMatter) {
  const auto space = MakeSpace();
  Rng rng(3);
  for (int i = 0; i < 100; ++i) {
    Architecture a;
    for (const Decision& d : space->decisions()) {
      a.choices.push_back(static_cast<int>(rng.Below(d.options.size())));
    }
    const Architecture canonical = space->Canonicalize(a);
    EXPECT_EQ(space->Canonicalize(canonical), canonical);
    EXPECT_EQ(space->Digest(a), space->Digest(canonical));
    EXPECT_EQ(space->Decode(a).value(), space->Decode(canonical).value());
    EXPECT_EQ(space->FromText(space->ToText(a)).value(), canonical);
  }
}

TEST(MobileSpace, BuildsTheBlocksThatTheTextSays) {
  const auto space = MakeSpace({.input = {3, 32, 32},
                                .classes = 10,
                                .kernel_choices = {3, 5},
                                .expansion_choices = {1, 4},
                                .depth_choices = {1, 2},
                                .width_choices = {1, 2},
                                .resolution_choices = {32, 48},
                                .stem_channels = 8,
                                .first_block = false,
                                .stages = {{8, 1, true, true}}});
  const std::string text = "r48 w2 | k5e4 k3e1 se";
  const Architecture architecture = space->FromText(text).value();
  EXPECT_EQ(space->ToText(architecture), text);
  const ModelGraph graph = space->Decode(architecture).value();
  EXPECT_EQ(graph.input_shape(), (TensorShape{3, 48, 48}));
  struct Conv {
    std::string name;
    int out, kernel, stride, groups;
    bool bias;
  };
  // 16 channels; 64 in the first block, squeezed to 16; no expansion in the
  // second, squeezed to 8.
  const std::vector<Conv> expected = {
      {"stem.conv2d_0", 16, 3, 2, 1, false},
      {"stage1.block1.conv2d_0", 64, 1, 1, 1, false},
      {"stage1.block1.conv2d_1", 64, 5, 1, 64, false},
      {"stage1.block1.conv2d_2", 16, 1, 1, 1, true},
      {"stage1.block1.conv2d_3", 64, 1, 1, 1, true},
      {"stage1.block1.conv2d_4", 16, 1, 1, 1, false},
      {"stage1.block2.conv2d_0", 16, 3, 1, 16, false},
      {"stage1.block2.conv2d_1", 8, 1, 1, 1, true},
      {"stage1.block2.conv2d_2", 16, 1, 1, 1, true},
      {"stage1.block2.conv2d_3", 16, 1, 1, 1, false}};
  size_t i = 0;
  int sums = 0;
  for (const Node& node : graph.nodes()) {
    sums += node.op == OpKind::kAdd;
    if (node.op != OpKind::kConv2d) continue;
    ASSERT_LT(i, expected.size()) << node.name;
    const Conv& conv = expected[i++];
    EXPECT_EQ(node.name, conv.name);
    EXPECT_EQ(node.out_channels, conv.out) << node.name;
    EXPECT_EQ(node.kernel, conv.kernel) << node.name;
    EXPECT_EQ(node.stride, conv.stride) << node.name;
    EXPECT_EQ(node.groups, conv.groups) << node.name;
    EXPECT_EQ(node.bias, conv.bias) << node.name;
    EXPECT_EQ(node.padding, conv.kernel / 2) << node.name;
  }
  EXPECT_EQ(i, expected.size());
  EXPECT_EQ(sums, 2);
}

TEST(MobileSpace, HasPresetsForSmallAndLargeImages) {
  const MobileConfig small = WithPreset({.input = {1, 28, 28}, .classes = 10});
  EXPECT_EQ(small.stem_stride, 1);
  EXPECT_EQ(small.stages.size(), 3u);
  const MobileConfig large = WithPreset({});
  EXPECT_EQ(large.stem_stride, 2);
  EXPECT_EQ(large.stages.size(), 5u);
  EXPECT_EQ(large.head_channels, 1280);
  for (const TensorShape& input :
       {TensorShape{1, 28, 28}, TensorShape{3, 32, 32}, TensorShape{3, 64, 64},
        TensorShape{3, 96, 96}, TensorShape{3, 224, 224}}) {
    EXPECT_EQ(MessageOf({.input = input, .classes = 10}), "OK");
  }
}

TEST(MobileSpace, RefusesOtherText) {
  const auto space = MakeSpace({.input = {1, 28, 28},
                                .classes = 10,
                                .depth_choices = {1, 2},
                                .stages = {{16, 2}, {24, 2, true}}});
  const auto message = [&](absl::string_view text) {
    const auto result = space->FromText(text);
    return result.ok() ? "OK" : std::string(result.status().message());
  };
  EXPECT_EQ(message("r28 w1 | k3e6 | k5e4 k7e3 se"), "OK");
  EXPECT_THAT(message("r28 w1 | k3e6"), HasSubstr("has 1 stages: expected 2"));
  EXPECT_THAT(message("r32 w1 | k3e6 | k5e4 se"),
              HasSubstr("resolution: 'r32'"));
  EXPECT_THAT(message("r28 w2 | k3e6 | k5e4 se"),
              HasSubstr("width: 'w2' is not in the space: expected w and one "
                        "of 1"));
  EXPECT_THAT(message("r28 | k3e6 | k5e4 se"),
              HasSubstr("expected resolution and width"));
  EXPECT_THAT(message("r28 w1 | k3e6 se | k5e4 se"),
              HasSubstr("stage 1: 'se'"));
  EXPECT_THAT(message("r28 w1 | k3e6 | k5e4"), HasSubstr("stage 2: 'no se'"));
  EXPECT_THAT(message("r28 w1 | | k5e4 se"), HasSubstr("stage 1: '0 blocks'"));
  EXPECT_THAT(message("r28 w1 | k9e6 | k5e4 se"),
              HasSubstr("stage 1, block 1: 'k9e6' is not in the space: "
                        "expected k<kernel>e<expansion> with kernel 3, 5, 7 "
                        "and expansion 3, 4, 6"));
  EXPECT_THAT(message("r28 w1 | k3 | k5e4 se"), HasSubstr("'k3'"));
  EXPECT_THAT(message(std::string(100000, '|')), HasSubstr("100000 bytes"));
}

TEST(MobileSpace, RefusesConfigurationsOutOfRange) {
  const TensorShape image{1, 28, 28};
  EXPECT_THAT(MessageOf({.input = image, .classes = 1}),
              HasSubstr("mobile.classes: 1 is out of range: expected 2"));
  EXPECT_THAT(MessageOf({.kernel_choices = {3, 4}}),
              HasSubstr("mobile.kernel_choices: 4 is out of range: expected "
                        "odd numbers, 3 to 9"));
  EXPECT_THAT(MessageOf({.kernel_choices = {}}), HasSubstr("0 choices"));
  EXPECT_THAT(MessageOf({.expansion_choices = {11}}), HasSubstr("11"));
  EXPECT_THAT(MessageOf({.depth_choices = {2, 2}}),
              HasSubstr("mobile.depth_choices: 2 is listed twice"));
  EXPECT_THAT(
      MessageOf({.width_choices = {std::numeric_limits<double>::quiet_NaN()}}),
      HasSubstr("mobile.width_choices: nan is out of range"));
  EXPECT_THAT(MessageOf({.resolution_choices = {0}}), HasSubstr("0"));
  EXPECT_THAT(MessageOf({.stem_stride = 3}), HasSubstr("mobile.stem_stride"));
  EXPECT_THAT(MessageOf({.stages = {{16, 1}, {0, 1}}}),
              HasSubstr("mobile.stages[1].channels: 0 is out of range"));
  EXPECT_THAT(MessageOf({.stages = {{16, 1 << 30}, {16, 1 << 30}}}),
              HasSubstr("mobile.stages[0].stride"));
  EXPECT_THAT(MessageOf({.input = {1, 4, 4}}),
              HasSubstr("mobile.input: an image of 4 pixels is too small for "
                        "strides of 8 in all"));
  EXPECT_THAT(MessageOf({.expansion_choices = {10},
                         .width_choices = {4},
                         .stages = {{4096, 1}}}),
              HasSubstr("the largest network is not possible"));
}

}  // namespace
}  // namespace hwnas
