#include "nas/graph/model_graph.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/limits.h"
#include "common/status_macros.h"

namespace hwnas {
namespace {

std::string ShapeText(const TensorShape& shape) {
  return absl::StrFormat("{%d, %d, %d}", shape.channels, shape.height,
                         shape.width);
}

absl::Status InRange(absl::string_view what, int64_t value, int64_t low,
                     int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "%s %d is out of range: expected %d to %d", what, value, low, high));
}

absl::Status CheckName(absl::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
  };
  bool ok = !name.empty() && name.size() <= GraphLimits::kMaxNameBytes;
  for (const char c : name.substr(0, GraphLimits::kMaxNameBytes + 1)) {
    ok = ok && allowed(c);
  }
  if (ok) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("name of %d bytes is not valid: expected 1 to %d of "
                      "[A-Za-z0-9_.-]",
                      name.size(), GraphLimits::kMaxNameBytes));
}

absl::Status CheckShape(const TensorShape& shape) {
  const bool vector = shape.height == 1 && shape.width == 1;
  HWNAS_RETURN_IF_ERROR(InRange(
      "number of channels", shape.channels, 1,
      vector ? GraphLimits::kMaxValueElements : GraphLimits::kMaxChannels));
  HWNAS_RETURN_IF_ERROR(
      InRange("height", shape.height, 1, GraphLimits::kMaxImageSide));
  HWNAS_RETURN_IF_ERROR(
      InRange("width", shape.width, 1, GraphLimits::kMaxImageSide));
  return InRange("number of elements", shape.elements(), 1,
                 GraphLimits::kMaxValueElements);
}

// PyTorch's formula with dilation 1 and rounding down. An output of no pixels
// is an error: the window does not fit.
absl::StatusOr<TensorShape> Slide(const Node& node, const TensorShape& in) {
  const auto slide = [&node](int side) {
    const int room = side + 2 * node.padding - node.kernel;
    return room < 0 ? 0 : room / node.stride + 1;
  };
  const TensorShape out{in.channels, slide(in.height), slide(in.width)};
  if (out.height < 1 || out.width < 1) {
    return absl::InvalidArgumentError(
        absl::StrFormat("kernel %d with padding %d does not fit an input of %s",
                        node.kernel, node.padding, ShapeText(in)));
  }
  return out;
}

// The node with only the fields that its operator uses.
Node Normalized(Node node) {
  Node result;
  result.op = node.op;
  result.inputs = std::move(node.inputs);
  result.name = std::move(node.name);
  switch (node.op) {
    case OpKind::kInput:
      result.shape = node.shape;
      break;
    case OpKind::kConv2d:
      result.groups = node.groups;
      result.kernel = node.kernel;
      result.stride = node.stride;
      result.padding = node.padding;
      [[fallthrough]];
    case OpKind::kLinear:
      result.out_channels = node.out_channels;
      result.bias = node.bias;
      break;
    case OpKind::kAvgPool:
      result.count_include_pad = node.count_include_pad;
      [[fallthrough]];
    case OpKind::kMaxPool:
      result.kernel = node.kernel;
      result.stride = node.stride;
      result.padding = node.padding;
      break;
    case OpKind::kDropout:
      result.drop_rate = node.drop_rate;
      break;
    case OpKind::kChannelShuffle:
      result.groups = node.groups;
      break;
    default:
      break;
  }
  return result;
}

// How many inputs an operator takes.
struct Arity {
  size_t min;
  size_t max;
};
Arity ArityOf(OpKind op) {
  switch (op) {
    case OpKind::kInput:
      return {0, 0};
    case OpKind::kAdd:
    case OpKind::kConcat:
      return {2, 1024};
    case OpKind::kMul:
      return {2, 2};
    default:
      return {1, 1};
  }
}

