// Our channels-last operators against LibTorch's own.
#include "model/torch/cpu_ops.h"

#include <tuple>

#include "gtest/gtest.h"
#include "model/torch/cpu_kernels.h"
#include "torch/torch.h"

namespace hwnas {
namespace {

using torch::Tensor;

Tensor RandomImages(int64_t n, int64_t c, int64_t h, int64_t w) {
  Tensor x =
      at::empty({n, c, h, w}, torch::kFloat, at::MemoryFormat::ChannelsLast);
  // Away from zero, where a naive variance would lose its digits.
  return x.normal_(3.0, 2.0);
}

double MaxDifference(const Tensor& a, const Tensor& b) {
  return (a - b).abs().max().item<double>();
}

// {images, channels, height, width, relu}
class BatchNormOp
    : public testing::TestWithParam<std::tuple<int, int, int, int, bool>> {};

TEST_P(BatchNormOp, AgreesWithLibTorchForwardAndBackward) {
  const auto [n, c, h, w, relu] = GetParam();
  torch::manual_seed(1);
  const Tensor x = RandomImages(n, c, h, w);
  const Tensor gradient = RandomImages(n, c, h, w);
  const Tensor weight = torch::rand({c}) + 0.5;
  const Tensor bias = torch::randn({c});
  std::vector<std::vector<Tensor>> results;
  for (const bool ours : {true, false}) {
    // LibTorch's in double precision, as the reference.
    const auto type = ours ? torch::kFloat : torch::kDouble;
    Tensor xi = x.to(type).clone().requires_grad_(true);
    Tensor wi = weight.to(type).clone().requires_grad_(true);
    Tensor bi = bias.to(type).clone().requires_grad_(true);
    Tensor mean = torch::zeros({c}, type);
    Tensor var = torch::ones({c}, type);
    Tensor y;
    if (ours) {
      ASSERT_TRUE(SuitsCpuOps(xi));
      y = BatchNormTraining(xi, wi, bi, mean, var, 0.1, 1e-5, relu);
    } else {
      y = torch::batch_norm(xi, wi, bi, mean, var, true, 0.1, 1e-5, false);
      if (relu) y = torch::relu(y);
    }
    y.backward(gradient.to(type));
    results.push_back({y.detach(), xi.grad(), wi.grad(), bi.grad(), mean, var});
  }
  const char* const names[] = {"y", "dx", "dweight", "dbias", "mean", "var"};
  for (size_t i = 0; i < results[0].size(); ++i) {
    const double scale = results[1][i].abs().max().item<double>() + 1;
    EXPECT_LT(MaxDifference(results[0][i], results[1][i]) / scale, 1e-4)
        << names[i];
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, BatchNormOp,
                         testing::Values(std::tuple(4, 8, 7, 7, false),
                                         std::tuple(4, 8, 7, 7, true),
                                         std::tuple(2, 1, 5, 3, true),
                                         std::tuple(3, 37, 6, 5, true),
                                         std::tuple(16, 72, 14, 14, false),
                                         std::tuple(2, 64, 1, 2, false)));

TEST(BatchNormOp, DoesNotDependOnTheNumberOfThreads) {
  torch::manual_seed(2);
  const Tensor x = RandomImages(32, 16, 28, 28);
  std::vector<Tensor> results;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    Tensor mean = torch::zeros({16});
    Tensor var = torch::ones({16});
    results.push_back(BatchNormTraining(
        x, torch::ones({16}), torch::zeros({16}), mean, var, 0.1, 1e-5, false));
  }
  EXPECT_TRUE(torch::equal(results[0], results[1]));
  EXPECT_TRUE(torch::equal(results[0], results[2]));
}

TEST(BatchNormOp, AgreesWithLibTorchWhenEvaluating) {
  torch::manual_seed(3);
  torch::NoGradGuard no_grad;
  const Tensor x = RandomImages(3, 20, 5, 4);
  const Tensor w = torch::rand({20}) + 0.5;
  const Tensor b = torch::randn({20});
  const Tensor mean = torch::randn({20});
  const Tensor var = torch::rand({20}) + 0.1;
  const Tensor expected =
      torch::batch_norm(x, w, b, mean, var, false, 0.1, 1e-5, false);
  EXPECT_LT(MaxDifference(BatchNormInference(x, w, b, mean, var, 1e-5, false),
                          expected),
            1e-4);
}

TEST(Average3x3Op, AgreesWithLibTorchForwardAndBackward) {
  torch::manual_seed(4);
  for (const auto& [c, h, w] :
       {std::tuple(8, 7, 7), std::tuple(3, 1, 5), std::tuple(5, 4, 1),
        std::tuple(1, 2, 2), std::tuple(16, 28, 28), std::tuple(2, 1, 1)}) {
    const Tensor x = RandomImages(3, c, h, w);
    const Tensor gradient = RandomImages(3, c, h, w);
    Tensor a = x.clone().requires_grad_(true);
    Tensor b = x.clone().requires_grad_(true);
    const Tensor ours = Average3x3(a);
    const Tensor theirs = torch::avg_pool2d(b, 3, 1, 1, false, false);
    ours.backward(gradient);
    theirs.backward(gradient);
    EXPECT_LT(MaxDifference(ours, theirs), 1e-5) << c << " " << h << " " << w;
    EXPECT_LT(MaxDifference(a.grad(), b.grad()), 1e-5)
        << c << " " << h << " " << w;
  }
}

TEST(CpuKernels, GenericAndSpecialOnesAgree) {
  // On a machine without AVX2 both are the generic ones.
  const CpuKernelTable& a = CpuKernels();
  const CpuKernelTable& b = cpu_kernels_generic::kTable;
  const Tensor x = torch::randn({100, 13});
  std::vector<float> mean_a(13), m2_a(13), mean_b(13), m2_b(13);
  a.column_moments(x.data_ptr<float>(), 100, 13, mean_a.data(), m2_a.data());
  b.column_moments(x.data_ptr<float>(), 100, 13, mean_b.data(), m2_b.data());
  for (int c = 0; c < 13; ++c) {
    EXPECT_NEAR(mean_a[c], mean_b[c], 1e-5);
    EXPECT_NEAR(m2_a[c], m2_b[c], 1e-3);
  }
}

}  // namespace
}  // namespace hwnas
