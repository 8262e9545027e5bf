// A free cell: any directed acyclic graph of up to `nodes` nodes with an
// operator on each node between input and output, as in NAS-Bench-101 (Ying et
// al., arXiv 1902.09635); with one cell and many nodes, the complete graph of
// "Revisiting Neural Architecture Search" (Garg et al., arXiv 2010.05719).
//
// A node computes its operator on the sum of what arrives; from the cell's
// input, everything comes through a 1x1 convolution of its own. The output
// concatenates the nodes that lead to it, each with an equal share of the
// channels (rounded down), and adds the input, projected, if it leads to it
// directly.
//
// Notation: the nodes between input and output, each with those it reads, 0
// being the input, then the output:
//   conv3x3(0)+maxpool3x3(0,1)+out(0,2)
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nas/space/cell.h"

namespace hwnas {

// Nodes that do not lie between input and output do not matter. Isomorphic
// cells (equal up to the order of nodes) share a key: the canonical form is
// exact, by refinement of colours and branching over what that leaves open
// (McKay and Piperno, arXiv 1301.1493, on a small scale). It has the nodes that
// matter first, the rest without edges and with the first operator.
class DagCell final : public Cell {
 public:
  static constexpr int kMaxNodes = 12;

  static absl::Span<const absl::string_view> OperationNames();
  static absl::StatusOr<std::unique_ptr<DagCell>> Create(
      const DagCellConfig& config);

  std::string key() const override;
  absl::Span<const Decision> decisions() const override { return decisions_; }
  // A path from input to output, and at most `max_edges` edges that matter.
  absl::Status Validate(absl::Span<const int> choices) const override;
  // Uniform over the sets of at most `max_edges` edges that make a valid cell.
  std::vector<int> Sample(Rng& rng) const override;
  void Canonicalize(absl::Span<int> choices) const override;
  std::string CanonicalKey(absl::Span<const int> choices) const override;
  std::string ToText(absl::Span<const int> choices) const override;
  absl::StatusOr<std::vector<int>> FromText(
      absl::string_view text) const override;
  Powers PowersOf(absl::Span<const int> choices) const override;
  // Nodes that do not matter stand anywhere and hang on one edge, so that one
  // change can give them a part.
  void Disguise(absl::Span<int> choices, Rng& rng) const override;
  // Builds the canonical cell; nothing of it is dead.
  int Append(GraphBuilder& b, int x, int channels,
             absl::Span<const int> choices, const std::string& scope,
             const DecodeOptions& options) const override;
  std::vector<int> Largest() const override;

 private:
  // A cell whose nodes all matter: node 0 is the input, the last the output.
  // Bits of `reads[v]` are the nodes that v reads; operators are options.
  struct Graph {
    int size = 0;
    uint16_t reads[kMaxNodes] = {};
    uint8_t op[kMaxNodes] = {};
    int edges() const;

    friend bool operator==(const Graph&, const Graph&) = default;
  };

  explicit DagCell(const DagCellConfig& config);

  int EdgeDecision(int source, int target) const {
    return target * (target - 1) / 2 + source;
  }
  int OpDecision(int node) const { return first_op_ + node - 1; }
  // What matters, in the order of the choices; size 0 without a path.
  Graph Pruned(absl::Span<const int> choices) const;
  static Graph Canonical(const Graph& graph);
  // So many of it in a row, canonical; size 0 if they are no cell of the space.
  Graph InARow(const Graph& graph, int times) const;
  void Store(const Graph& graph, absl::Span<int> choices) const;
  std::string Text(const Graph& graph) const;

  // All constant after construction.
  const DagCellConfig config_;
  std::vector<std::string> names_;  // Of the operators.
  int first_op_ = 0;
  std::vector<Decision> decisions_;  // Edges by target, then operators.
};

}  // namespace hwnas
