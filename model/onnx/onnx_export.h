// Writes a ModelGraph as an ONNX file: what agents measure and users deploy.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "hwnas/v1/model_graph.pb.h"
#include "nas/graph/model_graph.h"

namespace hwnas {

struct OnnxOptions {
  // Images in one inference, fixed in the file.
  int batch = 1;
  // Fold batch normalisation into the convolution before it, as deployment
  // tools do. Outputs stay equal up to rounding.
  bool fold_batch_norm = true;
  // Free text for the file's metadata.
  std::string description;
};

// Serialised onnx.ModelProto, opset 13, one input "image" {batch, C, H, W} and
// one output "logits" {batch, classes}, checked by ONNX's own checker.
// INVALID_ARGUMENT if the weights do not fit the graph.
absl::StatusOr<std::string> ExportOnnx(const ModelGraph& graph,
                                       const v1::Weights& weights,
                                       const OnnxOptions& options = {});

}  // namespace hwnas
