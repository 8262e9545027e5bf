// The cell space of NAS-Bench-201 (Dong and Yang, arXiv 2001.00326), also the
// topology space of NATS-Bench (arXiv 2009.00437), for any image and size.
//
// A cell has four nodes and an operator on each of the six edges from an
// earlier to a later node; a node is the sum of what arrives. The network:
// 3x3 convolution and batch norm, three stages of `cells` equal cells with
// channels, 2 * channels and 4 * channels, a residual block of stride 2 between
// stages, batch norm, ReLU, global average pooling, linear classifier.
//
// Notation, as in the benchmark:
//   |nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|skip_connect~1|none~2|
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nas/space/search_space.h"
#include "nas/space/space_factory.h"

namespace hwnas {

// Two cells share a digest when NATS-Bench gives them one unique string (zeros
// considered): 6,466 classes of 15,625 cells. The canonical cell of a class is
// the one with the most `none`, and of those the first.
class Nasbench201Space final : public SearchSpace {
 public:
  // Options of every decision, by index; the codes of the benchmark tables.
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

  static absl::StatusOr<std::unique_ptr<Nasbench201Space>> Create(
      const Nasbench201Config& config);

  std::string key() const override;
  absl::Span<const Decision> decisions() const override { return decisions_; }
  Architecture Canonicalize(const Architecture& architecture) const override;
  // NATS-Bench's Structure.to_unique_str(consider_zero=True).
  std::string CanonicalKey(const Architecture& architecture) const override;
  std::string ToText(const Architecture& architecture) const override;
  absl::StatusOr<Architecture> FromText(absl::string_view text) const override;
  // Without keep_dead_nodes, edges that carry only zeros or lead nowhere are
  // left out, and a cell with no path is one kZero.
  using SearchSpace::Decode;
  absl::StatusOr<ModelGraph> Decode(
      const Architecture& architecture,
      const DecodeOptions& options) const override;

 private:
  explicit Nasbench201Space(const Nasbench201Config& config);

  const Nasbench201Config config_;
  std::vector<Decision> decisions_;  // Constant after construction.
};

}  // namespace hwnas
