// Differentiable operators on channels-last float tensors of a CPU.
#pragma once

#include "torch/torch.h"

namespace hwnas {

// Whether the operators here apply: CPU, float32, four dimensions,
// channels-last memory.
bool SuitsCpuOps(const torch::Tensor& x);

// Batch normalisation with batch statistics (updating the running ones), then a
// ReLU if `relu`. Equal to torch::batch_norm up to rounding; the result does
// not depend on the number of threads.
torch::Tensor BatchNormTraining(const torch::Tensor& x,
                                const torch::Tensor& weight,
                                const torch::Tensor& bias,
                                const torch::Tensor& running_mean,
                                const torch::Tensor& running_var,
                                double momentum, double eps, bool relu);

// The same with running statistics, without a gradient.
torch::Tensor BatchNormInference(const torch::Tensor& x,
                                 const torch::Tensor& weight,
                                 const torch::Tensor& bias,
                                 const torch::Tensor& running_mean,
                                 const torch::Tensor& running_var, double eps,
                                 bool relu);

// Average over 3x3 pixels, stride 1, padding 1 that does not count.
torch::Tensor Average3x3(const torch::Tensor& x);

}  // namespace hwnas
