// The one representation of a network: a list of operators in topological
// order, with the shape of every value. Torch modules, ONNX files, FLOPs and
// learned features all come from it, so what we time is what we train is what
// we export.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace hwnas {

// Values are single examples (no batch dimension): images are {C, H, W},
// vectors {features, 1, 1}. All float32.
struct TensorShape {
  int channels = 0;
  int height = 1;
  int width = 1;

  int64_t elements() const { return int64_t{channels} * height * width; }
  friend bool operator==(const TensorShape&, const TensorShape&) = default;
};

enum class OpKind {
  kInput,      // The image. Exactly one, node 0.
  kConv2d,     // Square kernel, zero padding, PyTorch's size formula.
  kBatchNorm,  // Per channel, affine, eps 1e-5, momentum 0.1.
  kRelu,
  kRelu6,
  kHardSwish,    // x * relu6(x + 3) / 6.
  kHardSigmoid,  // relu6(x + 3) / 6.
  kSigmoid,
  kSwish,  // x * sigmoid(x).
  kMaxPool,
  kAvgPool,
  kGlobalAvgPool,   // {C,H,W} -> {C,1,1}.
  kLinear,          // {F,1,1} -> {out,1,1}; always after kFlatten or a vector.
  kAdd,             // Two or more inputs of one shape.
  kMul,             // {C,H,W} times {C,H,W} or {C,1,1} (squeeze-excite).
  kConcat,          // Along channels; same height and width.
  kFlatten,         // {C,H,W} -> {C*H*W,1,1}.
  kZero,            // Zeros of its input's shape: a cell with no path.
  kDropout,         // Identity when evaluating.
  kChannelShuffle,  // Channel g * (C / groups) + i moves to i * groups + g.
};

// "conv2d", "batch_norm"...
absl::string_view OpKindName(OpKind op);

// Bounds on every graph; see docs/model-graph.md. They keep all counts far from
// overflow and a hostile graph from exhausting memory. The number of nodes is
// bounded by kMaxGraphNodes in common/limits.h.
struct GraphLimits {
  static constexpr int kMaxChannels = 65536;  // Of an image, or a layer's own.
  static constexpr int kMaxFeatures = 1 << 20;  // Of a linear layer.
  static constexpr int kMaxImageSide = 16384;   // Pixels.
  static constexpr int kMaxWindow = 255;        // Kernel, stride, padding.
  static constexpr int kMaxNameBytes = 128;
  static constexpr int64_t kMaxValueElements = int64_t{1} << 26;
  static constexpr int64_t kMaxParameters = int64_t{1} << 28;  // In all.
};

// One operator. Fields that an operator does not use keep their defaults.
struct Node {
  OpKind op = OpKind::kInput;
  // Earlier nodes that it reads.
  std::vector<int> inputs;
  // Unique in the graph, 1 to 128 of [A-Za-z0-9_.-]; weights are named after
  // it.
  std::string name;
  // Shape of its value; set by GraphBuilder.
  TensorShape shape;
  // kConv2d, kLinear.
  int out_channels = 0;
  bool bias = false;
  // kConv2d, kMaxPool, kAvgPool.
  int kernel = 1;
  int stride = 1;
  int padding = 0;
  // kConv2d: out_channels for a depthwise convolution. kChannelShuffle.
  int groups = 1;
  // kAvgPool.
  bool count_include_pad = false;
  // kDropout.
  double drop_rate = 0;

  friend bool operator==(const Node&, const Node&) = default;
};

// Immutable once built; freely copied. Thread-compatible.
class ModelGraph {
 public:
  ModelGraph() = default;

  // Checks every node and infers all shapes anew: the only way in for a graph
  // from outside. Of the given shapes only the input's is used; fields that an
  // operator does not use are set to their defaults. INVALID_ARGUMENT names the
  // node.
  static absl::StatusOr<ModelGraph> Create(std::vector<Node> nodes);