// The shape of `node`'s value. Inputs exist and are as many as its operator
// takes; `ins` are their shapes.
absl::StatusOr<TensorShape> InferShape(const Node& node,
                                       absl::Span<const TensorShape> ins) {
  switch (node.op) {
    case OpKind::kInput:
      HWNAS_RETURN_IF_ERROR(InRange("number of channels", node.shape.channels,
                                    1, GraphLimits::kMaxChannels));
      return node.shape;
    case OpKind::kConv2d: {
      HWNAS_RETURN_IF_ERROR(InRange("out_channels", node.out_channels, 1,
                                    GraphLimits::kMaxChannels));
      HWNAS_RETURN_IF_ERROR(InRange("in_channels", ins[0].channels, 1,
                                    GraphLimits::kMaxChannels));
      HWNAS_RETURN_IF_ERROR(
          InRange("kernel", node.kernel, 1, GraphLimits::kMaxWindow));
      HWNAS_RETURN_IF_ERROR(
          InRange("stride", node.stride, 1, GraphLimits::kMaxWindow));
      HWNAS_RETURN_IF_ERROR(
          InRange("padding", node.padding, 0, GraphLimits::kMaxWindow));
      HWNAS_RETURN_IF_ERROR(
          InRange("groups", node.groups, 1, GraphLimits::kMaxChannels));
      if (ins[0].channels % node.groups != 0 ||
          node.out_channels % node.groups != 0) {
        return absl::InvalidArgumentError(absl::StrFormat(
            "groups %d must divide both the %d input and %d output channels",
            node.groups, ins[0].channels, node.out_channels));
      }
      HWNAS_ASSIGN_OR_RETURN(TensorShape out, Slide(node, ins[0]));
      out.channels = node.out_channels;
      return out;
    }
    case OpKind::kMaxPool:
    case OpKind::kAvgPool:
      HWNAS_RETURN_IF_ERROR(
          InRange("kernel", node.kernel, 1, GraphLimits::kMaxWindow));
      HWNAS_RETURN_IF_ERROR(
          InRange("stride", node.stride, 1, GraphLimits::kMaxWindow));
      // A window lies at least half inside the image, as PyTorch asks.
      HWNAS_RETURN_IF_ERROR(
          InRange("padding", node.padding, 0, node.kernel / 2));
      return Slide(node, ins[0]);
    case OpKind::kGlobalAvgPool:
      return TensorShape{ins[0].channels, 1, 1};
    case OpKind::kLinear:
      HWNAS_RETURN_IF_ERROR(InRange("out_channels", node.out_channels, 1,
                                    GraphLimits::kMaxFeatures));
      if (ins[0].height != 1 || ins[0].width != 1) {
        return absl::InvalidArgumentError(absl::StrCat(
            "input of ", ShapeText(ins[0]),
            ": expected a vector {features, 1, 1}; flatten or pool first"));
      }
      return TensorShape{node.out_channels, 1, 1};
    case OpKind::kAdd:
      for (const TensorShape& in : ins) {
        if (in != ins[0]) {
          return absl::InvalidArgumentError(
              absl::StrCat("inputs of ", ShapeText(ins[0]), " and ",
                           ShapeText(in), ": expected equal shapes"));
        }
      }
      return ins[0];
    case OpKind::kMul:
      if (ins[1] != ins[0] && ins[1] != TensorShape{ins[0].channels, 1, 1}) {
        return absl::InvalidArgumentError(absl::StrCat(
            "inputs of ", ShapeText(ins[0]), " and ", ShapeText(ins[1]),
            ": expected equal shapes, or one factor for each channel"));
      }
      return ins[0];
    case OpKind::kConcat: {
      int64_t channels = 0;
      for (const TensorShape& in : ins) {
        if (in.height != ins[0].height || in.width != ins[0].width) {
          return absl::InvalidArgumentError(
              absl::StrCat("inputs of ", ShapeText(ins[0]), " and ",
                           ShapeText(in), ": expected equal height and width"));
        }
        channels += in.channels;
      }
      HWNAS_RETURN_IF_ERROR(InRange("number of channels", channels, 1,
                                    GraphLimits::kMaxChannels));
      return TensorShape{static_cast<int>(channels), ins[0].height,
                         ins[0].width};
    }
    case OpKind::kFlatten:
      return TensorShape{static_cast<int>(ins[0].elements()), 1, 1};
    case OpKind::kDropout:
      if (!(node.drop_rate >= 0 && node.drop_rate < 1)) {
        return absl::InvalidArgumentError(
            absl::StrFormat("drop_rate %g is out of range: expected 0 to less "
                            "than 1",
                            node.drop_rate));
      }
      return ins[0];
    case OpKind::kChannelShuffle:
      HWNAS_RETURN_IF_ERROR(
          InRange("groups", node.groups, 1, GraphLimits::kMaxChannels));
      if (ins[0].channels % node.groups != 0) {
        return absl::InvalidArgumentError(
            absl::StrFormat("groups %d must divide the %d channels",
                            node.groups, ins[0].channels));
      }
      return ins[0];
    case OpKind::kBatchNorm:
    case OpKind::kRelu:
    case OpKind::kRelu6:
    case OpKind::kHardSwish:
    case OpKind::kHardSigmoid:
    case OpKind::kSigmoid:
    case OpKind::kSwish:
    case OpKind::kZero:
      return ins[0];
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("unknown operator %d", static_cast<int>(node.op)));
}

}  // namespace

