// Macro spaces: what each layer of a network does, how many layers there are,
// and where channels double and the image shrinks.
//
// The network: stem; layers in a row, each of `blocks` equal blocks of the
// layer's operator; optionally a final 1x1 convolution with batch norm and
// ReLU; global average pooling; linear classifier. The stem is a 3x3
// convolution of stride 1 or 2 with batch norm and ReLU, or, for stride 4, two
// of stride 2: the first to half the channels.
//
// The skeleton is either fixed, a list of layers with channels and stride, or
// searched: the depth, and for each layer whether it doubles the channels,
// halves the image, or both, with bounds on how often each happens. Each layer
// has one operator out of a list. Optionally the layers are searched cells
// (nas/space/cell.h), all equal: the hierarchical case of the survey of
// hardware-aware search (Benmeziane et al., arXiv 2101.09336).
//
// Operators:
//   identity             nothing; where the shape changes, a 1x1 convolution
//                        with batch norm
//   skip                 the same, then ReLU
//   conv_k3              convolution of kernel 3, batch norm, ReLU
//   basic                ResNet's basic block (AddBasicBlock)
//   mbconv_k3_e6         inverted residual, kernel 3, expansion 6; e1 has no
//                        expanding convolution
//   k3_e6, k3_e1_g2      the block of FBNet (Wu et al., arXiv 1812.03443): the
//                        same, always with the expanding convolution, its 1x1
//                        convolutions in 2 groups
//
// Presets: `nasbench_macro` (Su et al., arXiv 2103.11922: 8 layers of identity,
// mbconv_k3_e3 or mbconv_k5_e6; 6,561 points), `transnasbench101` (Duan et al.,
// arXiv 2105.11871: 4 to 6 layers of two basic blocks; 3,256 points), `fbnet`
// (22 layers of 9 candidates).
//
// Notation: for a searched skeleton as in TransNAS-Bench-101, channels, one
// digit for each layer (1 normal, 2 channels, 3 resolution, 4 both), operators
// or cell; for a fixed one the operators alone:
//   64-4111-basic     16-241-|nor_conv_3x3~0|+...     identity mbconv_k3_e3 ...
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nas/space/cell.h"
#include "nas/space/search_space.h"
#include "nas/space/space_factory.h"

namespace hwnas {

bool IsMacroPreset(absl::string_view name);

// The configuration with preset and defaults filled in; an unknown preset
// changes nothing.
MacroConfig WithPreset(const MacroConfig& config);

// A layer that does nothing to its input (identity or skip without a change)
// may stand anywhere among layers of one shape without changing the network:
// canonically it stands behind them, and a searched depth is the least that
// holds the rest. Layers beyond the depth do not matter.
//
// Few long cells may compute the same as many short ones: two convolutions in a
// row in half as many layers as one. Canonically the depth is the least. A cell
// that passes its input on makes idle layers. With one that lets nothing
// through the network is a constant: canonically the skeleton is the least,
// too.
class MacroSpace final : public SearchSpace {
 public:
  static absl::StatusOr<std::unique_ptr<MacroSpace>> Create(
      const MacroConfig& config);

  std::string key() const override { return key_; }
  absl::Span<const Decision> decisions() const override { return decisions_; }
  // Also the bounds on doublings and halvings.
  absl::Status Validate(const Architecture& architecture) const override;
  Architecture Canonicalize(const Architecture& architecture) const override;
  std::string CanonicalKey(const Architecture& architecture) const override;
  std::string ToText(const Architecture& architecture) const override;
  absl::StatusOr<Architecture> FromText(absl::string_view text) const override;
  using SearchSpace::Decode;
  absl::StatusOr<ModelGraph> Decode(
      const Architecture& architecture,
      const DecodeOptions& options) const override;
  // Uniform over the depths, then over the skeletons within the bounds.
  Architecture Sample(Rng& rng) const override;

 protected:
  Architecture AnotherForm(const Architecture& canonical,
                           Rng& rng) const override;
  std::vector<int> Mattering(const Architecture& canonical) const override;

 private:
  struct Operator {
    enum Kind { kIdentity, kSkip, kConv, kBasic, kMbConv, kFbnet, kCell };
    Kind kind = kIdentity;
    int kernel = 0;
    int expansion = 0;
    int groups = 1;
  };
  // Decisions of one layer; -1 where there is nothing to decide.
  struct Layer {
    int change = -1;
    int op = -1;
  };

  MacroSpace(MacroConfig config, std::unique_ptr<Cell> cell);
  static absl::StatusOr<Operator> ParseOperator(absl::string_view name);
  static absl::Status Check(const MacroConfig& config);

  bool fixed() const { return !config_.layers.empty(); }
  int Depth(const Architecture& architecture) const;
  int Change(int layer, const Architecture& architecture) const {
    return layers_[layer].change < 0
               ? 0
               : architecture.choices[layers_[layer].change];
  }
  int Op(int layer, const Architecture& architecture) const {
    return layers_[layer].op < 0 ? 0 : architecture.choices[layers_[layer].op];
  }
  // Replaces the canonical cell by that power of its root for which a searched
  // depth is the least.
  void MinimizeDepth(Architecture& architecture) const;
  // The layer does nothing to its input.
  bool Idle(int layer, const Architecture& architecture) const;
  // Of the choices, those of the cell.
  absl::Span<const int> CellChoices(const Architecture& architecture) const;
  // All but the cell.
  std::string SkeletonText(const Architecture& architecture) const;
  int AppendLayer(GraphBuilder& b, int x, int layer, const Operator& op,
                  int channels, int stride, const Architecture& architecture,
                  const DecodeOptions& options) const;

  // All constant after construction.
  const MacroConfig config_;
  const std::unique_ptr<Cell> cell_;  // May be null.
  std::string key_;
  std::vector<Decision> decisions_;
  std::vector<Operator> operators_;
  int idle_operator_ = -1;  // The first that may do nothing.
  int channels_decision_ = -1;
  int depth_decision_ = -1;
  int cell_decision_ = -1;  // The first of the cell.
  std::vector<Layer> layers_;
  // Fixed skeleton: first and one past the last of each run of layers that keep
  // the shape.
  std::vector<std::pair<int, int>> runs_;
};

}  // namespace hwnas
