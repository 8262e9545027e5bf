// A ModelGraph as a LibTorch module: what the worker trains.
//
//   GraphModule net(graph, /*seed=*/7);
//   torch::Tensor logits = net.Forward(images);           // {N, C, H, W}
//   v1::Weights weights = ExportWeights(net, digest);     // Data, never code.
//
// On a CPU, images and activations are channels-last (NHWC in memory): with
// oneDNN that is up to twice as fast as NCHW for the narrow networks of a
// search. Batch normalisation (with a ReLU right after it) and the stride-one
// 3x3 average run through our own kernels there (model/torch/cpu_kernels.h);
// operators without parameters that read the same values are computed once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "hwnas/v1/model_graph.pb.h"
#include "model/weights.h"
#include "nas/graph/model_graph.h"
#include "torch/torch.h"

namespace hwnas {

// Owned by one thread. Throws c10::Error like everything of LibTorch: call it
// inside CatchTorch (model/torch/torch_status.h).
//
// Trainable parameters, their gradients, and so an optimiser's state, each lie
// in one flat tensor: a step is a few operations however many layers there are.
class GraphModule : public torch::nn::Module {
 public:
  // Parameters are initialised from `seed`, the same on every machine: He's
  // normal with fan-in for convolutions (arXiv 1502.01852), N(0, 1/fan_in) for
  // linear layers, zero biases, unit batch normalisation.
  GraphModule(const ModelGraph& graph, uint64_t seed,
              torch::Device device = torch::kCPU);
  ~GraphModule() override;

  // Logits {N, output channels} of images {N, C, H, W}; channels-last images
  // save a copy on a CPU. Behaves as is_training() says (train(), eval()).
  torch::Tensor Forward(const torch::Tensor& images);

  // Restarts the random numbers of dropout.
  void SeedDropout(uint64_t seed);

  const ModelGraph& graph() const { return graph_; }
  torch::Device device() const { return device_; }

  // Every parameter and statistic by the names of ParametersOf(), in its order.
  // Writing into the tensors changes the module. Registered with the module
  // under the same names with '/' for '.', which LibTorch forbids.
  struct NamedTensor {
    ParameterSpec spec;
    torch::Tensor value;
  };
  const std::vector<NamedTensor>& named_tensors() const { return tensors_; }

  // All trainable parameters. The first `decayed_count()` elements are the
  // weights of convolutions and linear layers; the rest (biases, batch
  // normalisation) should see no weight decay.
  torch::Tensor& flat_parameters() { return flat_parameters_; }
  torch::Tensor& flat_gradients() { return flat_gradients_; }
  int64_t decayed_count() const { return decayed_count_; }

 private:
  struct Step;

  void BuildParameters(uint64_t seed);
  void BuildSteps();

  const ModelGraph graph_;
  const torch::Device device_;
  std::vector<NamedTensor> tensors_;
  torch::Tensor flat_parameters_;
  torch::Tensor flat_gradients_;
  int64_t decayed_count_ = 0;
  std::vector<Step> steps_;
  int output_ = 0;  // Step whose value is the logits.
  at::Generator dropout_generator_;
};

// The module's parameters as data.
v1::Weights ExportWeights(const GraphModule& module,
                          absl::string_view architecture_digest);

// Overwrites the module's parameters. INVALID_ARGUMENT if the weights do not
// fit its graph (CheckWeights); then nothing has changed.
absl::Status ImportWeights(const v1::Weights& weights, GraphModule& module);

}  // namespace hwnas
