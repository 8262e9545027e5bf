#include "estimator/analytic.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "estimator/estimator.h"
#include "estimator/zero_cost.h"

namespace hwnas {
namespace {

struct Counts {
  int64_t trainable = 0;
  int64_t statistics = 0;
};

Counts CountParameters(const ModelGraph& graph) {
  Counts counts;
  for (const Node& node : graph.nodes()) {
    if (node.inputs.empty()) continue;
    counts.trainable +=
        ParameterCount(node, graph.node(node.inputs[0]).shape.channels);
    if (node.op == OpKind::kBatchNorm) {
      counts.statistics += 2 * node.shape.channels;
    }
  }
  return counts;
}

class AnalyticEstimator final : public Estimator {
 public:
  absl::StatusOr<std::vector<Estimate>> Predict(
      const ModelGraph& graph) const override {
    constexpr double kMillion = 1e6;
    return std::vector<Estimate>{
        {{"params_m", ""}, ParameterCount(graph) / kMillion},
        {{"flops_m", ""}, MultiplyAccumulates(graph) / kMillion},
        {{"model_size_mb", ""}, ModelSizeBytes(graph) / kMillion},
        {{"peak_activation_mb", ""}, PeakActivationBytes(graph) / kMillion},
        {{"logsynflow_m", ""}, ExpectedLogSynFlow(graph) / kMillion},
    };
  }
};

}  // namespace

int64_t MultiplyAccumulates(const ModelGraph& graph) {
  int64_t total = 0;
  for (const Node& node : graph.nodes()) {
    if (node.op == OpKind::kConv2d) {
      const int64_t in_channels =
          graph.node(node.inputs[0]).shape.channels / node.groups;
      total += node.shape.elements() * in_channels * node.kernel * node.kernel;
    } else if (node.op == OpKind::kLinear) {
      total += node.out_channels * graph.node(node.inputs[0]).shape.elements();
    }
  }
  return total;
}

int64_t ParameterCount(const ModelGraph& graph) {
  return CountParameters(graph).trainable;
}

int64_t ModelSizeBytes(const ModelGraph& graph) {
  const Counts counts = CountParameters(graph);
  return (counts.trainable + counts.statistics) *
         static_cast<int64_t>(sizeof(float));
}

int64_t PeakActivationBytes(const ModelGraph& graph) {
  // Storage of each value: its own, or its input's for a view.
  std::vector<int> storage(graph.size());
  std::vector<int> last_use(graph.size());
  for (int id = 0; id < graph.size(); ++id) {
    const Node& node = graph.node(id);
    const bool view =
        node.op == OpKind::kFlatten || node.op == OpKind::kDropout;
    storage[id] = view ? storage[node.inputs[0]] : id;
    last_use[storage[id]] = id;
    for (const int input : node.inputs) last_use[storage[input]] = id;
  }
  // The output outlives the run.
  last_use[storage[graph.size() - 1]] = graph.size();
  std::vector<std::vector<int>> freed_after(graph.size() + 1);
  for (int id = 0; id < graph.size(); ++id) {
    if (storage[id] == id) freed_after[last_use[id]].push_back(id);
  }
  int64_t alive = 0, peak = 0;
  for (int id = 0; id < graph.size(); ++id) {
    if (storage[id] == id) alive += graph.node(id).shape.elements();
    peak = std::max(peak, alive);
    for (const int dead : freed_after[id]) {
      alive -= graph.node(dead).shape.elements();
    }
  }
  return peak * static_cast<int64_t>(sizeof(float));
}

std::unique_ptr<Estimator> CreateAnalyticEstimator() {
  return std::make_unique<AnalyticEstimator>();
}

Evidence AnalyticEvidence(const SearchSpace* space, const Estimator* analytic) {
  return [space, analytic](const Architecture& architecture) {
    std::vector<MetricValue> values;
    for (const MetricInfo& metric : KnownMetrics()) {
      if (metric.source != MetricSource::kAnalytic) continue;
      values.push_back({{std::string(metric.name), ""},
                        std::numeric_limits<double>::quiet_NaN()});
    }
    const absl::StatusOr<ModelGraph> graph = space->Decode(architecture);
    if (!graph.ok()) return values;
    const absl::StatusOr<std::vector<Estimate>> estimates =
        analytic->Predict(*graph);
    if (!estimates.ok()) return values;
    for (MetricValue& value : values) {
      for (const Estimate& estimate : *estimates) {
        if (estimate.key == value.key) value.value = estimate.value;
      }
    }
    return values;
  };
}

}  // namespace hwnas
