#include "nas/surrogate/gaussian_process.h"

#include <Eigen/Cholesky>
#include <cmath>

#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr int kNumeric = 3;

SurrogateLayout Layout() { return {{3, 2, 4}, kNumeric}; }

SurrogateInputs Inputs(int rows, uint64_t seed) {
  Rng rng(seed);
  SurrogateInputs x;
  x.one_hot = MatrixXd::Zero(rows, 9);
  x.numeric.resize(rows, kNumeric);
  for (int i = 0; i < rows; ++i) {
    x.one_hot(i, rng.Below(3)) = 1;
    x.one_hot(i, 3 + rng.Below(2)) = 1;
    x.one_hot(i, 5 + rng.Below(4)) = 1;
    for (int j = 0; j < kNumeric; ++j) x.numeric(i, j) = rng.Normal();
  }
  return x;
}

VectorXd Normals(int rows, uint64_t seed) {
  Rng rng(seed);
  VectorXd y(rows);
  for (int i = 0; i < rows; ++i) y[i] = rng.Normal();
  return y;
}

// A kernel with nothing special about its parameters.
SurrogateKernel Kernel() {
  SurrogateKernel kernel(Layout());
  kernel.set_parameters(kernel.parameters() +
                        0.3 * Normals(kernel.parameters().size(), 5));
  return kernel;
}

// The formula of the header, term by term.
double Covariance(const SurrogateKernel& kernel, const SurrogateInputs& a,
                  int i, const SurrogateInputs& b, int j) {
  const VectorXd p = kernel.parameters().array().exp();
  double overlap = 0, matern = 0, trend = 1;
  const int starts[] = {0, 3, 5, 9};
  for (int d = 0; d < 3; ++d) {
    const int width = starts[d + 1] - starts[d];
    const bool same = a.one_hot.row(i).segment(starts[d], width) ==
                      b.one_hot.row(j).segment(starts[d], width);
    if (!same) overlap += p[4 + d];
  }
  for (int f = 0; f < kNumeric; ++f) {
    const double x = a.numeric(i, f), y = b.numeric(j, f);
    matern += p[7 + f] * (x - y) * (x - y);
    trend += x * y / kNumeric;
  }
  const double r = std::sqrt(5 * matern);
  return p[0] * std::exp(-overlap) + p[1] * (1 + r + r * r / 3) * std::exp(-r) +
         p[2] * trend;
}

MatrixXd Covariances(const SurrogateKernel& kernel, const SurrogateInputs& a,
                     const SurrogateInputs& b) {
  MatrixXd k(a.rows(), b.rows());
  for (int i = 0; i < a.rows(); ++i) {
    for (int j = 0; j < b.rows(); ++j) k(i, j) = Covariance(kernel, a, i, b, j);
  }
  return k;
}

struct Moments {
  VectorXd mean, variance;
};

// Textbook regression with a dense solve (Rasmussen and Williams, 2006, 2.2).
Moments Regress(const SurrogateKernel& kernel, const SurrogateInputs& x,
                const VectorXd& y, const VectorXd& noise,
                const SurrogateInputs& at) {
  MatrixXd k = Covariances(kernel, x, x);
  k.diagonal() += noise;
  k.diagonal().array() += kernel.noise();
  const MatrixXd cross = Covariances(kernel, x, at);
  const MatrixXd solved = k.ldlt().solve(cross);
  return {solved.transpose() * y,
          Covariances(kernel, at, at).diagonal() -
              cross.cwiseProduct(solved).colwise().sum().transpose()};
}

SurrogateInputs Join(const SurrogateInputs& a, const SurrogateInputs& b) {
  SurrogateInputs both;
  both.one_hot.resize(a.rows() + b.rows(), a.one_hot.cols());
  both.one_hot << a.one_hot, b.one_hot;
  both.numeric.resize(a.rows() + b.rows(), a.numeric.cols());
  both.numeric << a.numeric, b.numeric;
  return both;
}

SurrogateInputs Row(const SurrogateInputs& a, int i) {
  return {a.one_hot.row(i), a.numeric.row(i)};
}

