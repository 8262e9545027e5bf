// Search spaces by configuration.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
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
  // Operators that edges may have; empty means all five.
  std::vector<std::string> operations;
  // Cells share a digest as in the benchmark's tables, not by function; see
  // nas/space/nasbench201_cell.h.
  bool benchmark_classes = false;

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
  // The space's name in a study and in messages.
  std::string kind = "mobile";
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

// A searched cell inside another space; see nas/space/nasbench201_cell.h.
struct Nasbench201CellConfig {
  // As Nasbench201Config's.
  std::vector<std::string> operations;
  bool benchmark_classes = false;

  friend bool operator==(const Nasbench201CellConfig&,
                         const Nasbench201CellConfig&) = default;
};
// See nas/space/dag_cell.h.
struct DagCellConfig {
  int nodes = 7;  // With input and output, 3 to 12.
  // Edges that matter; 0 means any number of them.
  int max_edges = 9;
  // 1 or more of conv3x3, conv1x1, maxpool3x3, avgpool3x3, sepconv3x3,
  // sepconv5x5; empty means the first three.
  std::vector<std::string> operations;

  friend bool operator==(const DagCellConfig&, const DagCellConfig&) = default;
};
using CellConfig = std::variant<Nasbench201CellConfig, DagCellConfig>;

// See nas/space/dag.h.
struct DagConfig {
  TensorShape input{3, 32, 32};
  int classes = 10;    // 2 to 100000.
  int channels = 128;  // Of the first stack, 1 to 1024.
  int stacks = 3;      // 1 to 6.
  int cells = 3;       // In each stack, 1 to 20.
  DagCellConfig cell;

  friend bool operator==(const DagConfig&, const DagConfig&) = default;
};

// See nas/space/macro.h.
struct MacroLayerConfig {
  int channels = 0;  // 1 to 4096.
  int stride = 1;    // 1 or 2.

  friend bool operator==(const MacroLayerConfig&,
                         const MacroLayerConfig&) = default;
};
struct MacroConfig {
  // The space's name in a study and in messages.
  std::string kind = "macro";
  TensorShape input{3, 32, 32};
  int classes = 10;  // 2 to 100000.
  // Fills what is empty, 0 or unset below. Empty: no preset.
  std::string preset;
  // After the stem, each 1 to 1024; one with a fixed skeleton. Without a
  // preset: 16.
  std::vector<int> channel_choices;
  // 1, 2 or 4. Without a preset: 1.
  int stem_stride = 0;
  // 1 to 32 different ones. Without a preset: basic.
  std::vector<std::string> operators;
  // A fixed skeleton; at most 64. Empty: searched, by what follows.
  std::vector<MacroLayerConfig> layers;
  std::vector<int> depth_choices;  // Layers, 1 to 32. Without a preset: 4 to 6.
  // How many layers double the channels and halve the image. Without a preset:
  // 0 and as many as there are layers, for halvings as the image allows.
  std::optional<int> min_doublings, max_doublings;
  std::optional<int> min_halvings, max_halvings;
  int blocks = 0;  // In each layer, 1 to 8. Without a preset: 1.
  // 1x1 convolution before pooling, at most 8192. 0 without a preset: none.
  int final_channels = 0;
  // Layers are searched cells, instead of operators.
  std::optional<CellConfig> cell;

  friend bool operator==(const MacroConfig&, const MacroConfig&) = default;
};

// See nas/space/declared.h.
struct DeclaredCondition {
  std::string choice;           // An earlier one.
  std::vector<std::string> is;  // Some of its options; not empty.

  friend bool operator==(const DeclaredCondition&,
                         const DeclaredCondition&) = default;
};
struct IntegerRange {
  int from = 0;
  int to = 0;    // Included.
  int step = 1;  // At least 1.

  friend bool operator==(const IntegerRange&, const IntegerRange&) = default;
};
struct DeclaredChoice {
  // "depth", or "k{0..3}" for four equal choices k0 to k3.
  std::string name;
  // One of the three, of at most 64 options: names; values in their order;
  // integers.
  std::vector<std::string> options;
  std::vector<std::string> ordered;
  std::optional<IntegerRange> integers;
  // The choice matters when all hold. "#" in the name of a choice stands for
  // the number at the end of this one's.
  std::vector<DeclaredCondition> when;

  friend bool operator==(const DeclaredChoice&,
                         const DeclaredChoice&) = default;
};
// See nas/space/declared_network.h.
struct DeclaredBlock {
  enum Kind {
    kConv,
    kDepthwise,
    kMbConv,
    kPool,
    kResidual,
    kParallel,
    kRepeat,
    kChoose,
    kHead
  };
  Kind kind = kConv;
  // As a study spells them: "channels" is "24*width".
  std::map<std::string, std::string> parameters;
  // Blocks inside: of residual and repeat one list, of parallel one for each
  // branch, of choose one for each case.
  std::vector<std::vector<DeclaredBlock>> bodies;
  std::vector<std::vector<std::string>> cases;  // Options of each case.

  friend bool operator==(const DeclaredBlock&, const DeclaredBlock&) = default;
};
struct DeclaredNetworkConfig {
  TensorShape input{3, 32, 32};
  int classes = 10;  // 2 to 100000.
  // Side of the square that images are scaled to, a parameter; empty: as input.
  std::string resolution;
  // Channels are rounded to multiples of it, 1 to 256.
  int channel_multiple = 1;
  std::vector<DeclaredBlock> blocks;

  friend bool operator==(const DeclaredNetworkConfig&,
                         const DeclaredNetworkConfig&) = default;
};
struct DeclaredConfig {
  std::vector<DeclaredChoice> choices;  // 1 to 512, written out.
  // Combinations that are no points: all conditions of a rule hold.
  std::vector<std::vector<DeclaredCondition>> forbid;
  // Without one there is nothing to train or measure.
  std::optional<DeclaredNetworkConfig> network;

  friend bool operator==(const DeclaredConfig&,
                         const DeclaredConfig&) = default;
};

using SpaceConfig = std::variant<Nasbench201Config, MobileConfig, MacroConfig,
                                 DagConfig, DeclaredConfig>;

// INVALID_ARGUMENT names the field, the value and what was expected; also for a
// space without a single point that decodes (e.g. an image too small for its
// strides).
absl::StatusOr<std::unique_ptr<SearchSpace>> CreateSpace(
    const SpaceConfig& config);

}  // namespace hwnas
