#include "nas/surrogate/gaussian_process.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace hwnas {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

// Places of the parameters that are not relevances.
enum { kOverlap, kMatern, kTrend, kNoise, kFirstRelevance };

constexpr double kRoot5 = 2.2360679774997896;
// Part of the variance added to the diagonal: keeps equal points apart.
constexpr double kJitter = 1e-8;

// Grows `matrix` to at least rows x columns, by more than asked for so that it
// is rarely copied. New entries are undefined.
void Reserve(MatrixXd& matrix, Index rows, Index columns) {
  if (rows <= matrix.rows() && columns <= matrix.cols()) return;
  const auto grown = [](Index have, Index want) {
    return want <= have ? have : want + std::max<Index>(32, want / 4);
  };
  matrix.conservativeResize(grown(matrix.rows(), rows),
                            grown(matrix.cols(), columns));
}

void AppendRows(MatrixXd& to, const MatrixXd& more) {
  const Index before = to.rows();
  to.conservativeResize(before + more.rows(), more.cols());
  to.bottomRows(more.rows()) = more;
}

MatrixXd SomeRows(const MatrixXd& all, absl::Span<const int> rows) {
  MatrixXd some(static_cast<Index>(rows.size()), all.cols());
  for (size_t i = 0; i < rows.size(); ++i) {
    some.row(static_cast<Index>(i)) = all.row(rows[i]);
  }
  return some;
}

// The lower Cholesky factor of the covariance of observations with `noise`
// beside the kernel's.
MatrixXd Factor(const SurrogateKernel& kernel,
                const SurrogateKernel::Prepared& observed,
                const VectorXd& noise) {
  const MatrixXd k = kernel.Cross(observed, observed);
  // More on the diagonal until it can be factored; rarely asked for.
  for (double jitter = kJitter;; jitter *= 10) {
    MatrixXd sum = k;
    sum.diagonal().array() += noise.array() + (kernel.noise() + jitter);
    const Eigen::LLT<MatrixXd> factor(sum);
    if (factor.info() == Eigen::Success || jitter > 1) return factor.matrixL();
  }
}

}  // namespace

int SurrogateLayout::one_hot_width() const {
  return std::accumulate(options.begin(), options.end(), 0);
}

SurrogateKernel::SurrogateKernel(SurrogateLayout layout)
    : layout_(std::move(layout)) {
  const auto decisions = static_cast<Index>(layout_.options.size());
  const Index count = kFirstRelevance + decisions + layout_.numeric;
  log_.resize(count);
  prior_sd_ = VectorXd::Constant(count, 1.0);
  log_[kOverlap] = std::log(0.5);
  log_[kMatern] = std::log(layout_.numeric > 0 ? 0.5 : 1e-6);
  log_[kTrend] = std::log(layout_.numeric > 0 ? 0.5 : 0.1);
  log_[kNoise] = std::log(1e-2);
  prior_sd_[kNoise] = 1.5;
  log_.segment(kFirstRelevance, decisions)
      .setConstant(
          std::log(2.0 / static_cast<double>(std::max<Index>(1, decisions))));
  if (layout_.numeric > 0) {
    log_.tail(layout_.numeric).setConstant(std::log(0.5 / layout_.numeric));
  }
  prior_mean_ = log_;
}

double SurrogateKernel::noise() const { return std::exp(log_[kNoise]); }

SurrogateKernel::Prepared SurrogateKernel::Prepared::Rows(
    absl::Span<const int> rows) const {
  Prepared some;
  some.one_hot = SomeRows(one_hot, rows);
  some.numeric = SomeRows(numeric, rows);
  some.trend = SomeRows(trend, rows);
  some.squares = SomeRows(squares, rows);
  return some;
}

void SurrogateKernel::Prepared::Append(const Prepared& more) {
  AppendRows(one_hot, more.one_hot);
  AppendRows(numeric, more.numeric);
  AppendRows(trend, more.trend);
  const Index before = squares.size();
  squares.conservativeResize(before + more.rows());
  squares.tail(more.rows()) = more.squares;
}

