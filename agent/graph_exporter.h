// From a received graph to the file that is measured.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "hwnas/v1/model_graph.pb.h"
#include "nas/graph/model_graph.h"

namespace hwnas::agent {

// An ONNX file of the graph with seeded random weights: how fast a network is
// does not depend on what it has learned. INVALID_ARGUMENT if the graph is
// wrong.
absl::StatusOr<std::string> ExportForMeasuring(const v1::ModelGraph& graph,
                                               int batch);

// The weights of that file.
v1::Weights WeightsForMeasuring(const ModelGraph& graph);

}  // namespace hwnas::agent
