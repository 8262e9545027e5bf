#include "model/onnx/onnx_quantize.h"

#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace hwnas {
namespace {

constexpr int kOldestOpset = 10;
constexpr int kPerChannelOpset = 13;
// Of an int8 weight, in steps: two products with uint8 activations must fit
// 16 bits, in which processors without dot-product instructions (x86 with AVX2
// alone) add them up. With 127 they saturate, and answers depend on the
// processor.
constexpr float kMostWeight = 64;
// A bias of more steps than this would overflow an int32 sum.
constexpr double kMaxBiasSteps = 1 << 30;

bool IsOnnx(const onnx::NodeProto& node) {
  return node.domain().empty() || node.domain() == "ai.onnx";
}
bool IsOp(const onnx::NodeProto& node, const char* op) {
  return IsOnnx(node) && node.op_type() == op;
}

// An attribute that is there; null if it is not.
const onnx::AttributeProto* Attribute(const onnx::NodeProto& node,
                                      const char* name) {
  for (const auto& attribute : node.attribute()) {
    if (attribute.name() == name) return &attribute;
  }
  return nullptr;
}
int64_t IntAttribute(const onnx::NodeProto& node, const char* name) {
  const onnx::AttributeProto* found = Attribute(node, name);
  return found == nullptr ? 0 : found->i();
}
bool IsOne(const onnx::NodeProto& node, const char* name) {
  const onnx::AttributeProto* found = Attribute(node, name);
  return found == nullptr || found->f() == 1.0f;
}

// The number of elements that the dimensions say; -1 if they make no sense.
int64_t ElementsOf(const onnx::TensorProto& tensor) {
  int64_t elements = 1;
  for (const int64_t dim : tensor.dims()) {
    if (dim < 1 || elements > (int64_t{1} << 32) / dim) return -1;
    elements *= dim;
  }
  return elements;
}

// The values of a constant; empty if it does not hold as many floats as it
// says.
std::vector<float> FloatsOf(const onnx::TensorProto& tensor) {
  if (tensor.data_type() != onnx::TensorProto::FLOAT ||
      tensor.data_location() == onnx::TensorProto::EXTERNAL) {
    return {};
  }
  const int64_t elements = ElementsOf(tensor);
  std::vector<float> values;
  if (tensor.has_raw_data()) {
    const std::string& bytes = tensor.raw_data();
    if (elements < 0 || bytes.size() != elements * sizeof(float)) return {};
    values.resize(elements);
    std::memcpy(values.data(), bytes.data(), bytes.size());
  } else {
    if (tensor.float_data_size() != elements) return {};
    values.assign(tensor.float_data().begin(), tensor.float_data().end());
  }
  for (const float value : values) {
    if (!std::isfinite(value)) return {};
  }
  return values;
}

// How a value is mapped to integers.
struct Scale {
  float scale = 1;
  uint8_t zero_point = 0;
};

// Zero is exact, as padding needs it.
Scale ScaleOf(const ValueRange& range) {
  const double low = std::min(0.0f, range.low);
  const double high = std::max(0.0f, range.high);
  if (high - low < std::numeric_limits<float>::min()) return {};
  Scale scale;
  scale.scale = static_cast<float>((high - low) / 255);
  scale.zero_point = static_cast<uint8_t>(
      std::clamp(std::nearbyint(-low / scale.scale), 0.0, 255.0));
  return scale;
}

// A node with constant weights.
struct Weighted {
  const onnx::TensorProto* weight = nullptr;
  const onnx::TensorProto* bias = nullptr;
  // Of the weight: the output channels.
  int axis = 0;
};

}  // namespace

struct OnnxQuantizer::Plan {
  onnx::ModelProto model;
  bool per_channel = true;
  std::map<std::string, const onnx::TensorProto*> constants;
  std::set<std::string> names;  // Every one that is taken.
  // By the index of the node.
  std::map<int, Weighted> weighted;
  // To be quantised, in order.
  std::vector<std::string> tensors;
  // Those of another one's scale: what max pooling makes.
  std::map<std::string, std::string> scale_of;

  absl::Status Make();
  const onnx::TensorProto* Constant(const onnx::NodeProto& node,
                                    int input) const;
  void FindConstants();
  void FindWeighted();
  void FindTensors();
};

