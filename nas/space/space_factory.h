// Search spaces by configuration.
#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "nas/graph/model_graph.h"
#include "nas/space/search_space.h"

namespace hwnas {

// See nas/space/nasbench201.h.
struct Nasbench201Config {
  TensorShape input{3, 32, 32};
  int channels = 16;  // Of the first stage; 1 to 256.
  int cells = 5;      // In each of the three stages; 1 to 20.
  int classes = 10;   // 2 to 100000.

  friend bool operator==(const Nasbench201Config&,
                         const Nasbench201Config&) = default;
};

// See nas/space/mobile.h.
struct MobileStageConfig {
  int channels = 0;             // Before the width multiplier; 1 to 4096.
  int stride = 1;               // Of the stage's first block; 1 or 2.
  bool squeeze_excite = false;  // Unless searched.
  bool hard_swish = false;      // Else ReLU.

  friend bool operator==(const MobileStageConfig&,
                         const MobileStageConfig&) = default;
};
struct MobileConfig {
  TensorShape input{3, 224, 224};
  int classes = 1000;                              // 2 to 100000.
  std::vector<int> kernel_choices = {3, 5, 7};     // Odd, 3 to 9.
  std::vector<int> expansion_choices = {3, 4, 6};  // 1 to 10.
  std::vector<int> depth_choices = {2, 3, 4};      // 1 to 8.
  std::vector<double> width_choices = {1.0};       // More than 0, at most 4.
  // Sides of the square input; empty means the input's own size, not searched.
  std::vector<int> resolution_choices;
  bool search_squeeze_excite = false;
  // From here on, 0 or empty means what the preset for the input's size says,
  // or, where stages are given: 16 channels, stride 1 for images of at most 40
  // pixels and else 2, and no final expansion and head.
  int stem_channels = 0;
  int stem_stride = 0;
  // A block before the first stage, as in MobileNetV3 (expansion 1, kernel 3,
  // stride 1, stem_channels). Not searched.
  bool first_block = true;
  std::vector<MobileStageConfig> stages;  // At most 16.
  // 1x1 convolution after the last stage: 960 in MobileNetV3-Large.
  int final_expand_channels = 0;
  // Layer between pooling and classifier: 1280 in MobileNetV3-Large.
  int head_channels = 0;

  friend bool operator==(const MobileConfig&, const MobileConfig&) = default;
};

using SpaceConfig = std::variant<Nasbench201Config, MobileConfig>;

// INVALID_ARGUMENT names the field, the value and what was expected; also for a
// space without a single point that decodes (e.g. an image too small for its
// strides).
absl::StatusOr<std::unique_ptr<SearchSpace>> CreateSpace(
    const SpaceConfig& config);

}  // namespace hwnas
