#include "nas/space/dag.h"

#include <algorithm>
#include <bit>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/nas/space/every_point.h"

namespace hwnas {
namespace {

using testing::HasSubstr;

std::unique_ptr<DagSpace> MakeSpace(const DagCellConfig& cell,
                                    DagConfig config = {}) {
  config.cell = cell;
  return DagSpace::Create(config).value();
}

// A second, independent reading of the choices: the smallest description over
// all orders of the inner nodes, of the part between input and output. Empty
// without a path.
std::string BruteForceKey(const DagCellConfig& config,
                          const std::vector<int>& choices) {
  const int n = config.nodes;
  std::vector<std::vector<bool>> edge(n, std::vector<bool>(n, false));
  size_t d = 0;
  for (int target = 1; target < n; ++target) {
    for (int source = 0; source < target; ++source) {
      edge[source][target] = choices[d++] != 0;
    }
  }
  // Reachability by repeated squaring of nothing clever.
  auto reach = edge;
  for (int k = 0; k < n; ++k) {
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) {
        if (reach[i][k] && reach[k][j]) reach[i][j] = true;
      }
    }
  }
  if (!reach[0][n - 1]) return "";
  std::vector<int> inner;
  for (int v = 1; v < n - 1; ++v) {
    if (reach[0][v] && reach[v][n - 1]) inner.push_back(v);
  }
  std::string best;
  do {
    std::vector<int> order = {0};
    order.insert(order.end(), inner.begin(), inner.end());
    order.push_back(n - 1);
    std::string text;
    for (const int v : order) {
      text += v == 0 || v == n - 1
                  ? "-"
                  : std::string(1, static_cast<char>('a' + choices[d + v - 1]));
      for (const int u : order) text += edge[u][v] ? "1" : "0";
    }
    if (best.empty() || text < best) best = text;
  } while (std::next_permutation(inner.begin(), inner.end()));
  return best;
}

int EdgesOf(const std::string& key) {
  return static_cast<int>(std::count(key.begin(), key.end(), '1'));
}

// Compares keys with brute force in both directions, over all choices.
TEST(DagCell, KeysAreExactForSmallCells) {
  for (const DagCellConfig& config :
       {DagCellConfig{.nodes = 4, .max_edges = 0},
        DagCellConfig{.nodes = 5, .max_edges = 5},
        DagCellConfig{.nodes = 5, .max_edges = 0, .operations = {"conv3x3"}}}) {
    const auto space = MakeSpace(config);
    std::map<std::string, std::string> expected_of_key, key_of_expected;
    std::set<Architecture> canonical;
    const int bound = config.max_edges == 0 ? 100 : config.max_edges;
    ForEachPoint(space->decisions(), [&](const Architecture& point) {
      const std::string expected = BruteForceKey(config, point.choices);
      const bool valid = !expected.empty() && EdgesOf(expected) <= bound;
      ASSERT_EQ(space->Validate(point).ok(), valid);
      if (valid) {
        const std::string key = space->CanonicalKey(point);
        ASSERT_EQ(expected_of_key.emplace(key, expected).first->second,
                  expected);
        ASSERT_EQ(key_of_expected.emplace(expected, key).first->second, key);
        canonical.insert(space->Canonicalize(point));
      }
    });
    EXPECT_EQ(canonical.size(), key_of_expected.size());
  }
}

// Random cells of up to nine nodes, each under random orders of its nodes:
// regular graphs, where colours alone tell nothing, among them.
TEST(DagCell, KeysDoNotDependOnTheOrderOfNodes) {
  Rng rng(1);
  for (int i = 0; i < 3000; ++i) {
    const int n = 4 + static_cast<int>(rng.Below(6));
    const DagCellConfig config{
        .nodes = n,
        .max_edges = 0,
        .operations = rng.Bernoulli(0.5) ? std::vector<std::string>{"conv3x3"}
                                         : std::vector<std::string>{}};
    const auto cell = DagCell::Create(config).value();
    // Layers of inner nodes with complete or random connections.
    std::vector<std::pair<int, int>> edges;
    const double density = rng.Uniform();
    for (int v = 1; v < n; ++v) {
      for (int u = 0; u < v; ++u) {
        if (rng.Bernoulli(density)) edges.emplace_back(u, v);
      }
    }
    std::vector<int> op(n);
    for (int& o : op) {
      o = static_cast<int>(rng.Below(cell->decisions().back().options.size()));
    }
    const auto choices_of = [&](const std::vector<int>& place) {
      std::vector<int> choices(cell->decisions().size());
      for (const auto& [u, v] : edges) {
        choices[place[v] * (place[v] - 1) / 2 + place[u]] = 1;
      }
      for (int v = 1; v < n - 1; ++v) {
        choices[n * (n - 1) / 2 + place[v] - 1] = op[v];
      }
      return choices;
    };
    std::vector<int> place(n);
    for (int v = 0; v < n; ++v) place[v] = v;
    const std::vector<int> first = choices_of(place);
    if (!cell->Validate(first).ok()) continue;
    const std::string key = cell->CanonicalKey(first);
    for (int attempt = 0; attempt < 40; ++attempt) {
      std::vector<int> inner(place.begin() + 1, place.end() - 1);
      rng.Shuffle(inner);
      std::vector<int> other = {0};
      other.insert(other.end(), inner.begin(), inner.end());
      other.push_back(n - 1);
      const bool topological = std::all_of(
          edges.begin(), edges.end(),
          [&](const auto& e) { return other[e.first] < other[e.second]; });
      if (!topological) continue;
      ASSERT_EQ(cell->CanonicalKey(choices_of(other)), key);
    }
  }
}

