#include "common/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace hwnas {
namespace {

prometheus::MetricFamily Single(const char* name, const char* help,
                                prometheus::MetricType type, double value) {
  prometheus::ClientMetric metric;
  if (type == prometheus::MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  return {name, help, type, {metric}};
}

}  // namespace

std::vector<prometheus::MetricFamily> ProcessMetrics::Collect() const {
  using prometheus::MetricType;
  std::vector<prometheus::MetricFamily> families;
  // "size resident shared ..." in pages.
  std::ifstream statm("/proc/self/statm");
  double size_pages = 0, resident_pages = 0;
  if (statm >> size_pages >> resident_pages) {
    families.push_back(
        Single("process_resident_memory_bytes",
               "Resident memory size in bytes.", MetricType::Gauge,
               resident_pages * static_cast<double>(sysconf(_SC_PAGESIZE))));
  }
  rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    auto seconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) +
             1e-6 * static_cast<double>(time.tv_usec);
    };
    families.push_back(Single(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.", MetricType::Counter,
        seconds(usage.ru_utime) + seconds(usage.ru_stime)));
  }
  auto count_entries = [&](const char* folder, const char* name,
                           const char* help) {
    std::error_code error;
    std::filesystem::directory_iterator entry(folder, error), end;
    double count = 0;
    while (!error && entry != end) {
      ++count;
      entry.increment(error);
    }
    if (!error) {
      families.push_back(Single(name, help, MetricType::Gauge, count));
    }
  };
  count_entries("/proc/self/fd", "process_open_fds",
                "Number of open file descriptors.");
  count_entries("/proc/self/task", "process_threads", "Number of threads.");
  return families;
}

}  // namespace hwnas
