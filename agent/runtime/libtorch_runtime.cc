#include "agent/runtime/libtorch_runtime.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/graph_exporter.h"
#include "common/rng.h"
#include "common/status_macros.h"
#include "model/torch/graph_module.h"
#include "model/torch/torch_status.h"
#include "proto/convert/convert.h"

namespace hwnas::agent {
namespace {

class LibtorchSession final : public Session {
 public:
  LibtorchSession(std::unique_ptr<GraphModule> module, torch::Tensor images)
      : module_(std::move(module)), images_(std::move(images)) {}

  absl::Status Run() override {
    return CatchTorch("inference failed", [&] {
      const torch::InferenceMode inference;
      module_->Forward(images_);
      return absl::OkStatus();
    });
  }

  absl::StatusOr<std::vector<float>> RunForOutputs() override {
    return CatchTorch(
        "inference failed", [&]() -> absl::StatusOr<std::vector<float>> {
          const torch::InferenceMode inference;
          const torch::Tensor logits = module_->Forward(images_).contiguous();
          const float* data = logits.data_ptr<float>();
          return std::vector<float>(data, data + logits.numel());
        });
  }

 private:
  const std::unique_ptr<GraphModule> module_;
  const torch::Tensor images_;
};

// The very values that the other runtimes get.
torch::Tensor RandomImages(const TensorShape& shape, int batch, uint64_t seed) {
  torch::Tensor images =
      torch::empty({batch, shape.channels, shape.height, shape.width});
  Rng rng(seed);
  float* data = images.data_ptr<float>();
  for (int64_t i = 0; i < images.numel(); ++i) {
    data[i] = static_cast<float>(rng.Normal());
  }
  // As the module likes them: not part of the inference.
  return images.contiguous(torch::MemoryFormat::ChannelsLast);
}

class LibtorchRuntime final : public Runtime {
 public:
  std::string name() const override { return "libtorch"; }
  std::string description() const override {
    return absl::StrCat("libtorch ", TORCH_VERSION);
  }

  absl::StatusOr<std::unique_ptr<Session>> Load(
      absl::string_view model, const SessionOptions& options) override {
    v1::ModelGraph proto;
    if (!proto.ParseFromArray(model.data(), static_cast<int>(model.size()))) {
      return absl::InvalidArgumentError("the graph is malformed");
    }
    HWNAS_ASSIGN_OR_RETURN(const ModelGraph graph, FromProto(proto));
    const v1::Weights weights = WeightsForMeasuring(graph);
    return CatchTorch(
        "the network cannot be built",
        [&]() -> absl::StatusOr<std::unique_ptr<Session>> {
          torch::set_num_threads(options.threads);
          auto module = std::make_unique<GraphModule>(graph, options.seed);
          HWNAS_RETURN_IF_ERROR(ImportWeights(weights, *module));
          module->eval();
          return std::make_unique<LibtorchSession>(
              std::move(module),
              RandomImages(graph.input_shape(), std::max(1, options.batch),
                           options.seed));
        });
  }
};

}  // namespace

RuntimeFactory LibtorchRuntimeFactory() {
  return []() -> absl::StatusOr<std::unique_ptr<Runtime>> {
    return CatchTorch("LibTorch cannot start",
                      []() -> absl::StatusOr<std::unique_ptr<Runtime>> {
                        // Nothing of ours runs beside an inference.
                        static const bool once = [] {
                          torch::set_num_interop_threads(1);
                          return true;
                        }();
                        static_cast<void>(once);
                        return std::make_unique<LibtorchRuntime>();
                      });
  };
}

}  // namespace hwnas::agent
