#include "nas/surrogate/output_transform.h"

#include <algorithm>
#include <cmath>

namespace hwnas {

OutputTransform::OutputTransform(Shape shape, const std::vector<double>& values)
    : shape_(shape) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  if (shape_ == Shape::kLogarithm) {
    if (*low > 0) {
      sign_ = 1;
    } else if (*high < 0) {
      sign_ = -1;
    } else {
      shape_ = Shape::kIdentity;
    }
  }
  if (shape_ == Shape::kCompressed) {
    std::vector<double> sorted = values;
    std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2,
                     sorted.end());
    centre_ = sorted[sorted.size() / 2];
    spread_ = centre_ - *low;
    if (!(spread_ > 0)) shape_ = Shape::kIdentity;
  }
  double sum = 0, squares = 0;
  for (const double value : values) sum += Bend(value);
  mean_ = sum / static_cast<double>(values.size());
  for (const double value : values) {
    squares += (Bend(value) - mean_) * (Bend(value) - mean_);
  }
  scale_ = std::sqrt(squares / static_cast<double>(values.size()));
  if (!(scale_ > 1e-12 * std::max(1.0, std::abs(mean_)))) scale_ = 1;
}

double OutputTransform::Bend(double value) const {
  switch (shape_) {
    case Shape::kIdentity:
      return value;
    case Shape::kLogarithm:
      return sign_ * std::log(std::max(sign_ * value, 1e-300));
    case Shape::kCompressed:
      return value <= centre_
                 ? value
                 : centre_ + spread_ * std::log1p((value - centre_) / spread_);
  }
  return value;
}

double OutputTransform::Forward(double value) const {
  return (Bend(value) - mean_) / scale_;
}

double OutputTransform::Inverse(double scaled) const {
  const double bent = mean_ + scale_ * scaled;
  switch (shape_) {
    case Shape::kIdentity:
      return bent;
    case Shape::kLogarithm:
      return sign_ * std::exp(std::min(sign_ * bent, 690.0));
    case Shape::kCompressed:
      return bent <= centre_
                 ? bent
                 : centre_ + spread_ * std::expm1(std::min(
                                           (bent - centre_) / spread_, 690.0));
  }
  return bent;
}

double OutputTransform::Variance(double value, double deviation) const {
  if (deviation == 0) return 0;
  if (!std::isfinite(deviation)) return 1;
  const double scaled =
      0.5 * (Forward(value + deviation) - Forward(value - deviation));
  return std::min(scaled * scaled, 1.0);
}

double OutputTransform::LogSlope(const std::vector<double>& values) const {
  double sum = 0;
  for (const double value : values) {
    if (shape_ == Shape::kLogarithm) {
      sum -= std::log(std::max(std::abs(value), 1e-300));
    } else if (shape_ == Shape::kCompressed && value > centre_) {
      sum -= std::log1p((value - centre_) / spread_);
    }
  }
  return sum - static_cast<double>(values.size()) * std::log(scale_);
}

}  // namespace hwnas
