#include "controller/controller_metrics.h"

#include "absl/strings/ascii.h"

namespace hwnas::controller {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;
using prometheus::Histogram;

std::string Lower(const std::string& name) {
  return absl::AsciiStrToLower(name);
}

// Seconds to weeks: a stage may be a measurement or a long training.
Histogram::BucketBoundaries LongBuckets() {
  return {0.1, 0.3, 1,    3,     10,    30,     100,
          300, 1e3, 3600, 10800, 36000, 108000, 604800};
}

Histogram::BucketBoundaries ShortBuckets() {
  return {1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1, 3, 10};
}

}  // namespace

ControllerMetrics::ControllerMetrics(
    std::shared_ptr<prometheus::Registry> registry)
    : registry_(std::move(registry)),
      trials_(BuildCounter()
                  .Name("hwnas_trials_total")
                  .Help("Trials that ended, by final state")
                  .Register(*registry_)),
      trial_duration_(BuildHistogram()
                          .Name("hwnas_trial_duration_seconds")
                          .Help("From proposal to end of a trial")
                          .Register(*registry_)
                          .Add({}, LongBuckets())),
      stage_duration_(BuildHistogram()
                          .Name("hwnas_stage_duration_seconds")
                          .Help("From lease to durable result of a stage")
                          .Register(*registry_)),
      stages_reused_(BuildCounter()
                         .Name("hwnas_stages_reused_total")
                         .Help("Stages answered by an earlier trial's values")
                         .Register(*registry_)),
      leases_expired_(BuildCounter()
                          .Name("hwnas_leases_expired_total")
                          .Help("Leases that ran out")
                          .Register(*registry_)
                          .Add({})),
      attempts_failed_(BuildCounter()
                           .Name("hwnas_attempts_failed_total")
                           .Help("Attempts that reported an error")
                           .Register(*registry_)),
      results_ignored_(BuildCounter()
                           .Name("hwnas_results_ignored_total")
                           .Help("Duplicate or late results")
                           .Register(*registry_)
                           .Add({})),
      results_invalidated_(
          BuildCounter()
              .Name("hwnas_results_invalidated_total")
              .Help("Measurements taken back since their device was not in "
                    "order")
              .Register(*registry_)
              .Add({})),
      devices_quarantined_(
          BuildCounter()
              .Name("hwnas_devices_quarantined_total")
              .Help("Quarantines by an anchor, a cross-check or a person")
              .Register(*registry_)
              .Add({})),
      queue_wait_(BuildHistogram()
                      .Name("hwnas_queue_wait_seconds")
                      .Help("Time from queued to handed out")
                      .Register(*registry_)),
      journal_append_(BuildHistogram()
                          .Name("hwnas_journal_append_seconds")
                          .Help("Time of a durable append to the journal")
                          .Register(*registry_)
                          .Add({}, ShortBuckets())),
      journal_failures_(BuildCounter()
                            .Name("hwnas_journal_append_failures_total")
                            .Help("Appends that the store refused")
                            .Register(*registry_)
                            .Add({})),
      rpc_errors_(BuildCounter()
                      .Name("hwnas_rpc_errors_total")
                      .Help("Calls answered with an error, by code")
                      .Register(*registry_)),
      queue_length_(BuildGauge()
                        .Name("hwnas_queue_length")
                        .Help("Stages that wait for an executor")
                        .Register(*registry_)),
      running_tasks_(BuildGauge()
                         .Name("hwnas_running_tasks")
                         .Help("Stages that an executor works on")
                         .Register(*registry_)),
      executors_(BuildGauge()
                     .Name("hwnas_executors")
                     .Help("Workers and agents, by state")
                     .Register(*registry_)),
      studies_(BuildGauge()
                   .Name("hwnas_studies")
                   .Help("Studies, by state")
                   .Register(*registry_)) {
  // Present from the start, so that rates have a zero to begin from.
  for (const auto state : {v1::Trial::COMPLETED, v1::Trial::INFEASIBLE,
                           v1::Trial::CANCELLED, v1::Trial::STOPPED}) {
    trials_.Add({{"state", Lower(v1::Trial::State_Name(state))}});
  }
}

void ControllerMetrics::TrialEnded(v1::Trial::State state,
                                   absl::Duration duration) {
  trials_by_state_
      .Get(state,
           [&]() -> prometheus::Counter& {
             return trials_.Add(
                 {{"state", Lower(v1::Trial::State_Name(state))}});
           })
      .Increment();
  trial_duration_.Observe(absl::ToDoubleSeconds(duration));
}

void ControllerMetrics::StageFinished(v1::StageKind stage,
                                      absl::Duration duration) {
  duration_by_stage_
      .Get(stage,
           [&]() -> Histogram& {
             return stage_duration_.Add(
                 {{"stage", Lower(v1::StageKind_Name(stage))}}, LongBuckets());
           })
      .Observe(absl::ToDoubleSeconds(duration));
}

void ControllerMetrics::QueueWait(v1::StageKind stage, int priority,
                                  absl::Duration wait) {
  const int level = priority < 0 ? 0 : priority > 0 ? 2 : 1;
  wait_by_stage_
      .Get(3 * stage + level,
           [&]() -> Histogram& {
             constexpr const char* kLevels[] = {"low", "normal", "high"};
             return queue_wait_.Add(
                 {{"stage", Lower(v1::StageKind_Name(stage))},
                  {"priority", kLevels[level]}},
                 LongBuckets());
           })
      .Observe(absl::ToDoubleSeconds(wait));
}

void ControllerMetrics::StageReused(v1::StageKind stage) {
  stages_reused_.Add({{"stage", Lower(v1::StageKind_Name(stage))}}).Increment();
}

void ControllerMetrics::AttemptFailed(v1::StageKind stage) {
  attempts_failed_.Add({{"stage", Lower(v1::StageKind_Name(stage))}})
      .Increment();
}

void ControllerMetrics::JournalAppend(absl::Duration duration, bool ok) {
  journal_append_.Observe(absl::ToDoubleSeconds(duration));
  if (!ok) journal_failures_.Increment();
}

void ControllerMetrics::RpcError(const std::string& code) {
  rpc_errors_.Add({{"code", code}}).Increment();
}

void ControllerMetrics::SetQueueLength(v1::StageKind stage, int64_t length) {
  queue_length_.Add({{"stage", Lower(v1::StageKind_Name(stage))}})
      .Set(static_cast<double>(length));
}

void ControllerMetrics::SetRunningTasks(v1::StageKind stage, int64_t count) {
  running_tasks_.Add({{"stage", Lower(v1::StageKind_Name(stage))}})
      .Set(static_cast<double>(count));
}

void ControllerMetrics::SetExecutors(v1::ExecutorKind kind,
                                     v1::Executor::State state, int64_t count) {
  executors_
      .Add({{"kind", Lower(v1::ExecutorKind_Name(kind))},
            {"state", Lower(v1::Executor::State_Name(state))}})
      .Set(static_cast<double>(count));
}

void ControllerMetrics::SetStudies(int64_t running, int64_t paused,
                                   int64_t ended) {
  studies_.Add({{"state", "running"}}).Set(static_cast<double>(running));
  studies_.Add({{"state", "paused"}}).Set(static_cast<double>(paused));
  studies_.Add({{"state", "ended"}}).Set(static_cast<double>(ended));
}

}  // namespace hwnas::controller