  // Accessors but size() need a graph that was built.
  const std::vector<Node>& nodes() const { return nodes_; }
  const Node& node(int id) const { return nodes_[id]; }
  int size() const { return static_cast<int>(nodes_.size()); }
  const TensorShape& input_shape() const { return nodes_.front().shape; }
  const TensorShape& output_shape() const { return nodes_.back().shape; }

  friend bool operator==(const ModelGraph&, const ModelGraph&) = default;

 private:
  friend class GraphBuilder;
  friend ModelGraph RemoveDeadNodes(const ModelGraph& graph);
  explicit ModelGraph(std::vector<Node> nodes) : nodes_(std::move(nodes)) {}

  std::vector<Node> nodes_;
};

// Number of trainable parameters of a node whose shapes are inferred, reading
// `in_channels` from its first input: weights and biases, batch-norm scale and
// shift. Batch-norm statistics are not counted.
int64_t ParameterCount(const Node& node, int in_channels);

// The graph without nodes that the output does not depend on. The input stays.
ModelGraph RemoveDeadNodes(const ModelGraph& graph);

// Appends nodes and infers their shapes. Errors are kept: after the first, each
// call returns some id and Build() reports it, so decoding code stays straight.
//
//   GraphBuilder b;
//   int x = b.Input({3, 32, 32});
//   x = b.Conv2d(x, {.out_channels = 16, .kernel = 3, .padding = 1});
//   x = b.Linear(b.Flatten(b.GlobalAvgPool(b.Relu(b.BatchNorm(x)))), 10);
//   absl::StatusOr<ModelGraph> graph = std::move(b).Build();
class GraphBuilder {
 public:
  struct Conv {
    int out_channels = 0;
    int kernel = 1;
    int stride = 1;
    int padding = 0;
    int groups = 1;
    bool bias = false;
  };
  struct Pool {
    int kernel = 1;
    int stride = 1;
    int padding = 0;
    bool count_include_pad = false;
  };

  // Prefix of the names of nodes added from now on: "stage1.cell0." Names are
  // prefix + operator + running number ("stage1.cell0.conv2d_3") where no name
  // is given.
  void SetScope(std::string prefix) { scope_ = std::move(prefix); }

  int Input(TensorShape shape);
  int Conv2d(int x, const Conv& conv, std::string name = "");
  int BatchNorm(int x, std::string name = "");
  // Any of the operators with one input and no attribute.
  int Unary(OpKind op, int x, std::string name = "");
  int Relu(int x) { return Unary(OpKind::kRelu, x); }
  int GlobalAvgPool(int x) { return Unary(OpKind::kGlobalAvgPool, x); }
  int Flatten(int x) { return Unary(OpKind::kFlatten, x); }
  int Zero(int x) { return Unary(OpKind::kZero, x); }
  int MaxPool(int x, const Pool& pool, std::string name = "");
  int AvgPool(int x, const Pool& pool, std::string name = "");
  int Linear(int x, int out_features, bool bias = true, std::string name = "");
  int Add(absl::Span<const int> xs, std::string name = "");
  int Mul(int x, int scale, std::string name = "");
  int Concat(absl::Span<const int> xs, std::string name = "");
  int Dropout(int x, double drop_rate, std::string name = "");
  int ChannelShuffle(int x, int groups, std::string name = "");

  // Shape of a node added before; {0,0,0} after an error.
  TensorShape shape(int id) const;

  // The output is the last node added.
  absl::StatusOr<ModelGraph> Build() &&;

 private:
  friend class ModelGraph;
  int Append(Node node);
  absl::Status Check(Node& node);

  std::string scope_;
  std::vector<Node> nodes_;
  std::unordered_set<std::string> names_;
  std::unordered_map<std::string, int> counts_;  // By prefix + operator.
  int64_t parameters_ = 0;
  absl::Status status_;
};

}  // namespace hwnas
