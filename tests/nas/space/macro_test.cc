#include "nas/space/macro.h"

#include <array>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/space/nasbench201_cell.h"
#include "tests/fakes/benchmark_data.h"
#include "tests/nas/space/every_point.h"
#include "tests/nas/space/graph_fingerprint.h"

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

// Canonical points by their canonical keys.
std::map<std::string, std::set<Architecture>> Classes(
    const SearchSpace& space) {
  std::map<std::string, std::set<Architecture>> classes;
  ForEachPoint(space.decisions(), [&](const Architecture& point) {
    if (!space.Validate(point).ok()) return;
    classes[space.CanonicalKey(point)].insert(space.Canonicalize(point));
  });
  return classes;
}

std::string CanonicalText(const SearchSpace& space, const std::string& text) {
  return space.ToText(space.Canonicalize(space.FromText(text).value()));
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
  ForEachPoint(space->decisions(), [&](const Architecture&) { ++points; });
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
    return CanonicalText(*space, text);
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
  ForEachPoint(space->decisions(), [&](const Architecture& point) {
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

constexpr char kNone[] = "none";
constexpr char kSkip[] = "skip_connect";
constexpr char kConv1[] = "nor_conv_1x1";
constexpr char kConv3[] = "nor_conv_3x3";
constexpr char kPool[] = "avg_pool_3x3";

// A cell of NAS-Bench-201 by its edges in the order of the decisions.
std::string Edges(const std::array<absl::string_view, 6>& ops) {
  return absl::StrFormat("|%s~0|+|%s~0|%s~1|+|%s~0|%s~1|%s~2|", ops[0], ops[1],
                         ops[2], ops[3], ops[4], ops[5]);
}

// Three operators in a row.
std::string Chain(absl::string_view a, absl::string_view b,
                  absl::string_view c) {
  return Edges({a, kNone, b, kNone, kNone, c});
}

std::unique_ptr<MacroSpace> Hierarchical(std::vector<int> depths,
                                         CellConfig cell) {
  return MakeSpace({.kind = "hierarchical",
                    .input = {1, 16, 16},
                    .channel_choices = {8, 16},
                    .depth_choices = std::move(depths),
                    .cell = std::move(cell)});
}

TEST(HierarchicalSpace, FewLongCellsAreAsManyShortOnes) {
  const auto space = Hierarchical({1, 2, 3, 4, 6}, Nasbench201CellConfig{});
  const auto canonical = [&](const std::string& text) {
    return CanonicalText(*space, text);
  };
  const std::string one = Chain(kSkip, kConv3, kSkip);
  const std::string two = Chain(kConv3, kConv3, kSkip);
  const std::string three = Chain(kConv3, kConv3, kConv3);
  EXPECT_EQ(canonical("16-1111-" + one), canonical("16-11-" + two));
  EXPECT_EQ(canonical("16-111111-" + one), canonical("16-11-" + three));
  EXPECT_EQ(canonical("16-111-" + two), canonical("16-11-" + three));
  EXPECT_NE(canonical("16-111-" + two), canonical("16-1111-" + one));
  EXPECT_THAT(canonical("16-1111-" + one), testing::StartsWith("16-11-"));
  // A layer that changes the shape has as many cells as any, and in each run of
  // layers of one shape there are equally many convolutions.
  EXPECT_EQ(canonical("16-1121-" + one), canonical("16-12-" + two));
  EXPECT_EQ(canonical("16-2141-" + one), canonical("16-24-" + two));
  EXPECT_NE(canonical("16-2114-" + one), canonical("16-24-" + two));
  EXPECT_THAT(canonical("16-2114-" + one), testing::StartsWith("16-2114-"));
  EXPECT_NE(canonical("16-2141-" + one), canonical("8-24-" + two));
  // Other operators, and other cells.
  EXPECT_EQ(canonical("16-11-" + Chain(kSkip, kSkip, kPool)),
            canonical("16-1-" + Chain(kPool, kSkip, kPool)));
  EXPECT_NE(canonical("16-11-" + Chain(kConv1, kConv3, kSkip)),
            canonical("16-11-" + Chain(kConv3, kConv1, kSkip)));
  const std::string residual =
      Edges({kConv3, kNone, kNone, kSkip, kSkip, kNone});
  EXPECT_EQ(
      canonical("16-11-" + residual),
      canonical("16-1-" + Edges({kConv3, kSkip, kSkip, kSkip, kSkip, kConv3})));
}

TEST(HierarchicalSpace, LayersWithACellThatDoesNothingAreAsIfAbsent) {
  const auto space = Hierarchical({1, 2, 4}, Nasbench201CellConfig{});
  const std::string cell = Chain(kSkip, kSkip, kSkip);
  const auto digest = [&](const std::string& skeleton) {
    return space->Digest(space->FromText(skeleton + cell).value());
  };
  EXPECT_EQ(digest("16-1111-"), digest("16-1-"));
  EXPECT_EQ(digest("16-1214-"), digest("16-24-"));
  EXPECT_EQ(digest("16-2111-"), digest("16-2-"));
  EXPECT_NE(digest("16-4121-"), digest("16-24-"));
  EXPECT_NE(digest("16-1111-"), digest("8-1-"));
}

TEST(HierarchicalSpace, WithACellOfZerosThereIsOneNetwork) {
  const auto space = MakeSpace({.kind = "hierarchical",
                                .input = {1, 16, 16},
                                .channel_choices = {8, 16},
                                .depth_choices = {3, 4},
                                .min_doublings = 2,
                                .min_halvings = 1,
                                .cell = Nasbench201CellConfig{}});
  const auto canonical = [&](const std::string& text) {
    return CanonicalText(*space, text);
  };
  const std::string zeros = Chain(kNone, kNone, kNone);
  EXPECT_EQ(canonical("16-1324-" + Chain(kConv3, kNone, kConv3)),
            "8-421-" + zeros);
  EXPECT_EQ(canonical("8-442-" + zeros), "8-421-" + zeros);
}

TEST(HierarchicalSpace, WithTablesEverySkeletonIsANetwork) {
  const auto space =
      Hierarchical({1, 2}, Nasbench201CellConfig{.benchmark_classes = true});
  const auto digest = [&](const std::string& text) {
    return space->Digest(space->FromText(text).value());
  };
  EXPECT_NE(digest("16-11-" + Chain(kSkip, kSkip, kConv3)),
            digest("16-1-" + Chain(kSkip, kConv3, kConv3)));
  EXPECT_NE(digest("16-11-" + Chain(kSkip, kSkip, kSkip)),
            digest("16-1-" + Chain(kSkip, kSkip, kSkip)));
}

// What a network of poolings makes of a number, modulo 2^64: a factor stands
// for pooling, and functions that are not linear for changes of the shape.
// Its choices: channels, depth, 4 layers, 6 edges.
uint64_t Value(const Architecture& a, const std::vector<int>& depths) {
  const auto mix = [](uint64_t x) {
    x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15u;
    return x ^ (x >> 29);
  };
  uint64_t x = mix(a.choices[0] + 1);
  for (int layer = 0; layer < depths[a.choices[1]]; ++layer) {
    if (const int change = a.choices[2 + layer]) x = mix(x + change);
    std::array<uint64_t, 4> nodes{x};
    for (int e = 0; e < Nasbench201Cell::kEdges; ++e) {
      const auto [source, target] = Nasbench201Cell::kEdgeList[e];
      constexpr uint64_t kFactors[] = {0, 1, 0x2545f4914f6cdd1du};
      nodes[target] += kFactors[a.choices[6 + e]] * nodes[source];
    }
    x = nodes[3];
  }
  return x;
}

// Both directions: not only rows of poolings are equal, also sums of them.
TEST(HierarchicalSpace, NetworksOfPoolingsShareAKeyWhenTheyComputeTheSame) {
  const std::vector<int> depths = {1, 2, 4};
  const auto space =
      MakeSpace({.kind = "hierarchical",
                 .input = {1, 16, 16},
                 .channel_choices = {8, 16},
                 .depth_choices = depths,
                 .max_doublings = 0,
                 .max_halvings = 1,
                 .cell = Nasbench201CellConfig{{kNone, kSkip, kPool}}});
  std::map<std::string, uint64_t> value_of_key;
  std::map<uint64_t, std::string> key_of_value;
  ForEachPoint(space->decisions(), [&](const Architecture& point) {
    if (!space->Validate(point).ok()) return;
    const std::string key = space->CanonicalKey(point);
    const uint64_t value = Value(point, depths);
    ASSERT_EQ(value_of_key.emplace(key, value).first->second, value)
        << space->ToText(point);
    ASSERT_EQ(key_of_value.emplace(value, key).first->second, key)
        << space->ToText(point);
  });
  EXPECT_EQ(value_of_key.size(), 895u);
}

TEST(HierarchicalSpace, KeysAndGraphsAreOneToOne) {
  for (const CellConfig& cell :
       std::vector<CellConfig>{Nasbench201CellConfig{{kNone, kSkip, kConv3}},
                               DagCellConfig{.nodes = 4,
                               .max_edges = 0,
                               .operations = {"conv1x1", "conv3x3"}}}) {
    const auto space = MakeSpace({.kind = "hierarchical",
                                  .input = {1, 8, 8},
                                  .channel_choices = {4},
                                  .depth_choices = {1, 2, 4},
                                  .max_doublings = 1,
                                  .max_halvings = 0,
                                  .cell = cell});
    std::map<uint64_t, std::string> key_of_graph;
    const auto classes = Classes(*space);
    for (const auto& [key, canonical] : classes) {
      EXPECT_EQ(canonical.size(), 1u) << key;
      const ModelGraph graph = space->Decode(*canonical.begin()).value();
      EXPECT_EQ(
          key_of_graph.emplace(GraphFingerprint(graph), key).first->second,
          key);
    }
    EXPECT_EQ(key_of_graph.size(), classes.size());
  }
}

TEST(HierarchicalSpace, FreeCellsMayBeSeveralInARow) {
  const auto space =
      Hierarchical({1, 2, 3, 4}, DagCellConfig{.nodes = 8, .max_edges = 0});
  const auto canonical = [&](const std::string& text) {
    return CanonicalText(*space, text);
  };
  EXPECT_EQ(canonical("16-1111-out(0)"),
            "16-1-conv1x1(0)+conv1x1(1)+conv1x1(2)+out(3)");
  EXPECT_EQ(canonical("16-2141-conv3x3(0)+out(1)"),
            "16-24-conv3x3(0)+conv1x1(1)+conv3x3(2)+out(3)");
  const std::string once = "conv3x3(0)+maxpool3x3(0,1)+out(2)";
  const std::string twice =
      "conv3x3(0)+maxpool3x3(0,1)+conv1x1(2)+conv3x3(3)+conv1x1(2)+"
      "maxpool3x3(4,5)+out(6)";
  EXPECT_EQ(canonical("16-1111-" + once), canonical("16-11-" + twice));
  EXPECT_THAT(canonical("16-1111-" + once), testing::StartsWith("16-11-"));
  // No node reads what is concatenated, or added to the projected input.
  for (const std::string cell :
       {"conv3x3(0)+conv3x3(0)+out(1,2)", "conv3x3(0)+out(0,1)"}) {
    EXPECT_THAT(canonical("16-11-" + cell), testing::StartsWith("16-11-"));
  }
}

// Visits every valid cell.
template <typename F>
void ForEachCell(const Cell& cell, F visit) {
  ForEachPoint(cell.decisions(), [&](const Architecture& point) {
    if (cell.Validate(point.choices).ok()) visit(point.choices);
  });
}

TEST(Cell, PowersOfOneHaveThatRoot) {
  const auto cell = CreateCell(Nasbench201CellConfig{}).value();
  std::map<std::string, int> exponents;
  ForEachCell(*cell, [&](const std::vector<int>& choices) {
    const Cell::Powers powers = cell->PowersOf(choices);
    exponents[cell->CanonicalKey(choices)] = powers.exponent;
    for (const auto& [exponent, power] : powers.cells) {
      const Cell::Powers its = cell->PowersOf(power);
      ASSERT_EQ(its.exponent, exponent) << cell->ToText(choices);
      ASSERT_EQ(its.cells, powers.cells) << cell->ToText(choices);
    }
  });
  // Of each operator o two in a row, three, and x + o(x) twice; and 4x.
  std::map<int, int> count;
  for (const auto& [key, exponent] : exponents) ++count[exponent];
  EXPECT_EQ(count, (std::map<int, int>{{1, 5034}, {2, 7}, {3, 3}}));
}

TEST(Cell, PowersInARowAreOneGraph) {
  for (const CellConfig& config :
       std::vector<CellConfig>{Nasbench201CellConfig{{kNone, kConv1, kConv3}},
                               DagCellConfig{.nodes = 5,
                               .max_edges = 0,
                               .operations = {"conv3x3", "conv1x1"}}}) {
    const auto cell = CreateCell(config).value();
    const auto in_a_row = [&](const std::vector<int>& choices, int times) {
      GraphBuilder b;
      int x = b.Input({8, 4, 4});
      for (int i = 0; i < times; ++i) {
        x = cell->Append(b, x, 8, choices, absl::StrCat("cell", i, "."), {});
      }
      return GraphFingerprint(std::move(b).Build().value());
    };
    int powers_of_others = 0;
    ForEachCell(*cell, [&](const std::vector<int>& choices) {
      const Cell::Powers powers = cell->PowersOf(choices);
      powers_of_others += powers.exponent > 1;
      for (const auto& [exponent, power] : powers.cells) {
        EXPECT_EQ(in_a_row(choices, exponent), in_a_row(power, powers.exponent))
            << cell->ToText(choices) << " " << cell->ToText(power);
      }
    });
    EXPECT_GT(powers_of_others, 3);
  }
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
