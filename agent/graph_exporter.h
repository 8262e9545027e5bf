// From a received graph to the file that is measured.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "hwnas/v1/model_graph.pb.h"

namespace hwnas::agent {

// An ONNX file of the graph with seeded random weights: how fast a network is
// does not depend on what it has learned. INVALID_ARGUMENT if the graph is
// wrong.
absl::StatusOr<std::string> ExportForMeasuring(const v1::ModelGraph& graph,
                                               int batch);

}  // namespace hwnas::agent
