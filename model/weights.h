// Names, shapes and values of the parameters of a ModelGraph: the contract
// between training, export and storage.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "hwnas/v1/model_graph.pb.h"
#include "nas/graph/model_graph.h"

namespace hwnas {

struct ParameterSpec {
  std::string name;           // "<node>.weight", ".bias", ".running_mean", ...
  std::vector<int64_t> dims;  // PyTorch's layout.
  bool trainable = true;      // False for batch-norm statistics.
};

// In node order. Convolution and linear: weight[, bias]. Batch norm: weight,
// bias, running_mean, running_var.
std::vector<ParameterSpec> ParametersOf(const ModelGraph& graph);

// Every parameter once and nothing else, with the right dims and size of data,
// all finite, no negative variance.
// INVALID_ARGUMENT names the first that is not.
absl::Status CheckWeights(const ModelGraph& graph, const v1::Weights& weights);

// Seeded weights of sensible scale (He initialisation; batch-norm statistics
// away from the trivial), for measuring a network that is not trained.
v1::Weights RandomWeights(const ModelGraph& graph, uint64_t seed);

}  // namespace hwnas
