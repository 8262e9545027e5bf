// What the controller shows to Prometheus.
#pragma once

#include <array>
#include <atomic>
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
  void SetRunningTasks(v1::StageKind stage, int64_t count);
  void SetExecutors(v1::ExecutorKind kind, v1::Executor::State state,
                    int64_t count);
  void SetStudies(int64_t running, int64_t paused, int64_t ended);

 private:
  // The metrics of a family by a small number, each made when it is first asked
  // for: to look one up by its labels takes longer than all else about it.
  template <typename Metric, int size>
  class Cache {
   public:
    template <typename Make>
    Metric& Get(int index, const Make& make) {
      if (index < 0 || index >= size) return make();
      Metric* metric = metrics_[index].load(std::memory_order_acquire);
      if (metric == nullptr) {
        metric = &make();  // The same for all who come here at once.
        metrics_[index].store(metric, std::memory_order_release);
      }
      return *metric;
    }

   private:
    std::array<std::atomic<Metric*>, size> metrics_ = {};
  };

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
  prometheus::Family<prometheus::Gauge>& running_tasks_;
  prometheus::Family<prometheus::Gauge>& executors_;
  prometheus::Family<prometheus::Gauge>& studies_;

  Cache<prometheus::Counter, v1::Trial::State_ARRAYSIZE> trials_by_state_;
  Cache<prometheus::Histogram, v1::StageKind_ARRAYSIZE> duration_by_stage_;
  // By stage and priority.
  Cache<prometheus::Histogram, 3 * v1::StageKind_ARRAYSIZE> wait_by_stage_;
};

}  // namespace hwnas::controller
