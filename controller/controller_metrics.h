// What the controller shows to Prometheus.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "hwnas/v1/fleet_service.pb.h"
#include "hwnas/v1/trial.pb.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace hwnas::controller {

// Thread-safe. Labels are few-valued: never a study, a trial or an executor.
class ControllerMetrics {
 public:
  explicit ControllerMetrics(std::shared_ptr<prometheus::Registry> registry);

  void TrialEnded(v1::Trial::State state, absl::Duration duration);
  void StageFinished(v1::StageKind stage, absl::Duration duration);
  void StageReused(v1::StageKind stage);
  void LeaseExpired() { leases_expired_.Increment(); }
  void AttemptFailed(v1::StageKind stage);
  void ResultIgnored() { results_ignored_.Increment(); }
  void ResultInvalidated() { results_invalidated_.Increment(); }
  void DeviceQuarantined() { devices_quarantined_.Increment(); }
  // From queued to handed out, by priority: "low" below 0, "high" above.
  void QueueWait(v1::StageKind stage, int priority, absl::Duration wait);
  void JournalAppend(absl::Duration duration, bool ok);
  void RpcError(const std::string& code);
  void SetQueueLength(v1::StageKind stage, int64_t length);
  void SetExecutors(v1::ExecutorKind kind, v1::Executor::State state,
                    int64_t count);
  void SetStudies(int64_t running, int64_t paused, int64_t ended);

 private:
  // Owns what the references below name, also when nobody serves it.
  const std::shared_ptr<prometheus::Registry> registry_;
  prometheus::Family<prometheus::Counter>& trials_;
  prometheus::Histogram& trial_duration_;
  prometheus::Family<prometheus::Histogram>& stage_duration_;
  prometheus::Family<prometheus::Counter>& stages_reused_;
  prometheus::Counter& leases_expired_;
  prometheus::Family<prometheus::Counter>& attempts_failed_;
  prometheus::Counter& results_ignored_;
  prometheus::Counter& results_invalidated_;
  prometheus::Counter& devices_quarantined_;
  prometheus::Family<prometheus::Histogram>& queue_wait_;
  prometheus::Histogram& journal_append_;
  prometheus::Counter& journal_failures_;
  prometheus::Family<prometheus::Counter>& rpc_errors_;
  prometheus::Family<prometheus::Gauge>& queue_length_;
  prometheus::Family<prometheus::Gauge>& executors_;
  prometheus::Family<prometheus::Gauge>& studies_;
};

}  // namespace hwnas::controller