SurrogateKernel::Prepared SurrogateKernel::Prepare(
    const SurrogateInputs& a) const {
  Prepared prepared;
  prepared.one_hot = a.one_hot;
  Index column = 0;
  for (size_t i = 0; i < layout_.options.size(); ++i) {
    const double root = std::exp(0.5 * log_[kFirstRelevance + i]);
    prepared.one_hot.middleCols(column, layout_.options[i]) *= root;
    column += layout_.options[i];
  }
  prepared.numeric =
      a.numeric *
      (0.5 * log_.tail(layout_.numeric)).array().exp().matrix().asDiagonal();
  prepared.squares = prepared.numeric.rowwise().squaredNorm();
  const double trend = std::exp(0.5 * log_[kTrend]);
  prepared.trend.resize(a.rows(), layout_.numeric + 1);
  prepared.trend.col(0).setConstant(trend);
  if (layout_.numeric > 0) {
    prepared.trend.rightCols(layout_.numeric) =
        a.numeric * (trend / std::sqrt(layout_.numeric));
  }
  return prepared;
}

Eigen::ArrayXXd SurrogateKernel::Overlap(const Prepared& a,
                                         const Prepared& b) const {
  // The product adds up the relevances of decisions that agree.
  const double all =
      log_.segment(kFirstRelevance, static_cast<Index>(layout_.options.size()))
          .array()
          .exp()
          .sum();
  return ((a.one_hot * b.one_hot.transpose()).array() + (log_[kOverlap] - all))
      .exp();
}

Eigen::ArrayXXd SurrogateKernel::Distance(const Prepared& a,
                                          const Prepared& b) const {
  MatrixXd d = -2 * (a.numeric * b.numeric.transpose());
  d.colwise() += a.squares;
  d.rowwise() += b.squares.transpose();
  return kRoot5 * d.array().max(0).sqrt();
}

MatrixXd SurrogateKernel::Cross(const Prepared& a, const Prepared& b) const {
  MatrixXd k = a.trend * b.trend.transpose();
  k.array() += Overlap(a, b);
  if (layout_.numeric > 0) {
    const Eigen::ArrayXXd r = Distance(a, b);
    k.array() += (1 + r + r.square() * (1.0 / 3)) * (log_[kMatern] - r).exp();
  }
  return k;
}

VectorXd SurrogateKernel::Diagonal(const Prepared& a) const {
  VectorXd d = a.trend.rowwise().squaredNorm();
  d.array() += std::exp(log_[kOverlap]);
  if (layout_.numeric > 0) d.array() += std::exp(log_[kMatern]);
  return d;
}

double SurrogateKernel::LogPosterior(const SurrogateInputs& x,
                                     const VectorXd& y,
                                     const VectorXd& extra_noise,
                                     VectorXd* gradient) const {
  const Index n = x.rows();
  const Prepared prepared = Prepare(x);
  const Eigen::ArrayXXd overlap = Overlap(prepared, prepared);
  const Eigen::ArrayXXd trend =
      (prepared.trend * prepared.trend.transpose()).array();
  MatrixXd k = (overlap + trend).matrix();
  Eigen::ArrayXXd r, decay;
  if (layout_.numeric > 0) {
    r = Distance(prepared, prepared);
    decay = (log_[kMatern] - r).exp();
    k.array() += (1 + r + r.square() * (1.0 / 3)) * decay;
  }
  k.diagonal().array() += extra_noise.array() + (noise() + kJitter);

  const Eigen::LLT<MatrixXd> factor(k);
  if (factor.info() != Eigen::Success) {
    return -std::numeric_limits<double>::infinity();
  }
  const VectorXd alpha = factor.solve(y);
  double value = -0.5 * y.dot(alpha);
  for (Index i = 0; i < n; ++i) {
    value -= std::log(factor.matrixLLT()(i, i));
  }
  const VectorXd deviation = (log_ - prior_mean_).cwiseQuotient(prior_sd_);
  value -= 0.5 * deviation.squaredNorm();
  if (gradient == nullptr) return value;

  // d value / d p = 1/2 trace((alpha alpha' - K^-1) dK/dp).
  MatrixXd g = -factor.solve(MatrixXd::Identity(n, n));
  g += alpha * alpha.transpose();
  gradient->setZero(log_.size());
  const MatrixXd g_overlap = g.cwiseProduct(overlap.matrix());
  (*gradient)[kOverlap] = 0.5 * g_overlap.sum();
  (*gradient)[kTrend] = 0.5 * (g.array() * trend).sum();
  (*gradient)[kNoise] = 0.5 * noise() * g.trace();
  // dK1/dt_i = -K1 [x_i != y_i].
  const MatrixXd by_option = g_overlap * x.one_hot;
  const VectorXd same =
      by_option.cwiseProduct(x.one_hot).colwise().sum().transpose();
  const double total = g_overlap.sum();
  Index column = 0;
  for (size_t i = 0; i < layout_.options.size(); ++i) {
    const Index place = kFirstRelevance + static_cast<Index>(i);
    (*gradient)[place] =
        -0.5 * std::exp(log_[place]) *
        (total - same.segment(column, layout_.options[i]).sum());
    column += layout_.options[i];
  }
  if (layout_.numeric > 0) {
    (*gradient)[kMatern] =
        0.5 * (g.array() * (1 + r + r.square() / 3) * decay).sum();
    // With q = sum_j r_j d_j^2 and r = sqrt(5 q): dK2/dq = -5/6 (1 + r) e^-r.
    const MatrixXd h = (g.array() * (1 + r) * decay * (-5.0 / 6)).matrix();
    const VectorXd row = h.rowwise().sum();
    const VectorXd squares =
        (row.transpose() * x.numeric.cwiseAbs2()).transpose();
    const VectorXd products =
        (h * x.numeric).cwiseProduct(x.numeric).colwise().sum().transpose();
    for (int j = 0; j < layout_.numeric; ++j) {
      const Index place = log_.size() - layout_.numeric + j;
      (*gradient)[place] =
          0.5 * std::exp(log_[place]) * 2 * (squares[j] - products[j]);
    }
  }
  *gradient -= deviation.cwiseQuotient(prior_sd_);
  return value;
}

