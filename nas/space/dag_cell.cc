#include "nas/space/dag_cell.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "nas/space/blocks.h"
#include "nas/space/sampling.h"

namespace hwnas {
namespace {

constexpr int kMax = DagCell::kMaxNodes;
constexpr size_t kMaxTextBytes = 4096;
constexpr absl::string_view kNames[] = {"conv3x3",    "conv1x1",
                                        "maxpool3x3", "avgpool3x3",
                                        "sepconv3x3", "sepconv5x5"};
constexpr int kDefaultOperations = 3;  // The first ones: NAS-Bench-101's.

bool Has(uint32_t mask, int bit) { return (mask >> bit & 1) != 0; }

// The search for the canonical order of the nodes of one graph. Colours are
// ranks: nodes of a smaller colour come first. They respect depth, so that
// every order by colour is topological.
class Labeling {
 public:
  Labeling(int size, const uint16_t* reads, const uint8_t* op)
      : size_(size), reads_(reads) {
    uint8_t depth[kMax] = {};
    for (int v = 0; v < size; ++v) {
      for (int u = 0; u < v; ++u) {
        if (!Has(reads[v], u)) continue;
        read_by_[u] |= static_cast<uint16_t>(1 << v);
        depth[v] = std::max<uint8_t>(depth[v], depth[u] + 1);
      }
    }
    Keys keys;
    for (int v = 0; v < size; ++v) {
      // The output stands alone behind all others whatever its depth.
      const uint64_t level = v == size - 1 ? 255 : depth[v];
      keys[v] = {level << 8 | (v == 0 || v == size - 1 ? 0 : op[v]), 0, 0};
    }
    Colors colors{};
    Rank(keys, colors);
    Search(colors);
  }

  // New node i is old node order()[i].
  const uint8_t* order() const { return best_order_; }

 private:
  struct Key {
    uint64_t a, b, c;
    auto operator<=>(const Key&) const = default;
  };
  using Keys = Key[kMax];
  struct Colors {
    uint8_t of[kMax];
    int count;
  };

  // Colours by ascending key, equal ones alike.
  void Rank(const Keys& keys, Colors& colors) const {
    uint8_t order[kMax];
    for (int v = 0; v < size_; ++v) order[v] = static_cast<uint8_t>(v);
    std::sort(order, order + size_,
              [&keys](int x, int y) { return keys[x] < keys[y]; });
    colors.count = 0;
    for (int i = 0; i < size_; ++i) {
      if (i > 0 && keys[order[i]] != keys[order[i - 1]]) ++colors.count;
      colors.of[order[i]] = static_cast<uint8_t>(colors.count);
    }
    ++colors.count;
  }

  // Splits colours by those of the neighbours until nothing changes. Four bits
  // count the neighbours of one colour: fewer than 16, as there are nodes.
  void Refine(Colors& colors) const {
    while (colors.count < size_) {
      Keys keys;
      for (int v = 0; v < size_; ++v) {
        uint64_t in = 0, out = 0;
        for (uint32_t m = reads_[v]; m != 0; m &= m - 1) {
          in += uint64_t{1} << (4 * colors.of[std::countr_zero(m)]);
        }
        for (uint32_t m = read_by_[v]; m != 0; m &= m - 1) {
          out += uint64_t{1} << (4 * colors.of[std::countr_zero(m)]);
        }
        keys[v] = {colors.of[v], in, out};
      }
      const int before = colors.count;
      Rank(keys, colors);
      if (colors.count == before) return;
    }
  }

  void Search(Colors colors) {
    Refine(colors);
    if (colors.count == size_) {
      Leaf(colors);
      return;
    }
    // The first colour of several nodes: each in turn comes first.
    int members[kMax];
    int count = 0;
    for (int color = 0; count < 2; ++color) {
      count = 0;
      for (int v = 0; v < size_; ++v) {
        if (colors.of[v] == color) members[count++] = v;
      }
    }
    for (int i = 0; i < count; ++i) {
      const int v = members[i];
      // Nodes with the same neighbours are interchangeable.
      const bool twin = std::any_of(members, members + i, [&](int u) {
        return reads_[u] == reads_[v] && read_by_[u] == read_by_[v];
      });
      if (twin) continue;
      Colors split = colors;
      for (int u = 0; u < size_; ++u) {
        if (u != v && colors.of[u] >= colors.of[v]) ++split.of[u];
      }
      ++split.count;
      Search(split);
    }
  }

