#include <utility>

#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "proto/convert/convert.h"

namespace hwnas {
namespace {

// Operators of the two enums. A switch each way, so that the compiler notices a
// missing one.
v1::OperatorKind ToProto(OpKind op) {
  switch (op) {
    case OpKind::kInput:
      return v1::INPUT;
    case OpKind::kConv2d:
      return v1::CONV2D;
    case OpKind::kBatchNorm:
      return v1::BATCH_NORM;
    case OpKind::kRelu:
      return v1::RELU;
    case OpKind::kRelu6:
      return v1::RELU6;
    case OpKind::kHardSwish:
      return v1::HARD_SWISH;
    case OpKind::kHardSigmoid:
      return v1::HARD_SIGMOID;
    case OpKind::kSigmoid:
      return v1::SIGMOID;
    case OpKind::kSwish:
      return v1::SWISH;
    case OpKind::kMaxPool:
      return v1::MAX_POOL;
    case OpKind::kAvgPool:
      return v1::AVG_POOL;
    case OpKind::kGlobalAvgPool:
      return v1::GLOBAL_AVG_POOL;
    case OpKind::kLinear:
      return v1::LINEAR;
    case OpKind::kAdd:
      return v1::ADD;
    case OpKind::kMul:
      return v1::MUL;
    case OpKind::kConcat:
      return v1::CONCAT;
    case OpKind::kFlatten:
      return v1::FLATTEN;
    case OpKind::kZero:
      return v1::ZERO;
    case OpKind::kDropout:
      return v1::DROPOUT;
    case OpKind::kChannelShuffle:
      return v1::CHANNEL_SHUFFLE;
  }
  return v1::OPERATOR_KIND_UNSPECIFIED;
}

absl::StatusOr<OpKind> FromProto(v1::OperatorKind op) {
  switch (op) {
    case v1::INPUT:
      return OpKind::kInput;
    case v1::CONV2D:
      return OpKind::kConv2d;
    case v1::BATCH_NORM:
      return OpKind::kBatchNorm;
    case v1::RELU:
      return OpKind::kRelu;
    case v1::RELU6:
      return OpKind::kRelu6;
    case v1::HARD_SWISH:
      return OpKind::kHardSwish;
    case v1::HARD_SIGMOID:
      return OpKind::kHardSigmoid;
    case v1::SIGMOID:
      return OpKind::kSigmoid;
    case v1::SWISH:
      return OpKind::kSwish;
    case v1::MAX_POOL:
      return OpKind::kMaxPool;
    case v1::AVG_POOL:
      return OpKind::kAvgPool;
    case v1::GLOBAL_AVG_POOL:
      return OpKind::kGlobalAvgPool;
    case v1::LINEAR:
      return OpKind::kLinear;
    case v1::ADD:
      return OpKind::kAdd;
    case v1::MUL:
      return OpKind::kMul;
    case v1::CONCAT:
      return OpKind::kConcat;
    case v1::FLATTEN:
      return OpKind::kFlatten;
    case v1::ZERO:
      return OpKind::kZero;
    case v1::DROPOUT:
      return OpKind::kDropout;
    case v1::CHANNEL_SHUFFLE:
      return OpKind::kChannelShuffle;
    default:  // Unspecified, or of a newer version.
      return absl::InvalidArgumentError(
          absl::StrCat("operator ", static_cast<int>(op),
                       " is unknown: expected one of OperatorKind"));
  }
}

}  // namespace

v1::ModelGraph ToProto(const ModelGraph& graph) {
  v1::ModelGraph proto;
  proto.mutable_nodes()->Reserve(graph.size());
  for (const Node& node : graph.nodes()) {
    v1::GraphNode& out = *proto.add_nodes();
    out.set_op(ToProto(node.op));
    out.mutable_inputs()->Assign(node.inputs.begin(), node.inputs.end());
    out.set_name(node.name);
    switch (node.op) {
      case OpKind::kInput:
        out.add_input_shape(node.shape.channels);
        out.add_input_shape(node.shape.height);
        out.add_input_shape(node.shape.width);
        break;
      case OpKind::kConv2d:
        out.set_out_channels(node.out_channels);
        out.set_bias(node.bias);
        out.set_kernel(node.kernel);
        out.set_stride(node.stride);
        out.set_padding(node.padding);
        out.set_groups(node.groups);
        break;
      case OpKind::kLinear:
        out.set_out_channels(node.out_channels);
        out.set_bias(node.bias);
        break;
      case OpKind::kMaxPool:
      case OpKind::kAvgPool:
        out.set_kernel(node.kernel);
        out.set_stride(node.stride);
        out.set_padding(node.padding);
        out.set_count_include_pad(node.count_include_pad);
        break;
      case OpKind::kDropout:
        out.set_drop_rate(node.drop_rate);
        break;
      case OpKind::kChannelShuffle:
        out.set_groups(node.groups);
        break;
      default:
        break;
    }
  }
  return proto;
}

absl::StatusOr<ModelGraph> FromProto(const v1::ModelGraph& proto) {
  if (proto.nodes_size() > kMaxGraphNodes) {
    return absl::InvalidArgumentError(
        absl::StrCat("nodes: ", proto.nodes_size(),
                     " are too many: expected 1 to ", kMaxGraphNodes));
  }
  std::vector<Node> nodes;
  nodes.reserve(proto.nodes_size());
  for (int i = 0; i < proto.nodes_size(); ++i) {
    const v1::GraphNode& in = proto.nodes(i);
    absl::StatusOr<OpKind> op = FromProto(in.op());
    if (!op.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("nodes[", i, "].op: ", op.status().message()));
    }
    Node node;
    node.op = *op;
    node.inputs.assign(in.inputs().begin(), in.inputs().end());
    node.name = in.name();
    // Fields that the operator does not use keep their defaults, whatever the
    // sender put there.
    switch (node.op) {
      case OpKind::kInput:
        if (in.input_shape_size() != 3) {
          return absl::InvalidArgumentError(absl::StrCat(
              "nodes[", i, "].input_shape: ", in.input_shape_size(),
              " numbers: expected 3, channels, height and width"));
        }
        node.shape = {in.input_shape(0), in.input_shape(1), in.input_shape(2)};
        break;
      case OpKind::kConv2d:
        node.out_channels = in.out_channels();
        node.bias = in.bias();
        node.kernel = in.kernel();
        node.stride = in.stride();
        node.padding = in.padding();
        node.groups = in.groups();
        break;
      case OpKind::kLinear:
        node.out_channels = in.out_channels();
        node.bias = in.bias();
        break;
      case OpKind::kAvgPool:
        node.count_include_pad = in.count_include_pad();
        [[fallthrough]];
      case OpKind::kMaxPool:
        node.kernel = in.kernel();
        node.stride = in.stride();
        node.padding = in.padding();
        break;
      case OpKind::kDropout:
        node.drop_rate = in.drop_rate();
        break;
      case OpKind::kChannelShuffle:
        node.groups = in.groups();
        break;
      default:
        break;
    }
    nodes.push_back(std::move(node));
  }
  return ModelGraph::Create(std::move(nodes));
}

