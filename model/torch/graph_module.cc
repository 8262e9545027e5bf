#include "model/torch/graph_module.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/rng.h"
#include "common/status_macros.h"
#include "model/torch/cpu_ops.h"

namespace hwnas {
namespace {

namespace F = torch::nn::functional;
using torch::Tensor;

constexpr double kBatchNormEps = 1e-5;
constexpr double kBatchNormMomentum = 0.1;
// Parameters start on a cache line of their own.
constexpr int64_t kAlignment = 16;

// Operators whose value depends on nothing but their inputs.
bool IsPure(OpKind op) {
  switch (op) {
    case OpKind::kInput:
    case OpKind::kConv2d:
    case OpKind::kBatchNorm:
    case OpKind::kLinear:
    case OpKind::kDropout:
      return false;
    default:
      return true;
  }
}

}  // namespace

// One operator to run. `parameter` is the index of its first tensor.
struct GraphModule::Step {
  Node node;
  std::vector<int> inputs;  // Steps whose values it reads.
  int parameter = -1;
  bool fused_relu = false;     // kBatchNorm.
  std::vector<int> last_uses;  // Values nobody reads after this step.
};

GraphModule::GraphModule(const ModelGraph& graph, uint64_t seed,
                         torch::Device device)
    : torch::nn::Module("GraphModule"),
      graph_(graph),
      device_(device),
      dropout_generator_(at::detail::createCPUGenerator(seed)) {
  BuildParameters(seed);
  BuildSteps();
}

GraphModule::~GraphModule() = default;

void GraphModule::BuildParameters(uint64_t seed) {
  const std::vector<ParameterSpec> specs = ParametersOf(graph_);
  const auto count_of = [](const ParameterSpec& spec) {
    int64_t count = 1;
    for (const int64_t dim : spec.dims) count *= dim;
    return count;
  };
  const auto decays = [](const ParameterSpec& spec) {
    return spec.trainable && spec.dims.size() > 1;
  };
  // Where each trainable parameter lies in the flat tensor.
  std::vector<int64_t> offsets(specs.size(), 0);
  int64_t end = 0;
  for (const bool decayed : {true, false}) {
    for (size_t i = 0; i < specs.size(); ++i) {
      if (!specs[i].trainable || decays(specs[i]) != decayed) continue;
      offsets[i] = end;
      end += (count_of(specs[i]) + kAlignment - 1) / kAlignment * kAlignment;
    }
    if (decayed) decayed_count_ = end;
  }

  const auto options = torch::dtype(torch::kFloat);
  Tensor initial = torch::zeros({end}, options);
  std::vector<Tensor> statistics(specs.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    const ParameterSpec& spec = specs[i];
    const int64_t count = count_of(spec);
    if (!spec.trainable) {
      const bool variance =
          spec.name.size() > 4 &&
          spec.name.compare(spec.name.size() - 4, 4, "_var") == 0;
      statistics[i] = torch::full(spec.dims, variance ? 1.0 : 0.0, options);
      continue;
    }
    float* const data = initial.data_ptr<float>() + offsets[i];
    const bool is_bias =
        spec.name.size() > 5 &&
        spec.name.compare(spec.name.size() - 5, 5, ".bias") == 0;
    if (spec.dims.size() > 1) {
      const double fan_in = static_cast<double>(count) / spec.dims[0];
      const double gain = spec.dims.size() == 4 ? 2.0 : 1.0;
      const double deviation = std::sqrt(gain / fan_in);
      Rng rng(seed, i);
      for (int64_t k = 0; k < count; ++k) {
        data[k] = static_cast<float>(deviation * rng.Normal());
      }
    } else if (!is_bias) {
      std::fill_n(data, count, 1.0f);  // Batch normalisation.
    }
  }

  flat_parameters_ = initial.to(device_);
  flat_gradients_ = torch::zeros_like(flat_parameters_);
  for (size_t i = 0; i < specs.size(); ++i) {
    const ParameterSpec& spec = specs[i];
    const std::string name = absl::StrReplaceAll(spec.name, {{".", "/"}});
    Tensor value;
    if (spec.trainable) {
      const int64_t count = count_of(spec);
      value = flat_parameters_.narrow(0, offsets[i], count)
                  .view(spec.dims)
                  .detach();
      value.requires_grad_(true);
      value.mutable_grad() =
          flat_gradients_.narrow(0, offsets[i], count).view(spec.dims);
      register_parameter(name, value, /*requires_grad=*/true);
    } else {
      value = statistics[i].to(device_);
      register_buffer(name, value);
    }
    tensors_.push_back({spec, value});
  }
}

void GraphModule::BuildSteps() {
  const std::vector<Node>& nodes = graph_.nodes();
  std::map<std::string, int> parameter_of;
  for (size_t i = tensors_.size(); i-- > 0;) {
    const std::string& name = tensors_[i].spec.name;
    parameter_of[name.substr(0, name.rfind('.'))] = static_cast<int>(i);
  }

  // Node -> step that computes its value.
  std::vector<int> step_of(nodes.size(), -1);
  using Signature =
      std::tuple<OpKind, std::vector<int>, int, int, int, int, bool>;
  std::map<Signature, int> known;
  for (size_t n = 0; n < nodes.size(); ++n) {
    Step step;
    step.node = nodes[n];
    for (const int input : nodes[n].inputs) {
      step.inputs.push_back(step_of[input]);
    }
    if (IsPure(nodes[n].op)) {
      const Signature signature(nodes[n].op, step.inputs, nodes[n].kernel,
                                nodes[n].stride, nodes[n].padding,
                                nodes[n].groups, nodes[n].count_include_pad);
      const auto [at, is_new] =
          known.emplace(signature, static_cast<int>(steps_.size()));
      if (!is_new) {
        step_of[n] = at->second;
        continue;
      }
    } else if (const auto at = parameter_of.find(nodes[n].name);
               at != parameter_of.end()) {
      step.parameter = at->second;
    }
    step_of[n] = static_cast<int>(steps_.size());
    steps_.push_back(std::move(step));
  }
  const int output = step_of.back();

  // A ReLU that alone reads a batch normalisation becomes part of it.
  std::vector<int> readers(steps_.size(), 0);
  for (const Step& step : steps_) {
    for (const int input : step.inputs) ++readers[input];
  }
  std::vector<int> alias(steps_.size());
  for (size_t s = 0; s < steps_.size(); ++s) {
    alias[s] = static_cast<int>(s);
    Step& step = steps_[s];
    for (int& input : step.inputs) input = alias[input];
    if (step.node.op != OpKind::kRelu) continue;
    const int source = step.inputs[0];
    if (steps_[source].node.op == OpKind::kBatchNorm && readers[source] == 1 &&
        source != output) {
      steps_[source].fused_relu = true;
      alias[s] = source;
    }
  }
  // Drops what became an alias, and numbers the rest anew.
  std::vector<int> renumbered(steps_.size(), -1);
  std::vector<Step> kept;
  for (size_t s = 0; s < steps_.size(); ++s) {
    if (alias[s] != static_cast<int>(s)) {
      renumbered[s] = renumbered[alias[s]];
      continue;
    }
    renumbered[s] = static_cast<int>(kept.size());
    for (int& input : steps_[s].inputs) input = renumbered[input];
    kept.push_back(std::move(steps_[s]));
  }
  steps_ = std::move(kept);
  output_ = renumbered[output];

  std::vector<int> last_use(steps_.size(), -1);
  for (size_t s = 0; s < steps_.size(); ++s) {
    for (const int input : steps_[s].inputs) {
      last_use[input] = static_cast<int>(s);
    }
  }
  for (size_t v = 0; v < steps_.size(); ++v) {
    if (last_use[v] >= 0 && static_cast<int>(v) != output_) {
      steps_[last_use[v]].last_uses.push_back(static_cast<int>(v));
    }
  }
}

void GraphModule::SeedDropout(uint64_t seed) {
  dropout_generator_.set_current_seed(seed);
}

Tensor GraphModule::Forward(const Tensor& images) {
  const TensorShape& shape = graph_.input_shape();
  TORCH_CHECK(images.dim() == 4 && images.size(1) == shape.channels &&
                  images.size(2) == shape.height &&
                  images.size(3) == shape.width,
              "images of shape ", images.sizes(), " do not fit the network's ",
              shape.channels, "x", shape.height, "x", shape.width);
  const bool training = is_training();
  std::vector<Tensor> values(steps_.size());
  for (size_t s = 0; s < steps_.size(); ++s) {
    const Step& step = steps_[s];
    const Node& node = step.node;
    const auto in = [&](size_t i) -> const Tensor& {
      return values[step.inputs[i]];
    };
    const auto parameter = [&](int i) -> const Tensor& {
      return tensors_[step.parameter + i].value;
    };
    Tensor& out = values[s];
    switch (node.op) {
      case OpKind::kInput:
        if (!device_.is_cpu()) {
          out = images.to(device_);
          break;
        }
        out = images.contiguous(at::MemoryFormat::ChannelsLast);
        if (shape.channels == 1) {
          // Both layouts at once; LibTorch goes by the strides.
          const int64_t width = shape.width;
          out =
              out.as_strided(out.sizes(), {shape.height * width, 1, width, 1});
        }
        break;
      case OpKind::kConv2d:
        out = torch::conv2d(in(0), parameter(0),
                            node.bias ? parameter(1) : Tensor(), node.stride,
                            node.padding, /*dilation=*/1, node.groups);
        break;
      case OpKind::kBatchNorm: {
        const Tensor& x = in(0);
        if (SuitsCpuOps(x) && (training || !at::GradMode::is_enabled())) {
          out = training ? BatchNormTraining(x, parameter(0), parameter(1),
                                             parameter(2), parameter(3),
                                             kBatchNormMomentum, kBatchNormEps,
                                             step.fused_relu)
                         : BatchNormInference(x, parameter(0), parameter(1),
                                              parameter(2), parameter(3),
                                              kBatchNormEps, step.fused_relu);
          break;
        }
        out = torch::batch_norm(x, parameter(0), parameter(1), parameter(2),
                                parameter(3), training, kBatchNormMomentum,
                                kBatchNormEps,
                                at::globalContext().userEnabledCuDNN());
        if (step.fused_relu) out = torch::relu(out);
        break;
      }
      case OpKind::kRelu:
        out = torch::relu(in(0));
        break;
      case OpKind::kRelu6:
        out = torch::clamp(in(0), 0, 6);
        break;
      case OpKind::kHardSwish:
        out = torch::hardswish(in(0));
        break;
      case OpKind::kHardSigmoid:
        out = torch::hardsigmoid(in(0));
        break;
      case OpKind::kSigmoid:
        out = torch::sigmoid(in(0));
        break;
      case OpKind::kSwish:
        out = torch::silu(in(0));
        break;
      case OpKind::kMaxPool:
        out = torch::max_pool2d(in(0), node.kernel, node.stride, node.padding);
        break;
      case OpKind::kAvgPool:
        if (node.kernel == 3 && node.stride == 1 && node.padding == 1 &&
            !node.count_include_pad && SuitsCpuOps(in(0))) {
          out = Average3x3(in(0));
        } else {
          out = torch::avg_pool2d(in(0), node.kernel, node.stride, node.padding,
                                  /*ceil_mode=*/false, node.count_include_pad);
        }
        break;
      case OpKind::kGlobalAvgPool:
        out = torch::mean(in(0), {2, 3}, /*keepdim=*/true);
        break;
      case OpKind::kLinear:
        out = torch::linear(torch::flatten(in(0), 1), parameter(0),
                            node.bias ? parameter(1) : Tensor());
        out = out.view({out.size(0), out.size(1), 1, 1});
        break;
      case OpKind::kAdd:
        out = in(0) + in(1);
        for (size_t i = 2; i < step.inputs.size(); ++i) out = out + in(i);
        break;
      case OpKind::kMul:
        out = in(0) * in(1);
        break;
      case OpKind::kConcat: {
        std::vector<Tensor> parts;
        for (size_t i = 0; i < step.inputs.size(); ++i) parts.push_back(in(i));
        out = torch::cat(parts, 1);
        break;
      }
      case OpKind::kFlatten:
        out = torch::flatten(in(0), 1);  // In C, H, W order.
        out = out.view({out.size(0), out.size(1), 1, 1});
        break;
      case OpKind::kZero:
        out = torch::zeros_like(in(0));
        break;
      case OpKind::kDropout:
        if (training && node.drop_rate > 0) {
          // Drawn on the CPU from a generator of our own, so that it depends
          // on the seed alone, also beside other trainings.
          const Tensor kept =
              torch::empty(in(0).sizes(), torch::dtype(torch::kFloat))
                  .bernoulli_(1 - node.drop_rate, dropout_generator_)
                  .div_(1 - node.drop_rate);
          out = in(0) * kept.to(device_);
        } else {
          out = in(0);
        }
        break;
      case OpKind::kChannelShuffle:
        out = torch::channel_shuffle(in(0), node.groups);
        break;
    }
    for (const int value : step.last_uses) values[value] = Tensor();
  }
  return torch::flatten(values[output_], 1);
}

v1::Weights ExportWeights(const GraphModule& module,
                          absl::string_view architecture_digest) {
  v1::Weights weights;
  weights.set_architecture_digest(std::string(architecture_digest));
  for (const GraphModule::NamedTensor& tensor : module.named_tensors()) {
    v1::Tensor& out = *weights.add_tensors();
    out.set_name(tensor.spec.name);
    for (const int64_t dim : tensor.spec.dims) out.add_dims(dim);
    const Tensor value = tensor.value.detach().to(torch::kCPU).contiguous();
    out.set_data(reinterpret_cast<const char*>(value.data_ptr<float>()),
                 value.numel() * sizeof(float));
  }
  return weights;
}

absl::Status ImportWeights(const v1::Weights& weights, GraphModule& module) {
  HWNAS_RETURN_IF_ERROR(CheckWeights(module.graph(), weights));
  std::map<std::string, const v1::Tensor*> by_name;
  for (const v1::Tensor& tensor : weights.tensors()) {
    by_name[tensor.name()] = &tensor;
  }
  torch::NoGradGuard no_grad;
  for (const GraphModule::NamedTensor& tensor : module.named_tensors()) {
    const std::string& data = by_name.at(tensor.spec.name)->data();
    Tensor value = torch::empty(tensor.spec.dims, torch::kFloat);
    std::memcpy(value.data_ptr<float>(), data.data(), data.size());
    tensor.value.detach().copy_(value);
  }
  return absl::OkStatus();
}

}  // namespace hwnas