  void Leaf(const Colors& colors) {
    uint8_t order[kMax];
    for (int v = 0; v < size_; ++v) {
      order[colors.of[v]] = static_cast<uint8_t>(v);
    }
    uint16_t reads[kMax];
    for (int i = 0; i < size_; ++i) {
      reads[i] = 0;
      for (uint32_t m = reads_[order[i]]; m != 0; m &= m - 1) {
        reads[i] |= static_cast<uint16_t>(1 << colors.of[std::countr_zero(m)]);
      }
    }
    if (!found_ || std::lexicographical_compare(reads, reads + size_, best_,
                                                best_ + size_)) {
      found_ = true;
      std::copy(reads, reads + size_, best_);
      std::copy(order, order + size_, best_order_);
    }
  }

  const int size_;
  const uint16_t* const reads_;
  uint16_t read_by_[kMax] = {};
  bool found_ = false;
  uint16_t best_[kMax];
  uint8_t best_order_[kMax];
};

int SeparableConv(GraphBuilder& b, int x, int channels, int kernel) {
  x = b.Conv2d(x, {.out_channels = channels,
                   .kernel = kernel,
                   .padding = kernel / 2,
                   .groups = channels});
  return ConvBnAct(b, x, {.out_channels = channels}, OpKind::kRelu);
}

int NodeOperation(GraphBuilder& b, int x, absl::string_view name) {
  const int channels = b.shape(x).channels;
  if (name == "conv3x3") {
    return ConvBnAct(b, x,
                     {.out_channels = channels, .kernel = 3, .padding = 1},
                     OpKind::kRelu);
  }
  if (name == "conv1x1") {
    return ConvBnAct(b, x, {.out_channels = channels}, OpKind::kRelu);
  }
  if (name == "sepconv3x3") return SeparableConv(b, x, channels, 3);
  if (name == "sepconv5x5") return SeparableConv(b, x, channels, 5);
  const GraphBuilder::Pool pool{.kernel = 3, .stride = 1, .padding = 1};
  return name == "maxpool3x3" ? b.MaxPool(x, pool) : b.AvgPool(x, pool);
}

}  // namespace

int DagCell::Graph::edges() const {
  int count = 0;
  for (int v = 0; v < size; ++v) count += std::popcount(reads[v]);
  return count;
}

absl::Span<const absl::string_view> DagCell::OperationNames() { return kNames; }

absl::StatusOr<std::unique_ptr<DagCell>> DagCell::Create(
    const DagCellConfig& given) {
  DagCellConfig config = given;
  if (config.nodes < 3 || config.nodes > kMaxNodes) {
    return absl::InvalidArgumentError(
        absl::StrCat("nodes: ", config.nodes,
                     " is out of range: expected 3 to ", kMaxNodes));
  }
  const int all_edges = config.nodes * (config.nodes - 1) / 2;
  if (config.max_edges == 0) config.max_edges = all_edges;
  if (config.max_edges < 1 || config.max_edges > all_edges) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_edges: ", config.max_edges, " is out of range: expected 1 to ",
        all_edges, ", all edges of ", config.nodes, " nodes"));
  }
  if (config.operations.empty()) {
    for (int i = 0; i < kDefaultOperations; ++i) {
      config.operations.emplace_back(kNames[i]);
    }
  }
  for (auto name = config.operations.begin(); name != config.operations.end();
       ++name) {
    if (std::find(std::begin(kNames), std::end(kNames), *name) ==
        std::end(kNames)) {
      return absl::InvalidArgumentError(
          absl::StrCat("operations: unknown operator '", *name,
                       "': expected some of ", absl::StrJoin(kNames, ", ")));
    }
    if (std::find(config.operations.begin(), name, *name) != name) {
      return absl::InvalidArgumentError(
          absl::StrCat("operations: '", *name, "' is listed twice"));
    }
  }
  return absl::WrapUnique(new DagCell(config));
}

DagCell::DagCell(const DagCellConfig& config)
    : config_(config), names_(config.operations) {
  for (int target = 1; target < config_.nodes; ++target) {
    for (int source = 0; source < target; ++source) {
      decisions_.push_back({.name = absl::StrCat("edge_", source, "_", target),
                            .options = {"absent", "present"}});
    }
  }
  first_op_ = static_cast<int>(decisions_.size());
  for (int node = 1; node < config_.nodes - 1; ++node) {
    decisions_.push_back(
        {.name = absl::StrCat("node_", node), .options = names_});
  }
}

std::string DagCell::key() const {
  return absl::StrFormat("dag nodes=%d edges=%d operations=%s", config_.nodes,
                         config_.max_edges, absl::StrJoin(names_, ","));
}

