#include "agent/agent_metrics.h"

namespace hwnas::agent {
namespace {

const prometheus::Histogram::BucketBoundaries kSeconds = {
    0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 300};

prometheus::Histogram& Histogram(prometheus::Registry& registry,
                                 const char* name, const char* help) {
  return prometheus::BuildHistogram()
      .Name(name)
      .Help(help)
      .Register(registry)
      .Add({}, kSeconds);
}

prometheus::Counter& Counter(prometheus::Registry& registry, const char* name,
                             const char* help) {
  return prometheus::BuildCounter()
      .Name(name)
      .Help(help)
      .Register(registry)
      .Add({});
}

}  // namespace

AgentMetrics::AgentMetrics(prometheus::Registry& registry)
    : measurements_(prometheus::BuildCounter()
                        .Name("hwnas_agent_measurements_total")
                        .Help("Measurements ended, by outcome.")
                        .Register(registry)),
      seconds_(Histogram(registry, "hwnas_agent_measurement_seconds",
                         "Time of one measurement once it has the cores.")),
      wait_seconds_(Histogram(registry, "hwnas_agent_cores_wait_seconds",
                              "Time waited for training and other "
                              "measurements on this machine.")),
      unconverged_(Counter(registry, "hwnas_agent_unconverged_total",
                           "Measurements whose interval was still too wide "
                           "when time was up.")),
      noisy_(Counter(registry, "hwnas_agent_noisy_total",
                     "Measurements disturbed by other work.")) {
  // So that the first one is seen to grow from zero.
  for (const char* outcome : {"ok", "failed", "cancelled"}) {
    measurements_.Add({{"outcome", outcome}});
  }
}

void AgentMetrics::CountMeasurement(const std::string& outcome,
                                    double seconds) {
  measurements_.Add({{"outcome", outcome}}).Increment();
  seconds_.Observe(seconds);
}

}  // namespace hwnas::agent
