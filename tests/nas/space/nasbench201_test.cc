#include "nas/space/nasbench201.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "absl/strings/numbers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/benchmark_data.h"
#include "tests/nas/space/every_point.h"
#include "tests/nas/space/graph_fingerprint.h"

namespace hwnas {
namespace {

using testing::HasSubstr;

std::unique_ptr<Nasbench201Space> MakeSpace(
    const Nasbench201Config& config = {}) {
  return Nasbench201Space::Create(config).value();
}

int CountOps(const ModelGraph& graph, OpKind op) {
  return static_cast<int>(
      std::count_if(graph.nodes().begin(), graph.nodes().end(),
                    [op](const Node& node) { return node.op == op; }));
}

TEST(Nasbench201Space, ReadsAndWritesEveryCellOfTheBenchmark) {
  HWNAS_REQUIRE_DATA(dir);
  const CsvTable table = ReadCsv(dir + "/nasbench201/cells.csv.gz");
  ASSERT_EQ(table.rows.size(), 15625u);
  const auto space = MakeSpace();
  const int cell = table.Column("cell"), op0 = table.Column("op0");
  for (const auto& row : table.rows) {
    const auto architecture = space->FromText(row[cell]);
    ASSERT_TRUE(architecture.ok()) << architecture.status();
    for (int e = 0; e < Nasbench201Cell::kEdges; ++e) {
      ASSERT_EQ(std::to_string(architecture->choices[e]), row[op0 + e]);
    }
    ASSERT_EQ(space->ToText(*architecture), row[cell]);
  }
}

// Both directions: cells of one class share key and canonical form, and cells
// of different classes share neither.
TEST(Nasbench201Space, ClassesForTablesAreThoseOfTheBenchmark) {
  HWNAS_REQUIRE_DATA(dir);
  const CsvTable table = ReadCsv(dir + "/nasbench201/cells.csv.gz");
  const auto space = MakeSpace({.benchmark_classes = true});
  const int cell = table.Column("cell"), rep = table.Column("rep_arch_idx");
  std::map<std::string, std::string> rep_of_key, key_of_rep;
  std::map<Architecture, std::string> rep_of_canonical;
  std::set<std::string> reps;
  for (const auto& row : table.rows) {
    const Architecture architecture = space->FromText(row[cell]).value();
    const std::string key = space->CanonicalKey(architecture);
    EXPECT_EQ(rep_of_key.emplace(key, row[rep]).first->second, row[rep]);
    EXPECT_EQ(key_of_rep.emplace(row[rep], key).first->second, key);
    const Architecture canonical = space->Canonicalize(architecture);
    EXPECT_EQ(rep_of_canonical.emplace(canonical, row[rep]).first->second,
              row[rep]);
    EXPECT_EQ(space->CanonicalKey(canonical), key);
    EXPECT_EQ(space->Canonicalize(canonical), canonical);
  }
  EXPECT_EQ(rep_of_key.size(), 6466u);
  EXPECT_EQ(key_of_rep.size(), 6466u);
  EXPECT_EQ(rep_of_canonical.size(), 6466u);
}

using Weights = std::array<uint64_t, Nasbench201Cell::kEdges>;

// What a cell makes of a number, modulo 2^64: some linear function stands for
// pooling, and some functions that give zero for zero for convolutions.
uint64_t Value(const std::vector<int>& cell, const Weights& weights) {
  std::array<uint64_t, 4> nodes{0x5851f42d4c957f2du};
  for (int e = 0; e < Nasbench201Cell::kEdges; ++e) {
    const auto [source, target] = Nasbench201Cell::kEdgeList[e];
    const uint64_t in = nodes[source];
    const uint64_t product = (in ^ (in >> 31)) * weights[e];
    switch (cell[e]) {
      case Nasbench201Cell::kNone:
        break;
      case Nasbench201Cell::kSkipConnect:
        nodes[target] += in;
        break;
      case Nasbench201Cell::kAvgPool3x3:
        nodes[target] += 0x2545f4914f6cdd1du * in;
        break;
      default:
        nodes[target] += product ^ (product >> 32);
    }
  }
  return nodes[3];
}

// Equal for cells that compute the same function, whichever of a kind of
// convolutions has which weights: the values with all assignments.
std::set<uint64_t> Values(std::vector<int> cell) {
  Weights weights;
  for (size_t e = 0; e < weights.size(); ++e) {
    weights[e] = 0x9e3779b97f4a7c15u * (2 * e + 3);
  }
  // Edges without effect have no part in it.
  for (int e = 0; e < Nasbench201Cell::kEdges; ++e) {
    std::vector<int> without = cell;
    without[e] = Nasbench201Cell::kNone;
    if (Value(without, weights) == Value(cell, weights)) cell = without;
  }
  std::vector<int> small, large;
  for (int e = 0; e < Nasbench201Cell::kEdges; ++e) {
    if (cell[e] == Nasbench201Cell::kNorConv1x1) small.push_back(e);
    if (cell[e] == Nasbench201Cell::kNorConv3x3) large.push_back(e);
  }
  std::set<uint64_t> values;
  do {
    do {
      for (size_t i = 0; i < small.size(); ++i) {
        weights[small[i]] = 0x9e3779b97f4a7c15u * (2 * i + 3);
      }
      for (size_t i = 0; i < large.size(); ++i) {
        weights[large[i]] = 0xd6e8feb86659fd93u * (2 * i + 3);
      }
      values.insert(Value(cell, weights));
    } while (std::next_permutation(large.begin(), large.end()));
  } while (std::next_permutation(small.begin(), small.end()));
  return values;
}

// Both directions, as the values that cells give with random weights say.
TEST(Nasbench201Space, CellsShareADigestWhenTheyComputeTheSameFunction) {
  const auto space = MakeSpace();
  std::map<std::string, std::set<uint64_t>> values_of_key;
  std::map<std::set<uint64_t>, std::string> key_of_values;
  std::map<Architecture, std::string> key_of_canonical;
  ForEachPoint(space->decisions(), [&](const Architecture& cell) {
    const std::string key = space->CanonicalKey(cell);
    const Architecture canonical = space->Canonicalize(cell);
    EXPECT_EQ(space->CanonicalKey(canonical), key);
    EXPECT_EQ(space->Canonicalize(canonical), canonical);
    EXPECT_EQ(key_of_canonical.emplace(canonical, key).first->second, key);
    const std::set<uint64_t> values = Values(cell.choices);
    ASSERT_EQ(values_of_key.emplace(key, values).first->second, values)
        << space->ToText(cell);
    ASSERT_EQ(key_of_values.emplace(values, key).first->second, key)
        << space->ToText(cell);
  });
  EXPECT_EQ(values_of_key.size(), 5044u);
  EXPECT_EQ(key_of_canonical.size(), 5044u);
}

TEST(Nasbench201Space, NoTwoDigestsForOneGraph) {
  const auto space = MakeSpace({.input = {1, 8, 8}, .channels = 4, .cells = 1});
  std::map<uint64_t, std::string> key_of_graph;
  std::map<std::string, ModelGraph> canonical_of_key;
  ForEachPoint(space->decisions(), [&](const Architecture& cell) {
    const ModelGraph graph = space->Decode(cell).value();
    const std::string key = space->CanonicalKey(cell);
    ASSERT_EQ(key_of_graph.emplace(GraphFingerprint(graph), key).first->second,
              key)
        << space->ToText(cell);
    auto canonical = canonical_of_key.find(key);
    if (canonical == canonical_of_key.end()) {
      canonical =
          canonical_of_key
              .emplace(key, space->Decode(space->Canonicalize(cell)).value())
              .first;
    }
    // What is built has the same weights and no more poolings.
    ASSERT_EQ(CountOps(canonical->second, OpKind::kConv2d),
              CountOps(graph, OpKind::kConv2d))
        << space->ToText(cell);
    ASSERT_LE(CountOps(canonical->second, OpKind::kAvgPool),
              CountOps(graph, OpKind::kAvgPool))
        << space->ToText(cell);
  });
}

TEST(Nasbench201Space, IsomorphicCellsShareADigest) {
  const auto space = MakeSpace();
  const auto digest = [&](absl::string_view text) {
    return space->Digest(space->FromText(text).value());
  };
  // A skip stands for the node that it copies.
  const std::string through =
      digest("|skip_connect~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|");
  EXPECT_EQ(through,
            digest("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"));
  // What nothing reads does not matter.
  EXPECT_EQ(through, digest("|none~0|+|avg_pool_3x3~0|none~1|+|nor_conv_3x3~0|"
                            "none~1|none~2|"));
  EXPECT_NE(through,
            digest("|none~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|"));
  // NATS-Bench keeps zeros as terms of a sum: it tells a path through node 1
  // from the same path through node 2, which is the sum of it and a zero.
  const absl::string_view by_node1 =
      "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|nor_conv_1x1~1|none~2|";
  const absl::string_view by_node2 =
      "|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|nor_conv_1x1~2|";
  EXPECT_EQ(digest(by_node1), digest(by_node2));
  // A sum of sums is a sum, and the mean of a sum that of means.
  EXPECT_EQ(digest("|skip_connect~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|"
                   "nor_conv_3x3~1|skip_connect~2|"),
            digest("|skip_connect~0|+|none~0|skip_connect~1|+|skip_connect~0|"
                   "nor_conv_1x1~1|nor_conv_3x3~2|"));
  EXPECT_EQ(digest("|skip_connect~0|+|skip_connect~0|skip_connect~1|+|none~0|"
                   "none~1|avg_pool_3x3~2|"),
            digest("|none~0|+|skip_connect~0|none~1|+|avg_pool_3x3~0|none~1|"
                   "avg_pool_3x3~2|"));
  // Two convolutions are not one, twice.
  const absl::string_view two =
      "|none~0|+|nor_conv_3x3~0|none~1|+|nor_conv_3x3~0|none~1|skip_connect~2|";
  const absl::string_view twice =
      "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|"
      "skip_connect~2|";
  EXPECT_NE(digest(two), digest(twice));

  // As NATS-Bench has it.
  const auto benchmark = MakeSpace({.benchmark_classes = true});
  const auto key = [&](absl::string_view text) {
    return benchmark->CanonicalKey(benchmark->FromText(text).value());
  };
  EXPECT_NE(key(by_node1), key(by_node2));
  EXPECT_EQ(key(two), key(twice));
  EXPECT_NE(benchmark->key(), space->key());
}

TEST(Nasbench201Space, DigestsNameTheSpaceToo) {
  const Architecture cell{{3, 3, 3, 3, 3, 3}};
  std::set<std::string> digests;
  for (const Nasbench201Config& config :
       {Nasbench201Config{}, Nasbench201Config{.channels = 8},
        Nasbench201Config{.cells = 1}, Nasbench201Config{.classes = 100},
        Nasbench201Config{.input = {1, 28, 28}}}) {
    digests.insert(MakeSpace(config)->Digest(cell));
  }
  EXPECT_EQ(digests.size(), 5u);
}

TEST(Nasbench201Space, KeepsOrLeavesOutDeadOperators) {
  const auto space = MakeSpace({.cells = 1});
  // Node 1 is fed but not read; node 2 is read but not fed.
  const Architecture cell =
      space
          ->FromText(
              "|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|"
              "nor_conv_3x3~2|")
          .value();
  const ModelGraph live = space->Decode(cell).value();
  const ModelGraph all = space->Decode(cell, {.keep_dead_nodes = true}).value();
  // Stem 1, reductions 2 * 3, cells 3 * 1 or 3 * 3.
  EXPECT_EQ(CountOps(live, OpKind::kConv2d), 10);
  EXPECT_EQ(CountOps(all, OpKind::kConv2d), 16);
  EXPECT_EQ(CountOps(live, OpKind::kZero), 0);
  EXPECT_EQ(CountOps(all, OpKind::kZero), 9);
  EXPECT_EQ(RemoveDeadNodes(live), live);
}

TEST(Nasbench201Space, DisconnectedCellIsZero) {
  const auto space = MakeSpace({.cells = 1});
  const ModelGraph graph = space->Decode({{3, 3, 3, 0, 0, 0}}).value();
  EXPECT_EQ(CountOps(graph, OpKind::kZero), 3);
  EXPECT_EQ(CountOps(graph, OpKind::kConv2d), 7);
}

TEST(Nasbench201Space, LiveNetworkHasNoDeadNodeForAnyCell) {
  const auto space = MakeSpace({.input = {1, 8, 8}, .channels = 4, .cells = 1});
  for (int index = 0; index < 15625; ++index) {
    Architecture cell;
    for (int e = 0, rest = index; e < 6; ++e, rest /= 5) {
      cell.choices.push_back(rest % 5);
    }
    const auto graph = space->Decode(cell);
    ASSERT_TRUE(graph.ok()) << graph.status();
    ASSERT_EQ(RemoveDeadNodes(*graph).size(), graph->size())
        << space->ToText(cell);
  }
}

TEST(Nasbench201Space, TakesImagesOfOddSides) {
  for (const TensorShape& input :
       {TensorShape{1, 28, 28}, TensorShape{1, 52, 16}, TensorShape{3, 33, 17},
        TensorShape{2, 4, 5}}) {
    const auto space = MakeSpace({.input = input, .classes = 7});
    const auto graph = space->Decode({{3, 4, 2, 1, 3, 4}});
    ASSERT_TRUE(graph.ok()) << graph.status();
    EXPECT_EQ(graph->input_shape(), input);
    EXPECT_EQ(graph->output_shape(), (TensorShape{7, 1, 1}));
  }
}

TEST(Nasbench201Space, RefusesOtherText) {
  const auto space = MakeSpace();
  const auto message = [&](absl::string_view text) {
    const auto result = space->FromText(text);
    return result.ok() ? "OK" : std::string(result.status().message());
  };
  const std::string good =
      "|none~0|+|none~0|none~1|+|none~0|none~1|avg_pool_3x3~2|";
  EXPECT_EQ(message(good), "OK");
  EXPECT_THAT(message(""), HasSubstr("expected the form"));
  EXPECT_THAT(message("|none~0|+|none~0|none~1|"), HasSubstr("has 2 nodes"));
  EXPECT_THAT(message("|none~0|+|none~0|+|none~0|none~1|none~2|"),
              HasSubstr("does not have 2 edges"));
  EXPECT_THAT(message("|conv~0|+|none~0|none~1|+|none~0|none~1|none~2|"),
              HasSubstr("unknown operator 'conv'"));
  EXPECT_THAT(message("|none~1|+|none~0|none~1|+|none~0|none~1|none~2|"),
              HasSubstr("expected 'none~0'"));
  EXPECT_THAT(message(good + "x"), HasSubstr("between bars"));
  EXPECT_THAT(message(std::string(100000, '|')), HasSubstr("100000 bytes"));
}

TEST(Nasbench201Space, RefusesConfigurationsOutOfRange) {
  const auto message = [](const Nasbench201Config& config) {
    const auto space = CreateSpace(config);
    return space.ok() ? "OK" : std::string(space.status().message());
  };
  EXPECT_THAT(message({.channels = 0}),
              HasSubstr("nasbench201.channels: 0 is out of range: expected 1 "
                        "to 256"));
  EXPECT_THAT(message({.cells = 21}), HasSubstr("nasbench201.cells: 21"));
  EXPECT_THAT(message({.classes = 1}), HasSubstr("nasbench201.classes: 1"));
  EXPECT_EQ(message({.channels = 1, .cells = 1, .classes = 100000}), "OK");
  EXPECT_THAT(message({.input = {3, 2, 32}}),
              HasSubstr("nasbench201.input[1]: 2 is out of range"));
  EXPECT_THAT(message({.input = {3, 16384, 16384}}),
              HasSubstr("the largest network is not possible"));
}

}  // namespace
}  // namespace hwnas