DagCell::Graph DagCell::Pruned(absl::Span<const int> choices) const {
  const int nodes = config_.nodes;
  uint16_t reads[kMaxNodes] = {};
  uint32_t fed = 1;  // Reached from the input.
  for (int target = 1, d = 0; target < nodes; ++target) {
    for (int source = 0; source < target; ++source, ++d) {
      if (choices[d] != 0) reads[target] |= static_cast<uint16_t>(1 << source);
    }
    reads[target] &= static_cast<uint16_t>(fed);
    if (reads[target] != 0) fed |= 1u << target;
  }
  Graph graph;
  if (!Has(fed, nodes - 1)) return graph;
  uint32_t used = 1u << (nodes - 1);
  for (int v = nodes - 1; v > 0; --v) {
    if (Has(used, v)) used |= reads[v];
  }
  int index[kMaxNodes] = {};
  for (int v = 0; v < nodes; ++v) {
    if (!Has(used, v)) continue;
    const int at = graph.size++;
    index[v] = at;
    for (uint32_t m = reads[v]; m != 0; m &= m - 1) {
      graph.reads[at] |= static_cast<uint16_t>(1 << index[std::countr_zero(m)]);
    }
    if (v > 0 && v < nodes - 1) {
      graph.op[at] = static_cast<uint8_t>(choices[OpDecision(v)]);
    }
  }
  return graph;
}

DagCell::Graph DagCell::Canonical(const Graph& graph) {
  const Labeling labeling(graph.size, graph.reads, graph.op);
  Graph result;
  result.size = graph.size;
  int index[kMaxNodes] = {};
  for (int i = 0; i < graph.size; ++i) index[labeling.order()[i]] = i;
  for (int i = 0; i < graph.size; ++i) {
    const int old = labeling.order()[i];
    result.op[i] = graph.op[old];
    for (uint32_t m = graph.reads[old]; m != 0; m &= m - 1) {
      result.reads[i] |= static_cast<uint16_t>(1 << index[std::countr_zero(m)]);
    }
  }
  return result;
}

DagCell::Graph DagCell::InARow(const Graph& graph, int times) const {
  if (times == 1) return Canonical(graph);
  // The result of one is one node's, and the next reads it by nodes that do
  // what its projections do.
  const int output = graph.size - 1;
  const auto conv1x1 = std::find(names_.begin(), names_.end(), "conv1x1");
  int projections = 0;
  for (int v = 1; v < graph.size; ++v) projections += Has(graph.reads[v], 0);
  if (std::popcount(graph.reads[output]) != 1 || conv1x1 == names_.end() ||
      times * (graph.size - 2) + (times - 1) * projections >
          config_.nodes - 2) {
    return {};
  }
  Graph row;
  row.size = 1;
  const auto append = [&row](uint32_t reads, int64_t op) {
    row.reads[row.size] = static_cast<uint16_t>(reads);
    row.op[row.size] = static_cast<uint8_t>(op);
    return row.size++;
  };
  int result = 0;  // Of the cells so far.
  for (int i = 0; i < times; ++i) {
    int node[kMaxNodes] = {};
    for (int v = 1; v < graph.size; ++v) {
      uint32_t reads = 0;
      for (uint32_t m = graph.reads[v]; m != 0; m &= m - 1) {
        const int u = std::countr_zero(m);
        reads |= 1u << (u > 0 || i == 0
                            ? node[u]
                            : append(1u << result, conv1x1 - names_.begin()));
      }
      if (v == output) {
        result = std::countr_zero(reads);
      } else {
        node[v] = append(reads, graph.op[v]);
      }
    }
  }
  append(1u << result, 0);
  return row.edges() > config_.max_edges ? Graph{} : Canonical(row);
}

void DagCell::Store(const Graph& graph, absl::Span<int> choices) const {
  std::fill(choices.begin(), choices.end(), 0);
  for (int v = 1; v < graph.size; ++v) {
    const bool output = v == graph.size - 1;
    const int node = output ? config_.nodes - 1 : v;
    for (int u = 0; u < v; ++u) {
      if (Has(graph.reads[v], u)) choices[EdgeDecision(u, node)] = 1;
    }
    if (!output) choices[OpDecision(node)] = graph.op[v];
  }
}

std::string DagCell::Text(const Graph& graph) const {
  std::string text;
  for (int v = 1; v < graph.size; ++v) {
    absl::StrAppend(&text, v == 1 ? "" : "+",
                    v == graph.size - 1 ? "out" : names_[graph.op[v]]);
    char before = '(';
    for (uint32_t m = graph.reads[v]; m != 0; m &= m - 1) {
      text.push_back(before);
      absl::StrAppend(&text, std::countr_zero(m));
      before = ',';
    }
    text.push_back(')');
  }
  return text;
}