absl::Status OnnxQuantizer::Plan::Make() {
  int64_t opset = 0;
  for (const auto& import : model.opset_import()) {
    if (import.domain().empty() || import.domain() == "ai.onnx") {
      opset = std::max(opset, import.version());
    }
  }
  FindConstants();
  FindWeighted();
  if (weighted.empty()) {
    return absl::InvalidArgumentError(
        "there is nothing to quantise to int8: the model has no Conv, Gemm or "
        "MatMul with constant float32 weights");
  }
  if (opset < kOldestOpset) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the model has operator set ", opset,
        ", which cannot be quantised: expected ", kOldestOpset, " or later"));
  }
  per_channel = opset >= kPerChannelOpset;
  FindTensors();
  return absl::OkStatus();
}

void OnnxQuantizer::Plan::FindConstants() {
  const onnx::GraphProto& graph = model.graph();
  for (const auto& input : graph.input()) names.insert(input.name());
  for (const auto& tensor : graph.initializer()) {
    constants[tensor.name()] = &tensor;
    names.insert(tensor.name());
  }
  for (const auto& node : graph.node()) {
    names.insert(node.name());
    names.insert(node.output().begin(), node.output().end());
    const onnx::AttributeProto* value = Attribute(node, "value");
    if (IsOp(node, "Constant") && value != nullptr && value->has_t() &&
        node.output_size() == 1) {
      constants[node.output(0)] = &value->t();
    }
  }
}

const onnx::TensorProto* OnnxQuantizer::Plan::Constant(
    const onnx::NodeProto& node, int input) const {
  if (node.input_size() <= input) return nullptr;
  const auto found = constants.find(node.input(input));
  return found == constants.end() ? nullptr : found->second;
}

void OnnxQuantizer::Plan::FindWeighted() {
  for (int i = 0; i < model.graph().node_size(); ++i) {
    const onnx::NodeProto& node = model.graph().node(i);
    const bool conv = IsOp(node, "Conv"), gemm = IsOp(node, "Gemm");
    if ((!conv && !gemm && !IsOp(node, "MatMul")) || node.output_size() != 1) {
      continue;
    }
    Weighted found = {.weight = Constant(node, 1), .bias = Constant(node, 2)};
    if (found.weight == nullptr || node.input(0).empty() ||
        constants.count(node.input(0)) > 0 || FloatsOf(*found.weight).empty()) {
      continue;
    }
    const int dims = found.weight->dims_size();
    if (conv ? dims < 3 : dims != 2) continue;
    if (gemm && (!IsOne(node, "alpha") || !IsOne(node, "beta") ||
                 IntAttribute(node, "transA") != 0)) {
      continue;
    }
    found.axis = conv || (gemm && IntAttribute(node, "transB") != 0) ? 0 : 1;
    // A bias of another form stays as it is.
    if (found.bias != nullptr &&
        (found.bias->dims_size() != 1 ||
         found.bias->dims(0) != found.weight->dims(found.axis) ||
         FloatsOf(*found.bias).empty())) {
      found.bias = nullptr;
    }
    weighted[i] = found;
  }
}

void OnnxQuantizer::Plan::FindTensors() {
  const onnx::GraphProto& graph = model.graph();
  std::map<std::string, std::vector<int>> readers;
  for (int i = 0; i < graph.node_size(); ++i) {
    for (const auto& input : graph.node(i).input()) {
      readers[input].push_back(i);
    }
  }
  std::set<std::string> outputs;
  for (const auto& output : graph.output()) outputs.insert(output.name());
  std::set<std::string> chosen;
  const auto choose = [&](const std::string& name) {
    if (constants.count(name) == 0 && !name.empty() &&
        chosen.insert(name).second) {
      tensors.push_back(name);
    }
  };
  // What a node makes; behind a rectifier if that is all that reads it, since
  // runtimes fold it into the rounding.
  const auto choose_output = [&](const onnx::NodeProto& node) {
    std::string name = node.output(0);
    const std::vector<int>& next = readers[name];
    if (next.size() == 1 && outputs.count(name) == 0) {
      const onnx::NodeProto& reader = graph.node(next[0]);
      if ((IsOp(reader, "Relu") || IsOp(reader, "Clip")) &&
          reader.output_size() == 1 && reader.input(0) == name) {
        name = reader.output(0);
      }
    }
    choose(name);
  };
  for (int i = 0; i < graph.node_size(); ++i) {
    const onnx::NodeProto& node = graph.node(i);
    if (weighted.count(i) > 0) {
      choose(node.input(0));
      choose_output(node);
      continue;
    }
    if (node.output_size() < 1 || node.input_size() < 1) continue;
    // These give the type that they take, so that all of it is float32: the
    // library's inference of types does not survive every model.
    const bool passes = IsOp(node, "Add") || IsOp(node, "Mul") ||
                        IsOp(node, "Concat") || IsOp(node, "AveragePool") ||
                        IsOp(node, "GlobalAveragePool");
    const bool known = std::all_of(
        node.input().begin(), node.input().end(),
        [&](const std::string& name) { return chosen.count(name) > 0; });
    if (!known) continue;
    if (passes) choose_output(node);
    if (IsOp(node, "MaxPool") && node.output_size() == 1) {
      choose(node.output(0));
      scale_of[node.output(0)] = node.input(0);
    }
  }
}

