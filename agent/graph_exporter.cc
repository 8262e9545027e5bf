#include "agent/graph_exporter.h"

#include "common/status_macros.h"
#include "model/onnx/onnx_export.h"
#include "model/weights.h"
#include "proto/convert/convert.h"

namespace hwnas::agent {

absl::StatusOr<std::string> ExportForMeasuring(const v1::ModelGraph& graph,
                                               int batch) {
  HWNAS_ASSIGN_OR_RETURN(const ModelGraph checked, FromProto(graph));
  return ExportOnnx(checked, WeightsForMeasuring(checked), {.batch = batch});
}

v1::Weights WeightsForMeasuring(const ModelGraph& graph) {
  constexpr uint64_t kSeed = 1;
  return RandomWeights(graph, kSeed);
}

}  // namespace hwnas::agent