absl::Status DagCell::Validate(absl::Span<const int> choices) const {
  const Graph graph = Pruned(choices);
  if (graph.size == 0) {
    return absl::InvalidArgumentError("no path from input to output");
  }
  if (graph.edges() > config_.max_edges) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d edges that matter: expected at most %d",
                        graph.edges(), config_.max_edges));
  }
  return absl::OkStatus();
}

std::vector<int> DagCell::Sample(Rng& rng) const {
  std::vector<int> choices(decisions_.size());
  do {
    std::fill(choices.begin(), choices.end(), 0);
    for (const int edge : AnySubset(first_op_, 1, config_.max_edges, rng)) {
      choices[edge] = 1;
    }
  } while (Pruned(choices).size == 0);
  for (size_t d = first_op_; d < choices.size(); ++d) {
    choices[d] = static_cast<int>(rng.Below(names_.size()));
  }
  return choices;
}

void DagCell::Canonicalize(absl::Span<int> choices) const {
  Store(Canonical(Pruned(choices)), choices);
}

std::string DagCell::CanonicalKey(absl::Span<const int> choices) const {
  return Text(Canonical(Pruned(choices)));
}

std::string DagCell::ToText(absl::Span<const int> choices) const {
  return Text(Pruned(choices));
}

absl::StatusOr<std::vector<int>> DagCell::FromText(
    absl::string_view text) const {
  const auto bad = [&text](absl::string_view item, absl::string_view expected) {
    return absl::InvalidArgumentError(absl::StrCat(
        "node '", item, "' of cell '", text, "': expected ", expected));
  };
  if (text.size() > kMaxTextBytes) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "cell of %d bytes: expected at most %d", text.size(), kMaxTextBytes));
  }
  const std::vector<absl::string_view> items = absl::StrSplit(text, '+');
  if (items.size() > static_cast<size_t>(config_.nodes) - 1) {
    return absl::InvalidArgumentError(
        absl::StrFormat("cell '%s' has %d nodes behind the input: expected at "
                        "most %d",
                        text, items.size(), config_.nodes - 1));
  }
  Graph graph;
  graph.size = static_cast<int>(items.size()) + 1;
  for (int v = 1; v < graph.size; ++v) {
    const bool output = v == graph.size - 1;
    const std::string form = absl::StrCat(
        output ? "out" : "an operator",
        " and in brackets the nodes it reads, ascending, of 0 to ", v - 1);
    absl::string_view item = items[v - 1];
    std::vector<absl::string_view> parts =
        absl::StrSplit(item, absl::MaxSplits('(', 1));
    if (parts.size() != 2 || !absl::ConsumeSuffix(&parts[1], ")")) {
      return bad(item, form);
    }
    if (output) {
      if (parts[0] != "out") return bad(item, form);
    } else {
      const auto name = std::find(names_.begin(), names_.end(), parts[0]);
      if (name == names_.end()) {
        return bad(
            item, absl::StrCat("an operator of ", absl::StrJoin(names_, ", ")));
      }
      graph.op[v] = static_cast<uint8_t>(name - names_.begin());
    }
    int last = -1;
    for (const absl::string_view number : absl::StrSplit(parts[1], ',')) {
      int u = 0;
      if (!absl::SimpleAtoi(number, &u) || absl::StrCat(u) != number ||
          u <= last || u >= v) {
        return bad(item, form);
      }
      graph.reads[v] |= static_cast<uint16_t>(1 << u);
      last = u;
    }
  }
  std::vector<int> choices(decisions_.size());
  Store(graph, absl::MakeSpan(choices));
  const absl::Status valid = Validate(choices);
  if (!valid.ok()) return valid;
  return choices;
}

Cell::Powers DagCell::PowersOf(absl::Span<const int> choices) const {
  const Graph graph = Canonical(Pruned(choices));
  Graph root = graph;
  Powers powers;
  // What a root computes is what some node computes.
  std::vector<int> part(choices.size());
  Store(graph, absl::MakeSpan(part));
  const int output = config_.nodes - 1;
  for (int v = 0; v < graph.size - 1; ++v) {
    for (int u = 0; u < output; ++u) part[EdgeDecision(u, output)] = u == v;
    const Graph first = Pruned(part);
    for (int times = 2;; ++times) {
      const Graph row = InARow(first, times);
      if (row.size == 0 || row.size > graph.size) break;
      if (row != graph || times < powers.exponent) continue;
      root = first;
      powers.exponent = times;
    }
  }
  for (int times = 1;; ++times) {
    const Graph row = InARow(root, times);
    if (row.size == 0) break;
    std::vector<int>& cell = powers.cells[times];
    cell.resize(choices.size());
    Store(row, absl::MakeSpan(cell));
  }
  return powers;
}

