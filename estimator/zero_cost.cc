#include "estimator/zero_cost.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>
#include <vector>

namespace hwnas {
namespace {

constexpr double kNothing = -std::numeric_limits<double>::infinity();

// log(exp(a) + exp(b)).
double LogSum(double a, double b) {
  if (a < b) std::swap(a, b);
  return b == kNothing ? a : a + std::log1p(std::exp(b - a));
}

// How much of a window lies on the image, averaged over where it is put: the
// part of the taps along one side, squared.
double Coverage(const Node& node, const TensorShape& in) {
  const auto along = [&](int size_in, int size_out) {
    int64_t inside = 0;
    for (int o = 0; o < size_out; ++o) {
      const int begin = o * node.stride - node.padding;
      inside += std::max(
          0, std::min(begin + node.kernel, size_in) - std::max(begin, 0));
    }
    return static_cast<double>(inside) / (int64_t{size_out} * node.kernel);
  };
  return along(in.height, node.shape.height) *
         along(in.width, node.shape.width);
}

// Of the weights of a layer.
struct Layer {
  double count = 0;
  double log_magnitude = 0;  // Of each.
  double log_fan_in = 0;     // Those that lie on the image.
  double log_fan_out = 0;    // Outputs that one input goes into.
  double log_uses = 0;       // Outputs that one weight goes into.
};

Layer LayerOf(const Node& node, const TensorShape& in) {
  const bool conv = node.op == OpKind::kConv2d;
  const double taps = conv ? double{1} * node.kernel * node.kernel : 1;
  const double in_channels =
      conv ? static_cast<double>(in.channels) / node.groups
           : static_cast<double>(in.elements());
  const double fan_in = in_channels * taps;
  const double positions = double{1} * node.shape.height * node.shape.width;
  const double covered = conv ? Coverage(node, in) : 1;
  // He et al., 2015: a standard deviation of sqrt(2 / fan_in), of which the
  // mean magnitude is sqrt(2 / pi).
  const double in_elements = static_cast<double>(in.elements());
  Layer layer;
  layer.count = fan_in * node.out_channels;
  layer.log_magnitude = 0.5 * std::log(4 / (std::numbers::pi * fan_in));
  layer.log_fan_in = std::log(fan_in * covered);
  layer.log_uses = std::log(positions * covered);
  layer.log_fan_out =
      std::log(layer.count) + layer.log_uses - std::log(in_elements);
  return layer;
}

}  // namespace

double ExpectedLogSynFlow(const ModelGraph& graph) {
  const int size = graph.size();
  // Logarithms of the value of each element of a node, and of its gradient.
  std::vector<double> value(size, kNothing), gradient(size, kNothing);
  std::vector<Layer> layers(size);
  for (int id = 0; id < size; ++id) {
    const Node& node = graph.node(id);
    double& out = value[id];
    switch (node.op) {
      case OpKind::kInput:
      case OpKind::kHardSigmoid:
      case OpKind::kSigmoid:
        out = 0;
        break;
      case OpKind::kZero:
        break;
      case OpKind::kConv2d:
      case OpKind::kLinear:
        layers[id] = LayerOf(node, graph.node(node.inputs[0]).shape);
        out = value[node.inputs[0]] + layers[id].log_fan_in +
              layers[id].log_magnitude;
        break;
      case OpKind::kAdd:
        for (const int input : node.inputs) out = LogSum(out, value[input]);
        break;
      case OpKind::kMul:
        out = 0;
        for (const int input : node.inputs) out += value[input];
        break;
      case OpKind::kConcat:
        // Channels of different values: their mean.
        for (const int input : node.inputs) {
          out = LogSum(
              out, value[input] + std::log(graph.node(input).shape.channels));
        }
        out -= std::log(node.shape.channels);
        break;
      default:
        out = value[node.inputs[0]];
    }
  }
  gradient[size - 1] = 0;
  double score = 0;
  for (int id = size - 1; id > 0; --id) {
    const Node& node = graph.node(id);
    const double g = gradient[id];
    if (g == kNothing) continue;
    const auto give = [&](int input, double log_share) {
      gradient[input] = LogSum(gradient[input], g + log_share);
    };
    switch (node.op) {
      case OpKind::kHardSigmoid:
      case OpKind::kSigmoid:
      case OpKind::kZero:
        break;
      case OpKind::kConv2d:
      case OpKind::kLinear: {
        const Layer& layer = layers[id];
        give(node.inputs[0], layer.log_fan_out + layer.log_magnitude);
        score += layer.count * std::exp(layer.log_magnitude) *
                 LogSum(0, g + layer.log_uses + value[node.inputs[0]]);
        break;
      }
      case OpKind::kMul:
        if (value[id] == kNothing) break;
        for (const int input : node.inputs) {
          give(input, value[id] - value[input] +
                          std::log(node.shape.elements()) -
                          std::log(graph.node(input).shape.elements()));
        }
        break;
      case OpKind::kAdd:
      case OpKind::kConcat:
        for (const int input : node.inputs) give(input, 0);
        break;
      default:
        // What pools spread over fewer elements comes from all of them.
        give(node.inputs[0],
             std::log(node.shape.elements()) -
                 std::log(graph.node(node.inputs[0]).shape.elements()));
    }
  }
  return score;
}

}  // namespace hwnas
