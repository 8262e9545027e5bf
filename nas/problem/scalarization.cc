#include "nas/problem/scalarization.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace hwnas {
namespace {

// Whatever the values, a score is a number that strategies can reckon with.
double Bounded(double score) { return std::clamp(score, -1e100, 1e100); }

}  // namespace

double WeightedSum::Score(absl::Span<const double> minimised) const {
  double sum = 0;
  for (size_t k = 0; k < weights.size(); ++k) sum += weights[k] * minimised[k];
  return Bounded(-sum);
}

double WeightedProduct::Score(absl::Span<const double> values) const {
  constexpr double kLeast = 1e-12;
  double log_product = 0;  // Of factors too large or small for a double.
  for (size_t k = 0; k < terms.size(); ++k) {
    const Term& term = terms[k];
    const double value = std::max(values[k], kLeast);
    const bool worse =
        term.maximize ? value < term.target : value > term.target;
    log_product +=
        (worse ? term.beta : term.alpha) * std::log(value / term.target);
  }
  return Bounded(std::exp(log_product));
}

double Chebyshev::Score(absl::Span<const double> minimised) const {
  double largest = -std::numeric_limits<double>::infinity();
  double sum = 0;
  for (size_t k = 0; k < weights.size(); ++k) {
    const double u = weights[k] * (minimised[k] - ideal[k]);
    largest = std::max(largest, u);
    sum += u;
  }
  return Bounded(-(largest + rho * sum));
}

double EpsilonConstraint::Score(absl::Span<const double> minimised) const {
  return Bounded(-minimised[objective]);
}

}  // namespace hwnas
