#include "model/torch/graph_module.h"

#include <algorithm>
#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/onnx/onnx_export.h"
#include "model/torch/torch_status.h"
#include "model/weights.h"
#include "nas/space/space_factory.h"
#include "tests/fakes/every_block_space.h"
#include "tests/fakes/reference_executor.h"
#include "torch/torch.h"
#ifdef HWNAS_HAS_ONNX_RUNTIME
#include "tests/fakes/onnx_runner.h"
#endif

namespace hwnas {
namespace {

using ::testing::HasSubstr;
using torch::Tensor;

Tensor ToImages(const std::vector<float>& pixels, const TensorShape& shape) {
  return torch::tensor(pixels).view(
      {-1, shape.channels, shape.height, shape.width});
}

std::vector<float> Logits(const ModelGraph& graph, const v1::Weights& weights,
                          const std::vector<float>& pixels) {
  GraphModule module(graph, /*seed=*/1);
  const absl::Status status = ImportWeights(weights, module);
  EXPECT_TRUE(status.ok()) << status;
  module.eval();
  torch::NoGradGuard no_grad;
  const Tensor out =
      module.Forward(ToImages(pixels, graph.input_shape())).contiguous();
  return {out.data_ptr<float>(), out.data_ptr<float>() + out.numel()};
}

// Largest difference relative to the largest output.
template <typename A, typename B>
double WorstError(const A& got, const B& expected) {
  EXPECT_EQ(got.size(), expected.size());
  double worst = 0, scale = 1;
  for (const double v : expected) scale = std::max(scale, std::abs(v));
  for (size_t i = 0; i < expected.size(); ++i) {
    worst = std::max(worst, std::abs(double{got[i]} - expected[i]) / scale);
  }
  return worst;
}

TEST(GraphModule, ComputesWhatTheGraphSaysForEveryOperator) {
  const ModelGraph graph = EveryOperatorGraph();
  const v1::Weights weights = RandomWeights(graph, 11);
  const std::vector<float> image = RandomImage(graph.input_shape(), 5);
  EXPECT_LT(WorstError(Logits(graph, weights, image),
                       RunReference(graph, weights, image)),
            1e-4);
}

class GraphModuleOfSpace : public testing::TestWithParam<SpaceConfig> {};

TEST_P(GraphModuleOfSpace, AgreesWithOnnxRuntimeOnRandomArchitectures) {
#ifndef HWNAS_HAS_ONNX_RUNTIME
  GTEST_SKIP() << "ONNX Runtime was not found";
#else
  const auto space = CreateSpace(GetParam());
  ASSERT_TRUE(space.ok()) << space.status();
  for (int i = 0; i < 12; ++i) {
    Rng rng(21, i);
    const Architecture architecture = (*space)->Sample(rng);
    const auto graph = (*space)->Decode(architecture);
    ASSERT_TRUE(graph.ok()) << graph.status();
    const v1::Weights weights = RandomWeights(*graph, i);
    std::vector<float> batch = RandomImage(graph->input_shape(), 2 * i);
    const auto second = RandomImage(graph->input_shape(), 2 * i + 1);
    batch.insert(batch.end(), second.begin(), second.end());
    const auto onnx = ExportOnnx(*graph, weights,
                                 {.batch = 2, .fold_batch_norm = i % 2 == 0});
    ASSERT_TRUE(onnx.ok()) << onnx.status();
    EXPECT_LT(WorstError(Logits(*graph, weights, batch), RunOnnx(*onnx, batch)),
              1e-4)
        << (*space)->ToText(architecture);
  }
#endif
}

INSTANTIATE_TEST_SUITE_P(
    Spaces, GraphModuleOfSpace,
    testing::Values(
        SpaceConfig(Nasbench201Config{
            .input = {1, 28, 28}, .channels = 8, .cells = 1, .classes = 10}),
        SpaceConfig(MobileConfig{.input = {3, 32, 32},
                                 .classes = 10,
                                 .search_squeeze_excite = true}),
        SpaceConfig(MacroConfig{.preset = "nasbench_macro"}),
        SpaceConfig(MacroConfig{.input = {3, 64, 64},
                                .preset = "transnasbench101",
                                .channel_choices = {16}}),
        SpaceConfig(MacroConfig{.preset = "fbnet"}),
        SpaceConfig(MacroConfig{.input = {1, 28, 28},
                                .channel_choices = {6, 8},
                                .depth_choices = {2, 3},
                                .cell = Nasbench201CellConfig{}}),
        SpaceConfig(MacroConfig{.input = {1, 28, 28},
                                .channel_choices = {6, 8},
                                .depth_choices = {2, 3},
                                .cell = DagCellConfig{.nodes = 5}}),
        SpaceConfig(DagConfig{.channels = 12, .cells = 1}), EveryBlockSpace()));

// The kernels of our own and the fusing of operators must not change gradients.
TEST(GraphModule, HasTheGradientsOfPlainLibTorch) {
  GraphBuilder b;
  int x = b.Input({3, 9, 9});
  x = b.BatchNorm(b.Conv2d(x, {.out_channels = 8, .kernel = 3, .padding = 1}),
                  "bn");
  const int relu = b.Relu(x);
  const int relu_again = b.Relu(x);  // Computed once.
  const int pooled = b.AvgPool(relu, {.kernel = 3, .stride = 1, .padding = 1});
  const int sum[] = {pooled, relu_again, x};
  x = b.Linear(b.Flatten(b.GlobalAvgPool(b.Relu(b.BatchNorm(b.Add(sum))))), 4);
  const auto graph = std::move(b).Build();
  ASSERT_TRUE(graph.ok()) << graph.status();

  GraphModule module(*graph, 3);
  torch::manual_seed(1);
  const Tensor images = torch::randn({6, 3, 9, 9});
  const Tensor mix = torch::randn({6, 4});
  (module.Forward(images) * mix).sum().backward();

  std::map<std::string, Tensor> p;
  for (const auto& tensor : module.named_tensors()) {
    Tensor copy = tensor.value.detach().clone();
    if (tensor.spec.trainable) copy.requires_grad_(true);
    p[tensor.spec.name] = copy;
  }
  const auto& nodes = graph->nodes();
  const auto norm = [&](const Tensor& in, const std::string& name) {
    return torch::batch_norm(in, p[name + ".weight"], p[name + ".bias"],
                             torch::zeros({8}), torch::ones({8}), true, 0.1,
                             1e-5, false);
  };
  std::string conv, last_norm, linear;
  for (const Node& node : nodes) {
    if (node.op == OpKind::kConv2d) conv = node.name;
    if (node.op == OpKind::kBatchNorm) last_norm = node.name;
    if (node.op == OpKind::kLinear) linear = node.name;
  }
  Tensor y = norm(torch::conv2d(images, p[conv + ".weight"], {}, 1, 1), "bn");
  const Tensor r = torch::relu(y);
  y = torch::avg_pool2d(r, 3, 1, 1, false, false) + r + y;
  y = torch::relu(norm(y, last_norm)).mean({2, 3});
  y = torch::linear(y, p[linear + ".weight"], p[linear + ".bias"]);
  (y * mix).sum().backward();
  for (const auto& tensor : module.named_tensors()) {
    if (!tensor.spec.trainable) continue;
    const Tensor expected = p[tensor.spec.name].grad();
    const double scale = expected.abs().max().item<double>() + 1;
    EXPECT_LT((tensor.value.grad() - expected).abs().max().item<double>(),
              1e-4 * scale)
        << tensor.spec.name;
  }
}

TEST(GraphModule, IsTheSameForOneSeedAndDiffersForAnother) {
  const ModelGraph graph = EveryOperatorGraph();
  const std::string a =
      ExportWeights(GraphModule(graph, 5), "").SerializeAsString();
  EXPECT_EQ(a, ExportWeights(GraphModule(graph, 5), "").SerializeAsString());
  EXPECT_NE(a, ExportWeights(GraphModule(graph, 6), "").SerializeAsString());
}

TEST(GraphModule, GivesBackTheWeightsItWasGiven) {
  const ModelGraph graph = EveryOperatorGraph();
  const v1::Weights weights = RandomWeights(graph, 9);
  GraphModule module(graph, 1);
  ASSERT_TRUE(ImportWeights(weights, module).ok());
  const v1::Weights back = ExportWeights(module, weights.architecture_digest());
  EXPECT_TRUE(CheckWeights(graph, back).ok());
  std::map<std::string, std::string> expected;
  for (const v1::Tensor& t : weights.tensors()) expected[t.name()] = t.data();
  for (const v1::Tensor& t : back.tensors()) {
    EXPECT_EQ(t.data(), expected[t.name()]) << t.name();
  }
}

TEST(GraphModule, RefusesWeightsThatDoNotFitAndStaysAsItWas) {
  const ModelGraph graph = EveryOperatorGraph();
  GraphModule module(graph, 1);
  const std::string before = ExportWeights(module, "").SerializeAsString();
  v1::Weights weights = RandomWeights(graph, 9);
  weights.mutable_tensors()->RemoveLast();
  EXPECT_TRUE(absl::IsInvalidArgument(ImportWeights(weights, module)));
  EXPECT_EQ(ExportWeights(module, "").SerializeAsString(), before);
}

TEST(GraphModule, ScalesConvolutionsAsHeDoes) {
  GraphBuilder b;
  int x = b.Conv2d(b.Input({16, 8, 8}), {.out_channels = 256, .kernel = 3});
  x = b.Linear(b.Flatten(b.GlobalAvgPool(x)), 2);
  const auto graph = std::move(b).Build();
  ASSERT_TRUE(graph.ok());
  GraphModule module(*graph, 1);
  const Tensor weight = module.named_tensors()[0].value;
  EXPECT_NEAR(weight.std().item<double>(), std::sqrt(2.0 / (16 * 9)), 0.001);
  EXPECT_NEAR(weight.mean().item<double>(), 0, 0.002);
}

TEST(GraphModule, DropsOnlyWhileTraining) {
  GraphBuilder b;
  int x = b.Dropout(b.Flatten(b.Input({4000, 1, 1})), 0.25);
  x = b.Unary(OpKind::kHardSigmoid, x);
  const auto graph = std::move(b).Build();
  ASSERT_TRUE(graph.ok());
  GraphModule module(*graph, 1);
  const Tensor ones = torch::ones({1, 4000, 1, 1});
  module.eval();
  EXPECT_NEAR(module.Forward(ones).std().item<double>(), 0, 1e-6);
  module.train();
  module.SeedDropout(3);
  const Tensor first = module.Forward(ones);
  EXPECT_NEAR(first.eq(0.5).to(torch::kFloat).mean().item<double>(), 0.25,
              0.03);
  module.SeedDropout(3);
  EXPECT_TRUE(torch::equal(module.Forward(ones), first));
  EXPECT_FALSE(torch::equal(module.Forward(ones), first));
}

TEST(CatchTorch, TurnsExceptionsIntoAStatusOfOneLine) {
  const absl::Status status = CatchTorch("adding", []() -> absl::Status {
    torch::ones({2}).add(torch::ones({3}));
    return absl::OkStatus();
  });
  EXPECT_TRUE(absl::IsInternal(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("adding: LibTorch: "));
  EXPECT_EQ(status.message().find('\n'), absl::string_view::npos);
}

}  // namespace
}  // namespace hwnas