// Counts cells by growing shapes without operators first: only one shape of
// each class gets operators.
int64_t CountNetworks(int nodes, int max_edges) {
  int64_t total = 0;
  const int pairs = nodes * (nodes - 1) / 2;
  const auto shapes =
      DagCell::Create(
          {.nodes = nodes, .max_edges = max_edges, .operations = {"conv3x3"}})
          .value();
  std::set<std::vector<int>> known;
  std::vector<int> choices(shapes->decisions().size());
  for (uint32_t bits = 0; bits < 1u << pairs; ++bits) {
    if (std::popcount(bits) > max_edges) continue;
    for (int e = 0; e < pairs; ++e) choices[e] = bits >> e & 1;
    if (!shapes->Validate(choices).ok()) continue;
    std::vector<int> canonical = choices;
    shapes->Canonicalize(absl::MakeSpan(canonical));
    known.insert(std::move(canonical));
  }
  const auto cell =
      DagCell::Create({.nodes = nodes, .max_edges = max_edges}).value();
  for (std::vector<int> shape : known) {
    // The nodes that matter come first.
    int inner = 0;
    while (inner < nodes - 2) {
      const int v = inner + 1;
      bool fed = false;
      for (int u = 0; u < v; ++u) fed |= shape[v * (v - 1) / 2 + u] != 0;
      if (!fed) break;
      ++inner;
    }
    std::set<std::vector<int>> labelled;
    int count = 1;
    for (int v = 0; v < inner; ++v) count *= 3;
    for (int label = 0; label < count; ++label) {
      for (int v = 0, rest = label; v < inner; ++v, rest /= 3) {
        shape[pairs + v] = rest % 3;
      }
      std::vector<int> canonical = shape;
      cell->Canonicalize(absl::MakeSpan(canonical));
      labelled.insert(std::move(canonical));
    }
    total += static_cast<int64_t>(labelled.size());
  }
  return total;
}

TEST(DagSpace, HasAsManyNetworksAsNasBench101) {
  // One node between input and output, with and without the direct edge, or
  // none.
  EXPECT_EQ(CountNetworks(3, 3), 1 + 2 * 3);
  EXPECT_EQ(CountNetworks(7, 9), 423624);
}

TEST(DagSpace, NodesThatLeadNowhereDoNotMatter) {
  const auto space = MakeSpace({.nodes = 5});
  // 0->1, 0->2, 1->4; node 2 is not read, node 3 not fed but reads nothing.
  Architecture a;
  a.choices.assign(space->decisions().size(), 0);
  a.choices[0] = a.choices[1] = 1;  // 0->1, 0->2
  a.choices[7] = 1;                 // 1->4
  a.choices[9] = 1;                 // 3->4
  a.choices[10] = 1, a.choices[11] = 2, a.choices[12] = 2;
  EXPECT_EQ(space->ToText(a), "conv1x1(0)+out(1)");
  EXPECT_EQ(space->CanonicalKey(a), "conv1x1(0)+out(1)");
  Architecture b = space->Canonicalize(a);
  EXPECT_EQ(space->Digest(a), space->Digest(b));
  EXPECT_EQ(b.choices[7], 1);
  EXPECT_EQ(std::count(b.choices.begin(), b.choices.end(), 0),
            static_cast<int64_t>(b.choices.size()) - 3);
}

