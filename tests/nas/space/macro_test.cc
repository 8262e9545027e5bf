#include "nas/space/macro.h"

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/benchmark_data.h"

namespace hwnas {
namespace {

using testing::HasSubstr;

std::unique_ptr<MacroSpace> MakeSpace(const MacroConfig& config) {
  return MacroSpace::Create(config).value();
}

std::unique_ptr<MacroSpace> Preset(const std::string& name,
                                   TensorShape input = {3, 64, 64}) {
  return MakeSpace({.input = input, .preset = name});
}

std::string MessageOf(const MacroConfig& config) {
  const auto space = CreateSpace(config);
  return space.ok() ? "OK" : std::string(space.status().message());
}

// Visits every vector of choices, valid or not.
template <typename F>
void ForEachPoint(const SearchSpace& space, F visit) {
  Architecture point;
  point.choices.assign(space.decisions().size(), 0);
  for (;;) {
    visit(point);
    size_t k = 0;
    while (k < point.choices.size() &&
           ++point.choices[k] ==
               static_cast<int>(space.decisions()[k].options.size())) {
      point.choices[k++] = 0;
    }
    if (k == point.choices.size()) return;
  }
}

// Canonical points by their canonical keys.
std::map<std::string, std::set<Architecture>> Classes(
    const SearchSpace& space) {
  std::map<std::string, std::set<Architecture>> classes;
  ForEachPoint(space, [&](const Architecture& point) {
    if (!space.Validate(point).ok()) return;
    classes[space.CanonicalKey(point)].insert(space.Canonicalize(point));
  });
  return classes;
}

TEST(MacroSpace, TransNasBench101HasThePointsOfItsTable) {
  HWNAS_REQUIRE_DATA(dir);
  const CsvTable table = ReadCsv(dir + "/transnasbench101/macro.csv.gz");
  ASSERT_EQ(table.rows.size(), 3256u);
  const auto space = Preset("transnasbench101");
  std::set<std::string> listed, possible;
  for (const auto& row : table.rows) {
    const std::string& text = row[table.Column("arch")];
    const auto architecture = space->FromText(text);
    ASSERT_TRUE(architecture.ok()) << architecture.status();
    EXPECT_EQ(space->ToText(*architecture), text);
    listed.insert(space->CanonicalKey(*architecture));
  }
  for (const auto& [key, points] : Classes(*space)) {
    EXPECT_EQ(points.size(), 1u) << key;
    possible.insert(key);
  }
  EXPECT_EQ(possible.size(), 3256u);
  EXPECT_EQ(listed, possible);
}

TEST(MacroSpace, NasBenchMacroHas6561PointsOf3969Networks) {
  const auto space = Preset("nasbench_macro");
  EXPECT_NEAR(space->Log10Size(), std::log10(6561), 1e-9);
  int points = 0;
  ForEachPoint(*space, [&](const Architecture&) { ++points; });
  EXPECT_EQ(points, 6561);
  // In a stage of n layers, n - 1 keep the shape; identities among them may
  // stand anywhere: 3 * 3 networks of 2 layers, 3 * (9 - 2) of 3.
  const auto classes = Classes(*space);
  EXPECT_EQ(classes.size(), 9u * 21 * 21);
  for (const auto& [key, canonical] : classes) {
    EXPECT_EQ(canonical.size(), 1u) << key;
  }
}

TEST(MacroSpace, IdentitiesStandBehindOtherLayersOfTheirShape) {
  const auto space = Preset("nasbench_macro");
  const auto canonical = [&](const std::string& text) {
    const Architecture a = space->FromText(text).value();
    return space->ToText(space->Canonicalize(a));
  };
  // The first layer of a stage changes the shape: its identity is a
  // convolution and stays.
  EXPECT_EQ(canonical("identity identity "
                      "identity identity mbconv_k3_e3 "
                      "mbconv_k3_e3 identity mbconv_k5_e6"),
            "identity identity "
            "identity mbconv_k3_e3 identity "
            "mbconv_k3_e3 mbconv_k5_e6 identity");
}

// Two searched layers of a list with an identity: deeper networks that only add
// idle layers are the shallower one.
TEST(MacroSpace, IdleLayersOfASearchedSkeletonAreAsIfAbsent) {
  const auto space = MakeSpace({.input = {3, 16, 16},
                                .operators = {"conv_k3", "identity"},
                                .depth_choices = {1, 2, 3}});
  const auto digest = [&](const std::string& text) {
    return space->Digest(space->FromText(text).value());
  };
  EXPECT_EQ(digest("16-121-identity conv_k3 identity"), digest("16-2-conv_k3"));
  EXPECT_EQ(digest("16-12-identity conv_k3"), digest("16-2-conv_k3"));
  EXPECT_NE(digest("16-22-identity conv_k3"), digest("16-2-conv_k3"));
  EXPECT_EQ(space->ToText(space->Canonicalize(
                space->FromText("16-111-identity identity identity").value())),
            "16-1-identity");
  for (const auto& [key, canonical] : Classes(*space)) {
    EXPECT_EQ(canonical.size(), 1u) << key;
  }
}

TEST(MacroSpace, EqualKeysAreEqualNetworksAndUnequalOnesAreNot) {
  const auto space = MakeSpace({.input = {1, 16, 16},
                                .channel_choices = {4, 8},
                                .operators = {"skip", "mbconv_k3_e1"},
                                .depth_choices = {1, 2, 3}});
  std::map<std::string, std::string> key_of_graph;
  ForEachPoint(*space, [&](const Architecture& point) {
    if (!space->Validate(point).ok()) return;
    // A graph's shapes and operators tell it.
    std::string text;
    const ModelGraph graph = space->Decode(point).value();
    for (const Node& node : graph.nodes()) {
      absl::StrAppend(&text, OpKindName(node.op), " ",
                      absl::StrJoin(node.inputs, ","), " ", node.out_channels,
                      " ", node.stride, " ", node.groups, ";");
    }
    const std::string key = space->CanonicalKey(point);
    EXPECT_EQ(key_of_graph.emplace(text, key).first->second, key);
  });
  EXPECT_EQ(key_of_graph.size(), Classes(*space).size());
}

TEST(MacroSpace, BuildsWhatTheDigitsSay) {
  const auto space = Preset("transnasbench101", {3, 64, 64});
  const ModelGraph graph =
      space->Decode(space->FromText("64-2314-basic").value()).value();
  // The stem divides by 4, then channels double, the image halves, neither,
  // both; each layer is two blocks of two 3x3 convolutions.
  std::vector<std::string> shapes;
  for (const Node& node : graph.nodes()) {
    if (node.op != OpKind::kAdd) continue;
    shapes.push_back(absl::StrCat(node.shape.channels, "x", node.shape.height));
  }
  EXPECT_THAT(shapes, testing::ElementsAre("128x16", "128x16", "128x8", "128x8",
                                           "128x8", "128x8", "256x4", "256x4"));
  EXPECT_EQ(graph.output_shape().channels, 10);
}

TEST(MacroSpace, GroupedBlocksShuffleTheirChannels) {
  const auto space = MakeSpace({.input = {3, 8, 8},
                                .channel_choices = {8},
                                .operators = {"k3_e1_g2", "k3_e1"},
                                .layers = {{8, 1}}});
  int grouped = 0, shuffled = 0;
  const ModelGraph graph =
      space->Decode(space->FromText("k3_e1_g2").value()).value();
  for (const Node& node : graph.nodes()) {
    grouped += node.op == OpKind::kConv2d && node.groups == 2;
    shuffled += node.op == OpKind::kChannelShuffle;
  }
  EXPECT_EQ(grouped, 2);
  EXPECT_EQ(shuffled, 1);
}

TEST(MacroSpace, AsksForItsBounds) {
  const auto space = Preset("transnasbench101");
  const auto message = [&](const std::string& text) {
    const auto read = space->FromText(text);
    return read.ok() ? "OK" : std::string(read.status().message());
  };
  EXPECT_EQ(message("64-4111-basic"), "OK");
  EXPECT_THAT(message("64-2222-basic"),
              HasSubstr("4 of 4 layers double the channels: expected 1 to 3"));
  EXPECT_THAT(message("64-2111-basic"),
              HasSubstr("0 of 4 layers halve the image: expected 1 to 4"));
  EXPECT_THAT(message("32-4111-basic"), HasSubstr("channels '32'"));
  EXPECT_THAT(message("64-411-basic"),
              HasSubstr("'411' are 3 layers: expected one of 4, 5, 6"));
  EXPECT_THAT(message("64-4115-basic"), HasSubstr("layer 4 of '4115'"));
  EXPECT_THAT(message("64-4111-conv"), HasSubstr("operator 'conv'"));
  EXPECT_THAT(message("basic"), HasSubstr("expected channels, a digit"));
  EXPECT_THAT(message(std::string(10000, '1')), HasSubstr("10000 bytes"));
}

TEST(MacroSpace, RefusesConfigurationsOutOfRange) {
  EXPECT_THAT(MessageOf({.preset = "nasbench"}),
              HasSubstr("macro.preset: 'nasbench' is unknown: expected "
                        "nasbench_macro"));
  EXPECT_THAT(MessageOf({.channel_choices = {0}}),
              HasSubstr("macro.channel_choices: 0 is out of range"));
  EXPECT_THAT(MessageOf({.channel_choices = {8, 8}}),
              HasSubstr("8 is listed twice"));
  EXPECT_THAT(MessageOf({.stem_stride = 3}), HasSubstr("expected 1, 2 or 4"));
  EXPECT_THAT(MessageOf({.operators = {"basic", "conv3"}}),
              HasSubstr("macro.operators[1]: unknown operator 'conv3'"));
  for (const char* name :
       {"k2_e3", "k3", "k3_e11", "k3_e1_g1", "mbconv_k3", "mbconv_k3_e3_g2",
        "conv_k", "conv_k3_e1", "k03_e1", "k+3_e1", "", "_"}) {
    EXPECT_THAT(MessageOf({.operators = {name}}), HasSubstr("unknown operator"))
        << name;
  }
  EXPECT_THAT(MessageOf({.operators = {"basic", "basic"}}),
              HasSubstr("macro.operators[1]: basic is listed twice"));
  EXPECT_THAT(MessageOf({.layers = {{16, 1}, {0, 1}}}),
              HasSubstr("macro.layers[1].channels: 0 is out of range"));
  EXPECT_THAT(MessageOf({.layers = {{16, 1}}, .depth_choices = {2}}),
              HasSubstr("macro.depth_choices: the skeleton is fixed"));
  EXPECT_THAT(MessageOf({.channel_choices = {8, 16}, .layers = {{16, 1}}}),
              HasSubstr("macro.channel_choices: 2 choices with a skeleton"));
  EXPECT_THAT(MessageOf({.depth_choices = {3}, .min_doublings = 4}),
              HasSubstr("macro.min_doublings: 4 is out of range: expected 0 to "
                        "3"));
  EXPECT_THAT(MessageOf({.input = {3, 8, 8}, .max_halvings = 4}),
              HasSubstr("macro.input: an image of 8 pixels is too small for "
                        "strides of 16 in all"));
  EXPECT_THAT(MessageOf({.channel_choices = {1024}, .depth_choices = {32}}),
              HasSubstr("the largest network is not possible"));
  EXPECT_THAT(MessageOf({.depth_choices = {2, 4}, .min_halvings = 3}),
              HasSubstr("macro.min_halvings: 3 is out of range: expected 0 to "
                        "2"));
}

// Skeletons within tight bounds are found at once, each as often as any.
TEST(MacroSpace, SamplesUniformlyWithinItsBounds) {
  const auto space = MakeSpace({.input = {3, 512, 512},
                                .depth_choices = {32},
                                .max_doublings = 0,
                                .min_halvings = 1,
                                .max_halvings = 2});
  Rng rng(1);
  std::map<std::string, int> seen;
  constexpr int kSamples = 20000;
  for (int i = 0; i < kSamples; ++i) {
    const Architecture a = space->Sample(rng);
    ASSERT_TRUE(space->Validate(a).ok());
    ++seen[space->ToText(a)];
  }
  // 32 and 32 * 31 / 2 subsets.
  EXPECT_EQ(seen.size(), 528u);
  double chi_squared = 0;
  const double expected = kSamples / 528.0;
  for (const auto& [text, count] : seen) {
    chi_squared += (count - expected) * (count - expected) / expected;
  }
  // 527 degrees of freedom, 5 standard deviations.
  EXPECT_LT(chi_squared, 527 + 5 * std::sqrt(2 * 527.0));
}

}  // namespace
}  // namespace hwnas