namespace {

// Writes the quantised model.
class Quantization {
 public:
  Quantization(onnx::ModelProto model, std::set<std::string> names,
               bool per_channel)
      : model_(std::move(model)),
        names_(std::move(names)),
        per_channel_(per_channel) {
    graph_ = model_.mutable_graph();
    nodes_.Swap(graph_->mutable_node());
  }

  void AddTensor(const std::string& name, const Scale& scale) {
    const std::string prefix = Free(name);
    Pair& pair = pairs_[name];
    pair.scale = scale.scale;
    pair.prefix = prefix;
    pair.scale_name = prefix + "/scale";
    pair.zero_name = prefix + "/zero_point";
    pair.quantized = prefix + "/int8";
    pair.renamed = prefix + "/float";
    onnx::TensorProto* tensor = graph_->add_initializer();
    tensor->set_name(pair.scale_name);
    tensor->set_data_type(onnx::TensorProto::FLOAT);
    tensor->set_raw_data(&scale.scale, sizeof(scale.scale));
    tensor = graph_->add_initializer();
    tensor->set_name(pair.zero_name);
    tensor->set_data_type(onnx::TensorProto::UINT8);
    tensor->set_raw_data(&scale.zero_point, sizeof(scale.zero_point));
  }

  onnx::ModelProto Write(const std::map<int, Weighted>& weighted) {
    // An input keeps its name, so that its readers get another one.
    std::map<std::string, std::string> read_instead;
    for (const auto& input : graph_->input()) {
      const auto pair = pairs_.find(input.name());
      if (pair == pairs_.end()) continue;
      read_instead[input.name()] = pair->second.renamed;
      Emit(pair->second, input.name(), pair->second.renamed);
    }
    for (int i = 0; i < nodes_.size(); ++i) {
      onnx::NodeProto node = nodes_.Get(i);
      const auto found = weighted.find(i);
      if (found != weighted.end()) {
        QuantizeWeights(found->second, pairs_.at(node.input(0)).scale, node);
      }
      for (std::string& input : *node.mutable_input()) {
        const auto instead = read_instead.find(input);
        if (instead != read_instead.end()) input = instead->second;
      }
      std::vector<std::string> made;
      for (std::string& output : *node.mutable_output()) {
        const auto pair = pairs_.find(output);
        if (pair == pairs_.end()) continue;
        made.push_back(output);
        output = pair->second.renamed;
      }
      *graph_->add_node() = std::move(node);
      for (const std::string& name : made) {
        Emit(pairs_.at(name), pairs_.at(name).renamed, name);
      }
    }
    DropUnread();
    // They name tensors that have changed.
    graph_->clear_value_info();
    graph_->clear_quantization_annotation();
    return std::move(model_);
  }

 private:
  struct Pair {
    float scale = 1;
    std::string prefix, scale_name, zero_name, quantized, renamed;
  };

  // A prefix that no name has; names end in '/' and a word after it.
  std::string Free(const std::string& name) {
    std::string prefix = absl::StrCat(name, "/qdq");
    while (!prefixes_.insert(prefix).second ||
           StartsAny(absl::StrCat(prefix, "/"))) {
      absl::StrAppend(&prefix, "_");
    }
    return prefix;
  }
  bool StartsAny(const std::string& prefix) const {
    const auto next = names_.lower_bound(prefix);
    return next != names_.end() && next->compare(0, prefix.size(), prefix) == 0;
  }

  onnx::NodeProto* Node(const char* op, std::vector<std::string> inputs,
                        const std::string& output, const std::string& name) {
    onnx::NodeProto* node = graph_->add_node();
    node->set_op_type(op);
    node->set_name(name);
    for (std::string& input : inputs) node->add_input(std::move(input));
    node->add_output(output);
    return node;
  }