SurrogateKernel::LeftOut SurrogateKernel::LeaveOneOut(
    const SurrogateInputs& x, const VectorXd& y,
    const VectorXd& extra_noise) const {
  const Prepared prepared = Prepare(x);
  MatrixXd k = Cross(prepared, prepared);
  k.diagonal().array() += extra_noise.array() + (noise() + kJitter);
  const Eigen::LLT<MatrixXd> factor(k);
  if (factor.info() != Eigen::Success) return {};
  const MatrixXd root =
      factor.matrixL().solve(MatrixXd::Identity(x.rows(), x.rows()).eval());
  // The diagonal of the inverse.
  const VectorXd precision = root.colwise().squaredNorm().transpose();
  return {y - factor.solve(y).cwiseQuotient(precision),
          precision.cwiseInverse()};
}

void SurrogateKernel::Fit(const SurrogateInputs& x, const VectorXd& y,
                          const VectorXd& extra_noise, int iterations) {
  VectorXd gradient(log_.size());
  VectorXd previous = VectorXd::Zero(log_.size());
  VectorXd step = VectorXd::Constant(log_.size(), 0.2);
  VectorXd best = log_;
  double best_value = -std::numeric_limits<double>::infinity();
  for (int i = 0; i < iterations; ++i) {
    const double value = LogPosterior(x, y, extra_noise, &gradient);
    if (!std::isfinite(value)) {
      if (i == 0) break;
      // Back to where all was well; on from there with smaller steps.
      log_ = best;
      step *= 0.25;
      previous.setZero();
      continue;
    }
    if (value > best_value) {
      best_value = value;
      best = log_;
    }
    for (Index p = 0; p < log_.size(); ++p) {
      const double agreement = gradient[p] * previous[p];
      if (agreement > 0) {
        step[p] = std::min(step[p] * 1.2, 1.0);
      } else if (agreement < 0) {
        step[p] = std::max(step[p] * 0.5, 1e-4);
        gradient[p] = 0;
      }
      if (gradient[p] > 0) log_[p] += step[p];
      if (gradient[p] < 0) log_[p] -= step[p];
      log_[p] = std::clamp(log_[p], prior_mean_[p] - 6 * prior_sd_[p],
                           prior_mean_[p] + 6 * prior_sd_[p]);
    }
    previous = gradient;
  }
  log_ = best;
}

PosteriorMean::PosteriorMean(SurrogateKernel kernel, const SurrogateInputs& x,
                             const VectorXd& y)
    : kernel_(std::move(kernel)), observed_(kernel_.Prepare(x)) {
  const MatrixXd factor = Factor(kernel_, observed_, VectorXd::Zero(x.rows()));
  weights_ = factor.triangularView<Eigen::Lower>().solve(y);
  factor.triangularView<Eigen::Lower>().transpose().solveInPlace(weights_);
}

VectorXd PosteriorMean::At(const SurrogateInputs& points) const {
  return kernel_.Cross(kernel_.Prepare(points), observed_) * weights_;
}

CandidatePosterior::CandidatePosterior(const SurrogateKernel* kernel,
                                       const SurrogateInputs& x,
                                       const VectorXd& y, const VectorXd& noise)
    : kernel_(kernel), observed_(kernel->Prepare(x)) {
  candidates_ = observed_.Rows({});
  factor_ = Factor(*kernel_, observed_, noise);
  weights_ = factor_.triangularView<Eigen::Lower>().solve(y);
  solved_.resize(x.rows(), 0);
}

