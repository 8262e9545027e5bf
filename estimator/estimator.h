// Predicts metrics of a network without training or measuring it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nas/evidence.h"
#include "nas/graph/model_graph.h"
#include "nas/problem.h"
#include "nas/space/search_space.h"

namespace hwnas {

struct Estimate {
  MetricKey key;
  double value = 0;
  // Standard deviation of the error, in the metric's unit. 0 for exact values.
  double uncertainty = 0;
};

// Thread-safe once built.
class Estimator {
 public:
  virtual ~Estimator() = default;
  virtual absl::StatusOr<std::vector<Estimate>> Predict(
      const ModelGraph& graph) const = 0;
};

// What follows from the graph alone, exactly: params_m, flops_m (10^6 multiply-
// accumulates of convolutions and linear layers), model_size_mb (float32
// parameters and buffers), peak_activation_mb (largest sum of values alive at
// once in topological order, batch 1); see estimator/analytic.h. And a score of
// the untrained network, logsynflow_m; see estimator/zero_cost.h.
std::unique_ptr<Estimator> CreateAnalyticEstimator();

// The same as what strategies may know before they propose: all metrics that an
// analytic estimator knows, NaN for a network that cannot be built. Both
// arguments must outlive the evidence.
Evidence AnalyticEvidence(const SearchSpace* space, const Estimator* analytic);

}  // namespace hwnas
