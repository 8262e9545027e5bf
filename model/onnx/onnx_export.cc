#include "model/onnx/onnx_export.h"

#include <onnx/checker.h>
#include <onnx/onnx_pb.h>

#include <cmath>
#include <cstring>
#include <exception>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/version.h"
#include "model/weights.h"

namespace hwnas {
namespace {

constexpr int kOpset = 13;
constexpr int kIrVersion = 7;  // The oldest that knows opset 13.
constexpr float kBatchNormEpsilon = 1e-5f;

using Floats = std::vector<float>;

// Writes the nodes of one graph. Names of our nodes hold no '/', so names with
// one are free for helper values.
class Writer {
 public:
  Writer(const ModelGraph& graph, const v1::Weights& weights,
         const OnnxOptions& options)
      : graph_(graph), options_(options), values_(graph.size()) {
    for (const v1::Tensor& tensor : weights.tensors()) {
      tensors_[tensor.name()] = &tensor;
    }
    std::vector<int> readers(graph.size());
    for (const Node& node : graph.nodes()) {
      for (const int input : node.inputs) ++readers[input];
    }
    folded_into_.assign(graph.size(), -1);
    if (options.fold_batch_norm) {
      for (int id = 0; id < graph.size(); ++id) {
        const Node& node = graph.node(id);
        if (node.op == OpKind::kBatchNorm &&
            graph.node(node.inputs[0]).op == OpKind::kConv2d &&
            readers[node.inputs[0]] == 1) {
          folded_into_[node.inputs[0]] = id;
        }
      }
    }
  }

  onnx::ModelProto Write() {
    model_.set_ir_version(kIrVersion);
    model_.set_producer_name("hwnas");
    model_.set_producer_version(kVersion);
    model_.set_doc_string(options_.description);
    model_.add_opset_import()->set_version(kOpset);
    onnx_ = model_.mutable_graph();
    onnx_->set_name("hwnas");
    for (int id = 0; id < graph_.size(); ++id) WriteNode(id);

    const int last = graph_.size() - 1;
    const TensorShape& shape = graph_.output_shape();
    const bool vector = shape.height == 1 && shape.width == 1;
    Emit("Identity", {vector ? As2d(last) : values_[last].name}, "logits");
    auto* output = onnx_->add_output();
    output->set_name("logits");
    SetType(output, vector
                        ? std::vector<int64_t>{options_.batch, shape.channels}
                        : Dims(shape));
    return std::move(model_);
  }

 private:
  // A value of the graph under its ONNX name. Vectors come as {N, F} or
  // {N, F, 1, 1}; operators ask for the form they need.
  struct Value {
    std::string name;
    bool is_2d = false;
  };

  std::vector<int64_t> Dims(const TensorShape& shape) const {
    return {options_.batch, shape.channels, shape.height, shape.width};
  }

  static void SetType(onnx::ValueInfoProto* info,
                      const std::vector<int64_t>& dims) {
    auto* type = info->mutable_type()->mutable_tensor_type();
    type->set_elem_type(onnx::TensorProto::FLOAT);
    for (const int64_t dim : dims) {
      type->mutable_shape()->add_dim()->set_dim_value(dim);
    }
  }

  onnx::NodeProto* Emit(const char* op, const std::vector<std::string>& inputs,
                        const std::string& output) {
    onnx::NodeProto* node = onnx_->add_node();
    node->set_op_type(op);
    node->set_name(output);
    for (const std::string& input : inputs) node->add_input(input);
    node->add_output(output);
    return node;
  }

