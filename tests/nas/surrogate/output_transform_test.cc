#include "nas/surrogate/output_transform.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas {
namespace {

using Shape = OutputTransform::Shape;

const std::vector<double>& Positive() {
  static const auto* values =
      new std::vector<double>{0.3, 1, 2.5, 4, 7, 11, 90};
  return *values;
}
const std::vector<double>& Negative() {
  static const auto* values =
      new std::vector<double>{-93, -90, -71, -70.5, -10, -1};
  return *values;
}

TEST(OutputTransform, StandardisesAndReadsBack) {
  for (const auto& values : {Positive(), Negative()}) {
    for (const Shape shape :
         {Shape::kIdentity, Shape::kLogarithm, Shape::kCompressed}) {
      const OutputTransform transform(shape, values);
      EXPECT_EQ(transform.shape(), shape);
      double sum = 0, squares = 0, last = -1e9;
      for (const double value : values) {
        const double scaled = transform.Forward(value);
        EXPECT_NEAR(transform.Inverse(scaled), value, 1e-9);
        EXPECT_GT(scaled, last);
        last = scaled;
        sum += scaled;
        squares += scaled * scaled;
      }
      EXPECT_NEAR(sum, 0, 1e-9);
      EXPECT_NEAR(squares, static_cast<double>(values.size()), 1e-9);
    }
  }
}

TEST(OutputTransform, SlopeIsThatOfFiniteDifferences) {
  for (const Shape shape :
       {Shape::kIdentity, Shape::kLogarithm, Shape::kCompressed}) {
    const OutputTransform transform(shape, Positive());
    double expected = 0;
    for (const double value : Positive()) {
      expected += std::log(
          (transform.Forward(value + 1e-6) - transform.Forward(value - 1e-6)) /
          2e-6);
    }
    EXPECT_NEAR(transform.LogSlope(Positive()), expected, 1e-4);
  }
}

TEST(OutputTransform, WhatDoesNotApplyStaysAsItIs) {
  EXPECT_EQ(OutputTransform(Shape::kLogarithm, {-1, 2}).shape(),
            Shape::kIdentity);
  EXPECT_EQ(OutputTransform(Shape::kLogarithm, {0, 2}).shape(),
            Shape::kIdentity);
  EXPECT_EQ(OutputTransform(Shape::kCompressed, {5, 5, 5}).shape(),
            Shape::kIdentity);
  const OutputTransform constant(Shape::kIdentity, {5, 5});
  EXPECT_EQ(constant.Forward(5), 0);
  EXPECT_EQ(constant.Inverse(1), 6);
}

TEST(OutputTransform, DrawsBadValuesTogetherAndLeavesGoodOnes) {
  const OutputTransform transform(Shape::kCompressed, {1, 2, 3, 100, 1000});
  const double good = transform.Forward(2) - transform.Forward(1);
  EXPECT_NEAR(transform.Forward(3) - transform.Forward(2), good, 1e-12);
  // 900 if nothing were done.
  EXPECT_LT(transform.Forward(1000) - transform.Forward(100), 6 * good);
}

TEST(OutputTransform, VarianceIsThatOfTheScaledValue) {
  // Mean 2, standard deviation 2.
  const OutputTransform transform(OutputTransform::Shape::kIdentity, {0, 4});
  EXPECT_EQ(transform.Variance(1, 0), 0);
  EXPECT_DOUBLE_EQ(transform.Variance(1, 0.5), 0.0625);
  EXPECT_EQ(transform.Variance(1, 100), 1);
  EXPECT_EQ(transform.Variance(1, std::numeric_limits<double>::infinity()), 1);
}

}  // namespace
}  // namespace hwnas