VectorXd Means(const CandidatePosterior& posterior) {
  VectorXd v(posterior.size());
  for (int j = 0; j < v.size(); ++j) v[j] = posterior.mean(j);
  return v;
}
VectorXd Variances(const CandidatePosterior& posterior) {
  VectorXd v(posterior.size());
  for (int j = 0; j < v.size(); ++j) v[j] = posterior.variance(j);
  return v;
}

TEST(SurrogateKernel, IsTheFormulaOfItsHeader) {
  const SurrogateKernel kernel = Kernel();
  const SurrogateInputs a = Inputs(7, 1), b = Inputs(5, 2);
  const auto pa = kernel.Prepare(a), pb = kernel.Prepare(b);
  EXPECT_TRUE(kernel.Cross(pa, pb).isApprox(Covariances(kernel, a, b), 1e-12));
  EXPECT_TRUE(kernel.Diagonal(pa).isApprox(Covariances(kernel, a, a).diagonal(),
                                           1e-12));
}

TEST(SurrogateKernel, GradientIsThatOfFiniteDifferences) {
  SurrogateKernel kernel = Kernel();
  const SurrogateInputs x = Inputs(20, 3);
  const VectorXd y = Normals(20, 4);
  const VectorXd noise = Normals(20, 6).cwiseAbs2();
  VectorXd gradient;
  kernel.LogPosterior(x, y, noise, &gradient);
  const VectorXd at = kernel.parameters();
  for (int p = 0; p < at.size(); ++p) {
    constexpr double kStep = 1e-5;
    VectorXd moved = at;
    moved[p] += kStep;
    kernel.set_parameters(moved);
    const double above = kernel.LogPosterior(x, y, noise, nullptr);
    moved[p] -= 2 * kStep;
    kernel.set_parameters(moved);
    const double below = kernel.LogPosterior(x, y, noise, nullptr);
    EXPECT_NEAR(gradient[p], (above - below) / (2 * kStep), 1e-5) << p;
  }
}

TEST(SurrogateKernel, FitRaisesThePosteriorAndFindsWhatMatters) {
  SurrogateKernel kernel(Layout());
  const SurrogateInputs x = Inputs(60, 7);
  // Only the first feature and the second decision matter.
  VectorXd y = x.numeric.col(0).array().sin() + 2 * x.one_hot.col(3).array();
  y.array() -= y.mean();
  const VectorXd noise = VectorXd::Zero(60);
  const double before = kernel.LogPosterior(x, y, noise, nullptr);
  kernel.Fit(x, y, noise, 60);
  EXPECT_GT(kernel.LogPosterior(x, y, noise, nullptr), before + 10);
  const VectorXd p = kernel.parameters();
  EXPECT_GT(p[5], p[4]);  // Relevance of the second decision.
  EXPECT_GT(p[5], p[6]);
  EXPECT_GT(p[7], p[8]);  // And of the first feature.
  EXPECT_GT(p[7], p[9]);
  EXPECT_LT(kernel.noise(), 0.01);
}

class Posterior : public testing::Test {
 protected:
  const SurrogateKernel kernel_ = Kernel();
  const SurrogateInputs x_ = Inputs(30, 8);
  const VectorXd y_ = Normals(30, 9);
  const VectorXd noise_ = Normals(30, 10).cwiseAbs2();
  const SurrogateInputs candidates_ = Inputs(12, 11);
};

TEST_F(Posterior, IsTheTextbook) {
  CandidatePosterior posterior(&kernel_, x_, y_, noise_);
  posterior.Extend(candidates_);
  const Moments expected = Regress(kernel_, x_, y_, noise_, candidates_);
  EXPECT_TRUE(Means(posterior).isApprox(expected.mean, 1e-5));
  EXPECT_TRUE(Variances(posterior).isApprox(expected.variance, 1e-5));
}

