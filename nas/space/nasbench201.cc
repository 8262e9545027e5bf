#include "nas/space/nasbench201.h"

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"

namespace hwnas {
namespace {

constexpr int kNodes = 4;
constexpr int kCells = 15625;  // kOperations ^ kEdges.
constexpr size_t kMaxTextBytes = 512;
constexpr const char* kNames[] = {"none", "skip_connect", "nor_conv_1x1",
                                  "nor_conv_3x3", "avg_pool_3x3"};

using Cell = std::array<int, Nasbench201Space::kEdges>;

Cell CellOf(const Architecture& architecture) {
  Cell cell;
  std::copy_n(architecture.choices.begin(), cell.size(), cell.begin());
  return cell;
}

Cell CellOf(int index) {
  Cell cell;
  for (int& operation : cell) {
    operation = index % Nasbench201Space::kOperations;
    index /= Nasbench201Space::kOperations;
  }
  return cell;
}

int IndexOf(const Cell& cell) {
  int index = 0;
  for (int e = static_cast<int>(cell.size()) - 1; e >= 0; --e) {
    index = index * Nasbench201Space::kOperations + cell[e];
  }
  return index;
}

std::string UniqueString(const Cell& cell) {
  std::array<std::string, kNodes> nodes;
  nodes[0] = "0";
  for (int target = 1; target < kNodes; ++target) {
    std::vector<std::string> terms;
    for (int e = 0; e < Nasbench201Space::kEdges; ++e) {
      if (Nasbench201Space::kEdgeList[e].target != target) continue;
      const std::string& source = nodes[Nasbench201Space::kEdgeList[e].source];
      if (cell[e] == Nasbench201Space::kNone || source == "#") {
        terms.push_back("#");
      } else if (cell[e] == Nasbench201Space::kSkipConnect) {
        terms.push_back(source);
      } else {
        terms.push_back(absl::StrCat("(", source, ")@", kNames[cell[e]]));
      }
    }
    std::sort(terms.begin(), terms.end());
    nodes[target] = absl::StrJoin(terms, "+");
  }
  return nodes[kNodes - 1];
}

// For each cell by index, the index of the canonical cell of its class. Made
// once, at first use.
const std::vector<int>& CanonicalCells() {
  static const std::vector<int>& table = *[] {
    const auto rank = [](const Cell& cell) {
      return std::make_pair(
          -std::count(cell.begin(), cell.end(), Nasbench201Space::kNone), cell);
    };
    std::unordered_map<std::string, int> best;
    std::vector<std::string> keys(kCells);
    for (int i = 0; i < kCells; ++i) {
      const Cell cell = CellOf(i);
      keys[i] = UniqueString(cell);
      const auto [entry, is_new] = best.emplace(keys[i], i);
      if (!is_new && rank(cell) < rank(CellOf(entry->second))) {
        entry->second = i;
      }
    }
    auto* result = new std::vector<int>(kCells);
    for (int i = 0; i < kCells; ++i) (*result)[i] = best.at(keys[i]);
    return result;
  }();
  return table;
}

int ReluConvBn(GraphBuilder& b, int x, int channels, int kernel, int stride) {
  x = b.Conv2d(b.Relu(x), {.out_channels = channels,
                           .kernel = kernel,
                           .stride = stride,
                           .padding = kernel / 2});
  return b.BatchNorm(x);
}

// ResNetBasicblock of the benchmark: halves the image, doubles the channels.
int ReductionBlock(GraphBuilder& b, int x, int channels) {
  int y = ReluConvBn(b, x, channels, 3, 2);
  y = ReluConvBn(b, y, channels, 3, 1);
  // The benchmark pools 2x2, which loses the last row of an odd image, where
  // the convolution keeps it; a padded 3x3 window then gives the same size.
  const TensorShape shape = b.shape(x);
  const bool odd = shape.height % 2 != 0 || shape.width % 2 != 0;
  const int pooled =
      odd ? b.AvgPool(x, {.kernel = 3, .stride = 2, .padding = 1})
          : b.AvgPool(x, {.kernel = 2, .stride = 2});
  return b.Add({b.Conv2d(pooled, {.out_channels = channels}), y});
}

// One edge; nullopt for zeros that are left out.
std::optional<int> EdgeOperation(GraphBuilder& b, int x, int operation,
                                 const DecodeOptions& options) {
  const int channels = b.shape(x).channels;
  switch (operation) {
    case Nasbench201Space::kNone:
      if (options.keep_dead_nodes) return b.Zero(x);
      return std::nullopt;
    case Nasbench201Space::kSkipConnect:
      return x;
    case Nasbench201Space::kNorConv1x1:
      return ReluConvBn(b, x, channels, 1, 1);
    case Nasbench201Space::kNorConv3x3:
      return ReluConvBn(b, x, channels, 3, 1);
    default:
      return b.AvgPool(x, {.kernel = 3, .stride = 1, .padding = 1});
  }
}

// The cell with `none` on every edge that carries only zeros or leads nowhere.
Cell WithoutDeadEdges(Cell cell) {
  std::array<bool, kNodes> fed{true}, used{};
  used[kNodes - 1] = true;
  // Edges are sorted by target; in reverse, every node's readers come first.
  for (int e = 0; e < Nasbench201Space::kEdges; ++e) {
    const auto [source, target] = Nasbench201Space::kEdgeList[e];
    if (!fed[source]) cell[e] = Nasbench201Space::kNone;
    if (cell[e] != Nasbench201Space::kNone) fed[target] = true;
  }
  for (int e = Nasbench201Space::kEdges - 1; e >= 0; --e) {
    const auto [source, target] = Nasbench201Space::kEdgeList[e];
    if (!used[target]) cell[e] = Nasbench201Space::kNone;
    if (cell[e] != Nasbench201Space::kNone) used[source] = true;
  }
  return cell;
}

int AddCell(GraphBuilder& b, int x, const Cell& cell, const std::string& scope,
            const DecodeOptions& options) {
  std::array<std::optional<int>, kNodes> nodes;
  nodes[0] = x;
  for (int target = 1; target < kNodes; ++target) {
    std::vector<int> terms;
    for (int e = 0; e < Nasbench201Space::kEdges; ++e) {
      const auto [source, edge_target] = Nasbench201Space::kEdgeList[e];
      if (edge_target != target || !nodes[source]) continue;
      b.SetScope(absl::StrCat(scope, "edge", source, target, "."));
      const auto term = EdgeOperation(b, *nodes[source], cell[e], options);
      if (term) terms.push_back(*term);
    }
    b.SetScope(absl::StrCat(scope, "node", target, "."));
    if (terms.size() == 1) nodes[target] = terms[0];
    if (terms.size() > 1) nodes[target] = b.Add(terms);
  }
  return nodes[kNodes - 1] ? *nodes[kNodes - 1] : b.Zero(x);
}

absl::Status InRange(absl::string_view field, int value, int low, int high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("nasbench201.%s: %d is out of range: expected %d to %d",
                      field, value, low, high));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Nasbench201Space>> Nasbench201Space::Create(
    const Nasbench201Config& config) {
  HWNAS_RETURN_IF_ERROR(InRange("input[0]", config.input.channels, 1, 4096));
  // Two reductions must leave pixels of their own.
  HWNAS_RETURN_IF_ERROR(
      InRange("input[1]", config.input.height, 4, GraphLimits::kMaxImageSide));
  HWNAS_RETURN_IF_ERROR(
      InRange("input[2]", config.input.width, 4, GraphLimits::kMaxImageSide));
  HWNAS_RETURN_IF_ERROR(InRange("channels", config.channels, 1, 256));
  HWNAS_RETURN_IF_ERROR(InRange("cells", config.cells, 1, 20));
  HWNAS_RETURN_IF_ERROR(InRange("classes", config.classes, 2, 100000));
  auto space = absl::WrapUnique(new Nasbench201Space(config));
  // The largest network must be within what a graph may be.
  const absl::Status largest =
      space->Decode({std::vector<int>(kEdges, kNorConv3x3)}).status();
  if (!largest.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("nasbench201: the largest network is not possible: ",
                     largest.message()));
  }
  return space;
}

Nasbench201Space::Nasbench201Space(const Nasbench201Config& config)
    : config_(config) {
  for (const auto& [source, target] : kEdgeList) {
    decisions_.push_back({.name = absl::StrCat("edge_", source, "_", target),
                          .options = {std::begin(kNames), std::end(kNames)}});
  }
}

std::string Nasbench201Space::key() const {
  return absl::StrFormat(
      "nasbench201 input=%dx%dx%d channels=%d cells=%d "
      "classes=%d",
      config_.input.channels, config_.input.height, config_.input.width,
      config_.channels, config_.cells, config_.classes);
}

Architecture Nasbench201Space::Canonicalize(
    const Architecture& architecture) const {
  RequireValid(architecture);
  const Cell cell = CellOf(CanonicalCells()[IndexOf(CellOf(architecture))]);
  return {{cell.begin(), cell.end()}};
}

std::string Nasbench201Space::CanonicalKey(
    const Architecture& architecture) const {
  RequireValid(architecture);
  return UniqueString(CellOf(architecture));
}

std::string Nasbench201Space::ToText(const Architecture& architecture) const {
  RequireValid(architecture);
  std::string text;
  for (int e = 0; e < kEdges; ++e) {
    const auto [source, target] = kEdgeList[e];
    if (source == 0) absl::StrAppend(&text, target == 1 ? "|" : "+|");
    absl::StrAppend(&text, kNames[architecture.choices[e]], "~", source, "|");
  }
  return text;
}

absl::StatusOr<Architecture> Nasbench201Space::FromText(
    absl::string_view text) const {
  constexpr absl::string_view kForm =
      "expected the form |op~0|+|op~0|op~1|+|op~0|op~1|op~2|";
  if (text.size() > kMaxTextBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("cell of %d bytes: %s", text.size(), kForm));
  }
  const std::vector<absl::string_view> nodes = absl::StrSplit(text, '+');
  if (nodes.size() != kNodes - 1) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "cell '%s' has %d nodes: %s", text, nodes.size(), kForm));
  }
  Architecture result;
  for (int target = 1; target < kNodes; ++target) {
    // "|a~0|b~1|" splits into "", "a~0", "b~1", "".
    const std::vector<absl::string_view> parts =
        absl::StrSplit(nodes[target - 1], '|');
    if (parts.size() != static_cast<size_t>(target) + 2 ||
        !parts.front().empty() || !parts.back().empty()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("node '%s' of cell '%s' does not have %d edges "
                          "between bars: %s",
                          nodes[target - 1], text, target, kForm));
    }
    for (int source = 0; source < target; ++source) {
      const std::vector<absl::string_view> edge =
          absl::StrSplit(parts[source + 1], '~');
      const auto name =
          std::find(std::begin(kNames), std::end(kNames), edge[0]);
      if (name == std::end(kNames)) {
        return absl::InvalidArgumentError(absl::StrFormat(
            "unknown operator '%s' in cell '%s': expected one of %s", edge[0],
            text, absl::StrJoin(kNames, ", ")));
      }
      if (edge.size() != 2 || edge[1] != absl::StrCat(source)) {
        return absl::InvalidArgumentError(
            absl::StrFormat("edge '%s' in cell '%s': expected '%s~%d'",
                            parts[source + 1], text, *name, source));
      }
      result.choices.push_back(static_cast<int>(name - std::begin(kNames)));
    }
  }
  return result;
}

absl::StatusOr<ModelGraph> Nasbench201Space::Decode(
    const Architecture& architecture, const DecodeOptions& options) const {
  RequireValid(architecture);
  Cell cell = CellOf(architecture);
  if (!options.keep_dead_nodes) cell = WithoutDeadEdges(cell);

  GraphBuilder b;
  int x = b.Input(config_.input);
  b.SetScope("stem.");
  x = b.Conv2d(x,
               {.out_channels = config_.channels, .kernel = 3, .padding = 1});
  x = b.BatchNorm(x);
  for (int stage = 1; stage <= 3; ++stage) {
    if (stage > 1) {
      b.SetScope(absl::StrCat("reduction", stage - 1, "."));
      x = ReductionBlock(b, x, 2 * b.shape(x).channels);
    }
    for (int i = 1; i <= config_.cells; ++i) {
      x = AddCell(b, x, cell, absl::StrCat("stage", stage, ".cell", i, "."),
                  options);
    }
  }
  b.SetScope("head.");
  x = b.GlobalAvgPool(b.Relu(b.BatchNorm(x)));
  b.Linear(b.Flatten(x), config_.classes);
  return std::move(b).Build();
}

}  // namespace hwnas
