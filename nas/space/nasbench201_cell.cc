#include "nas/space/nasbench201_cell.h"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/mutex.h"
#include "nas/space/blocks.h"

namespace hwnas {
namespace {

constexpr int kNodes = 4;
constexpr int kEdges = Nasbench201Cell::kEdges;
constexpr size_t kMaxTextBytes = 512;
constexpr absl::string_view kNames[] = {"none", "skip_connect", "nor_conv_1x1",
                                        "nor_conv_3x3", "avg_pool_3x3"};

using Codes = std::array<int, kEdges>;

// NATS-Bench's.
std::string UniqueString(const Codes& cell) {
  std::array<std::string, kNodes> nodes;
  nodes[0] = "0";
  for (int target = 1; target < kNodes; ++target) {
    std::vector<std::string> terms;
    for (int e = 0; e < kEdges; ++e) {
      if (Nasbench201Cell::kEdgeList[e].target != target) continue;
      const std::string& source = nodes[Nasbench201Cell::kEdgeList[e].source];
      if (cell[e] == Nasbench201Cell::kNone || source == "#") {
        terms.push_back("#");
      } else if (cell[e] == Nasbench201Cell::kSkipConnect) {
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

// One edge; nullopt for zeros that are left out.
std::optional<int> EdgeOperation(GraphBuilder& b, int x, int code,
                                 const DecodeOptions& options) {
  const int channels = b.shape(x).channels;
  switch (code) {
    case Nasbench201Cell::kNone:
      if (options.keep_dead_nodes) return b.Zero(x);
      return std::nullopt;
    case Nasbench201Cell::kSkipConnect:
      return x;
    case Nasbench201Cell::kNorConv1x1:
      return ReluConvBn(b, x, channels, 1, 1);
    case Nasbench201Cell::kNorConv3x3:
      return ReluConvBn(b, x, channels, 3, 1);
    default:
      return b.AvgPool(x, {.kernel = 3, .stride = 1, .padding = 1});
  }
}

// The cell with `none` on every edge that carries only zeros or leads nowhere.
Codes WithoutDeadEdges(Codes cell) {
  std::array<bool, kNodes> fed{true}, used{};
  used[kNodes - 1] = true;
  // Edges are sorted by target; in reverse, every node's readers come first.
  for (int e = 0; e < kEdges; ++e) {
    const auto [source, target] = Nasbench201Cell::kEdgeList[e];
    if (!fed[source]) cell[e] = Nasbench201Cell::kNone;
    if (cell[e] != Nasbench201Cell::kNone) fed[target] = true;
  }
  for (int e = kEdges - 1; e >= 0; --e) {
    const auto [source, target] = Nasbench201Cell::kEdgeList[e];
    if (!used[target]) cell[e] = Nasbench201Cell::kNone;
    if (cell[e] != Nasbench201Cell::kNone) used[source] = true;
  }
  return cell;
}

// Of one cell or several in a row, none of them dead, by target.
struct LiveEdge {
  int source, target, code;
  bool conv() const {
    return code == Nasbench201Cell::kNorConv1x1 ||
           code == Nasbench201Cell::kNorConv3x3;
  }
};

std::vector<LiveEdge> InARow(const Codes& cell, int times) {
  const Codes live = WithoutDeadEdges(cell);
  std::vector<LiveEdge> edges;
  for (int first = 0; first < times * (kNodes - 1); first += kNodes - 1) {
    for (int e = 0; e < kEdges; ++e) {
      if (live[e] == Nasbench201Cell::kNone) continue;
      const auto [source, target] = Nasbench201Cell::kEdgeList[e];
      edges.push_back({first + source, first + target, live[e]});
    }
  }
  return edges;
}

// What is computed, if no more than that.
constexpr char kZeros[] = "0", kInput[] = "x";

// What each node computes of the input, as a sorted sum; "" for zero.
// Convolutions of one kind and name that read the same are the same.
std::vector<std::string> Sums(int nodes, const std::vector<LiveEdge>& edges,
                              const std::vector<char>& names) {
  std::vector<std::vector<std::string>> terms(nodes);
  std::vector<std::string> sums(nodes);
  terms[0] = {kInput};
  sums[0] = kInput;
  for (size_t e = 0; e < edges.size(); ++e) {
    const auto [source, target, code] = edges[e];
    if (edges[e].conv()) {
      terms[target].push_back(absl::StrCat(
          kNames[code], std::string(1, names[e]), "(", sums[source], ")"));
    } else {
      for (const std::string& term : terms[source]) {
        // The mean of a sum is the sum of means.
        terms[target].push_back(
            code == Nasbench201Cell::kSkipConnect
                ? term
                : absl::StrCat(kNames[code], "(", term, ")"));
      }
    }
    if (e + 1 < edges.size() && edges[e + 1].target == target) continue;
    std::sort(terms[target].begin(), terms[target].end());
    sums[target] = absl::StrJoin(terms[target], "+");
  }
  return sums;
}

// Of `times` such cells in a row. Equal for what computes the same function
// once the convolutions of the one are given, in some order, the weights of the
// other's.
std::string FunctionString(const Codes& cell, int times = 1) {
  const int nodes = times * (kNodes - 1) + 1;
  const std::vector<LiveEdge> edges = InARow(cell, times);
  std::vector<char> names(edges.size(), 'a');
  const std::vector<std::string> unnamed = Sums(nodes, edges, names);
  // Convolutions that only their weights tell apart get different names, in
  // that order which gives the first of all texts.
  std::map<std::pair<int, std::string>, std::vector<int>> alike;
  for (size_t e = 0; e < edges.size(); ++e) {
    if (!edges[e].conv()) continue;
    alike[{edges[e].code, unnamed[edges[e].source]}].push_back(
        static_cast<int>(e));
  }
  std::vector<std::vector<int>> groups;
  for (auto& [what, group] : alike) {
    for (size_t i = 0; i < group.size(); ++i) {
      names[group[i]] = static_cast<char>('a' + i);
    }
    if (group.size() > 1) groups.push_back(std::move(group));
  }
  std::string first = Sums(nodes, edges, names).back();
  // All orders of the first group, for each all of the second, and so on.
  for (size_t g = 0; g < groups.size();) {
    const bool again =
        std::next_permutation(groups[g].begin(), groups[g].end());
    for (size_t i = 0; i < groups[g].size(); ++i) {
      names[groups[g][i]] = static_cast<char>('a' + i);
    }
    g = again ? 0 : g + 1;
    if (again) first = std::min(first, Sums(nodes, edges, names).back());
  }
  return first.empty() ? kZeros : first;
}

}  // namespace

struct Nasbench201Cell::Class {
  absl::string_view key;
  std::array<int, kEdges> canonical;  // Options.
  // The class that this one is a power of; see Table::FindPowers.
  const Class* root = this;
  int exponent = 1;
  std::map<int, const Class*> powers{{1, this}};  // Of a root.
};

struct Nasbench201Cell::Table {
  // By index: choices as digits, the first lowest.
  std::vector<const Class*> entries;
  std::unordered_map<std::string, Class> classes;
  std::once_flag powers_found;

  // Takes as long as all else; only searched skeletons ask for powers.
  void FindPowers(const std::vector<int>& codes);

  static int IndexOf(absl::Span<const int> choices, int options) {
    int index = 0;
    for (int e = kEdges - 1; e >= 0; --e) index = index * options + choices[e];
    return index;
  }
};

void Nasbench201Cell::Table::FindPowers(const std::vector<int>& codes) {
  for (auto& [key, root] : classes) {
    Codes cell;
    for (int e = 0; e < kEdges; ++e) cell[e] = codes[root.canonical[e]];
    // If a power is a cell, so are those below.
    for (int times = 2;; ++times) {
      const auto found = classes.find(FunctionString(cell, times));
      if (found == classes.end()) break;
      Class& power = found->second;
      if (&power == &root) break;  // Zeros, or the input.
      root.powers.emplace(times, &power);
      power.root = &root;
      power.exponent = times;
    }
  }
}

// Tables are small and few: they are made once for each set of operators and
// kept.
Nasbench201Cell::Table& Nasbench201Cell::TableOf(const std::vector<int>& codes,
                                                 bool benchmark_classes) {
  static Mutex mutex;
  static auto& tables =
      *new std::map<std::pair<std::vector<int>, bool>, Table*>;
  MutexLock lock(&mutex);
  Table*& known = tables[{codes, benchmark_classes}];
  if (known != nullptr) return *known;

  const int options = static_cast<int>(codes.size());
  auto* table = new Table;
  int size = 1;
  for (int e = 0; e < kEdges; ++e) size *= options;
  table->entries.resize(size);
  const auto before = [&](const std::array<int, kEdges>& a,
                          const std::array<int, kEdges>& b) {
    const auto rank = [&](const std::array<int, kEdges>& cell) {
      int operations = 0, nones = 0;
      for (const int option : cell) {
        nones += codes[option] == kNone;
        operations += codes[option] != kNone && codes[option] != kSkipConnect;
      }
      return std::make_tuple(benchmark_classes ? 0 : operations, -nones, cell);
    };
    return rank(a) < rank(b);
  };
  for (int index = 0; index < size; ++index) {
    std::array<int, kEdges> cell;
    Codes cell_codes;
    for (int e = 0, rest = index; e < kEdges; ++e, rest /= options) {
      cell[e] = rest % options;
      cell_codes[e] = codes[cell[e]];
    }
    const auto [entry, is_new] = table->classes.try_emplace(
        benchmark_classes ? UniqueString(cell_codes)
                          : FunctionString(cell_codes));
    Class& its = entry->second;
    if (is_new) its.key = entry->first;
    if (is_new || before(cell, its.canonical)) its.canonical = cell;
    table->entries[index] = &its;
  }
  known = table;
  return *known;
}

absl::Span<const absl::string_view> Nasbench201Cell::OperationNames() {
  return kNames;
}

absl::StatusOr<std::unique_ptr<Nasbench201Cell>> Nasbench201Cell::Create(
    const std::vector<std::string>& operations, bool benchmark_classes) {
  std::vector<int> codes;
  for (const std::string& name : operations) {
    const auto found = std::find(std::begin(kNames), std::end(kNames), name);
    if (found == std::end(kNames)) {
      return absl::InvalidArgumentError(
          absl::StrCat("operations: unknown operator '", name,
                       "': expected some of ", absl::StrJoin(kNames, ", ")));
    }
    codes.push_back(static_cast<int>(found - std::begin(kNames)));
  }
  if (operations.empty()) codes = {0, 1, 2, 3, 4};
  std::sort(codes.begin(), codes.end());
  const auto twice = std::adjacent_find(codes.begin(), codes.end());
  if (twice != codes.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("operations: '", kNames[*twice], "' is listed twice"));
  }
  if (codes.size() < 2) {
    return absl::InvalidArgumentError(
        "operations: 1 operator: expected at least 2");
  }
  return absl::WrapUnique(
      new Nasbench201Cell(std::move(codes), benchmark_classes));
}

Nasbench201Cell::Nasbench201Cell(std::vector<int> codes, bool benchmark_classes)
    : codes_(std::move(codes)),
      benchmark_classes_(benchmark_classes),
      table_(TableOf(codes_, benchmark_classes)) {
  std::vector<std::string> options;
  for (const int code : codes_) options.emplace_back(kNames[code]);
  for (const auto& [source, target] : kEdgeList) {
    decisions_.push_back({.name = absl::StrCat("edge_", source, "_", target),
                          .options = options});
  }
}

std::string Nasbench201Cell::key() const {
  std::string key = "nasbench201";
  if (codes_.size() != kOperations) {
    absl::StrAppend(&key,
                    " operations=", absl::StrJoin(decisions_[0].options, ","));
  }
  if (!benchmark_classes_) absl::StrAppend(&key, " equal=function");
  return key;
}

void Nasbench201Cell::Canonicalize(absl::Span<int> choices) const {
  const auto& canonical = ClassOf(choices).canonical;
  std::copy(canonical.begin(), canonical.end(), choices.begin());
}

const Nasbench201Cell::Class& Nasbench201Cell::ClassOf(
    absl::Span<const int> choices) const {
  return *table_.entries[Table::IndexOf(choices,
                                        static_cast<int>(codes_.size()))];
}

std::string Nasbench201Cell::CanonicalKey(absl::Span<const int> choices) const {
  return std::string(ClassOf(choices).key);
}

Cell::Effect Nasbench201Cell::EffectOf(absl::Span<const int> choices) const {
  if (benchmark_classes_) return Effect::kOther;
  const absl::string_view key = ClassOf(choices).key;
  return key == kZeros   ? Effect::kZeros
         : key == kInput ? Effect::kInput
                         : Effect::kOther;
}

Cell::Powers Nasbench201Cell::PowersOf(absl::Span<const int> choices) const {
  if (!benchmark_classes_) {
    std::call_once(table_.powers_found, [this] { table_.FindPowers(codes_); });
  }
  const Class& its = ClassOf(choices);
  Powers result{.exponent = its.exponent};
  for (const auto& [exponent, power] : its.root->powers) {
    result.cells[exponent].assign(power->canonical.begin(),
                                  power->canonical.end());
  }
  return result;
}

std::string Nasbench201Cell::ToText(absl::Span<const int> choices) const {
  std::string text;
  for (int e = 0; e < kEdges; ++e) {
    const auto [source, target] = kEdgeList[e];
    if (source == 0) absl::StrAppend(&text, target == 1 ? "|" : "+|");
    absl::StrAppend(&text, kNames[codes_[choices[e]]], "~", source, "|");
  }
  return text;
}

absl::StatusOr<std::vector<int>> Nasbench201Cell::FromText(
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
  const std::vector<std::string>& options = decisions_[0].options;
  std::vector<int> choices;
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
      const auto name = std::find(options.begin(), options.end(), edge[0]);
      if (name == options.end()) {
        return absl::InvalidArgumentError(absl::StrFormat(
            "unknown operator '%s' in cell '%s': expected one of %s", edge[0],
            text, absl::StrJoin(options, ", ")));
      }
      if (edge.size() != 2 || edge[1] != absl::StrCat(source)) {
        return absl::InvalidArgumentError(
            absl::StrFormat("edge '%s' in cell '%s': expected '%s~%d'",
                            parts[source + 1], text, *name, source));
      }
      choices.push_back(static_cast<int>(name - options.begin()));
    }
  }
  return choices;
}

int Nasbench201Cell::Append(GraphBuilder& b, int x, int /*channels*/,
                            absl::Span<const int> choices,
                            const std::string& scope,
                            const DecodeOptions& options) const {
  Codes cell;
  for (int e = 0; e < kEdges; ++e) cell[e] = codes_[choices[e]];
  if (!options.keep_dead_nodes) cell = WithoutDeadEdges(cell);
  std::array<std::optional<int>, kNodes> nodes;
  nodes[0] = x;
  for (int target = 1; target < kNodes; ++target) {
    std::vector<int> terms;
    for (int e = 0; e < kEdges; ++e) {
      const auto [source, edge_target] = kEdgeList[e];
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

std::vector<int> Nasbench201Cell::Largest() const {
  // Of what there is; pooling has no parameters but operators.
  for (const int code : {kNorConv3x3, kNorConv1x1, kAvgPool3x3, kSkipConnect}) {
    const auto found = std::find(codes_.begin(), codes_.end(), code);
    if (found == codes_.end()) continue;
    return std::vector<int>(kEdges, static_cast<int>(found - codes_.begin()));
  }
  return std::vector<int>(kEdges, 0);
}

}  // namespace hwnas