void DagCell::Disguise(absl::Span<int> choices, Rng& rng) const {
  const Graph graph = Canonical(Pruned(choices));
  const int nodes = config_.nodes;
  const int spare = nodes - graph.size;
  if (spare == 0) return;
  // Places of the nodes that matter: in their order among all.
  std::vector<int> inner = rng.Sample(nodes - 2, graph.size - 2);
  std::sort(inner.begin(), inner.end());
  std::vector<int> place = {0};
  for (const int i : inner) place.push_back(i + 1);
  place.push_back(nodes - 1);
  std::fill(choices.begin(), choices.end(), 0);
  uint32_t taken = 0;
  for (int v = 0; v < graph.size; ++v) {
    taken |= 1u << place[v];
    for (int u = 0; u < v; ++u) {
      if (Has(graph.reads[v], u)) choices[EdgeDecision(place[u], place[v])] = 1;
    }
    if (v > 0 && v < graph.size - 1) {
      choices[OpDecision(place[v])] = graph.op[v];
    }
  }
  for (int v = 1; v < nodes - 1; ++v) {
    if (Has(taken, v)) continue;
    choices[OpDecision(v)] = static_cast<int>(rng.Below(names_.size()));
    // Fed and not read, or read and not fed.
    const auto split = std::lower_bound(place.begin(), place.end(), v);
    if (rng.Bernoulli(0.5)) {
      const int source = place[rng.Below(split - place.begin())];
      choices[EdgeDecision(source, v)] = 1;
    } else {
      const int target =
          *(split + static_cast<int64_t>(rng.Below(place.end() - split)));
      choices[EdgeDecision(v, target)] = 1;
    }
  }
}

int DagCell::Append(GraphBuilder& b, int x, int channels,
                    absl::Span<const int> choices, const std::string& scope,
                    const DecodeOptions& /*options*/) const {
  const Graph graph = Canonical(Pruned(choices));
  const int output = graph.size - 1;
  const bool direct = Has(graph.reads[output], 0);
  const int parts = std::popcount(graph.reads[output]) - (direct ? 1 : 0);
  const int share = parts == 0 ? channels : std::max(channels / parts, 1);
  const auto project = [&](int to) {
    return ConvBnAct(b, x, {.out_channels = to}, OpKind::kRelu);
  };
  std::vector<int> values(graph.size, x);
  for (int v = 1; v < output; ++v) {
    b.SetScope(absl::StrCat(scope, "node", v, "."));
    std::vector<int> terms;
    for (uint32_t m = graph.reads[v]; m != 0; m &= m - 1) {
      const int u = std::countr_zero(m);
      terms.push_back(u == 0 ? project(share) : values[u]);
    }
    const int sum = terms.size() == 1 ? terms[0] : b.Add(terms);
    values[v] = NodeOperation(b, sum, names_[graph.op[v]]);
  }
  b.SetScope(absl::StrCat(scope, "output."));
  if (parts == 0) return project(channels);
  std::vector<int> terms;
  for (uint32_t m = graph.reads[output]; m != 0; m &= m - 1) {
    const int u = std::countr_zero(m);
    if (u != 0) terms.push_back(values[u]);
  }
  const int joined = terms.size() == 1 ? terms[0] : b.Concat(terms);
  return direct ? b.Add({joined, project(share * parts)}) : joined;
}

std::vector<int> DagCell::Largest() const {
  // A chain of the first operators, which has no cheaper share of channels.
  std::vector<int> choices(decisions_.size());
  const int inner = std::min(config_.nodes - 2, config_.max_edges - 1);
  const auto convolution = std::find_first_of(
      names_.begin(), names_.end(), std::begin(kNames), std::begin(kNames) + 1);
  const int op = convolution == names_.end()
                     ? 0
                     : static_cast<int>(convolution - names_.begin());
  int last = 0;
  for (int v = 1; v <= inner; ++v) {
    choices[EdgeDecision(last, v)] = 1;
    choices[OpDecision(v)] = op;
    last = v;
  }
  choices[EdgeDecision(last, config_.nodes - 1)] = 1;
  return choices;
}

}  // namespace hwnas
