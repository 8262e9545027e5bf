#include "nas/space/blocks.h"

#include <algorithm>

namespace hwnas {

int RoundChannels(double channels, int divisor) {
  int rounded = std::max(
      divisor, static_cast<int>(channels + divisor / 2.0) / divisor * divisor);
  if (rounded < 0.9 * channels) rounded += divisor;
  return rounded;
}

int ConvBnAct(GraphBuilder& b, int x, const GraphBuilder::Conv& conv,
              OpKind activation) {
  return b.Unary(activation, b.BatchNorm(b.Conv2d(x, conv)));
}

int ReluConvBn(GraphBuilder& b, int x, int channels, int kernel, int stride) {
  x = b.Conv2d(b.Relu(x), {.out_channels = channels,
                           .kernel = kernel,
                           .stride = stride,
                           .padding = kernel / 2});
  return b.BatchNorm(x);
}

int AddInvertedResidual(GraphBuilder& b, int x, const InvertedResidual& block) {
  const int in_channels = b.shape(x).channels;
  const int middle = block.expand ? block.middle_channels : in_channels;
  int y = x;
  if (block.expand) {
    y = ConvBnAct(b, y, {.out_channels = middle, .groups = block.groups},
                  block.activation);
    if (block.groups > 1) y = b.ChannelShuffle(y, block.groups);
  }
  y = ConvBnAct(b, y,
                {.out_channels = middle,
                 .kernel = block.kernel,
                 .stride = block.stride,
                 .padding = block.kernel / 2,
                 .groups = middle},
                block.activation);
  if (block.squeeze_channels > 0) {
    int scale = b.GlobalAvgPool(y);
    scale =
        b.Conv2d(scale, {.out_channels = block.squeeze_channels, .bias = true});
    scale = b.Unary(block.squeeze_activation, scale);
    scale = b.Conv2d(scale, {.out_channels = middle, .bias = true});
    y = b.Mul(y, b.Unary(block.gate, scale));
  }
  y = b.BatchNorm(b.Conv2d(
      y, {.out_channels = block.out_channels, .groups = block.groups}));
  const bool residual = block.stride == 1 && in_channels == block.out_channels;
  return residual ? b.Add({y, x}) : y;
}

int AddBasicBlock(GraphBuilder& b, int x, int channels, int stride) {
  int y = ReluConvBn(b, x, channels, 3, stride);
  y = ReluConvBn(b, y, channels, 3, 1);
  int shortcut = x;
  if (stride != 1 || b.shape(x).channels != channels) {
    shortcut =
        b.BatchNorm(b.Conv2d(x, {.out_channels = channels, .stride = stride}));
  }
  return b.Add({shortcut, y});
}

int AddReductionBlock(GraphBuilder& b, int x, int channels) {
  int y = ReluConvBn(b, x, channels, 3, 2);
  y = ReluConvBn(b, y, channels, 3, 1);
  // The benchmark pools 2x2, which loses the last row of an odd image, where
  // the convolution keeps it; a padded 3x3 window then gives the same size.
  const TensorShape shape = b.shape(x);
  const bool odd = shape.height % 2 != 0 || shape.width % 2 != 0;
  const int pooled =
      odd ? b.AvgPool(x, {.kernel = 3, .stride = 2, .padding = 1})
          : b.AvgPool(x, {.kernel = 2, .stride = 2});
  return b.Add({b.Conv2d(pooled, {.out_channels = channels}), y});
}

}  // namespace hwnas