TEST(DagSpace, MutationAlsoAddsNodes) {
  const auto space = MakeSpace({});
  const auto size = [&](const Architecture& a) {
    const std::string text = space->ToText(a);
    return std::count(text.begin(), text.end(), '+');
  };
  Architecture a = space->FromText("out(0)").value();
  Rng rng(1);
  std::set<int64_t> sizes;
  for (int i = 0; i < 3000; ++i) {
    a = space->MutateOne(a, rng);
    sizes.insert(size(a));
  }
  EXPECT_THAT(sizes, testing::ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST(DagSpace, BuildsWhatTheTextSays) {
  const auto space =
      MakeSpace({.nodes = 5, .max_edges = 0}, {.input = {3, 9, 9},
                                               .classes = 7,
                                               .channels = 10,
                                               .stacks = 2,
                                               .cells = 1});
  const ModelGraph graph =
      space
          ->Decode(space
                       ->FromText("conv1x1(0)+maxpool3x3(0)+conv3x3(1,2)+"
                                  "out(0,1,3)")
                       .value())
          .value();
  std::vector<std::string> concat, add;
  for (const Node& node : graph.nodes()) {
    const std::string shape =
        absl::StrCat(node.shape.channels, "x", node.shape.height);
    if (node.op == OpKind::kConcat) concat.push_back(shape);
    if (node.op == OpKind::kAdd) add.push_back(shape);
  }
  // Two nodes share the channels; the image is halved between the stacks.
  EXPECT_THAT(concat, testing::ElementsAre("10x9", "20x4"));
  EXPECT_THAT(add, testing::ElementsAre("5x9", "10x9", "10x4", "20x4"));
  EXPECT_EQ(graph.output_shape().channels, 7);
}

TEST(DagSpace, RefusesOtherText) {
  const auto space = MakeSpace({.nodes = 4, .max_edges = 4});
  const auto message = [&](const std::string& text) {
    const auto read = space->FromText(text);
    return read.ok() ? "OK" : std::string(read.status().message());
  };
  EXPECT_EQ(message("out(0)"), "OK");
  EXPECT_EQ(message("conv3x3(0)+out(0,1)"), "OK");
  EXPECT_THAT(message(""), HasSubstr("node '' of cell ''"));
  EXPECT_THAT(message("conv3x3(0)"), HasSubstr("expected out and in brackets"));
  EXPECT_THAT(message("conv3x3(0)+out()"), HasSubstr("ascending, of 0 to 1"));
  EXPECT_THAT(message("conv3x3(0)+out(1,0)"), HasSubstr("ascending"));
  EXPECT_THAT(message("conv3x3(0)+out(2)"), HasSubstr("of 0 to 1"));
  EXPECT_THAT(message("conv3x3(0)+out(+1)"), HasSubstr("node 'out('"));
  EXPECT_THAT(message("fc(0)+out(1)"),
              HasSubstr("expected an operator of conv3x3, conv1x1"));
  EXPECT_THAT(message("conv3x3(0)+conv3x3(1)+conv3x3(2)+out(3)"),
              HasSubstr("has 4 nodes behind the input: expected at most 3"));
  EXPECT_THAT(message("conv3x3(0)+conv3x3(0,1)+out(0,1,2)"),
              HasSubstr("6 edges that matter: expected at most 4"));
  EXPECT_THAT(message(std::string(10000, '+')), HasSubstr("10000 bytes"));
}

TEST(DagSpace, RefusesConfigurationsOutOfRange) {
  const auto message = [](const DagConfig& config) {
    const auto space = CreateSpace(config);
    return space.ok() ? "OK" : std::string(space.status().message());
  };
  EXPECT_EQ(message({}), "OK");
  EXPECT_THAT(message({.cell = {.nodes = 2}}),
              HasSubstr("dag.nodes: 2 is out of range: expected 3 to 12"));
  EXPECT_THAT(message({.cell = {.nodes = 3, .max_edges = 4}}),
              HasSubstr("dag.max_edges: 4 is out of range: expected 1 to 3"));
  EXPECT_THAT(message({.cell = {.operations = {"conv"}}}),
              HasSubstr("dag.operations: unknown operator 'conv'"));
  EXPECT_THAT(message({.cell = {.operations = {"conv1x1", "conv1x1"}}}),
              HasSubstr("dag.operations: 'conv1x1' is listed twice"));
  EXPECT_THAT(message({.input = {3, 3, 32}}),
              HasSubstr("dag.input[1]: 3 is out of range: expected 4"));
  EXPECT_THAT(message({.channels = 0}), HasSubstr("dag.channels: 0"));
  EXPECT_THAT(message({.channels = 1024, .stacks = 6, .cells = 20}),
              HasSubstr("the largest network is not possible"));
}

}  // namespace
}  // namespace hwnas
