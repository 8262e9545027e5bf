// The standard process_* metrics: what the operating system says of us.
#pragma once

#include <vector>

#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"

namespace hwnas {

// Reads /proc/self at every scrape: process_resident_memory_bytes,
// process_cpu_seconds_total, process_open_fds, process_threads. A value that
// cannot be read is absent. Thread-safe.
class ProcessMetrics final : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override;
};

}  // namespace hwnas