TEST_F(Posterior, OneByOneIsTheSameAsAtOnce) {
  // Candidates and observations come and go in turns.
  CandidatePosterior posterior(&kernel_,
                               {x_.one_hot.topRows(3), x_.numeric.topRows(3)},
                               y_.head(3), noise_.head(3));
  posterior.Extend(Inputs(4, 12));
  for (int i = 3; i < 20; ++i) posterior.Observe(Row(x_, i), y_[i], noise_[i]);
  posterior.Extend(candidates_);
  posterior.Keep({2, 5, 4, 15});
  for (int i = 20; i < 30; ++i) posterior.Observe(Row(x_, i), y_[i], noise_[i]);
  const SurrogateInputs all = Join(Inputs(4, 12), candidates_);
  SurrogateInputs kept = Join(Row(all, 2), Row(all, 5));
  kept = Join(Join(kept, Row(all, 4)), Row(all, 15));
  const Moments expected = Regress(kernel_, x_, y_, noise_, kept);
  EXPECT_TRUE(Means(posterior).isApprox(expected.mean, 1e-5));
  EXPECT_TRUE(Variances(posterior).isApprox(expected.variance, 1e-5));
}

TEST_F(Posterior, ForkBelievesInExpectedValues) {
  CandidatePosterior posterior(&kernel_, x_, y_, noise_);
  posterior.Extend(candidates_);
  const VectorXd mean = Means(posterior), variance = Variances(posterior);
  PosteriorFork fork(&posterior);
  const SurrogateInputs pending = Join(Row(candidates_, 3), Inputs(2, 13));
  SurrogateInputs x = x_;
  VectorXd y = y_, noise = noise_;
  for (int i = 0; i < pending.rows(); ++i) {
    const Moments before = Regress(kernel_, x, y, noise, Row(pending, i));
    const PosteriorFork::Moments moments = fork.Believe(Row(pending, i));
    EXPECT_NEAR(moments.mean, before.mean[0], 1e-5);
    EXPECT_NEAR(moments.variance, before.variance[0], 1e-5);
    x = Join(x, Row(pending, i));
    y.conservativeResize(x.rows());
    y[x.rows() - 1] = before.mean[0];
    noise.conservativeResize(x.rows());
    noise[x.rows() - 1] = 0;
  }
  const Moments expected = Regress(kernel_, x, y, noise, candidates_);
  for (int j = 0; j < candidates_.rows(); ++j) {
    EXPECT_NEAR(fork.mean(j), expected.mean[j], 1e-5);
    EXPECT_NEAR(fork.variance(j), expected.variance[j], 1e-5);
  }
  EXPECT_EQ(Means(posterior), mean);
  EXPECT_EQ(Variances(posterior), variance);
}

TEST(SurrogateKernel, LeaveOneOutIsThePosteriorOfAllOthers) {
  const SurrogateKernel kernel = Kernel();
  constexpr int kRows = 12;
  const SurrogateInputs x = Inputs(kRows, 1);
  const VectorXd y = Normals(kRows, 2);
  const VectorXd noise = 0.1 * Normals(kRows, 3).cwiseAbs();
  const SurrogateKernel::LeftOut all = kernel.LeaveOneOut(x, y, noise);
  ASSERT_EQ(all.mean.size(), kRows);
  for (int i = 0; i < kRows; ++i) {
    SurrogateInputs others;
    others.one_hot.resize(kRows - 1, x.one_hot.cols());
    others.numeric.resize(kRows - 1, x.numeric.cols());
    VectorXd other_y(kRows - 1), other_noise(kRows - 1);
    for (int j = 0, to = 0; j < kRows; ++j) {
      if (j == i) continue;
      others.one_hot.row(to) = x.one_hot.row(j);
      others.numeric.row(to) = x.numeric.row(j);
      other_y[to] = y[j];
      other_noise[to++] = noise[j];
    }
    CandidatePosterior posterior(&kernel, others, other_y, other_noise);
    posterior.Extend({x.one_hot.row(i), x.numeric.row(i)});
    EXPECT_NEAR(all.mean[i], posterior.mean(0), 1e-6);
    EXPECT_NEAR(all.variance[i],
                posterior.variance(0) + kernel.noise() + noise[i], 1e-6);
  }
}

}  // namespace
}  // namespace hwnas
