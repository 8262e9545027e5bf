#include "estimator/analytic.h"

#include <algorithm>

#include "common/rng.h"
#include "estimator/estimator.h"
#include "gtest/gtest.h"

namespace hwnas {
namespace {

TEST(Analytic, CountsASmallNetworkAsByHand) {
  GraphBuilder b;
  int x = b.Input({3, 8, 8});
  x = b.Conv2d(x, {.out_channels = 4, .kernel = 3, .stride = 2, .padding = 1});
  x = b.Relu(b.BatchNorm(x));
  x = b.Conv2d(x, {.out_channels = 4,
                   .kernel = 3,
                   .padding = 1,
                   .groups = 4,
                   .bias = true});
  b.Linear(b.Flatten(b.GlobalAvgPool(x)), 10);
  const ModelGraph graph = *std::move(b).Build();
  // 4x4x4 outputs of 27 products; 4x4x4 of 9; 10 of 4.
  EXPECT_EQ(MultiplyAccumulates(graph), 64 * 27 + 64 * 9 + 40);
  // 108 weights; 8 of the norm; 36 + 4; 40 + 10.
  EXPECT_EQ(ParameterCount(graph), 108 + 8 + 40 + 50);
  EXPECT_EQ(ModelSizeBytes(graph), 4 * (108 + 16 + 40 + 50));
  // Input 192 and the first convolution's 64 together are the most.
  EXPECT_EQ(PeakActivationBytes(graph), 4 * (192 + 64));
}

TEST(Analytic, KeepsAResidualAliveUntilItIsAdded) {
  GraphBuilder b;
  const int x = b.Input({2, 4, 4});                       // 32 values.
  int y = b.Conv2d(x, {.out_channels = 6, .kernel = 1});  // 96.
  y = b.Relu(y);                                          // 96.
  y = b.Conv2d(y, {.out_channels = 2, .kernel = 1});      // 32.
  b.Add({x, y});                                          // 32.
  // At the activation: x, its input and its output.
  EXPECT_EQ(PeakActivationBytes(*std::move(b).Build()), 4 * (32 + 96 + 96));
}

// Independent of the sweep: at each step, sum what is made and still needed.
int64_t BruteForcePeak(const ModelGraph& graph) {
  int64_t peak = 0;
  for (int now = 0; now < graph.size(); ++now) {
    int64_t alive = 0;
    for (int id = 0; id <= now; ++id) {
      bool needed = id == now || id == graph.size() - 1;
      for (int later = now; later < graph.size(); ++later) {
        const auto& inputs = graph.node(later).inputs;
        needed |= std::find(inputs.begin(), inputs.end(), id) != inputs.end();
      }
      if (needed) alive += graph.node(id).shape.elements();
    }
    peak = std::max(peak, alive);
  }
  return 4 * peak;
}

TEST(Analytic, PeakMatchesBruteForceOnRandomGraphs) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Rng rng(seed);
    GraphBuilder b;
    std::vector<int> ids = {b.Input({4, 6, 6})};
    for (int i = 0; i < 12; ++i) {
      const int a = ids[rng.Below(ids.size())], c = ids[rng.Below(ids.size())];
      ids.push_back(rng.Bernoulli(0.5) && a != c ? b.Add({a, c}) : b.Relu(a));
    }
    const auto graph = std::move(b).Build();
    ASSERT_TRUE(graph.ok()) << graph.status();
    EXPECT_EQ(PeakActivationBytes(*graph), BruteForcePeak(*graph)) << seed;
  }
}

TEST(AnalyticEstimator, IsExactAndNamesItsMetrics) {
  GraphBuilder b;
  b.Linear(b.Input({100, 1, 1}), 10);
  const auto estimates =
      CreateAnalyticEstimator()->Predict(*std::move(b).Build());
  ASSERT_TRUE(estimates.ok());
  for (const Estimate& estimate : *estimates) {
    EXPECT_NE(FindMetric(estimate.key.metric), nullptr);
    EXPECT_EQ(FindMetric(estimate.key.metric)->source, MetricSource::kAnalytic);
    EXPECT_EQ(estimate.uncertainty, 0);
    if (estimate.key.metric == "params_m") {
      EXPECT_DOUBLE_EQ(estimate.value, 0.00101);
    }
  }
}

}  // namespace
}  // namespace hwnas
