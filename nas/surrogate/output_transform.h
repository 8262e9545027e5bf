// Makes the values of an objective easier to model.
#pragma once

#include <Eigen/Core>
#include <vector>

namespace hwnas {

// A strictly increasing map from an objective's values (minimised) to a scale
// of mean 0 and spread 1. Immutable value.
class OutputTransform {
 public:
  enum class Shape {
    kIdentity,
    // Logarithm of the distance from zero: for values of one sign, such as
    // times and energies.
    kLogarithm,
    // As it is up to the median; beyond, bad values are drawn together
    // logarithmically: what fails badly should not bend the model of what is
    // good.
    kCompressed,
  };

  // `values` has at least one, all finite. A shape that does not apply becomes
  // kIdentity.
  OutputTransform(Shape shape, const std::vector<double>& values);
  OutputTransform() : OutputTransform(Shape::kIdentity, {0.0}) {}

  Shape shape() const { return shape_; }
  double Forward(double value) const;
  double Inverse(double scaled) const;
  // The variance of the transformed value that an uncertainty of `value` means
  // (a standard deviation, may be infinite); at most 1, which is all that is
  // known of any value.
  double Variance(double value, double deviation) const;
  // Sum over `values` of the logarithm of the slope: makes likelihoods under
  // different transforms comparable.
  double LogSlope(const std::vector<double>& values) const;

 private:
  double Bend(double value) const;

  Shape shape_;
  double sign_ = 1;    // kLogarithm: of the values.
  double centre_ = 0;  // kCompressed.
  double spread_ = 1;  // kCompressed.
  double mean_ = 0;
  double scale_ = 1;
};

}  // namespace hwnas
