// The network of a declared space: blocks whose parameters are literal or refer
// to choices.
//
// A parameter is a product of numbers and names of choices ("24*width"), or a
// single word ("relu", or a choice among words). Inside of a repeat with an
// index, "kernel{i}" is kernel0 in its first round, kernel1 in the second. What
// a choice decides about, and whether it matters at all, follows from which
// parameters are read on the way through the blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nas/graph/model_graph.h"
#include "nas/space/search_space.h"
#include "nas/space/space_factory.h"

namespace hwnas {

// "conv", "mbconv"...
absl::string_view DeclaredBlockName(DeclaredBlock::Kind kind);

// Immutable, hence thread-safe.
class DeclaredNetwork {
 public:
  // One operation of a network with all its parameters: what a network is made
  // of once everything is chosen. Equal steps are equal networks.
  struct Step {
    enum Kind : int8_t {
      kInput,      // channels, kernel (height), stride (width).
      kConv,       // channels (0: those of the input), kernel, stride, groups.
      kDepthwise,  // kernel, stride.
      kMbConv,     // channels, kernel, stride, groups (squeeze), expansion.
      kMaxPool,    // kernel, stride.
      kAvgPool,
      kReduce,    // A stride that no block took: stride.
      kResidual,  // Until kEnd: added to what came in.
      kParallel,  // Branches, each until kBranch or kEnd, joined.
      kBranch,
      kEnd,   // channels: the activation of a residual sum is in `word`.
      kHead,  // channels (0: none), expansion (the drop rate).
    };
    Kind kind = kConv;
    int8_t word = 0;  // An activation, or how branches are joined.
    int16_t stride = 1;
    int16_t kernel = 0;
    int16_t groups = 1;
    int32_t channels = 0;
    double expansion = 0;

    friend bool operator==(const Step&, const Step&) = default;
  };

  // Text that tells all configurations apart.
  static std::string Describe(const DeclaredNetworkConfig& config);

  // `decisions` must outlive this. INVALID_ARGUMENT begins with the field
  // ("network.blocks[2].conv.channels: ").
  static absl::StatusOr<std::unique_ptr<DeclaredNetwork>> Create(
      const DeclaredNetworkConfig& config,
      absl::Span<const Decision> decisions);
  ~DeclaredNetwork();

  // The steps that `choices` lead to; if `read` is not null, sets the bits of
  // all decisions that were looked at on the way.
  std::vector<Step> Resolve(absl::Span<const int> choices,
                            std::vector<bool>* read) const;
  // Text that is equal exactly for equal steps.
  static std::string Text(const std::vector<Step>& steps);
  // INVALID_ARGUMENT if the blocks do not fit together.
  absl::StatusOr<ModelGraph> Build(const std::vector<Step>& steps) const;

 private:
  struct Ref;
  struct Parameter;
  struct Block;
  class Compiler;
  class Walk;

  DeclaredNetwork();

  // All constant after construction.
  TensorShape input_;
  int classes_ = 0;
  int channel_multiple_ = 1;
  std::vector<Parameter> resolution_;  // One or none.
  std::vector<Block> blocks_;
};

}  // namespace hwnas
