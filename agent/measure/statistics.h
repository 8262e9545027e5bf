// Robust statistics of small samples. Pure functions; samples must be finite.
#pragma once

#include <optional>

#include "absl/types/span.h"

namespace hwnas::agent {

// Median of the distances from the median (not scaled to a standard
// deviation). At least one sample.
double MedianAbsoluteDeviation(absl::Span<const double> samples);

// Quantile q in [0, 1], interpolated linearly between order statistics
// (definition 7 of Hyndman and Fan, The American Statistician 50, 1996: the
// default of R and NumPy). At least one sample.
double Quantile(absl::Span<const double> samples, double q);

struct Interval {
  double low = 0;
  double high = 0;
};

// By how much more samples in a row resemble each other than independent ones:
// n samples tell as much about the median as n / CorrelationTime independent
// ones. From 1. It is the integrated autocorrelation time of "above the median
// or below", which is what the variance of a sample median depends on, summed
// by Geyer's initial monotone sequence (Statistical Science 7, 1992,
// section 3.3). At least one sample, in the order of time.
double CorrelationTime(absl::Span<const double> samples);

// Confidence interval of the median of the distribution that the samples come
// from: the order statistics x(k) and x(n + 1 - k) with the largest k for which
// P(Binomial(n, 1/2) < k) <= (1 - confidence) / 2. Exact for every continuous
// distribution: it covers the median with at least `confidence` if the samples
// are independent (Conover, Practical Nonparametric Statistics, 3rd ed., 1999,
// section 3.2; David and Nagaraja, Order Statistics, 3rd ed., 2003, section
// 7.1). For samples that are not, the ranks move apart by the root of
// `correlation_time`. None if there are too few samples: 95 % needs 6.
std::optional<Interval> MedianConfidenceInterval(
    absl::Span<const double> samples, double confidence = 0.95,
    double correlation_time = 1);

}  // namespace hwnas::agent
