// A second, independent reading of ModelGraph: naive loops in double precision,
// for checking the torch module and the ONNX file against.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "common/rng.h"
#include "hwnas/v1/model_graph.pb.h"
#include "nas/graph/model_graph.h"

namespace hwnas {

// The output for one image {C, H, W} in evaluation mode.
inline std::vector<double> RunReference(const ModelGraph& graph,
                                        const v1::Weights& weights,
                                        const std::vector<float>& image) {
  std::map<std::string, std::vector<float>> tensors;
  for (const v1::Tensor& tensor : weights.tensors()) {
    std::vector<float>& data = tensors[tensor.name()];
    data.resize(tensor.data().size() / sizeof(float));
    std::memcpy(data.data(), tensor.data().data(), tensor.data().size());
  }
  std::vector<std::vector<double>> values(graph.size());
  for (int id = 0; id < graph.size(); ++id) {
    const Node& node = graph.node(id);
    const TensorShape out = node.shape;
    std::vector<double>& y = values[id];
    y.assign(out.elements(), 0.0);
    const std::vector<double>* x =
        node.inputs.empty() ? nullptr : &values[node.inputs[0]];
    const TensorShape in =
        x == nullptr ? out : graph.node(node.inputs[0]).shape;
    auto at = [&](const std::vector<double>& v, const TensorShape& s, int c,
                  int h, int w) { return v[(c * s.height + h) * s.width + w]; };
    auto each = [&](auto f) {
      for (size_t i = 0; i < y.size(); ++i) y[i] = f((*x)[i]);
    };
    auto relu6 = [](double v) { return std::clamp(v, 0.0, 6.0); };
    auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
    switch (node.op) {
      case OpKind::kInput:
        std::copy(image.begin(), image.end(), y.begin());
        break;
      case OpKind::kConv2d: {
        const auto& w = tensors[node.name + ".weight"];
        const int in_per_group = in.channels / node.groups;
        const int out_per_group = out.channels / node.groups;
        size_t k = 0;
        for (int o = 0; o < out.channels; ++o) {
          for (int h = 0; h < out.height; ++h) {
            for (int v = 0; v < out.width; ++v, ++k) {
              double sum = node.bias ? tensors[node.name + ".bias"][o] : 0.0;
              for (int i = 0; i < in_per_group; ++i) {
                for (int a = 0; a < node.kernel; ++a) {
                  for (int b = 0; b < node.kernel; ++b) {
                    const int r = h * node.stride + a - node.padding;
                    const int c = v * node.stride + b - node.padding;
                    if (r < 0 || c < 0 || r >= in.height || c >= in.width) {
                      continue;
                    }
                    sum +=
                        at(*x, in, o / out_per_group * in_per_group + i, r, c) *
                        w[((o * in_per_group + i) * node.kernel + a) *
                              node.kernel +
                          b];
                  }
                }
              }
              y[k] = sum;
            }
          }
        }
        break;
      }
      case OpKind::kBatchNorm: {
        const auto& gamma = tensors[node.name + ".weight"];
        const auto& beta = tensors[node.name + ".bias"];
        const auto& mean = tensors[node.name + ".running_mean"];
        const auto& var = tensors[node.name + ".running_var"];
        const size_t plane = out.height * out.width;
        for (size_t i = 0; i < y.size(); ++i) {
          const size_t c = i / plane;
          y[i] = ((*x)[i] - mean[c]) / std::sqrt(var[c] + 1e-5) * gamma[c] +
                 beta[c];
        }
        break;
      }
      case OpKind::kRelu:
        each([](double v) { return std::max(v, 0.0); });
        break;
      case OpKind::kRelu6:
        each(relu6);
        break;
      case OpKind::kHardSwish:
        each([&](double v) { return v * relu6(v + 3) / 6; });
        break;
      case OpKind::kHardSigmoid:
        each([&](double v) { return relu6(v + 3) / 6; });
        break;
      case OpKind::kSigmoid:
        each(sigmoid);
        break;
      case OpKind::kSwish:
        each([&](double v) { return v * sigmoid(v); });
        break;
      case OpKind::kMaxPool:
      case OpKind::kAvgPool: {
        size_t k = 0;
        for (int c = 0; c < out.channels; ++c) {
          for (int h = 0; h < out.height; ++h) {
            for (int v = 0; v < out.width; ++v, ++k) {
              double sum = 0;
              double largest = -std::numeric_limits<double>::infinity();
              int count = 0;
              for (int a = 0; a < node.kernel; ++a) {
                for (int b = 0; b < node.kernel; ++b) {
                  const int r = h * node.stride + a - node.padding;
                  const int s = v * node.stride + b - node.padding;
                  if (r < 0 || s < 0 || r >= in.height || s >= in.width) {
                    continue;
                  }
                  sum += at(*x, in, c, r, s);
                  largest = std::max(largest, at(*x, in, c, r, s));
                  ++count;
                }
              }
              y[k] = node.op == OpKind::kMaxPool ? largest
                     : node.count_include_pad
                         ? sum / (node.kernel * node.kernel)
                         : sum / count;
            }
          }
        }
        break;
      }
      case OpKind::kGlobalAvgPool: {
        const size_t plane = in.height * in.width;
        for (size_t i = 0; i < x->size(); ++i) y[i / plane] += (*x)[i] / plane;
        break;
      }
      case OpKind::kLinear: {
        const auto& w = tensors[node.name + ".weight"];
        for (int o = 0; o < node.out_channels; ++o) {
          double sum = node.bias ? tensors[node.name + ".bias"][o] : 0.0;
          for (size_t i = 0; i < x->size(); ++i) {
            sum += (*x)[i] * w[o * x->size() + i];
          }
          y[o] = sum;
        }
        break;
      }
      case OpKind::kAdd:
        for (const int input : node.inputs) {
          for (size_t i = 0; i < y.size(); ++i) y[i] += values[input][i];
        }
        break;
      case OpKind::kMul: {
        const std::vector<double>& scale = values[node.inputs[1]];
        const size_t repeat = x->size() / scale.size();
        for (size_t i = 0; i < y.size(); ++i) {
          y[i] = (*x)[i] * scale[i / repeat];
        }
        break;
      }
      case OpKind::kConcat: {
        size_t k = 0;
        for (const int input : node.inputs) {
          for (const double v : values[input]) y[k++] = v;
        }
        break;
      }
      case OpKind::kFlatten:
      case OpKind::kDropout:
        y = *x;
        break;
      case OpKind::kZero:
        break;
      case OpKind::kChannelShuffle: {
        const size_t plane = in.height * in.width;
        const int per_group = in.channels / node.groups;
        for (int c = 0; c < in.channels; ++c) {
          const int to = c % per_group * node.groups + c / per_group;
          std::copy_n(x->begin() + c * plane, plane, y.begin() + to * plane);
        }
        break;
      }
    }
  }
  return values.back();
}

// A seeded image with standard normal pixels.
inline std::vector<float> RandomImage(const TensorShape& shape, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> image(shape.elements());
  for (float& pixel : image) pixel = static_cast<float>(rng.Normal());
  return image;
}

// A network that holds every operator, for tests of its consumers.
inline ModelGraph EveryOperatorGraph() {
  GraphBuilder b;
  int x = b.Input({3, 17, 13});
  x = b.BatchNorm(x);  // Not behind a convolution: cannot be folded.
  x = b.Conv2d(x, {.out_channels = 8, .kernel = 3, .stride = 2, .padding = 1});
  x = b.Unary(OpKind::kHardSwish, b.BatchNorm(x));
  const int trunk = x;
  int wide = b.Conv2d(x, {.out_channels = 16, .bias = true});
  wide = b.Unary(OpKind::kRelu6, b.BatchNorm(wide));
  wide = b.Conv2d(
      wide, {.out_channels = 16, .kernel = 5, .padding = 2, .groups = 16});
  wide = b.Unary(OpKind::kSwish, wide);
  // Squeeze-excite, once by convolutions and once by linear layers.
  int gate = b.Conv2d(b.GlobalAvgPool(wide), {.out_channels = 4, .bias = true});
  gate = b.Conv2d(b.Relu(gate), {.out_channels = 16, .bias = true});
  wide = b.Mul(wide, b.Unary(OpKind::kHardSigmoid, gate));
  gate = b.Linear(b.GlobalAvgPool(wide), 16);
  wide = b.Mul(wide, b.Unary(OpKind::kSigmoid, gate));
  wide = b.ChannelShuffle(wide, 2);
  const int narrow = b.Conv2d(wide, {.out_channels = 8, .groups = 2});
  const int pooled = b.AvgPool(trunk, {.kernel = 3, .stride = 1, .padding = 1});
  const int padded = b.AvgPool(
      trunk,
      {.kernel = 3, .stride = 1, .padding = 1, .count_include_pad = true});
  const int zero = b.Zero(trunk);
  x = b.Add({narrow, pooled, padded, zero});
  const int strongest =
      b.MaxPool(trunk, {.kernel = 3, .stride = 1, .padding = 1});
  x = b.Concat({x, strongest, trunk});
  x = b.MaxPool(x, {.kernel = 2, .stride = 2});
  x = b.Flatten(x);
  x = b.Relu(b.Linear(x, 12, /*bias=*/false));
  b.Linear(b.Dropout(x, 0.2), 10);
  return *std::move(b).Build();
}

}  // namespace hwnas