absl::string_view OpKindName(OpKind op) {
  switch (op) {
    case OpKind::kInput:
      return "input";
    case OpKind::kConv2d:
      return "conv2d";
    case OpKind::kBatchNorm:
      return "batch_norm";
    case OpKind::kRelu:
      return "relu";
    case OpKind::kRelu6:
      return "relu6";
    case OpKind::kHardSwish:
      return "hard_swish";
    case OpKind::kHardSigmoid:
      return "hard_sigmoid";
    case OpKind::kSigmoid:
      return "sigmoid";
    case OpKind::kSwish:
      return "swish";
    case OpKind::kMaxPool:
      return "max_pool";
    case OpKind::kAvgPool:
      return "avg_pool";
    case OpKind::kGlobalAvgPool:
      return "global_avg_pool";
    case OpKind::kLinear:
      return "linear";
    case OpKind::kAdd:
      return "add";
    case OpKind::kMul:
      return "mul";
    case OpKind::kConcat:
      return "concat";
    case OpKind::kFlatten:
      return "flatten";
    case OpKind::kZero:
      return "zero";
    case OpKind::kDropout:
      return "dropout";
    case OpKind::kChannelShuffle:
      return "channel_shuffle";
  }
  return "unknown";
}

int64_t ParameterCount(const Node& node, int in_channels) {
  switch (node.op) {
    case OpKind::kConv2d:
      return int64_t{node.out_channels} * (in_channels / node.groups) *
                 node.kernel * node.kernel +
             (node.bias ? node.out_channels : 0);
    case OpKind::kLinear:
      return int64_t{node.out_channels} * in_channels +
             (node.bias ? node.out_channels : 0);
    case OpKind::kBatchNorm:
      return 2 * int64_t{in_channels};
    default:
      return 0;
  }
}

absl::StatusOr<ModelGraph> ModelGraph::Create(std::vector<Node> nodes) {
  if (nodes.size() > kMaxGraphNodes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("graph has %d nodes: expected at most %d", nodes.size(),
                        kMaxGraphNodes));
  }
  GraphBuilder builder;
  for (Node& node : nodes) {
    if (node.name.empty()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("node %d (%s): name is empty", builder.nodes_.size(),
                          OpKindName(node.op)));
    }
    builder.Append(std::move(node));
    if (!builder.status_.ok()) return builder.status_;
  }
  return std::move(builder).Build();
}

ModelGraph RemoveDeadNodes(const ModelGraph& graph) {
  const int size = graph.size();
  if (size == 0) return graph;
  std::vector<bool> alive(size, false);
  alive[0] = alive[size - 1] = true;
  for (int id = size - 1; id > 0; --id) {
    if (!alive[id]) continue;
    for (const int input : graph.node(id).inputs) alive[input] = true;
  }
  std::vector<int> new_id(size, -1);
  std::vector<Node> kept;
  for (int id = 0; id < size; ++id) {
    if (!alive[id]) continue;
    new_id[id] = static_cast<int>(kept.size());
    kept.push_back(graph.node(id));
    for (int& input : kept.back().inputs) input = new_id[input];
  }
  return ModelGraph(std::move(kept));
}

absl::Status GraphBuilder::Check(Node& node) {
  HWNAS_RETURN_IF_ERROR(CheckName(node.name));
  if (!names_.insert(node.name).second) {
    return absl::InvalidArgumentError("name is taken by an earlier node");
  }
  if ((node.op == OpKind::kInput) != nodes_.empty()) {
    return absl::InvalidArgumentError(
        "expected node 0, and no other, to be the input");
  }
  const Arity arity = ArityOf(node.op);
  HWNAS_RETURN_IF_ERROR(
      InRange("number of inputs", node.inputs.size(), arity.min, arity.max));
  std::vector<TensorShape> ins;
  ins.reserve(node.inputs.size());
  for (const int input : node.inputs) {
    if (input < 0 || input >= static_cast<int>(nodes_.size())) {
      return absl::InvalidArgumentError(
          absl::StrFormat("input %d is not an earlier node: expected 0 to %d",
                          input, static_cast<int>(nodes_.size()) - 1));
    }
    ins.push_back(nodes_[input].shape);
  }
  HWNAS_ASSIGN_OR_RETURN(node.shape, InferShape(node, ins));
  HWNAS_RETURN_IF_ERROR(CheckShape(node.shape));
  if (!ins.empty()) parameters_ += ParameterCount(node, ins[0].channels);
  if (parameters_ > GraphLimits::kMaxParameters) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the graph has %d parameters up to here: expected at "
                        "most %d",
                        parameters_, GraphLimits::kMaxParameters));
  }
  return absl::OkStatus();
}

