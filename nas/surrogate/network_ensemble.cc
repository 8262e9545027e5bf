#include "nas/surrogate/network_ensemble.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <limits>

namespace hwnas {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr Index kHidden = 48;
// Spread of what goes into a hidden unit: about where tanh starts to bend.
constexpr double kHiddenSpread = 1.5;
// Share of the prior variance that the path around the hidden layer has.
constexpr double kDirect = 0.5;
// Variances of the noise to choose from, as shares of that of the values.
constexpr double kNoises[] = {0.003, 0.01, 0.03, 0.1, 0.3};
// The least weight of an example.
constexpr double kLeastWeight = 0.05;

}  // namespace

NetworkEnsemble::NetworkEnsemble(int members, const MatrixXd& inputs,
                                 const VectorXd& values,
                                 const VectorXd& extra_noise, Rng rng)
    : mean_(inputs.colwise().mean()),
      scale_(Eigen::RowVectorXd::Zero(inputs.cols())),
      offset_(values.mean()) {
  const Index n = inputs.rows();
  const Eigen::RowVectorXd variance =
      (inputs.rowwise() - mean_).colwise().squaredNorm() /
      static_cast<double>(n);
  // All columns keep their relative size but for this: the total is 1.
  const double total = variance.sum();
  for (Index c = 0; c < inputs.cols(); ++c) {
    if (variance[c] > 1e-12) scale_[c] = 1 / std::sqrt(total);
  }
  const MatrixXd scaled = Scaled(inputs);
  const VectorXd centred = values.array() - offset_;
  for (int m = 0; m < members; ++m) {
    Network network = RandomNetwork(rng);
    const MatrixXd units = Units(network, scaled);
    MatrixXd gram = MatrixXd::Zero(n, n);
    gram.selfadjointView<Eigen::Lower>().rankUpdate(units);
    if (m == 0) ChooseNoise(gram, centred, extra_noise);
    for (Index i = 0; i < n; ++i) {
      const double weight = std::max(kLeastWeight, -std::log1p(-rng.Uniform()));
      gram(i, i) += noise_ / weight + extra_noise[i];
    }
    const Eigen::LLT<MatrixXd> factor(gram);
    network.readout = units.transpose() * factor.solve(centred);
    networks_.push_back(std::move(network));
  }
}

MatrixXd NetworkEnsemble::Scaled(const MatrixXd& inputs) const {
  return (inputs.rowwise() - mean_) * scale_.asDiagonal();
}

MatrixXd NetworkEnsemble::Units(const Network& network,
                                const MatrixXd& scaled) const {
  MatrixXd units(scaled.rows(), scaled.cols() + kHidden);
  units.leftCols(scaled.cols()) = std::sqrt(kDirect) * scaled;
  units.rightCols(kHidden) =
      (std::sqrt((1 - kDirect) / kHidden) *
       ((scaled * network.hidden).rowwise() + network.bias).array().tanh())
          .matrix();
  return units;
}

NetworkEnsemble::Network NetworkEnsemble::RandomNetwork(Rng& rng) const {
  Network network;
  network.hidden.resize(mean_.size(), kHidden);
  network.bias.resize(kHidden);
  for (Index h = 0; h < kHidden; ++h) {
    for (Index c = 0; c < mean_.size(); ++c) {
      network.hidden(c, h) = kHiddenSpread * rng.Normal();
    }
    network.bias[h] = rng.Normal();
  }
  return network;
}

void NetworkEnsemble::ChooseNoise(const MatrixXd& gram, const VectorXd& values,
                                  const VectorXd& extra_noise) {
  const Index n = values.size();
  // Of the values; the prior's is about 1.
  const double spread =
      std::max(values.squaredNorm() / static_cast<double>(n), 1e-12);
  log_likelihood_ = -std::numeric_limits<double>::infinity();
  for (const double share : kNoises) {
    MatrixXd k = gram;
    k.diagonal().array() += share * spread + extra_noise.array();
    const Eigen::LLT<MatrixXd> factor(k);
    // Under the likeliest scale of the prior and the noise together.
    const double square = values.dot(factor.solve(values));
    double likelihood = -0.5 * static_cast<double>(n) *
                        std::log(square / static_cast<double>(n) + 1e-12);
    for (Index i = 0; i < n; ++i) {
      likelihood -= std::log(factor.matrixLLT()(i, i));
    }
    if (likelihood > log_likelihood_) {
      log_likelihood_ = likelihood;
      noise_ = share * spread;
    }
  }
}

NetworkEnsemble::Prediction NetworkEnsemble::Predict(
    const MatrixXd& inputs) const {
  const MatrixXd scaled = Scaled(inputs);
  MatrixXd outputs(inputs.rows(), static_cast<Index>(networks_.size()));
  for (size_t m = 0; m < networks_.size(); ++m) {
    outputs.col(static_cast<Index>(m)) =
        Units(networks_[m], scaled) * networks_[m].readout;
  }
  Prediction prediction;
  prediction.mean = outputs.rowwise().mean();
  const double degrees =
      std::max<double>(1, static_cast<double>(networks_.size()) - 1);
  prediction.deviation =
      ((outputs.colwise() - prediction.mean.matrix()).rowwise().squaredNorm() /
       degrees)
          .cwiseSqrt();
  prediction.mean += offset_;
  return prediction;
}

}  // namespace hwnas
