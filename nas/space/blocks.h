// Building blocks that several spaces share. Each appends its operators to a
// graph, under the builder's scope, and returns the id of its result.
#pragma once

#include "nas/graph/model_graph.h"

namespace hwnas {

// The multiple of `divisor` nearest to `channels`, at least `divisor` and at
// least 0.9 times `channels`: make_divisible of the reference implementations
// of MobileNet.
int RoundChannels(double channels, int divisor = 8);

// Convolution, batch norm, activation.
int ConvBnAct(GraphBuilder& b, int x, const GraphBuilder::Conv& conv,
              OpKind activation);
// Activation, convolution with padding for its kernel, batch norm: the order of
// the cells of NAS-Bench-201.
int ReluConvBn(GraphBuilder& b, int x, int channels, int kernel, int stride);

// Inverted residual of MobileNetV2 (Sandler et al., arXiv 1801.04381): 1x1
// convolution to the middle channels, depthwise convolution, optionally
// squeeze-excite, 1x1 projection; each convolution with batch norm, the first
// two with the activation. A residual sum where stride and channels allow.
struct InvertedResidual {
  int out_channels = 0;
  int middle_channels = 0;
  // Without the first convolution: middle_channels are those of the input.
  bool expand = true;
  int kernel = 3;
  int stride = 1;
  // Of both 1x1 convolutions; if more than 1, channels are shuffled between the
  // first and the depthwise one, as in FBNet (arXiv 1812.03443).
  int groups = 1;
  OpKind activation = OpKind::kRelu;
  // Channels in the middle of squeeze-excite; 0 means none. It sits after the
  // activation of the depthwise convolution.
  int squeeze_channels = 0;
  OpKind squeeze_activation = OpKind::kRelu;
  OpKind gate = OpKind::kHardSigmoid;
};
int AddInvertedResidual(GraphBuilder& b, int x, const InvertedResidual& block);

// Two ReLU-convolution-norm of 3x3, and the input, through a 1x1 convolution
// with batch norm where the shape changes: ResNet's basic block as in
// TransNAS-Bench-101 (Duan et al., arXiv 2105.11871).
int AddBasicBlock(GraphBuilder& b, int x, int channels, int stride);

// Halves the image by a residual block whose shortcut is a mean: the step
// between the stages of NAS-Bench-201.
int AddReductionBlock(GraphBuilder& b, int x, int channels);

}  // namespace hwnas
