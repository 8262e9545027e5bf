#include "agent/measure/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "common/statistics.h"

namespace hwnas::agent {
namespace {

// Correlation over more samples than this is a drift, whatever its time.
constexpr size_t kMaxLag = 1000;

}  // namespace

double MedianAbsoluteDeviation(absl::Span<const double> samples) {
  const double median = Median(samples);
  std::vector<double> distances;
  distances.reserve(samples.size());
  for (const double sample : samples) {
    distances.push_back(std::abs(sample - median));
  }
  return Median(distances);
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

double CorrelationTime(absl::Span<const double> samples) {
  const double median = Median(samples);
  const size_t n = samples.size();
  std::vector<double> sign(n);
  double total = 0;
  for (size_t i = 0; i < n; ++i) {
    sign[i] = samples[i] > median ? 1 : samples[i] < median ? -1 : 0;
    total += std::abs(sign[i]);
  }
  if (total == 0) return 1;
  const auto autocorrelation = [&](size_t lag) {
    double sum = 0;
    for (size_t i = 0; i + lag < n; ++i) sum += sign[i] * sign[i + lag];
    return sum / total;
  };
  double time = -1;
  double pair = std::numeric_limits<double>::infinity();
  for (size_t lag = 0; lag + 1 < std::min(n / 2, kMaxLag); lag += 2) {
    // Sums of neighbours fall and stay positive; after that there is noise.
    pair = std::min(pair, autocorrelation(lag) + autocorrelation(lag + 1));
    if (pair <= 0) break;
    time += 2 * pair;
  }
  return std::max(1.0, time);
}

std::optional<Interval> MedianConfidenceInterval(
    absl::Span<const double> samples, double confidence,
    double correlation_time) {
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
  const double middle = static_cast<double>(n + 1) / 2;
  const double rank = middle - (middle - static_cast<double>(k)) *
                                   std::sqrt(std::max(1.0, correlation_time));
  // The product above may be a hair off a whole number.
  if (rank < 1 - 1e-9) return std::nullopt;
  k = static_cast<size_t>(rank + 1e-9);
  std::vector<double> values(samples.begin(), samples.end());
  std::nth_element(values.begin(), values.begin() + (k - 1), values.end());
  Interval interval = {.low = values[k - 1]};
  std::nth_element(values.begin(), values.begin() + (n - k), values.end());
  interval.high = values[n - k];
  return interval;
}

}  // namespace hwnas::agent
