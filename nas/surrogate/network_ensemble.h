// Small networks that disagree where they know little.
#pragma once

#include <Eigen/Core>
#include <vector>

#include "common/rng.h"

namespace hwnas {

// An ensemble of networks with one hidden layer and a path around it:
//
//   f(x) = u' x + v' tanh(W x + b)
//
// W and b are random and stay so; u and v are fitted in closed form by ridge
// regression (random-weight networks: Schmidt et al., 1992; Huang et al.,
// 2006), so a network takes a millisecond to train rather than seconds. Members
// differ in W and b and in the weights of the examples, drawn from a
// exponential distribution (the Bayesian bootstrap: Rubin, 1981). The noise,
// one for all members, is where the marginal likelihood of the examples under
// the first member is largest. Immutable.
class NetworkEnsemble {
 public:
  struct Prediction {
    Eigen::ArrayXd mean;
    Eigen::ArrayXd deviation;  // Standard deviation between members.
  };

  // `inputs` has a row for each of at least 1 example; a column that is
  // constant is ignored. `extra_noise` is a variance for each, in units of
  // `values` squared, where those have mean 0 and spread 1 or so.
  NetworkEnsemble(int members, const Eigen::MatrixXd& inputs,
                  const Eigen::VectorXd& values,
                  const Eigen::VectorXd& extra_noise, Rng rng);

  Prediction Predict(const Eigen::MatrixXd& inputs) const;

  // Of the values, under the first member.
  double log_likelihood() const { return log_likelihood_; }
  // Variance.
  double noise() const { return noise_; }

 private:
  // One network; its readout is of the inputs, then of the hidden units.
  struct Network {
    Eigen::MatrixXd hidden;
    Eigen::RowVectorXd bias;
    Eigen::VectorXd readout;
  };

  // Inputs on the scale of the networks.
  Eigen::MatrixXd Scaled(const Eigen::MatrixXd& inputs) const;
  // Inputs, then hidden units; each group has a mean square row norm of
  // about 1.
  Eigen::MatrixXd Units(const Network& network,
                        const Eigen::MatrixXd& scaled) const;
  Network RandomNetwork(Rng& rng) const;
  void ChooseNoise(const Eigen::MatrixXd& gram, const Eigen::VectorXd& values,
                   const Eigen::VectorXd& extra_noise);

  Eigen::RowVectorXd mean_;
  Eigen::RowVectorXd scale_;
  double offset_ = 0;
  double noise_ = 0;
  double log_likelihood_ = 0;
  std::vector<Network> networks_;
};

}  // namespace hwnas
