// Gaussian-process regression over architectures.
#pragma once

#include <Eigen/Core>
#include <vector>

#include "absl/types/span.h"

namespace hwnas {

// Points as rows: what the kernel sees of each.
struct SurrogateInputs {
  // One column for each option of each decision: 1 if taken.
  Eigen::MatrixXd one_hot;
  // Numeric features, each of about unit spread over the space.
  Eigen::MatrixXd numeric;

  Eigen::Index rows() const { return one_hot.rows(); }
};

// Shape of the inputs: the options of each decision and the number of numeric
// features.
struct SurrogateLayout {
  std::vector<int> options;
  int numeric = 0;

  int one_hot_width() const;
};

// The kernel, for points x and y with features f and g:
//
//   k = s1 exp(-sum over decisions i of t_i [x_i != y_i])    overlap
//     + s2 Matern52(sqrt(sum over features j of r_j (f_j - g_j)^2))
//     + s3 (1 + f.g / features)                              trend
//     + noise [same observation]
//
// Overlap is the transformed overlap kernel of categorical Bayesian
// optimisation (Wan et al., ICML 2021, arXiv 2102.07188) with one relevance for
// each decision. All parameters are positive and kept as logarithms:
// s1, s2, s3, noise, t_1.., r_1...
class SurrogateKernel {
 public:
  // Prior means of all parameters, for values of unit variance.
  explicit SurrogateKernel(SurrogateLayout layout);

  const SurrogateLayout& layout() const { return layout_; }
  const Eigen::VectorXd& parameters() const { return log_; }
  void set_parameters(const Eigen::VectorXd& log) { log_ = log; }
  double noise() const;

  // Points with what of the kernel depends on one point alone worked out; valid
  // for the present parameters.
  struct Prepared {
    Eigen::MatrixXd one_hot;  // Scaled by the roots of relevance.
    Eigen::MatrixXd numeric;  // Likewise.
    Eigen::MatrixXd trend;    // Scaled so that products are covariances.
    Eigen::VectorXd squares;  // Squared norms of the rows of numeric.

    Eigen::Index rows() const { return one_hot.rows(); }
    Prepared Rows(absl::Span<const int> rows) const;
    void Append(const Prepared& more);
  };
  Prepared Prepare(const SurrogateInputs& a) const;

  // Covariance of a's rows with b's, without noise.
  Eigen::MatrixXd Cross(const Prepared& a, const Prepared& b) const;
  // Variance of each row, without noise.
  Eigen::VectorXd Diagonal(const Prepared& a) const;

  // Log marginal likelihood of `y` at `x` plus the log prior of the parameters,
  // up to a constant; its gradient by the parameters unless nullptr. -infinity
  // where the covariance is not positive definite. `noise`: variance of each
  // value beside the noise that all have.
  double LogPosterior(const SurrogateInputs& x, const Eigen::VectorXd& y,
                      const Eigen::VectorXd& noise,
                      Eigen::VectorXd* gradient) const;
  // What each of `y` would be predicted to be from all others: mean and
  // variance with noise (Rasmussen and Williams, 2006, section 5.4.2). Empty
  // where the covariance is not positive definite.
  struct LeftOut {
    Eigen::VectorXd mean;
    Eigen::VectorXd variance;
  };
  LeftOut LeaveOneOut(const SurrogateInputs& x, const Eigen::VectorXd& y,
                      const Eigen::VectorXd& noise) const;
  // Moves the parameters from where they are to a maximum of LogPosterior by
  // iRprop- (Igel and Huesken, 2003; for Gaussian processes Blum and
  // Riedmiller, 2013). Deterministic.
  void Fit(const SurrogateInputs& x, const Eigen::VectorXd& y,
           const Eigen::VectorXd& noise, int iterations);

 private:
  // Covariance by overlap of a's rows with b's.
  Eigen::ArrayXXd Overlap(const Prepared& a, const Prepared& b) const;
  // Distances under the square root in Matern52, times the root of 5.
  Eigen::ArrayXXd Distance(const Prepared& a, const Prepared& b) const;

  SurrogateLayout layout_;
  Eigen::VectorXd log_;
  Eigen::VectorXd prior_mean_;
  Eigen::VectorXd prior_sd_;
};

// The mean of the posterior alone. Immutable.
class PosteriorMean {
 public:
  // Of observations without more noise than the kernel's.
  PosteriorMean(SurrogateKernel kernel, const SurrogateInputs& x,
                const Eigen::VectorXd& y);

  // Of the function without noise, at each row.
  Eigen::VectorXd At(const SurrogateInputs& points) const;

 private:
  const SurrogateKernel kernel_;
  const SurrogateKernel::Prepared observed_;
  Eigen::VectorXd weights_;  // K^-1 y.
};

// The posterior at a list of candidates, kept up to date while observations and
// candidates come in one by one: an observation costs O((observations + width)
// * candidates). Values are on the scale that the kernel was fitted to. Not
// thread-safe.
class CandidatePosterior {
 public:
  // Without candidates. `kernel` must outlive this and not change. `noise` as
  // in LogPosterior.
  CandidatePosterior(const SurrogateKernel* kernel, const SurrogateInputs& x,
                     const Eigen::VectorXd& y, const Eigen::VectorXd& noise);

  // One more observation; `x` has one row.
  void Observe(const SurrogateInputs& x, double y, double noise);
  // Appends candidates.
  void Extend(const SurrogateInputs& candidates);
  // Keeps only the candidates listed.
  void Keep(absl::Span<const int> candidates);

  Eigen::Index size() const { return mean_.size(); }
  // Of the function without noise.
  double mean(int j) const { return mean_[j]; }
  double variance(int j) const { return std::max(variance_[j], 0.0); }

 private:
  friend class PosteriorFork;

  const SurrogateKernel* kernel_;
  SurrogateKernel::Prepared candidates_;
  SurrogateKernel::Prepared observed_;
  // Lower Cholesky factor L of the covariance, in the corner of a larger matrix
  // so that it can grow.
  Eigen::MatrixXd factor_;
  Eigen::VectorXd weights_;  // L^-1 y.
  // L^-1 k(observed, candidates): a column for each candidate, in the corner.
  Eigen::MatrixXd solved_;
  Eigen::VectorXd mean_;
  Eigen::VectorXd variance_;
};

// A posterior that also takes evaluations under way into account: each is
// believed to end with its expected value (Kriging believer; Ginsbourger et
// al., 2010), so that means stay and variances shrink. Leaves the posterior it
// stands on as it is, and is invalid once that changes.
class PosteriorFork {
 public:
  // `base` must outlive this.
  explicit PosteriorFork(const CandidatePosterior* base) : base_(base) {}

  struct Moments {
    double mean = 0;
    double variance = 0;
  };
  // Believes that `x` (one row) is being evaluated; its moments before that.
  Moments Believe(const SurrogateInputs& x);

  double mean(int j) const { return base_->mean(j); }
  double variance(int j) const {
    return believed_.empty() ? base_->variance(j) : std::max(variance_[j], 0.0);
  }

 private:
  // One more row of the factor and of the solved columns.
  struct Row {
    SurrogateKernel::Prepared x;
    Eigen::VectorXd base;     // Against the observations.
    std::vector<double> own;  // Against rows before it; last the diagonal.
    Eigen::VectorXd solved;
  };

  const CandidatePosterior* base_;
  std::vector<Row> believed_;
  Eigen::VectorXd variance_;
};

}  // namespace hwnas