  void Emit(const Pair& pair, const std::string& from, const std::string& to) {
    Node("QuantizeLinear", {from, pair.scale_name, pair.zero_name},
         pair.quantized, pair.prefix + "/quantize");
    Node("DequantizeLinear", {pair.quantized, pair.scale_name, pair.zero_name},
         to, pair.prefix + "/dequantize");
  }

  // A constant of integers behind a DequantizeLinear; returns its name.
  template <typename Integer>
  std::string Constant(const std::string& prefix, int type,
                       const onnx::TensorProto& like,
                       const std::vector<Integer>& values,
                       const std::vector<float>& scales, int axis) {
    onnx::TensorProto* tensor = graph_->add_initializer();
    tensor->set_name(prefix + "/int8");
    tensor->set_data_type(type);
    *tensor->mutable_dims() = like.dims();
    tensor->set_raw_data(values.data(), values.size() * sizeof(Integer));
    const std::vector<Integer> zeros(scales.size(), 0);
    const auto parameter = [&](const std::string& name, int kind,
                               const void* data, size_t size) {
      onnx::TensorProto* constant = graph_->add_initializer();
      constant->set_name(name);
      constant->set_data_type(kind);
      if (per_channel_) constant->add_dims(static_cast<int64_t>(scales.size()));
      constant->set_raw_data(data, size);
    };
    parameter(prefix + "/scale", onnx::TensorProto::FLOAT, scales.data(),
              scales.size() * sizeof(float));
    parameter(prefix + "/zero_point", type, zeros.data(),
              zeros.size() * sizeof(Integer));
    onnx::NodeProto* node =
        Node("DequantizeLinear",
             {prefix + "/int8", prefix + "/scale", prefix + "/zero_point"},
             prefix + "/float", prefix + "/dequantize");
    if (per_channel_) {
      auto* attribute = node->add_attribute();
      attribute->set_name("axis");
      attribute->set_type(onnx::AttributeProto::INT);
      attribute->set_i(axis);
    }
    return prefix + "/float";
  }

  // Of each output channel, or of all together.
  std::vector<float> WeightScales(const std::vector<float>& weights,
                                  const std::vector<float>& bias,
                                  int64_t channels, int64_t inner,
                                  float input_scale) const {
    std::vector<double> most(per_channel_ ? channels : 1);
    const auto at = [&](int64_t channel) -> double& {
      return most[per_channel_ ? channel : 0];
    };
    for (size_t i = 0; i < weights.size(); ++i) {
      double& largest = at(static_cast<int64_t>(i) / inner % channels);
      largest = std::max<double>(largest, std::abs(weights[i]));
    }
    for (double& largest : most) largest /= kMostWeight;
    for (size_t c = 0; c < bias.size(); ++c) {
      double& scale = at(static_cast<int64_t>(c));
      scale =
          std::max(scale, std::abs(bias[c]) / (kMaxBiasSteps * input_scale));
    }
    std::vector<float> scales;
    for (const double scale : most) {
      scales.push_back(scale < std::numeric_limits<float>::min()
                           ? 1.0f
                           : static_cast<float>(scale));
    }
    return scales;
  }

  void QuantizeWeights(const Weighted& weighted, float input_scale,
                       onnx::NodeProto& node) {
    const onnx::TensorProto& tensor = *weighted.weight;
    const std::vector<float> weights = FloatsOf(tensor);
    const std::vector<float> bias = weighted.bias == nullptr
                                        ? std::vector<float>()
                                        : FloatsOf(*weighted.bias);
    const int64_t channels = tensor.dims(weighted.axis);
    int64_t inner = 1;
    for (int d = weighted.axis + 1; d < tensor.dims_size(); ++d) {
      inner *= tensor.dims(d);
    }
    const std::vector<float> scales =
        WeightScales(weights, bias, channels, inner, input_scale);
    const auto scale_of = [&](int64_t channel) {
      return scales[per_channel_ ? channel : 0];
    };
    std::vector<int8_t> integers;
    integers.reserve(weights.size());
    for (size_t i = 0; i < weights.size(); ++i) {
      const float scale = scale_of(static_cast<int64_t>(i) / inner % channels);
      integers.push_back(static_cast<int8_t>(std::clamp(
          std::nearbyint(weights[i] / scale), -kMostWeight, kMostWeight)));
    }
    node.set_input(1, Constant(Free(node.input(1)), onnx::TensorProto::INT8,
                               tensor, integers, scales, weighted.axis));
    if (bias.empty()) return;
    std::vector<float> bias_scales;
    for (const float scale : scales) bias_scales.push_back(scale * input_scale);
    std::vector<int32_t> steps;
    for (size_t c = 0; c < bias.size(); ++c) {
      const double step = bias_scales[per_channel_ ? c : 0];
      steps.push_back(static_cast<int32_t>(
          std::clamp(std::nearbyint(bias[c] / step), -2 * kMaxBiasSteps + 1,
                     2 * kMaxBiasSteps - 1)));
    }
    node.set_input(2, Constant(Free(node.input(2)), onnx::TensorProto::INT32,
                               *weighted.bias, steps, bias_scales, 0));
  }

