#include "model/weights.h"

#include <cmath>
#include <cstring>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/rng.h"

namespace hwnas {
namespace {

// A name from the network may have any length.
std::string ForMessage(const std::string& name) {
  return name.substr(0, GraphLimits::kMaxNameBytes + 16);
}

}  // namespace

std::vector<ParameterSpec> ParametersOf(const ModelGraph& graph) {
  std::vector<ParameterSpec> parameters;
  for (const Node& node : graph.nodes()) {
    switch (node.op) {
      case OpKind::kConv2d: {
        const int in_channels = graph.node(node.inputs[0]).shape.channels;
        parameters.push_back({node.name + ".weight",
                              {node.out_channels, in_channels / node.groups,
                               node.kernel, node.kernel}});
        if (node.bias) {
          parameters.push_back({node.name + ".bias", {node.out_channels}});
        }
        break;
      }
      case OpKind::kLinear: {
        const int64_t in_features = graph.node(node.inputs[0]).shape.elements();
        parameters.push_back(
            {node.name + ".weight", {node.out_channels, in_features}});
        if (node.bias) {
          parameters.push_back({node.name + ".bias", {node.out_channels}});
        }
        break;
      }
      case OpKind::kBatchNorm: {
        const int64_t channels = node.shape.channels;
        parameters.push_back({node.name + ".weight", {channels}});
        parameters.push_back({node.name + ".bias", {channels}});
        parameters.push_back(
            {node.name + ".running_mean", {channels}, /*trainable=*/false});
        parameters.push_back(
            {node.name + ".running_var", {channels}, /*trainable=*/false});
        break;
      }
      default:
        break;
    }
  }
  return parameters;
}

absl::Status CheckWeights(const ModelGraph& graph, const v1::Weights& weights) {
  std::map<std::string, const v1::Tensor*> given;
  for (const v1::Tensor& tensor : weights.tensors()) {
    if (!given.emplace(tensor.name(), &tensor).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "weights hold tensor \"", ForMessage(tensor.name()), "\" twice"));
    }
  }
  const std::vector<ParameterSpec> parameters = ParametersOf(graph);
  for (const ParameterSpec& parameter : parameters) {
    const auto found = given.find(parameter.name);
    if (found == given.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("weights lack tensor \"", parameter.name, "\""));
    }
    const v1::Tensor& tensor = *found->second;
    if (!std::equal(tensor.dims().begin(), tensor.dims().end(),
                    parameter.dims.begin(), parameter.dims.end())) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor \"", parameter.name, "\" has dims [",
                       absl::StrJoin(tensor.dims(), ", "), "]: expected [",
                       absl::StrJoin(parameter.dims, ", "), "]"));
    }
    size_t elements = 1;
    for (const int64_t dim : parameter.dims) elements *= dim;
    if (tensor.data().size() != elements * sizeof(float)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor \"", parameter.name, "\" holds ", tensor.data().size(),
          " bytes: expected ", elements * sizeof(float)));
    }
    const bool is_variance = absl::EndsWith(parameter.name, ".running_var");
    for (size_t i = 0; i < elements; ++i) {
      float value;
      std::memcpy(&value, tensor.data().data() + i * sizeof(float),
                  sizeof(value));
      if (!std::isfinite(value) || (is_variance && value < 0)) {
        return absl::InvalidArgumentError(absl::StrCat(
            "tensor \"", parameter.name, "\" holds ", value, " at ", i,
            ": expected finite values", is_variance ? " of at least 0" : ""));
      }
    }
  }
  if (given.size() != parameters.size()) {
    for (const ParameterSpec& parameter : parameters) {
      given.erase(parameter.name);
    }
    return absl::InvalidArgumentError(
        absl::StrCat("weights hold tensor \"", ForMessage(given.begin()->first),
                     "\", which the graph does not have"));
  }
  return absl::OkStatus();
}

v1::Weights RandomWeights(const ModelGraph& graph, uint64_t seed) {
  v1::Weights weights;
  uint64_t stream = 0;
  for (const ParameterSpec& parameter : ParametersOf(graph)) {
    Rng rng(seed, ++stream);
    size_t elements = 1;
    for (const int64_t dim : parameter.dims) elements *= dim;
    std::vector<float> data(elements);
    if (parameter.dims.size() > 1) {
      // He et al., arXiv 1502.01852, by fan-in.
      const double fan_in =
          static_cast<double>(elements) / parameter.dims.front();
      const double scale = std::sqrt(2 / fan_in);
      for (float& x : data) x = static_cast<float>(scale * rng.Normal());
    } else if (parameter.name.ends_with(".bias") ||
               parameter.name.ends_with(".running_mean")) {
      for (float& x : data) x = static_cast<float>(0.1 * rng.Normal());
    } else {
      for (float& x : data) x = static_cast<float>(0.5 + rng.Uniform());
    }
    v1::Tensor* tensor = weights.add_tensors();
    tensor->set_name(parameter.name);
    for (const int64_t dim : parameter.dims) tensor->add_dims(dim);
    tensor->set_data(data.data(), data.size() * sizeof(float));
  }
  return weights;
}

}  // namespace hwnas
