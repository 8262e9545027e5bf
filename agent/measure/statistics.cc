#include "agent/measure/statistics.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace hwnas::agent {
namespace {

double MedianInPlace(std::vector<double>& values) {
  const size_t middle = values.size() / 2;
  std::nth_element(values.begin(), values.begin() + middle, values.end());
  const double upper = values[middle];
  if (values.size() % 2 == 1) return upper;
  return (*std::max_element(values.begin(), values.begin() + middle) + upper) /
         2;
}

}  // namespace

double Median(absl::Span<const double> samples) {
  std::vector<double> values(samples.begin(), samples.end());
  return MedianInPlace(values);
}

double MedianAbsoluteDeviation(absl::Span<const double> samples) {
  std::vector<double> values(samples.begin(), samples.end());
  const double median = MedianInPlace(values);
  for (double& value : values) value = std::abs(value - median);
  return MedianInPlace(values);
}

double Quantile(absl::Span<const double> samples, double q) {
  std::vector<double> values(samples.begin(), samples.end());
  const double rank = q * static_cast<double>(values.size() - 1);
  const size_t below = static_cast<size_t>(rank);
  std::nth_element(values.begin(), values.begin() + below, values.end());
  const double low = values[below];
  if (below + 1 == values.size()) return low;
  const double high =
      *std::min_element(values.begin() + below + 1, values.end());
  return low + (rank - static_cast<double>(below)) * (high - low);
}

std::optional<Interval> MedianConfidenceInterval(
    absl::Span<const double> samples, double confidence) {
  const size_t n = samples.size();
  const double tail = (1 - confidence) / 2;
  // Sum binomial probabilities from the lower end, in logarithms since 2^-n
  // underflows.
  const double log_half_power = -static_cast<double>(n) * std::log(2.0);
  double log_choose = 0;
  double cumulative = 0;
  size_t k = 0;
  while (k < n) {
    cumulative += std::exp(log_choose + log_half_power);
    if (cumulative > tail) break;
    ++k;
    log_choose += std::log(static_cast<double>(n - k + 1)) -
                  std::log(static_cast<double>(k));
  }
  if (k == 0) return std::nullopt;
  std::vector<double> values(samples.begin(), samples.end());
  std::nth_element(values.begin(), values.begin() + (k - 1), values.end());
  Interval interval = {.low = values[k - 1]};
  std::nth_element(values.begin(), values.begin() + (n - k), values.end());
  interval.high = values[n - k];
  return interval;
}

}  // namespace hwnas::agent
