#include "nas/surrogate/network_ensemble.h"

#include <Eigen/QR>
#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

MatrixXd Normals(int rows, int columns, uint64_t seed) {
  Rng rng(seed);
  MatrixXd x(rows, columns);
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) x(i, j) = rng.Normal();
  }
  return x;
}

// Not linear: a product and a bend.
VectorXd Curve(const MatrixXd& x) {
  VectorXd y(x.rows());
  for (int i = 0; i < x.rows(); ++i) {
    y[i] = 0.7 * x(i, 0) * x(i, 1) + std::abs(x(i, 2)) - 0.8 + 0.5 * x(i, 3);
  }
  return y;
}

double RootMeanSquare(const Eigen::ArrayXd& a) {
  return std::sqrt(a.square().mean());
}

TEST(NetworkEnsemble, LearnsALine) {
  const MatrixXd x = Normals(80, 4, 1);
  VectorXd y = x * Eigen::Vector4d(0.8, -0.5, 0.2, 0);
  y.array() += 3;
  const NetworkEnsemble ensemble(6, x, y, VectorXd::Zero(80), Rng(1));
  const MatrixXd other = Normals(50, 4, 2);
  const VectorXd expected =
      ((other * Eigen::Vector4d(0.8, -0.5, 0.2, 0)).array() + 3).matrix();
  EXPECT_LT(RootMeanSquare(ensemble.Predict(other).mean - expected.array()),
            0.15);
}

TEST(NetworkEnsemble, LearnsWhatLeastSquaresCannot) {
  const MatrixXd x = Normals(200, 4, 1);
  const VectorXd y = Curve(x);
  const MatrixXd other = Normals(200, 4, 2);
  const VectorXd expected = Curve(other);
  const NetworkEnsemble ensemble(6, x, y, VectorXd::Zero(200), Rng(1));
  const double error =
      RootMeanSquare(ensemble.Predict(other).mean - expected.array());
  MatrixXd with_one(200, 5), other_with_one(200, 5);
  with_one << x, VectorXd::Ones(200);
  other_with_one << other, VectorXd::Ones(200);
  const VectorXd line = with_one.colPivHouseholderQr().solve(y);
  const double line_error =
      RootMeanSquare((other_with_one * line - expected).array());
  EXPECT_LT(error, 0.6 * line_error);
}

TEST(NetworkEnsemble, DisagreesMoreWhereThereAreNoExamples) {
  const MatrixXd x = Normals(100, 4, 1);
  const NetworkEnsemble ensemble(8, x, Curve(x), VectorXd::Zero(100), Rng(1));
  EXPECT_GT(ensemble.Predict(4 * Normals(100, 4, 2)).deviation.mean(),
            2 * ensemble.Predict(x).deviation.mean());
}

TEST(NetworkEnsemble, FindsHowNoisyTheValuesAre) {
  const MatrixXd x = Normals(200, 4, 1);
  const VectorXd line = x * Eigen::Vector4d(0.5, -0.5, 0.5, 0.5);
  const auto noise = [&](double deviation) {
    return NetworkEnsemble(1, x, line + deviation * Normals(200, 1, 3),
                           VectorXd::Zero(200), Rng(1))
        .noise();
  };
  EXPECT_LT(noise(0.02), noise(0.6));
  EXPECT_GE(noise(0.6), 0.1);
}

TEST(NetworkEnsemble, MakesLittleOfValuesWithExtraNoise) {
  const MatrixXd x = Normals(120, 4, 1);
  const VectorXd y = x.col(0);
  VectorXd wrong = y;
  wrong.tail(60) *= -1;
  VectorXd extra = VectorXd::Zero(120);
  extra.tail(60).setConstant(100);
  const MatrixXd other = Normals(50, 4, 2);
  const auto error = [&](const VectorXd& noise) {
    return RootMeanSquare(
        NetworkEnsemble(6, x, wrong, noise, Rng(1)).Predict(other).mean -
        other.col(0).array());
  };
  EXPECT_LT(error(extra), 0.3);
  EXPECT_GT(error(VectorXd::Zero(120)), 0.6);
}

TEST(NetworkEnsemble, PredictsTheOnlyValueIfThereIsOne) {
  const MatrixXd x = Normals(1, 4, 1);
  const VectorXd y = VectorXd::Constant(1, 7.0);
  const NetworkEnsemble ensemble(3, x, y, VectorXd::Zero(1), Rng(1));
  EXPECT_DOUBLE_EQ(ensemble.Predict(Normals(1, 4, 2)).mean[0], 7);
}

TEST(NetworkEnsemble, IgnoresWhatIsConstant) {
  MatrixXd x = Normals(40, 4, 1);
  x.col(2).setConstant(5);
  const VectorXd y = x.col(0);
  const NetworkEnsemble ensemble(3, x, y, VectorXd::Zero(40), Rng(1));
  MatrixXd moved = x;
  moved.col(2).setConstant(500);
  EXPECT_TRUE(ensemble.Predict(moved).mean.isApprox(ensemble.Predict(x).mean));
}

}  // namespace
}  // namespace hwnas
