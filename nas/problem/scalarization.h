// Several objectives as one number, the *score*: larger is better.
//
// Each form is a function of the objectives' values that never gets better when
// one of them gets worse. So among any trials some best one is on their front;
// where every weight is positive (or the augmentation of the Chebyshev form
// is), each best one is.
#pragma once

#include <variant>
#include <vector>

#include "absl/types/span.h"

namespace hwnas {

// `minimised` holds one finite value for each objective, negated where the
// objective is maximised; `values` holds them in the metrics' own sense. Lists
// in the specifications have one entry for each objective.

// The negated sum of weight * minimised value: a weight is what one unit of its
// metric is worth. Finds only points of the front's convex hull.
struct WeightedSum {
  std::vector<double> weights;  // At least 0.

  double Score(absl::Span<const double> minimised) const;
};

// The product of (value / target)^exponent, whose exponent is `alpha` where the
// value is no worse than its target and `beta` where it is. With an accuracy of
// exponent 1 and one latency it is the reward of MnasNet (Tan et al., CVPR
// 2019, arXiv 1807.11626, equations 2 and 3): alpha = beta = -0.07 is its soft
// constraint, alpha = 0 and beta = -1 its hard one. A value that is not
// positive counts as 1e-12.
struct WeightedProduct {
  struct Term {
    bool maximize = false;
    double target = 1;  // Greater than 0.
    // At least 0 if maximised, else at most 0.
    double alpha = 0;
    double beta = 0;
  };
  std::vector<Term> terms;

  // MnasNet's: 1 if maximised, else -0.07.
  static constexpr double DefaultExponent(bool maximize) {
    return maximize ? 1 : -0.07;
  }
  double Score(absl::Span<const double> values) const;
};

// The negated augmented Chebyshev distance (Steuer and Choo, Mathematical
// Programming, 1983): with u = weight * (minimised value - ideal),
//
//   -(max u + rho * sum u)
//
// Any point of the front is the best for some weights. Not a distance where a
// value is better than its ideal: then it goes on getting better (achievement
// function; Wierzbicki, 1980).
struct Chebyshev {
  std::vector<double> weights;  // At least 0.
  std::vector<double> ideal;    // Negated like `minimised`.
  double rho = 0.05;            // At least 0.

  double Score(absl::Span<const double> minimised) const;
};

// One objective alone (Haimes et al., 1971). The limits of the others are
// constraints of the problem.
struct EpsilonConstraint {
  int objective = 0;

  double Score(absl::Span<const double> minimised) const;
};

// monostate: none, the front is searched.
using Scalarization = std::variant<std::monostate, WeightedSum, WeightedProduct,
                                   Chebyshev, EpsilonConstraint>;

}  // namespace hwnas
