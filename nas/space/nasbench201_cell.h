// The cell of NAS-Bench-201 (Dong and Yang, arXiv 2001.00326): four nodes and
// an operator on each of the six edges from an earlier to a later node; a node
// is the sum of what arrives. With fewer operators also the cell of other
// benchmarks: TransNAS-Bench-101 (arXiv 2105.11871) has no pooling.
//
// Notation, as in the benchmark:
//   |nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|skip_connect~1|none~2|
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nas/space/cell.h"

namespace hwnas {

// Two cells share a key when they compute the same function: neither zeros, nor
// how sums are nested, nor whether a sum is averaged or its terms are, makes a
// difference, but whether two convolutions have weights of their own does.
// These are 5,044 classes of 15,625 cells. The canonical cell of a class has
// the fewest convolutions and poolings, of those the most `none`, and of those
// it is the first.
//
// Or they share a key when NATS-Bench gives them one unique string (zeros
// considered): 6,466 classes, each with values of its own in the benchmark's
// tables. Some of them compute the same function, and 436 hold two or three.
// The canonical cell has the most `none`, and of those is the first.
class Nasbench201Cell final : public Cell {
 public:
  // The codes of the benchmark tables.
  enum Operation { kNone, kSkipConnect, kNorConv1x1, kNorConv3x3, kAvgPool3x3 };
  static constexpr int kOperations = 5;
  static constexpr int kEdges = 6;
  struct Edge {
    int source;
    int target;
  };
  // The order of decisions.
  static constexpr Edge kEdgeList[kEdges] = {{0, 1}, {0, 2}, {1, 2},
                                             {0, 3}, {1, 3}, {2, 3}};
  // "none", "skip_connect"... by code.
  static absl::Span<const absl::string_view> OperationNames();

  // `operations`: names of those that edges may have, in any order; empty means
  // all five. Options of a decision are in the order of the codes.
  // `benchmark_classes`: cells share a key as in the benchmark.
  static absl::StatusOr<std::unique_ptr<Nasbench201Cell>> Create(
      const std::vector<std::string>& operations,
      bool benchmark_classes = false);

  std::string key() const override;
  absl::Span<const Decision> decisions() const override { return decisions_; }
  void Canonicalize(absl::Span<int> choices) const override;
  // With benchmark_classes NATS-Bench's
  // Structure.to_unique_str(consider_zero=True).
  std::string CanonicalKey(absl::Span<const int> choices) const override;
  std::string ToText(absl::Span<const int> choices) const override;
  absl::StatusOr<std::vector<int>> FromText(
      absl::string_view text) const override;
  // With benchmark_classes each cell stands for itself alone.
  Effect EffectOf(absl::Span<const int> choices) const override;
  Powers PowersOf(absl::Span<const int> choices) const override;
  // Without keep_dead_nodes, edges that carry only zeros or lead nowhere are
  // left out, and a cell with no path is one kZero. `x` has `channels`.
  int Append(GraphBuilder& b, int x, int channels,
             absl::Span<const int> choices, const std::string& scope,
             const DecodeOptions& options) const override;
  std::vector<int> Largest() const override;

 private:
  // What is known of each cell by its index.
  struct Class;
  struct Table;
  static Table& TableOf(const std::vector<int>& codes, bool benchmark_classes);
  const Class& ClassOf(absl::Span<const int> choices) const;

  Nasbench201Cell(std::vector<int> codes, bool benchmark_classes);

  // All constant after construction, but for the powers in the table.
  const std::vector<int> codes_;  // Of each option, ascending.
  const bool benchmark_classes_;
  std::vector<Decision> decisions_;
  Table& table_;
};

}  // namespace hwnas
