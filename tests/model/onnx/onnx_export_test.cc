#include "model/onnx/onnx_export.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/weights.h"
#include "nas/space/space_factory.h"
#include "tests/fakes/every_block_space.h"
#include "tests/fakes/reference_executor.h"
#ifdef HWNAS_HAS_ONNX_RUNTIME
#include "tests/fakes/onnx_runner.h"
#endif

namespace hwnas {
namespace {

using ::testing::HasSubstr;

#ifdef HWNAS_HAS_ONNX_RUNTIME
// Largest difference to the reference, relative to the largest output.
double WorstError(const ModelGraph& graph, const OnnxOptions& options) {
  const v1::Weights weights = RandomWeights(graph, 11);
  const auto onnx = ExportOnnx(graph, weights, options);
  EXPECT_TRUE(onnx.ok()) << onnx.status();
  if (!onnx.ok()) return 1;
  std::vector<float> batch;
  std::vector<double> expected;
  for (int i = 0; i < options.batch; ++i) {
    const std::vector<float> image = RandomImage(graph.input_shape(), i);
    batch.insert(batch.end(), image.begin(), image.end());
    const std::vector<double> out = RunReference(graph, weights, image);
    expected.insert(expected.end(), out.begin(), out.end());
  }
  const std::vector<float> got = RunOnnx(*onnx, batch);
  EXPECT_EQ(got.size(), expected.size());
  double worst = 0, scale = 1;
  for (const double v : expected) scale = std::max(scale, std::abs(v));
  for (size_t i = 0; i < expected.size(); ++i) {
    worst = std::max(worst, std::abs(got[i] - expected[i]) / scale);
  }
  return worst;
}

TEST(ExportOnnx, ComputesWhatTheGraphSaysForEveryOperator) {
  const ModelGraph graph = EveryOperatorGraph();
  EXPECT_LT(WorstError(graph, {.fold_batch_norm = false}), 1e-4);
  EXPECT_LT(WorstError(graph, {.fold_batch_norm = true}), 1e-4);
  EXPECT_LT(WorstError(graph, {.batch = 3}), 1e-4);
}

// Random architectures of a space, with and without batch norm folded.
void CheckSpace(const SpaceConfig& config, int count) {
  const auto space = CreateSpace(config);
  ASSERT_TRUE(space.ok()) << space.status();
  for (int i = 0; i < count; ++i) {
    Rng rng(3, i);
    const Architecture architecture = (*space)->Sample(rng);
    const auto graph = (*space)->Decode(architecture);
    ASSERT_TRUE(graph.ok()) << graph.status();
    EXPECT_LT(WorstError(*graph, {.fold_batch_norm = i % 2 == 0}), 1e-4)
        << (*space)->ToText(architecture);
  }
}

TEST(ExportOnnx, ComputesRandomNasbench201Networks) {
  CheckSpace(Nasbench201Config{.input = {3, 16, 16}, .channels = 6, .cells = 1},
             40);
}

TEST(ExportOnnx, ComputesRandomMobileNetworks) {
  CheckSpace(MobileConfig{.input = {1, 28, 28},
                          .classes = 10,
                          .width_choices = {0.25, 0.5},
                          .search_squeeze_excite = true},
             20);
}

TEST(ExportOnnx, ComputesRandomMacroNetworks) {
  CheckSpace(MacroConfig{.input = {1, 16, 16},
                         .channel_choices = {4, 6},
                         .operators = {"identity", "skip", "basic", "conv_k3",
                                       "mbconv_k5_e3", "k3_e1_g2"},
                         .depth_choices = {2, 4},
                         .final_channels = 12},
             30);
  CheckSpace(MacroConfig{.input = {3, 16, 16},
                         .channel_choices = {4, 6},
                         .depth_choices = {2, 3},
                         .cell = Nasbench201CellConfig{}},
             20);
}

TEST(ExportOnnx, ComputesRandomGraphs) {
  CheckSpace(
      DagConfig{.input = {3, 16, 16},
                .channels = 7,
                .stacks = 2,
                .cells = 1,
                .cell = {.operations = {"conv3x3", "conv1x1", "maxpool3x3",
                                        "avgpool3x3", "sepconv5x5"}}},
      30);
}

TEST(ExportOnnx, ComputesRandomHierarchicalNetworks) {
  CheckSpace(
      MacroConfig{
          .input = {3, 16, 16},
          .channel_choices = {4, 6},
          .depth_choices = {2, 3},
          .cell = DagCellConfig{.nodes = 5,
                                .operations = {"conv3x3", "conv1x1",
                                               "maxpool3x3", "sepconv3x3"}}},
      20);
}

TEST(ExportOnnx, ComputesRandomFbnets) {
  CheckSpace(MacroConfig{.input = {1, 16, 16}, .preset = "fbnet"}, 4);
}

TEST(ExportOnnx, ComputesRandomDeclaredNetworksOfEveryBlock) {
  CheckSpace(EveryBlockSpace(), 40);
}

TEST(ExportOnnx, WritesANetworkWithNoPathFromInputToOutput) {
  GraphBuilder b;
  const int x = b.Conv2d(b.Input({1, 8, 8}), {.out_channels = 4});
  b.Linear(b.GlobalAvgPool(b.Zero(x)), 3);
  EXPECT_LT(WorstError(*std::move(b).Build(), {}), 1e-4);
}
#endif

TEST(ExportOnnx, RefusesWeightsThatDoNotFit) {
  const ModelGraph graph = EveryOperatorGraph();
  const v1::Weights good = RandomWeights(graph, 1);
  ASSERT_TRUE(CheckWeights(graph, good).ok());

  v1::Weights weights = good;
  weights.mutable_tensors()->RemoveLast();
  EXPECT_THAT(std::string(ExportOnnx(graph, weights).status().message()),
              HasSubstr("lack tensor"));
  weights = good;
  weights.mutable_tensors(0)->mutable_data()->resize(4);
  EXPECT_THAT(std::string(ExportOnnx(graph, weights).status().message()),
              HasSubstr("holds 4 bytes: expected 12"));
  weights = good;
  weights.mutable_tensors(0)->add_dims(1);
  EXPECT_THAT(std::string(ExportOnnx(graph, weights).status().message()),
              HasSubstr("expected [3]"));
  weights = good;
  const float nan = NAN;
  weights.mutable_tensors(0)->mutable_data()->replace(
      0, 4, std::string(reinterpret_cast<const char*>(&nan), 4));
  EXPECT_THAT(std::string(ExportOnnx(graph, weights).status().message()),
              HasSubstr("finite"));
  weights = good;
  *weights.add_tensors() = good.tensors(0);
  EXPECT_THAT(std::string(ExportOnnx(graph, weights).status().message()),
              HasSubstr("twice"));
  weights = good;
  const float negative = -1;
  weights.mutable_tensors(3)->mutable_data()->replace(
      0, 4, std::string(reinterpret_cast<const char*>(&negative), 4));
  EXPECT_THAT(std::string(ExportOnnx(graph, weights).status().message()),
              HasSubstr("running_var\" holds -1 at 0"));
  weights = good;
  weights.add_tensors()->set_name(std::string(1 << 20, 'x'));
  EXPECT_LT(ExportOnnx(graph, weights).status().message().size(), 400u);
  EXPECT_EQ(ExportOnnx(graph, good, {.batch = 0}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace hwnas
