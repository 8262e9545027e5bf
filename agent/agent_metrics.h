// What an agent tells Prometheus about its measurements.
#pragma once

#include <string>

#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace hwnas::agent {

// Thread-safe. `registry` must outlive it.
class AgentMetrics {
 public:
  explicit AgentMetrics(prometheus::Registry& registry);

  // Once for each task. `outcome` is "ok", "failed" or "cancelled".
  void CountMeasurement(const std::string& outcome, double seconds);
  // For measurements with that flag.
  void CountUnconverged() { unconverged_.Increment(); }
  void CountNoisy() { noisy_.Increment(); }
  void ObserveWaitForCores(double seconds) { wait_seconds_.Observe(seconds); }

 private:
  prometheus::Family<prometheus::Counter>& measurements_;
  prometheus::Histogram& seconds_;
  prometheus::Histogram& wait_seconds_;
  prometheus::Counter& unconverged_;
  prometheus::Counter& noisy_;
};

}  // namespace hwnas::agent
