#include "estimator/lookup.h"

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/space/mobile.h"
#include "nas/space/nasbench201.h"
#include "nas/space/space_factory.h"

namespace hwnas {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Keys(const ModelGraph& graph) {
  const auto kernels = KernelsOf(graph);
  EXPECT_TRUE(kernels.ok()) << kernels.status();
  std::vector<std::string> keys;
  for (const Kernel& kernel : *kernels) keys.push_back(kernel.key);
  return keys;
}

TEST(KernelsOf, FusesWhatARuntimeRunsAsOne) {
  GraphBuilder b;
  int x = b.Input({3, 8, 8});
  x = b.Relu(b.BatchNorm(b.Conv2d(x, {.out_channels = 4, .kernel = 3})));
  const int y = b.Conv2d(x, {.out_channels = 4, .groups = 4});
  x = b.Add({x, y});
  x = b.MaxPool(x, {.kernel = 2, .stride = 2});
  x = b.Linear(b.Flatten(b.GlobalAvgPool(x)), 10);
  const auto graph = std::move(b).Build();
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_THAT(Keys(*graph),
              ElementsAre("conv3x3 s1 p0 g1 3x8x8 -> 4 relu",
                          "conv1x1 s1 p0 g4 4x6x6 -> 4", "add2 4x6x6",
                          "max_pool2 s2 p0 4x6x6", "global_avg_pool 4x3x3",
                          "linear 4x1x1 -> 10"));
}

TEST(KernelsOf, KeepsApartWhatSomebodyElseReads) {
  GraphBuilder b;
  int x = b.Conv2d(b.Input({3, 8, 8}), {.out_channels = 4});
  b.Add({b.Relu(x), x});
  const auto graph = std::move(b).Build();
  EXPECT_THAT(Keys(*graph), ElementsAre("conv1x1 s1 p0 g1 3x8x8 -> 4",
                                        "relu 4x8x8", "add2 4x8x8"));
}

TEST(KernelsOf, LeavesOutWhatFollowsFromZeros) {
  GraphBuilder b;
  const int x = b.Conv2d(b.Input({3, 8, 8}), {.out_channels = 4});
  const int zero = b.Relu(b.Conv2d(b.Zero(x), {.out_channels = 4}));
  b.Add({x, zero});
  const auto graph = std::move(b).Build();
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_THAT(Keys(*graph),
              ElementsAre("conv1x1 s1 p0 g1 3x8x8 -> 4", "add2 4x8x8"));
}

// Every kernel of a space can be built alone, with the output it has within
// the network.
TEST(KernelsOf, BuildsEveryKernelOfTheSpaces) {
  for (const SpaceConfig& config :
       {SpaceConfig(Nasbench201Config{.cells = 1}), SpaceConfig(MobileConfig{}),
        SpaceConfig(DagConfig{})}) {
    const auto space = CreateSpace(config);
    ASSERT_TRUE(space.ok()) << space.status();
    Rng rng(3);
    for (int i = 0; i < 20; ++i) {
      const auto graph = (*space)->Decode((*space)->Sample(rng));
      ASSERT_TRUE(graph.ok());
      const auto kernels = KernelsOf(*graph);
      ASSERT_TRUE(kernels.ok()) << kernels.status();
      ASSERT_FALSE(kernels->empty());
      for (const Kernel& kernel : *kernels) {
        EXPECT_GT(kernel.graph.output_shape().channels, 0) << kernel.key;
      }
    }
  }
}

// A device whose networks take what its kernels take, times a factor for each
// kind, and something for each inference.
class LookupTest : public ::testing::Test {
 protected:
  LookupTest() {
    space_ = *CreateSpace(Nasbench201Config{.cells = 1});
    table_.device_class = "x86_64";
    table_.runtime = "onnxruntime";
    table_.precision = "fp32";
    table_.overhead_ms = 0.01;
  }

