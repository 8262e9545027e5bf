// Writes three networks of different character as ONNX files:
//   export_models FOLDER
#include <iostream>
#include <string>

#include "common/files.h"
#include "common/status_macros.h"
#include "model/onnx/onnx_export.h"
#include "model/weights.h"
#include "nas/graph/model_graph.h"

namespace hwnas {
namespace {

int ConvBnRelu(GraphBuilder& b, int x, const GraphBuilder::Conv& conv) {
  return b.Relu(b.BatchNorm(b.Conv2d(x, conv)));
}

int Classify(GraphBuilder& b, int x) {
  return b.Linear(b.Flatten(b.GlobalAvgPool(x)), 10);
}

// Residual blocks of dense 3x3 convolutions.
absl::StatusOr<ModelGraph> Residual() {
  GraphBuilder b;
  int x = ConvBnRelu(b, b.Input({3, 32, 32}),
                     {.out_channels = 32, .kernel = 3, .padding = 1});
  for (const int channels : {32, 64, 128}) {
    if (channels > 32) {
      x = ConvBnRelu(
          b, x,
          {.out_channels = channels, .kernel = 3, .stride = 2, .padding = 1});
    }
    for (int block = 0; block < 3; ++block) {
      int y = ConvBnRelu(b, x,
                         {.out_channels = channels, .kernel = 3, .padding = 1});
      y = b.BatchNorm(
          b.Conv2d(y, {.out_channels = channels, .kernel = 3, .padding = 1}));
      x = b.Relu(b.Add({x, y}));
    }
  }
  Classify(b, x);
  return std::move(b).Build();
}

// Depthwise separable convolutions with hard-swish, on larger images.
absl::StatusOr<ModelGraph> Mobile() {
  GraphBuilder b;
  int x =
      ConvBnRelu(b, b.Input({3, 192, 192}),
                 {.out_channels = 16, .kernel = 3, .stride = 2, .padding = 1});
  int channels = 16;
  for (const int out : {24, 40, 80, 112}) {
    for (int block = 0; block < 3; ++block) {
      const int wide = channels * 4;
      int y = b.Unary(OpKind::kHardSwish,
                      b.BatchNorm(b.Conv2d(x, {.out_channels = wide})));
      y = b.Unary(OpKind::kHardSwish,
                  b.BatchNorm(b.Conv2d(y, {.out_channels = wide,
                                           .kernel = 5,
                                           .stride = block == 0 ? 2 : 1,
                                           .padding = 2,
                                           .groups = wide})));
      y = b.BatchNorm(b.Conv2d(y, {.out_channels = out}));
      x = block == 0 ? y : b.Add({x, y});
      channels = out;
    }
  }
  Classify(b, x);
  return std::move(b).Build();
}

// Wide and shallow: a few large convolutions with pooling.
absl::StatusOr<ModelGraph> Wide() {
  GraphBuilder b;
  int x = b.Input({3, 64, 64});
  for (const int channels : {48, 96, 192}) {
    x = ConvBnRelu(b, x, {.out_channels = channels, .kernel = 3, .padding = 1});
    x = b.MaxPool(x, {.kernel = 2, .stride = 2});
  }
  x = ConvBnRelu(b, x, {.out_channels = 256, .kernel = 3, .padding = 1});
  Classify(b, x);
  return std::move(b).Build();
}

absl::Status Export(const std::string& folder) {
  HWNAS_RETURN_IF_ERROR(MakeDirectories(folder));
  const std::pair<const char*, absl::StatusOr<ModelGraph>> models[] = {
      {"residual", Residual()}, {"mobile", Mobile()}, {"wide", Wide()}};
  for (const auto& [name, graph] : models) {
    HWNAS_RETURN_IF_ERROR(graph.status());
    HWNAS_ASSIGN_OR_RETURN(const std::string onnx,
                           ExportOnnx(*graph, RandomWeights(*graph, 1)));
    HWNAS_RETURN_IF_ERROR(
        WriteFileAtomically(folder + "/" + name + ".onnx", onnx));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace hwnas

int main(int argc, char** argv) {
  if (argc != 2 || argv[1][0] == '-') {
    std::cerr << "Usage: export_models FOLDER" << std::endl;
    return 2;
  }
  const absl::Status status = hwnas::Export(argv[1]);
  if (!status.ok()) std::cerr << status.ToString() << std::endl;
  return status.ok() ? 0 : 1;
}