  // The weights that nobody needs any more.
  void DropUnread() {
    std::set<std::string> read;
    bool nested = false;
    for (const auto& node : graph_->node()) {
      read.insert(node.input().begin(), node.input().end());
      for (const auto& attribute : node.attribute()) {
        nested = nested || attribute.has_g() || attribute.graphs_size() > 0;
      }
    }
    // Inner graphs may read them too.
    if (nested) return;
    for (const auto& output : graph_->output()) read.insert(output.name());
    std::set<std::string> dropped;
    auto* initializers = graph_->mutable_initializer();
    for (int i = initializers->size() - 1; i >= 0; --i) {
      if (read.count(initializers->Get(i).name()) > 0) continue;
      dropped.insert(initializers->Get(i).name());
      initializers->DeleteSubrange(i, 1);
    }
    auto* inputs = graph_->mutable_input();
    for (int i = inputs->size() - 1; i >= 0; --i) {
      if (dropped.count(inputs->Get(i).name()) > 0) {
        inputs->DeleteSubrange(i, 1);
      }
    }
  }

  onnx::ModelProto model_;
  const std::set<std::string> names_;
  const bool per_channel_;
  std::set<std::string> prefixes_;
  onnx::GraphProto* graph_ = nullptr;
  google::protobuf::RepeatedPtrField<onnx::NodeProto> nodes_;
  std::map<std::string, Pair> pairs_;
};

}  // namespace

OnnxQuantizer::OnnxQuantizer(std::unique_ptr<Plan> plan)
    : plan_(std::move(plan)) {}
OnnxQuantizer::OnnxQuantizer(OnnxQuantizer&&) noexcept = default;
OnnxQuantizer& OnnxQuantizer::operator=(OnnxQuantizer&&) noexcept = default;
OnnxQuantizer::~OnnxQuantizer() = default;

absl::StatusOr<OnnxQuantizer> OnnxQuantizer::Create(absl::string_view onnx) {
  auto plan = std::make_unique<Plan>();
  if (!plan->model.ParseFromArray(onnx.data(), static_cast<int>(onnx.size())) ||
      !plan->model.has_graph()) {
    return absl::InvalidArgumentError(
        "the model cannot be read: it is no ONNX file");
  }
  HWNAS_RETURN_IF_ERROR(plan->Make());
  return OnnxQuantizer(std::move(plan));
}

const std::vector<std::string>& OnnxQuantizer::observed() const {
  return plan_->tensors;
}

absl::StatusOr<std::string> OnnxQuantizer::observed_model() const {
  onnx::ModelProto model = plan_->model;
  std::set<std::string> outside;
  for (const auto& value : model.graph().input()) outside.insert(value.name());
  for (const auto& value : model.graph().output()) outside.insert(value.name());
  for (const std::string& name : plan_->tensors) {
    if (outside.count(name) > 0) continue;
    auto* output = model.mutable_graph()->add_output();
    output->set_name(name);
    output->mutable_type()->mutable_tensor_type()->set_elem_type(
        onnx::TensorProto::FLOAT);
  }
  return model.SerializeAsString();
}

absl::StatusOr<std::string> OnnxQuantizer::Quantize(
    const std::map<std::string, ValueRange>& ranges) const {
  Quantization quantization(plan_->model, plan_->names, plan_->per_channel);
  for (const std::string& name : plan_->tensors) {
    std::string source = name;
    for (auto other = plan_->scale_of.find(source);
         other != plan_->scale_of.end(); other = plan_->scale_of.find(source)) {
      source = other->second;
    }
    const auto range = ranges.find(source);
    if (range == ranges.end() || !std::isfinite(range->second.low) ||
        !std::isfinite(range->second.high)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor \"", source.substr(0, 200),
          "\" has no finite range, so the model cannot be quantised"));
    }
    quantization.AddTensor(name, ScaleOf(range->second));
  }
  return quantization.Write(plan_->weighted).SerializeAsString();
}

}  // namespace hwnas
