// Declared spaces with a network.
#include "nas/space/declared_network.h"

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/space/declared.h"

namespace hwnas {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using Parameters = std::map<std::string, std::string>;
using Blocks = std::vector<DeclaredBlock>;

DeclaredBlock Conv(Parameters parameters) {
  return {.kind = DeclaredBlock::kConv, .parameters = std::move(parameters)};
}
DeclaredBlock MbConv(Parameters parameters) {
  return {.kind = DeclaredBlock::kMbConv, .parameters = std::move(parameters)};
}
DeclaredBlock Repeat(Parameters parameters, Blocks blocks) {
  return {.kind = DeclaredBlock::kRepeat,
          .parameters = std::move(parameters),
          .bodies = {std::move(blocks)}};
}
DeclaredBlock Residual(Blocks blocks, Parameters parameters = {}) {
  return {.kind = DeclaredBlock::kResidual,
          .parameters = std::move(parameters),
          .bodies = {std::move(blocks)}};
}

DeclaredConfig WithNetwork(std::vector<DeclaredChoice> choices, Blocks blocks) {
  return {.choices = std::move(choices),
          .network = DeclaredNetworkConfig{.input = {3, 32, 32},
                                           .blocks = std::move(blocks)}};
}

std::unique_ptr<DeclaredSpace> MakeSpace(const DeclaredConfig& config) {
  return DeclaredSpace::Create(config).value();
}

std::string MessageOf(const DeclaredConfig& config) {
  const auto space = CreateSpace(config);
  return space.ok() ? "OK" : std::string(space.status().message());
}

// "16k3s1" for each convolution, depthwise ones with "d".
std::vector<std::string> Convolutions(const DeclaredSpace& space,
                                      const std::string& text) {
  const auto architecture = space.FromText(text);
  EXPECT_TRUE(architecture.ok()) << architecture.status();
  if (!architecture.ok()) return {};
  const auto graph = space.Decode(*architecture);
  EXPECT_TRUE(graph.ok()) << graph.status();
  std::vector<std::string> found;
  for (const Node& node : graph->nodes()) {
    if (node.op != OpKind::kConv2d) continue;
    found.push_back(absl::StrCat(node.out_channels, "k", node.kernel, "s",
                                 node.stride, node.groups > 1 ? "d" : ""));
  }
  return found;
}

TEST(DeclaredNetwork, ParametersAreNumbersChoicesAndProducts) {
  const auto space = MakeSpace(WithNetwork(
      {{.name = "width", .ordered = {"0.5", "1"}},
       {.name = "kernel", .ordered = {"3", "5"}}},
      {Conv({{"channels", "24*width"}, {"kernel", "kernel"}, {"stride", "2"}}),
       Conv({{"channels", "2*24*width"}, {"kernel", "1"}})}));
  EXPECT_THAT(Convolutions(*space, "width=0.5 kernel=5"),
              ElementsAre("12k5s2", "24k1s1"));
  EXPECT_THAT(Convolutions(*space, "width=1 kernel=3"),
              ElementsAre("24k3s2", "48k1s1"));
}

TEST(DeclaredNetwork, ChannelsAreRoundedAsInMobileNet) {
  DeclaredConfig config =
      WithNetwork({{.name = "width", .ordered = {"0.5", "0.75"}}},
                  {Conv({{"channels", "20*width"}}),
                   MbConv({{"channels", "30*width"}, {"expansion", "2.5"}})});
  config.network->channel_multiple = 8;
  const auto space = MakeSpace(config);
  EXPECT_THAT(Convolutions(*space, "width=0.5"),
              ElementsAre("16k3s1", "40k1s1", "40k3s1d", "16k1s1"));
}

// The choice of a round that is not reached does not matter.
TEST(DeclaredNetwork, RoundsOfARepeatHaveChoicesOfTheirOwn) {
  const auto space = MakeSpace(WithNetwork(
      {{.name = "depth", .integers = IntegerRange{0, 3}},
       {.name = "kernel{0..2}", .ordered = {"3", "5"}}},
      {Repeat({{"times", "depth"}, {"index", "i"}, {"stride", "2"}},
              {Conv({{"channels", "8"}, {"kernel", "kernel{i}"}})})}));
  EXPECT_THAT(Convolutions(*space, "depth=0"), IsEmpty());
  EXPECT_THAT(Convolutions(*space, "depth=2 kernel0=5 kernel1=3"),
              ElementsAre("8k5s2", "8k3s1"));
  const auto points = space->Enumerate(1e6);
  ASSERT_TRUE(points.has_value());
  EXPECT_EQ(points->size(), 1u + 2 + 4 + 8);
}

TEST(DeclaredNetwork, NamesMayHaveSeveralIndices) {
  const auto space = MakeSpace(
      WithNetwork({{.name = "depth{0..1}", .integers = IntegerRange{1, 2}},
                   {.name = "c{0..1}_{0..1}", .ordered = {"8", "16"}}},
                  {Repeat({{"times", "2"}, {"index", "s"}},
                          {Repeat({{"times", "depth{s}"}, {"index", "b"}},
                                  {Conv({{"channels", "c{s}_{b}"}})})})}));
  EXPECT_THAT(Convolutions(*space, "depth0=1 depth1=2 c0_0=8 c1_0=16 c1_1=8"),
              ElementsAre("8k3s1", "16k3s1", "8k3s1"));
}

TEST(DeclaredNetwork, OnlyTheCaseThatIsChosenMatters) {
  const auto space = MakeSpace(WithNetwork(
      {{.name = "op", .options = {"conv", "mb", "skip"}},
       {.name = "kernel", .ordered = {"3", "5"}},
       {.name = "expansion", .ordered = {"1", "4"}}},
      {Conv({{"channels", "8"}}),
       {.kind = DeclaredBlock::kChoose,
        .parameters = {{"by", "op"}},
        .bodies = {{Conv({{"kernel", "kernel"}})},
                   {MbConv({{"kernel", "kernel"}, {"expansion", "expansion"}})},
                   {}},
        .cases = {{"conv"}, {"mb"}, {"skip"}}}}));
  EXPECT_THAT(Convolutions(*space, "op=skip"), ElementsAre("8k3s1"));
  EXPECT_THAT(Convolutions(*space, "op=conv kernel=5"),
              ElementsAre("8k3s1", "8k5s1"));
  EXPECT_THAT(Convolutions(*space, "op=mb kernel=5 expansion=1"),
              ElementsAre("8k3s1", "8k5s1d", "8k1s1"));
  EXPECT_EQ(space->Enumerate(1e6)->size(), 2u + 4 + 1);
  EXPECT_THAT(
      std::string(space->FromText("op=skip kernel=3").status().message()),
      HasSubstr("'kernel=3' does not matter here"));
  EXPECT_THAT(std::string(space->FromText("op=conv").status().message()),
              HasSubstr("'kernel' is missing"));
}

// A convolution before or after a skip is the same network.
TEST(DeclaredNetwork, EqualBlocksShareADigest) {
  const DeclaredBlock choose{.kind = DeclaredBlock::kChoose,
                             .parameters = {{"by", "op{i}"}},
                             .bodies = {{Conv({})}, {}},
                             .cases = {{"conv"}, {"skip"}}};
  const auto space = MakeSpace(
      WithNetwork({{.name = "op{0..2}", .options = {"conv", "skip"}}},
                  {Repeat({{"times", "3"}, {"index", "i"}}, {choose})}));
  const auto digest = [&](const std::string& text) {
    return space->Digest(space->FromText(text).value());
  };
  EXPECT_EQ(digest("op0=conv op1=skip op2=conv"),
            digest("op0=conv op1=conv op2=skip"));
  EXPECT_NE(digest("op0=conv op1=skip op2=conv"),
            digest("op0=conv op1=skip op2=skip"));
  EXPECT_EQ(space->Enumerate(1e6)->size(), 4u);
}

// What nobody looks at is out, also if it has conditions or others depend on
// it.
TEST(DeclaredNetwork, ConditionsOfWhatIsLookedAtMatter) {
  const auto space =
      MakeSpace(WithNetwork({{.name = "large", .options = {"no", "yes"}},
                             {.name = "kernel",
                              .ordered = {"3", "5", "7"},
                              .when = {{"large", {"yes"}}}},
                             {.name = "unused", .options = {"a", "b"}}},
                            {Conv({{"channels", "8"}, {"kernel", "kernel"}})}));
  // Without the condition the kernel is its first option.
  EXPECT_THAT(Convolutions(*space, "large=no"), ElementsAre("8k3s1"));
  EXPECT_THAT(Convolutions(*space, "large=yes kernel=7"), ElementsAre("8k7s1"));
  // Both ways to a kernel of 3 are one network.
  EXPECT_EQ(space->Digest({{0, 2, 1}}), space->Digest({{1, 0, 0}}));
  EXPECT_EQ(space->Enumerate(1e6)->size(), 3u);
}

TEST(DeclaredNetwork, AStrideThatNobodyTakesIsAConvolution) {
  const DeclaredBlock choose{.kind = DeclaredBlock::kChoose,
                             .parameters = {{"by", "op"}},
                             .bodies = {{Conv({})}, {}},
                             .cases = {{"conv"}, {"skip"}}};
  const auto space = MakeSpace(
      WithNetwork({{.name = "op", .options = {"conv", "skip"}}},
                  {Repeat({{"times", "1"}, {"stride", "2"}}, {choose}),
                   Conv({{"channels", "4"}, {"kernel", "1"}})}));
  EXPECT_THAT(Convolutions(*space, "op=conv"), ElementsAre("3k3s2", "4k1s1"));
  EXPECT_THAT(Convolutions(*space, "op=skip"), ElementsAre("3k1s2", "4k1s1"));
}

TEST(DeclaredNetwork, ResidualsAndBranchesFitTheirShapes) {
  const auto space = MakeSpace(WithNetwork(
      {{.name = "stride", .ordered = {"1", "2"}},
       {.name = "join", .options = {"add", "concat"}}},
      {Conv({{"channels", "8"}}),
       Residual({Conv({{"channels", "8*stride"}, {"stride", "stride"}}),
                 Conv({{"activation", "none"}})},
                {{"activation", "relu"}}),
       {.kind = DeclaredBlock::kParallel,
        .parameters = {{"join", "join"}},
        .bodies = {{Conv({{"kernel", "1"}})}, {}, {Conv({})}}}}));
  // With a stride the shortcut is a convolution of its own.
  EXPECT_THAT(Convolutions(*space, "stride=1 join=add"),
              ElementsAre("8k3s1", "8k3s1", "8k3s1", "8k1s1", "8k3s1"));
  EXPECT_THAT(
      Convolutions(*space, "stride=2 join=concat"),
      ElementsAre("8k3s1", "16k3s2", "16k3s1", "16k1s2", "16k1s1", "16k3s1"));
  const ModelGraph graph =
      space->Decode(space->FromText("stride=2 join=concat").value()).value();
  EXPECT_EQ(graph.node(graph.size() - 3).shape,
            (TensorShape{48, 1, 1}));  // Pooled.
}

TEST(DeclaredNetwork, HeadsPoolsAndResolutions) {
  DeclaredConfig config = WithNetwork(
      {{.name = "side", .ordered = {"16", "24"}},
       {.name = "pool", .options = {"max", "avg"}},
       {.name = "se", .options = {"0", "1"}},
       {.name = "act", .options = {"relu", "swish"}}},
      {{.kind = DeclaredBlock::kPool, .parameters = {{"kind", "pool"}}},
       MbConv({{"channels", "8"},
               {"squeeze_excite", "se"},
               {"squeeze_of", "input"},
               {"activation", "act"}}),
       {.kind = DeclaredBlock::kDepthwise, .parameters = {{"kernel", "5"}}},
       {.kind = DeclaredBlock::kHead,
        .parameters = {{"channels", "32"}, {"dropout", "0.2"}}}});
  config.network->resolution = "side";
  const auto space = MakeSpace(config);
  EXPECT_THAT(Convolutions(*space, "side=16 pool=avg se=1 act=swish"),
              ElementsAre("18k1s1", "18k3s1d", "1k1s1", "18k1s1", "8k1s1",
                          "8k5s1d", "32k1s1"));
  const ModelGraph graph =
      space->Decode(space->FromText("side=24 pool=max se=0 act=relu").value())
          .value();
  EXPECT_EQ(graph.input_shape(), (TensorShape{3, 24, 24}));
  std::set<OpKind> operators;
  for (const Node& node : graph.nodes()) operators.insert(node.op);
  EXPECT_TRUE(operators.contains(OpKind::kMaxPool));
  EXPECT_TRUE(operators.contains(OpKind::kDropout));
  EXPECT_FALSE(operators.contains(OpKind::kMul));
}

TEST(DeclaredNetwork, RefusesBlocksThatMeanNothing) {
  const std::vector<DeclaredChoice> choices = {
      {.name = "k{0..1}", .ordered = {"3", "4"}},
      {.name = "op", .options = {"a", "b"}},
      {.name = "depth", .integers = IntegerRange{1, 40}}};
  const auto message = [&](Blocks blocks) {
    return MessageOf(WithNetwork(choices, std::move(blocks)));
  };
  EXPECT_EQ(message({}), "OK");
  EXPECT_EQ(message({Conv({{"channels", "x"}})}),
            "declared.network.blocks[0].conv.channels: 'x' is neither a number "
            "nor declared: expected a number, the name of a choice, or several "
            "with * between");
  EXPECT_THAT(message({Conv({{"channels", "8**2"}})}),
              HasSubstr("conv.channels: '' is neither"));
  EXPECT_THAT(message({Conv({{"channels", "8*op"}})}),
              HasSubstr("conv.channels: option 'a' of op is no number"));
  EXPECT_THAT(message({Conv({{"channels", "0"}})}),
              HasSubstr("0 of '0' is out of range: expected 1 to 8192"));
  EXPECT_THAT(message({Conv({{"kernel", "k0"}})}),
              HasSubstr("conv.kernel: 4 is even: expected odd numbers"));
  EXPECT_THAT(message({Conv({{"kernel", "k{i}"}})}),
              HasSubstr("conv.kernel: 'i' is no index of a repeat around"));
  EXPECT_THAT(message({Conv({{"kernel", "k{i"}})}), HasSubstr("has no }"));
  EXPECT_THAT(message({Conv({{"stride", "1.5"}})}),
              HasSubstr("expected an integer, 1 to 8"));
  EXPECT_THAT(message({Conv({{"activation", "gelu"}})}),
              HasSubstr("conv.activation: 'gelu' is unknown: expected a "
                        "choice, or one of relu, relu6"));
  EXPECT_THAT(message({Conv({{"activation", "op"}})}),
              HasSubstr("conv.activation: option 'a' of op is unknown"));
  EXPECT_THAT(message({MbConv({{"activation", "none"}})}),
              HasSubstr("mbconv.activation: 'none' is unknown"));
  EXPECT_THAT(message({Repeat({}, {})}),
              HasSubstr("repeat.times: is required"));
  EXPECT_THAT(message({Repeat({{"times", "depth"}}, {})}),
              HasSubstr("repeat.times: 33 of 'depth' is out of range"));
  EXPECT_THAT(message({Repeat({{"times", "3"}, {"index", "i"}},
                              {Conv({{"stride", "k{i}"}})})}),
              HasSubstr("blocks[0].repeat.blocks[0].conv.stride: 'k2' is not "
                        "declared"));
  EXPECT_THAT(message({{.kind = DeclaredBlock::kHead}, Conv({})}),
              HasSubstr("blocks[0].head: stands inside of the network"));
  EXPECT_THAT(message({{.kind = DeclaredBlock::kChoose}}),
              HasSubstr("choose.by: '' is not declared"));
  EXPECT_THAT(message({{.kind = DeclaredBlock::kChoose,
                        .parameters = {{"by", "op"}},
                        .bodies = {{}},
                        .cases = {{"a"}}}}),
              HasSubstr("choose.cases: none for option 'b' of op"));
  EXPECT_THAT(message({{.kind = DeclaredBlock::kChoose,
                        .parameters = {{"by", "op"}},
                        .bodies = {{}, {}},
                        .cases = {{"a", "b"}, {"b"}}}}),
              HasSubstr("choose.cases[1].is: 'b' has a case already"));
  EXPECT_THAT(message({{.kind = DeclaredBlock::kChoose,
                        .parameters = {{"by", "op"}},
                        .bodies = {{}},
                        .cases = {{"a", "c"}}}}),
              HasSubstr("choose.cases[0].is[1]: 'c' is no option of op"));
  Blocks deep = {Conv({})};
  for (int i = 0; i < 20; ++i) deep = {Residual(std::move(deep))};
  EXPECT_THAT(message(deep), HasSubstr("blocks in blocks are too deep"));
  Blocks many = {Conv({})};
  for (int i = 0; i < 4; ++i) {
    many = {Repeat({{"times", "32"}}, std::move(many))};
  }
  EXPECT_THAT(message(many), HasSubstr("may have too many operations"));
  // Only building it tells.
  EXPECT_THAT(message({Conv({{"channels", "9"}}), Conv({{"groups", "2"}})}),
              HasSubstr("declared.network: '' is not possible: "));
}

}  // namespace
}  // namespace hwnas