  static void SetInt(onnx::NodeProto* node, const char* name, int64_t value) {
    auto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INT);
    attribute->set_i(value);
  }
  static void SetFloat(onnx::NodeProto* node, const char* name, float value) {
    auto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::FLOAT);
    attribute->set_f(value);
  }
  static void SetInts(onnx::NodeProto* node, const char* name,
                      const std::vector<int64_t>& values) {
    auto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INTS);
    for (const int64_t value : values) attribute->add_ints(value);
  }

  std::string Initializer(const std::string& name,
                          const std::vector<int64_t>& dims,
                          const Floats& data) {
    onnx::TensorProto* tensor = onnx_->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::FLOAT);
    for (const int64_t dim : dims) tensor->add_dims(dim);
    tensor->set_raw_data(data.data(), data.size() * sizeof(float));
    return name;
  }
  std::string Int64Initializer(const std::string& name,
                               const std::vector<int64_t>& data) {
    onnx::TensorProto* tensor = onnx_->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::INT64);
    tensor->add_dims(static_cast<int64_t>(data.size()));
    tensor->set_raw_data(data.data(), data.size() * sizeof(int64_t));
    return name;
  }
  // Made at its first use.
  std::string Scalar(const char* name, float value) {
    if (!scalars_[name]) {
      Initializer(name, {}, {value});
      scalars_[name] = true;
    }
    return name;
  }

  Floats Data(const std::string& name) const {
    const std::string& bytes = tensors_.at(name)->data();
    Floats data(bytes.size() / sizeof(float));
    std::memcpy(data.data(), bytes.data(), bytes.size());
    return data;
  }
  std::vector<int64_t> DimsOf(const std::string& name) const {
    const auto& dims = tensors_.at(name)->dims();
    return {dims.begin(), dims.end()};
  }
  std::string Parameter(const std::string& name) {
    return Initializer(name, DimsOf(name), Data(name));
  }

  std::string As2d(int id) {
    const Value& value = values_[id];
    if (value.is_2d) return value.name;
    const std::string name = value.name + "/2d";
    if (!reshaped_[name]) {
      SetInt(Emit("Flatten", {value.name}, name), "axis", 1);
      reshaped_[name] = true;
    }
    return name;
  }
  std::string As4d(int id) {
    const Value& value = values_[id];
    if (!value.is_2d) return value.name;
    const std::string name = value.name + "/4d";
    if (!reshaped_[name]) {
      const std::string shape =
          Int64Initializer(name + "/shape", Dims(graph_.node(id).shape));
      Emit("Reshape", {value.name, shape}, name);
      reshaped_[name] = true;
    }
    return name;
  }

  void WriteConv(int id) {
    const Node& node = graph_.node(id);
    Floats weight = Data(node.name + ".weight");
    Floats bias = node.bias ? Data(node.name + ".bias") : Floats();
    if (folded_into_[id] >= 0) {
      const std::string& norm = graph_.node(folded_into_[id]).name;
      const Floats gamma = Data(norm + ".weight"), beta = Data(norm + ".bias"),
                   mean = Data(norm + ".running_mean"),
                   variance = Data(norm + ".running_var");
      bias.resize(node.out_channels);
      const size_t per_channel = weight.size() / node.out_channels;
      for (int c = 0; c < node.out_channels; ++c) {
        const double scale =
            gamma[c] /
            std::sqrt(static_cast<double>(variance[c]) + kBatchNormEpsilon);
        for (size_t i = c * per_channel; i < (c + 1) * per_channel; ++i) {
          weight[i] = static_cast<float>(weight[i] * scale);
        }
        bias[c] = static_cast<float>((bias[c] - mean[c]) * scale + beta[c]);
      }
    }
    std::vector<std::string> inputs = {
        As4d(node.inputs[0]),
        Initializer(node.name + ".weight", DimsOf(node.name + ".weight"),
                    weight)};
    if (!bias.empty()) {
      inputs.push_back(
          Initializer(node.name + ".bias", {node.out_channels}, bias));
    }
    onnx::NodeProto* conv = Emit("Conv", inputs, node.name);
    SetInts(conv, "kernel_shape", {node.kernel, node.kernel});
    SetInts(conv, "strides", {node.stride, node.stride});
    SetInts(conv, "pads",
            {node.padding, node.padding, node.padding, node.padding});
    SetInts(conv, "dilations", {1, 1});
    SetInt(conv, "group", node.groups);
  }

  void WritePool(const Node& node, const char* op) {
    onnx::NodeProto* pool = Emit(op, {As4d(node.inputs[0])}, node.name);
    SetInts(pool, "kernel_shape", {node.kernel, node.kernel});
    SetInts(pool, "strides", {node.stride, node.stride});
    SetInts(pool, "pads",
            {node.padding, node.padding, node.padding, node.padding});
    if (node.op == OpKind::kAvgPool) {
      SetInt(pool, "count_include_pad", node.count_include_pad ? 1 : 0);
    }
  }

  // x * HardSigmoid(x) and the like.
  void WriteGated(const Node& node, const std::string& x, const char* gate_op) {
    const std::string gate = node.name + "/gate";
    onnx::NodeProto* gate_node = Emit(gate_op, {x}, gate);
    if (node.op == OpKind::kHardSwish) SetHardSigmoid(gate_node);
    Emit("Mul", {x, gate}, node.name);
  }
  static void SetHardSigmoid(onnx::NodeProto* node) {
    SetFloat(node, "alpha", 1.0f / 6);
    SetFloat(node, "beta", 0.5f);
  }

  void WriteNode(int id) {
    const Node& node = graph_.node(id);
    Value& value = values_[id];
    value.name = node.name;
    const int first = node.inputs.empty() ? -1 : node.inputs[0];
    // Most operators keep the form of their input.
    value.is_2d = first >= 0 && values_[first].is_2d;
    switch (node.op) {
      case OpKind::kInput: {
        value.name = "image";
        auto* input = onnx_->add_input();
        input->set_name(value.name);
        SetType(input, Dims(node.shape));
        break;
      }
      case OpKind::kConv2d:
        value.is_2d = false;
        WriteConv(id);
        break;
      case OpKind::kBatchNorm:
        if (folded_into_[first] == id) {
          value = values_[first];
          break;
        }
        SetFloat(Emit("BatchNormalization",
                      {values_[first].name, Parameter(node.name + ".weight"),
                       Parameter(node.name + ".bias"),
                       Parameter(node.name + ".running_mean"),
                       Parameter(node.name + ".running_var")},
                      node.name),
                 "epsilon", kBatchNormEpsilon);
        break;
      case OpKind::kRelu:
        Emit("Relu", {values_[first].name}, node.name);
        break;
      case OpKind::kRelu6:
        Emit("Clip",
             {values_[first].name, Scalar("/zero", 0), Scalar("/six", 6)},
             node.name);
        break;
      case OpKind::kHardSwish:
        WriteGated(node, values_[first].name, "HardSigmoid");
        break;
      case OpKind::kHardSigmoid:
        SetHardSigmoid(Emit("HardSigmoid", {values_[first].name}, node.name));
        break;
      case OpKind::kSigmoid:
        Emit("Sigmoid", {values_[first].name}, node.name);
        break;
      case OpKind::kSwish:
        WriteGated(node, values_[first].name, "Sigmoid");
        break;
      case OpKind::kMaxPool:
        value.is_2d = false;
        WritePool(node, "MaxPool");
        break;
      case OpKind::kAvgPool:
        value.is_2d = false;
        WritePool(node, "AveragePool");
        break;
      case OpKind::kGlobalAvgPool:
        value.is_2d = false;
        Emit("GlobalAveragePool", {As4d(first)}, node.name);
        break;
      case OpKind::kLinear: {
        value.is_2d = true;
        std::vector<std::string> inputs = {As2d(first),
                                           Parameter(node.name + ".weight")};
        if (node.bias) inputs.push_back(Parameter(node.name + ".bias"));
        SetInt(Emit("Gemm", inputs, node.name), "transB", 1);
        break;
      }
      case OpKind::kAdd: {
        value.is_2d = false;
        std::string sum = As4d(first);
        // Two at a time: optimisers fuse Add, not Sum.
        for (size_t i = 1; i < node.inputs.size(); ++i) {
          const bool last = i + 1 == node.inputs.size();
          const std::string name =
              last ? node.name : absl::StrCat(node.name, "/", i);
          Emit("Add", {sum, As4d(node.inputs[i])}, name);
          sum = name;
        }
        break;
      }
      case OpKind::kMul:
        value.is_2d = false;
        Emit("Mul", {As4d(first), As4d(node.inputs[1])}, node.name);
        break;
      case OpKind::kConcat: {
        value.is_2d = false;
        std::vector<std::string> inputs;
        for (const int input : node.inputs) inputs.push_back(As4d(input));
        SetInt(Emit("Concat", inputs, node.name), "axis", 1);
        break;
      }
      case OpKind::kFlatten:
        value = {As2d(first), true};
        break;
      case OpKind::kZero:
        // Runtimes fold it away, as they would in deployment.
        value.is_2d = false;
        Emit("ConstantOfShape",
             {Int64Initializer(node.name + "/shape", Dims(node.shape))},
             node.name);
        break;
      case OpKind::kDropout:
        value = values_[first];
        break;
      case OpKind::kChannelShuffle: {
        value.is_2d = false;
        const TensorShape& shape = node.shape;
        const std::string split = Int64Initializer(
            node.name + "/split",
            {options_.batch, node.groups, shape.channels / node.groups,
             shape.height, shape.width});
        Emit("Reshape", {As4d(first), split}, node.name + "/groups");
        SetInts(
            Emit("Transpose", {node.name + "/groups"}, node.name + "/shuffled"),
            "perm", {0, 2, 1, 3, 4});
        Emit("Reshape",
             {node.name + "/shuffled",
              Int64Initializer(node.name + "/shape", Dims(shape))},
             node.name);
        break;
      }
    }
  }

  const ModelGraph& graph_;
  const OnnxOptions& options_;
  std::map<std::string, const v1::Tensor*> tensors_;
  // For a convolution: the batch norm folded into it, or -1.
  std::vector<int> folded_into_;
  std::vector<Value> values_;
  std::map<std::string, bool> scalars_;
  std::map<std::string, bool> reshaped_;
  onnx::ModelProto model_;
  onnx::GraphProto* onnx_ = nullptr;
};

}  // namespace

absl::StatusOr<std::string> ExportOnnx(const ModelGraph& graph,
                                       const v1::Weights& weights,
                                       const OnnxOptions& options) {
  if (options.batch < 1 || options.batch > 4096) {
    return absl::InvalidArgumentError(absl::StrCat(
        "batch ", options.batch, " is out of range: expected 1 to 4096"));
  }
  HWNAS_RETURN_IF_ERROR(CheckWeights(graph, weights));
  // The library reports by exceptions; this is the seam.
  try {
    const onnx::ModelProto model = Writer(graph, weights, options).Write();
    onnx::checker::check_model(model);
    std::string bytes;
    if (!model.SerializeToString(&bytes)) {
      return absl::ResourceExhaustedError(
          "the network is too large for one ONNX file (2 GiB)");
    }
    return bytes;
  } catch (const std::exception& error) {
    return absl::InternalError(
        absl::StrCat("ONNX refuses the exported network: ", error.what()));
  }
}

}  // namespace hwnas
