// A layer-wise space of mobile networks: MobileNetV3 (Howard et al., arXiv
// 1905.02244) with the choices of Once-for-all (Cai et al., arXiv 1908.09791).
//
// The network: 3x3 convolution; optionally a fixed first block; stages of 1 to
// 8 inverted-residual blocks; optionally a 1x1 expansion; global average
// pooling; optionally a 1x1 mixing layer; dropout; linear classifier. Chosen
// are the depth of each stage, kernel and expansion of each block, and, where
// the configuration lists more than one option, one width multiplier and one
// input resolution for all, and squeeze-excite for each stage.
//
// A block: 1x1 convolution to expansion * input channels, depthwise k x k,
// optionally squeeze-excite (reduction 4, after the activation), 1x1
// projection; each convolution with batch norm; a residual sum where stride and
// channels allow. All channels are rounded by RoundChannels (blocks.h).
//
// Notation: resolution and width, then for each stage its blocks; `se` where
// the stage has squeeze-excite:
//   r224 w1.2 | k3e6 k5e4 | k7e3 k3e3 k5e6 se | ...
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nas/space/search_space.h"
#include "nas/space/space_factory.h"

namespace hwnas {

// The configuration with preset and defaults filled in, choices sorted.
// Presets: images of at most 96 pixels get three stages (24, 32, 64 channels),
// larger ones those of MobileNetV3-Large as in Once-for-all.
MobileConfig WithPreset(const MobileConfig& config);

// Choices of blocks beyond a stage's depth do not matter: canonical is the
// first option.
class MobileSpace final : public SearchSpace {
 public:
  static absl::StatusOr<std::unique_ptr<MobileSpace>> Create(
      const MobileConfig& config);

  std::string key() const override { return key_; }
  absl::Span<const Decision> decisions() const override { return decisions_; }
  Architecture Canonicalize(const Architecture& architecture) const override;
  std::string CanonicalKey(const Architecture& architecture) const override;
  std::string ToText(const Architecture& architecture) const override;
  absl::StatusOr<Architecture> FromText(absl::string_view text) const override;
  using SearchSpace::Decode;
  absl::StatusOr<ModelGraph> Decode(
      const Architecture& architecture,
      const DecodeOptions& options) const override;

 protected:
  std::vector<int> Mattering(const Architecture& canonical) const override;

 private:
  // Something that has a list of options, and a decision if there are several.
  struct Slot {
    int decision = -1;
    std::vector<std::string> options;
  };
  struct Stage {
    Slot depth;
    Slot squeeze_excite;           // "off", "on".
    std::vector<Slot> kernels;     // Of each block.
    std::vector<Slot> expansions;  // Of each block.
  };

  explicit MobileSpace(MobileConfig config);
  Slot AddSlot(std::string name, std::vector<std::string> options,
               bool ordered = true);
  // Index of the option taken.
  static int Choice(const Slot& slot, const Architecture& architecture);
  static const std::string& Text(const Slot& slot,
                                 const Architecture& architecture);
  // Takes the option that `text` names; false if there is none.
  static bool Take(const Slot& slot, absl::string_view text,
                   Architecture* architecture);
  int Depth(const Stage& stage, const Architecture& architecture) const;
  bool HasSqueezeExcite(int stage, const Architecture& architecture) const;

  // All constant after construction.
  const MobileConfig config_;
  std::string key_;
  std::vector<Decision> decisions_;
  Slot resolution_;
  Slot width_;
  std::vector<Stage> stages_;
};

}  // namespace hwnas