v1::Architecture ToProto(const SearchSpace& space,
                         const Architecture& architecture) {
  v1::Architecture proto;
  proto.mutable_choices()->Assign(architecture.choices.begin(),
                                  architecture.choices.end());
  proto.set_text(space.ToText(architecture));
  proto.set_digest(space.Digest(architecture));
  return proto;
}

absl::StatusOr<Architecture> FromProto(const SearchSpace& space,
                                       const v1::Architecture& proto) {
  // Before anything is copied: the length is the sender's.
  const size_t decisions = space.decisions().size();
  if (static_cast<size_t>(proto.choices_size()) != decisions) {
    return absl::InvalidArgumentError(
        absl::StrCat("choices: ", proto.choices_size(),
                     " numbers: expected one for each of the ", decisions,
                     " decisions of the space"));
  }
  Architecture architecture;
  architecture.choices.assign(proto.choices().begin(), proto.choices().end());
  if (absl::Status status = space.Validate(architecture); !status.ok()) {
    return absl::Status(status.code(),
                        absl::StrCat("choices: ", status.message()));
  }
  // An empty digest is a sender who does not know it.
  if (!proto.digest().empty()) {
    const std::string digest = space.Digest(architecture);
    if (proto.digest() != digest) {
      return absl::InvalidArgumentError(absl::StrCat(
          "digest: does not belong to these choices in this space: expected ",
          digest));
    }
  }
  return architecture;
}

}  // namespace hwnas