int GraphBuilder::Append(Node given) {
  const int id = static_cast<int>(nodes_.size());
  if (!status_.ok()) return id - 1;
  if (id == kMaxGraphNodes) {
    status_ = absl::InvalidArgumentError(
        absl::StrFormat("graph has more than %d nodes", kMaxGraphNodes));
    return id - 1;
  }
  Node node = Normalized(std::move(given));
  if (node.name.empty()) {
    const std::string stem = absl::StrCat(scope_, OpKindName(node.op));
    do {
      node.name = absl::StrCat(stem, "_", counts_[stem]++);
    } while (names_.count(node.name) > 0);
  }
  if (const absl::Status status = Check(node); !status.ok()) {
    status_ = absl::InvalidArgumentError(
        absl::StrFormat("node %d (%s '%s'): %s", id, OpKindName(node.op),
                        node.name.substr(0, GraphLimits::kMaxNameBytes),
                        std::string(status.message())));
    return id - 1;
  }
  nodes_.push_back(std::move(node));
  return id;
}

int GraphBuilder::Input(TensorShape shape) {
  return Append({.op = OpKind::kInput, .name = "image", .shape = shape});
}

int GraphBuilder::Conv2d(int x, const Conv& conv, std::string name) {
  return Append({.op = OpKind::kConv2d,
                 .inputs = {x},
                 .name = std::move(name),
                 .out_channels = conv.out_channels,
                 .bias = conv.bias,
                 .kernel = conv.kernel,
                 .stride = conv.stride,
                 .padding = conv.padding,
                 .groups = conv.groups});
}

int GraphBuilder::BatchNorm(int x, std::string name) {
  return Unary(OpKind::kBatchNorm, x, std::move(name));
}

int GraphBuilder::Unary(OpKind op, int x, std::string name) {
  return Append({.op = op, .inputs = {x}, .name = std::move(name)});
}

int GraphBuilder::MaxPool(int x, const Pool& pool, std::string name) {
  return Append({.op = OpKind::kMaxPool,
                 .inputs = {x},
                 .name = std::move(name),
                 .kernel = pool.kernel,
                 .stride = pool.stride,
                 .padding = pool.padding});
}

int GraphBuilder::AvgPool(int x, const Pool& pool, std::string name) {
  return Append({.op = OpKind::kAvgPool,
                 .inputs = {x},
                 .name = std::move(name),
                 .kernel = pool.kernel,
                 .stride = pool.stride,
                 .padding = pool.padding,
                 .count_include_pad = pool.count_include_pad});
}

int GraphBuilder::Linear(int x, int out_features, bool bias, std::string name) {
  return Append({.op = OpKind::kLinear,
                 .inputs = {x},
                 .name = std::move(name),
                 .out_channels = out_features,
                 .bias = bias});
}

int GraphBuilder::Add(absl::Span<const int> xs, std::string name) {
  return Append({.op = OpKind::kAdd,
                 .inputs = {xs.begin(), xs.end()},
                 .name = std::move(name)});
}

int GraphBuilder::Mul(int x, int scale, std::string name) {
  return Append(
      {.op = OpKind::kMul, .inputs = {x, scale}, .name = std::move(name)});
}

int GraphBuilder::Concat(absl::Span<const int> xs, std::string name) {
  return Append({.op = OpKind::kConcat,
                 .inputs = {xs.begin(), xs.end()},
                 .name = std::move(name)});
}

int GraphBuilder::Dropout(int x, double drop_rate, std::string name) {
  return Append({.op = OpKind::kDropout,
                 .inputs = {x},
                 .name = std::move(name),
                 .drop_rate = drop_rate});
}

int GraphBuilder::ChannelShuffle(int x, int groups, std::string name) {
  return Append({.op = OpKind::kChannelShuffle,
                 .inputs = {x},
                 .name = std::move(name),
                 .groups = groups});
}

TensorShape GraphBuilder::shape(int id) const {
  if (!status_.ok() || id < 0 || id >= static_cast<int>(nodes_.size())) {
    return {0, 0, 0};
  }
  return nodes_[id].shape;
}

absl::StatusOr<ModelGraph> GraphBuilder::Build() && {
  if (!status_.ok()) return status_;
  if (nodes_.empty()) {
    return absl::InvalidArgumentError(
        "graph is empty: expected at least an input");
  }
  return ModelGraph(std::move(nodes_));
}

}  // namespace hwnas