  double KernelMs(const Kernel& kernel) const {
    double ms = 0.001;
    for (const Node& node : kernel.graph.nodes()) {
      ms += 1e-6 * static_cast<double>(node.shape.elements()) *
            (node.op == OpKind::kConv2d ? node.kernel * node.kernel * 3 : 1);
    }
    return ms;
  }
  std::vector<MeasuredNetwork> Measure(int count, uint64_t seed) {
    Rng rng(seed);
    std::vector<MeasuredNetwork> networks;
    for (int i = 0; i < count; ++i) {
      const ModelGraph graph = *space_->Decode(space_->Sample(rng));
      double ms = 0.02;
      const auto kernels = KernelsOf(graph);
      for (const Kernel& kernel : *kernels) {
        table_.kernels[kernel.key] = {
            .latency_ms = *table_.overhead_ms + KernelMs(kernel),
            .kind = kernel.kind};
        ms += KernelMs(kernel) * factors_.at(kernel.kind);
      }
      networks.push_back({graph, ms});
    }
    return networks;
  }

  std::unique_ptr<SearchSpace> space_;
  LookupTable table_;
  const std::map<std::string, double> factors_ = {{"conv", 0.8},
                                                  {"conv1x1", 0.9},
                                                  {"pool", 0.7},
                                                  {"linear", 1},
                                                  {"elementwise", 0.6}};
};

TEST_F(LookupTest, FindsTheFactorsAndPredictsOtherNetworks) {
  const auto fit = Measure(40, 1);
  const auto held = Measure(50, 2);
  ASSERT_TRUE(FitLookup(fit, held, &table_).ok());
  EXPECT_NEAR(table_.weights.at("conv"), 0.8, 0.05);
  ASSERT_TRUE(table_.trust);
  EXPECT_EQ(table_.trust->networks, 50);
  EXPECT_LT(table_.trust->mape_percent, 3);
  EXPECT_GT(table_.trust->plain_mape_percent, 5);
  EXPECT_GT(table_.trust->spearman, 0.99);
  const auto estimator = CreateLookupEstimator(table_);
  ASSERT_TRUE(estimator.ok()) << estimator.status();
  const auto estimates = (*estimator)->Predict(held[0].graph);
  ASSERT_TRUE(estimates.ok());
  EXPECT_EQ((*estimates)[0].key.metric, "latency_ms");
  EXPECT_EQ((*estimates)[0].key.device_class, "x86_64");
  EXPECT_NEAR((*estimates)[0].value, held[0].latency_ms,
              0.1 * held[0].latency_ms);
  EXPECT_EQ((*estimates)[0].uncertainty, table_.trust->rmse_ms);
}

TEST_F(LookupTest, SurvivesItsFile) {
  const auto fit = Measure(20, 1);
  const auto held = Measure(10, 2);
  ASSERT_TRUE(FitLookup(fit, held, &table_).ok());
  table_.networks["abc"] = {.latency_ms = 3, .flags = {"NOISY: load 3"}};
  const auto read = LookupTable::FromJson(table_.ToJson());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->ToJson(), table_.ToJson());
  EXPECT_EQ(read->networks.at("abc").flags[0], "NOISY: load 3");
  EXPECT_EQ(read->Settings(),
            "device class x86_64, onnxruntime fp32, 1 thread, batch 1");
}

TEST_F(LookupTest, SaysWhatItLacks) {
  const auto fit = Measure(5, 1);
  table_.kernels.erase(table_.kernels.begin());
  const auto missing = FitLookup(fit, fit, &table_);
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(missing.message(), HasSubstr("the table lacks the kernel \""));
  EXPECT_FALSE(CreateLookupEstimator(table_).ok());
  EXPECT_THAT(FitLookup({}, fit, &table_).message(),
              HasSubstr("0 networks to fit on"));
}

TEST(LookupTable, RefusesOtherFiles) {
  for (const char* text :
       {"", "[]", "{}", "{\"hwnas_lookup_table\": 9}",
        "{\"hwnas_lookup_table\": 1, \"device_class\": 3}",
        R"({"hwnas_lookup_table": 1, "device_class": "x", "runtime": "r",
            "precision": "p", "threads": 1, "batch": 1,
            "kernels": {"a": {}}, "networks": {}})"}) {
    const auto table = LookupTable::FromJson(text);
    EXPECT_EQ(table.status().code(), absl::StatusCode::kInvalidArgument)
        << text;
    EXPECT_THAT(table.status().message(), HasSubstr("no look-up table"));
  }
}

}  // namespace
}  // namespace hwnas