void CandidatePosterior::Observe(const SurrogateInputs& x, double y,
                                 double noise) {
  const SurrogateKernel::Prepared row = kernel_->Prepare(x);
  const Index n = observed_.rows();
  const Index candidates = size();
  const VectorXd l =
      factor_.topLeftCorner(n, n).triangularView<Eigen::Lower>().solve(
          kernel_->Cross(observed_, row).col(0));
  const double own =
      kernel_->Diagonal(row)[0] + kernel_->noise() + noise + kJitter;
  const double d = std::sqrt(std::max(own - l.squaredNorm(), 1e-10));
  const double weight = (y - l.dot(weights_)) / d;
  const VectorXd v = (kernel_->Cross(candidates_, row).col(0) -
                      solved_.topLeftCorner(n, candidates).transpose() * l) /
                     d;
  Reserve(factor_, n + 1, n + 1);
  factor_.row(n).head(n) = l.transpose();
  factor_(n, n) = d;
  weights_.conservativeResize(n + 1);
  weights_[n] = weight;
  Reserve(solved_, n + 1, candidates);
  solved_.row(n).head(candidates) = v.transpose();
  observed_.Append(row);
  mean_ += weight * v;
  variance_ -= v.cwiseAbs2();
}

void CandidatePosterior::Extend(const SurrogateInputs& candidates) {
  const Index more = candidates.rows();
  if (more == 0) return;
  const SurrogateKernel::Prepared rows = kernel_->Prepare(candidates);
  const Index n = observed_.rows();
  const Index before = size();
  const MatrixXd solved =
      factor_.topLeftCorner(n, n).triangularView<Eigen::Lower>().solve(
          kernel_->Cross(observed_, rows));
  candidates_.Append(rows);
  Reserve(solved_, n, before + more);
  solved_.block(0, before, n, more) = solved;
  mean_.conservativeResize(before + more);
  variance_.conservativeResize(before + more);
  mean_.tail(more) = solved.transpose() * weights_;
  variance_.tail(more) =
      kernel_->Diagonal(rows) - solved.colwise().squaredNorm().transpose();
}

void CandidatePosterior::Keep(absl::Span<const int> candidates) {
  candidates_ = candidates_.Rows(candidates);
  const Index n = observed_.rows();
  const auto count = static_cast<Index>(candidates.size());
  MatrixXd solved(n, count);
  VectorXd mean(count), variance(count);
  for (Index i = 0; i < count; ++i) {
    solved.col(i) = solved_.col(candidates[i]).head(n);
    mean[i] = mean_[candidates[i]];
    variance[i] = variance_[candidates[i]];
  }
  solved_ = std::move(solved);
  mean_ = std::move(mean);
  variance_ = std::move(variance);
}

PosteriorFork::Moments PosteriorFork::Believe(const SurrogateInputs& x) {
  const SurrogateKernel& kernel = *base_->kernel_;
  Row row;
  row.x = kernel.Prepare(x);
  const Index n = base_->observed_.rows();
  row.base =
      base_->factor_.topLeftCorner(n, n).triangularView<Eigen::Lower>().solve(
          kernel.Cross(base_->observed_, row.x).col(0));
  Moments moments;
  moments.mean = row.base.dot(base_->weights_);
  moments.variance = kernel.Diagonal(row.x)[0] - row.base.squaredNorm();
  const Index candidates = base_->size();
  row.solved =
      kernel.Cross(base_->candidates_, row.x).col(0) -
      base_->solved_.topLeftCorner(n, candidates).transpose() * row.base;
  for (const Row& before : believed_) {
    double l = kernel.Cross(before.x, row.x)(0, 0) - before.base.dot(row.base);
    for (size_t i = 0; i < row.own.size(); ++i) l -= before.own[i] * row.own[i];
    l /= before.own.back();
    row.own.push_back(l);
    row.solved -= l * before.solved;
    moments.variance -= l * l;
  }
  const double d =
      std::sqrt(std::max(moments.variance + kernel.noise() + kJitter, 1e-10));
  row.own.push_back(d);
  row.solved /= d;
  if (believed_.empty()) variance_ = base_->variance_;
  variance_ -= row.solved.cwiseAbs2();
  believed_.push_back(std::move(row));
  moments.variance = std::max(moments.variance, 0.0);
  return moments;
}

}  // namespace hwnas
