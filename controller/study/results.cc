// What executors report: results, failures, epochs.
#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "controller/study/report_check.h"
#include "controller/study/stage_event.h"
#include "controller/study/study_engine.h"
#include "controller/study/task_names.h"
#include "proto/convert/convert.h"
#include "proto/convert/resource_names.h"

namespace hwnas::controller {
namespace {

constexpr size_t kMaxPendingResults = 4096;

absl::string_view Verb(v1::StageKind kind) {
  switch (kind) {
    case v1::SCREEN:
      return "screened";
    case v1::MEASURE:
      return "measured";
    case v1::TRAIN:
      return "trained";
    case v1::REPLAY:
      return "replayed";
    default:
      return "evaluated";
  }
}

std::string StageText(const StageKey& key) {
  std::string text;
  switch (key.kind) {
    case v1::SCREEN:
      text = "screening";
      break;
    case v1::MEASURE:
      text = "measurement";
      break;
    case v1::TRAIN:
      text = "training";
      break;
    default:
      text = "evaluation";
  }
  if (!key.device_class.empty()) {
    absl::StrAppend(&text, " on ", key.device_class);
  }
  if (key.rung_epochs > 0) {
    absl::StrAppend(&text, " to epoch ", key.rung_epochs);
  }
  return text;
}

}  // namespace

StudyEngine::StageRef StudyEngine::FindStage(const std::string& task_id) {
  const absl::StatusOr<TaskKey> key = ParseTaskId(task_id);
  if (!key.ok()) return {};
  const auto it = studies_.find(key->study_id);
  if (it == studies_.end() || !it->second->broken.ok()) return {};
  const TrialRecord* trial = it->second->state.FindTrial(key->trial);
  if (trial == nullptr) return {};
  const int stage = trial->IndexOf(key->stage);
  if (stage < 0) return {};
  return {it->second.get(), trial, stage};
}

bool StudyEngine::IsLive(const StageRef& ref, const v1::LeaseKey& lease,
                         const std::string& executor) const {
  if (ref.run == nullptr) return false;
  const StageRecord& stage = ref.trial->stages[ref.stage];
  if (lease.attempt() == 0 || stage.live_attempt != lease.attempt()) {
    return false;
  }
  const AttemptRecord& attempt = stage.attempts[lease.attempt() - 1];
  return attempt.token == lease.token() && attempt.executor == executor;
}

absl::Status StudyEngine::OnResult(const std::string& session_id,
                                   const v1::TaskResult& result) {
  DurableLock lock(this);
  Executor* executor = fleet_.FindSession(session_id);
  if (executor == nullptr) return absl::OkStatus();  // Replaced meanwhile.
  executor->last_seen = deps_.clock->Now();
  const std::string name = executor->name;
  v1::TaskResult checked = result;
  if (absl::Status status = CheckTaskResult(result); !status.ok()) {
    checked = v1::TaskResult();
    *checked.mutable_lease() = result.lease();
    checked.set_error(absl::StrCat("unacceptable result: ", status.message()));
  }
  checked.set_error(Truncated(checked.error(), kMaxErrorBytes));
  const absl::Status status = HandleResult(name, checked);
  if (!status.ok()) {
    // No acknowledgement: the executor keeps it, too.
    const auto same = [&](const PendingResult& pending) {
      return pending.executor == name &&
             pending.result.lease().task_id() == checked.lease().task_id() &&
             pending.result.lease().attempt() == checked.lease().attempt();
    };
    if (pending_results_.size() < kMaxPendingResults &&
        std::none_of(pending_results_.begin(), pending_results_.end(), same)) {
      pending_results_.push_back({name, std::move(checked)});
    }
    return absl::OkStatus();
  }
  Pump();
  return absl::OkStatus();
}

void StudyEngine::RetryResults() {
  while (!pending_results_.empty()) {
    const PendingResult& pending = pending_results_.front();
    if (!HandleResult(pending.executor, pending.result).ok()) return;
    pending_results_.pop_front();
  }
}

// OK once the result needs no more attention. Otherwise the store has refused
// it, and nothing has changed.
absl::Status StudyEngine::HandleResult(const std::string& executor,
                                       const v1::TaskResult& result) {
  const v1::LeaseKey& lease = result.lease();
  if (IsProfileTask(lease.task_id())) {
    HandleProfileResult(executor, result);
    return absl::OkStatus();
  }
  v1::SessionResponse ack;
  *ack.mutable_result_ack()->mutable_lease() = lease;
  const auto acknowledge = [&](bool ignored)
                               ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
                                 ack.mutable_result_ack()->set_ignored(ignored);
                                 SendTo(executor, ack);
                               };
  const StageRef ref = FindStage(lease.task_id());
  const int attempt = lease.attempt();
  if (ref.run == nullptr || attempt < 1 ||
      attempt >
          static_cast<int>(ref.trial->stages[ref.stage].attempts.size()) ||
      ref.trial->stages[ref.stage].attempts[attempt - 1].token !=
          lease.token() ||
      ref.trial->stages[ref.stage].attempts[attempt - 1].executor != executor) {
    deps_.logger->warn(
        "event=result_without_lease executor={} task=\"{}\" attempt={}",
        executor, Truncated(lease.task_id(), 200), attempt);
    acknowledge(true);
    return absl::OkStatus();
  }
  if (Straggler* straggler = FindStraggler(ref, lease, executor)) {
    straggler->attempt = 0;  // However it ended, it has.
  }
  const TrialRecord& trial = *ref.trial;
  const StageRecord before = trial.stages[ref.stage];
  const StudyState& state = ref.run->state;
  const std::string trial_name = TrialName(state.study_id(), trial.number);
  const bool success = result.error().empty();
  if (trial.state != v1::Trial::ACTIVE ||
      before.state == v1::TrialStage::FINISHED ||
      attempt <= before.void_attempts) {
    if (success && before.finished_attempt != attempt) {
      HWNAS_RETURN_IF_ERROR(IgnoreResult(*ref.run, trial, ref.stage, attempt));
    }
    acknowledge(true);
    return absl::OkStatus();
  }
  std::string error = result.error();
  bool candidate_fault = result.candidate_fault();
  if (success) {
    v1::StageFinished finished;
    SetStage(trial.number, before, attempt, &finished);
    *finished.mutable_measurements() = result.measurements();
    const Executor* holder = fleet_.Find(executor);
    for (v1::Measurement& m : *finished.mutable_measurements()) {
      if (before.key.kind == v1::MEASURE && holder != nullptr) {
        m.set_device(DeviceName(holder->hello.executor_id()));
      }
      if (m.provenance() == v1::PROVENANCE_UNSPECIFIED) {
        m.set_provenance(before.key.kind == v1::MEASURE ? v1::MEASURED
                                                        : v1::TRAINED);
      }
    }
    const std::vector<std::string> missing =
        Missing(ref.run->FactsOf(before.key).metrics, result.measurements());
    if (missing.empty()) {
      *finished.mutable_environment() = result.environment();
      *finished.mutable_latency_samples() = result.latency_samples();
      if (result.has_energy()) *finished.mutable_energy() = result.energy();
      *finished.mutable_epochs() = result.epochs();
      finished.set_executor(executor);
      *finished.mutable_times()->mutable_started() = result.started();
      *finished.mutable_times()->mutable_executed() = result.executed();
      if (artifacts_.count(result.weights_digest())) {
        finished.set_weights_digest(result.weights_digest());
      } else if (!result.weights_digest().empty()) {
        deps_.logger->warn("event=weights_unknown trial={} digest=\"{}\"",
                           trial_name, Truncated(result.weights_digest(), 64));
      }
      if (artifacts_.count(result.checkpoint_digest())) {
        finished.set_checkpoint_digest(result.checkpoint_digest());
      }
      const std::string task_id = lease.task_id();
      HWNAS_RETURN_IF_ERROR(
          FinishStage(*ref.run, trial, ref.stage, std::move(finished)));
      if (before.live_attempt != 0 && before.live_attempt != attempt) {
        SendCancel(before, task_id, "an earlier attempt has reported");
      }
      if (Executor* e = fleet_.Find(executor)) {
        fleet_.RecordSuccess(*e);
        PlanCrossCheck(*ref.run, trial, ref.stage, *e, result);
      }
      acknowledge(false);
      return absl::OkStatus();
    }
    error = absl::StrCat("the result lacks ", absl::StrJoin(missing, ", "));
    for (const v1::MissingMetric& metric : result.missing_metrics()) {
      absl::StrAppend(&error, "; ", metric.metric(), ": ", metric.reason());
    }
    candidate_fault = false;
  }
  if (before.live_attempt != attempt) {
    acknowledge(true);
    return absl::OkStatus();
  }
  HWNAS_RETURN_IF_ERROR(FailAttempt(*ref.run, trial, ref.stage,
                                    result.handed_back()
                                        ? v1::AttemptFailed::HANDED_BACK
                                        : v1::AttemptFailed::FAILED,
                                    error, candidate_fault));
  if (result.handed_back()) {
    if (Executor* e = fleet_.Find(executor)) {
      fleet_.RecordHandBack(*e, deps_.clock->Now());
    }
  } else if (!candidate_fault) {
    CountFailure(executor, trial_name, error);
  }
  acknowledge(false);
  return absl::OkStatus();
}

void StudyEngine::CountFailure(const std::string& executor,
                               const std::string& trial,
                               const std::string& error) {
  Executor* e = fleet_.Find(executor);
  if (e == nullptr) return;
  const absl::Time now = deps_.clock->Now();
  if (fleet_.RecordFailure(*e, trial, error, now)) {
    deps_.logger->warn("event=quarantine executor={} seconds={} reason=\"{}\"",
                       executor, absl::ToInt64Seconds(e->quarantine_end - now),
                       e->quarantine_reason);
  }
}

std::string StudyEngine::FinishText(const Run& run, const TrialRecord& trial,
                                    const StageRecord& record,
                                    const v1::StageFinished& finished) {
  std::string message =
      absl::StrCat("trial ", trial.number, " ", Verb(record.key.kind));
  if (record.key.rung_epochs > 0) {
    absl::StrAppend(&message, " to epoch ", record.key.rung_epochs);
  }
  if (!record.key.device_class.empty()) {
    absl::StrAppend(&message, " on ", record.key.device_class);
  }
  const std::string values =
      ValuesText(finished.measurements(), run.FactsOf(record.key).metrics);
  if (!values.empty()) absl::StrAppend(&message, " ", values);
  if (record.key.kind == v1::REPLAY) {
    const absl::Duration took = absl::Seconds(
        std::round(record.simulated_end_s - record.simulated_start_s));
    absl::StrAppend(&message, " in ", absl::FormatDuration(took));
  }
  if (finished.times().has_started() && finished.times().has_executed()) {
    absl::StrAppend(
        &message, absl::StrFormat(" in %.1f s",
                                  absl::ToDoubleSeconds(
                                      FromProto(finished.times().executed()) -
                                      FromProto(finished.times().started()))));
  }
  if (finished.reused()) {
    absl::StrAppend(&message, " as in ", finished.reused_from());
  }
  return message;
}

void StudyEngine::AddFinished(const Run& run, const TrialRecord& trial,
                              int stage, v1::StageFinished finished,
                              Batch* batch) const {
  const StageRecord& record = trial.stages[stage];
  Change change = {trial.number, ""};
  if (IsRead(run, *batch)) {
    change.message = FinishText(run, trial, record, finished);
  }
  std::vector<MetricValue> values = trial.Values();
  for (MetricValue& value : ValuesOf(finished.measurements())) {
    values.push_back(std::move(value));
  }
  *batch->events.emplace_back().mutable_stage_finished() = std::move(finished);
  // A measurement that is had again may come after the training.
  bool last = true;
  for (size_t i = 0; i < trial.stages.size(); ++i) {
    last &= static_cast<int>(i) == stage ||
            trial.stages[i].state == v1::TrialStage::FINISHED;
  }
  // Values at a rung decide nothing by themselves: more training betters them.
  if (last || record.key.rung_epochs == 0) {
    absl::StrAppend(&change.message, EndIfDecided(run, trial.number, values,
                                                  last, &batch->events));
  }
  batch->changes.push_back(std::move(change));
}

absl::Status StudyEngine::FinishStage(Run& run, const TrialRecord& trial,
                                      int stage, v1::StageFinished finished) {
  Batch batch;
  AddFinished(run, trial, stage, std::move(finished), &batch);
  return Commit(run, std::move(batch));
}

std::string StudyEngine::EndIfDecided(
    const Run& run, int64_t trial, const std::vector<MetricValue>& values,
    bool last_stage, std::vector<v1::JournalEvent>* events) const {
  const Problem& problem = run.state.problem();
  const Evaluation evaluation = problem.Evaluate(values);
  v1::JournalEvent event;
  auto* ended = event.mutable_trial_ended();
  ended->set_trial(trial);
  if (evaluation.violation > 0) {
    std::vector<std::string> reasons;
    for (const ConstraintSpec& constraint : problem.constraints) {
      const auto value = std::find_if(
          values.rbegin(), values.rend(),
          [&](const MetricValue& v) { return v.key == constraint.key; });
      if (value == values.rend()) continue;
      if (constraint.at_most && value->value > *constraint.at_most) {
        reasons.push_back(absl::StrFormat("%s is %g: at most %g is allowed",
                                          constraint.key.ToString(),
                                          value->value, *constraint.at_most));
      }
      if (constraint.at_least && value->value < *constraint.at_least) {
        reasons.push_back(absl::StrFormat("%s is %g: at least %g is asked",
                                          constraint.key.ToString(),
                                          value->value, *constraint.at_least));
      }
    }
    ended->set_state(v1::Trial::INFEASIBLE);
    ended->set_reason(absl::StrJoin(reasons, "; "));
  } else if (!last_stage) {
    return "";
  } else if (evaluation.complete) {
    ended->set_state(v1::Trial::COMPLETED);
  } else {
    ended->set_state(v1::Trial::INFEASIBLE);
    ended->set_reason("a value of an objective or constraint is missing");
  }
  const std::string text =
      ended->state() == v1::Trial::COMPLETED
          ? "; completed"
          : absl::StrCat("; infeasible: ", ended->reason());
  events->push_back(std::move(event));
  return text;
}

void StudyEngine::AddFailed(const Run& run, const TrialRecord& trial, int stage,
                            v1::AttemptFailed::Outcome outcome,
                            const std::string& error, bool candidate_fault,
                            Batch* batch) const {
  const StageRecord& record = trial.stages[stage];
  const std::string& executor =
      record.attempts[record.live_attempt - 1].executor;
  auto* failed = batch->events.emplace_back().mutable_attempt_failed();
  SetStage(trial.number, record, record.live_attempt, failed);
  failed->set_outcome(outcome);
  failed->set_error(Truncated(error, kMaxErrorBytes));
  failed->set_candidate_fault(candidate_fault);
  failed->set_executor(executor);
  const bool counts = outcome == v1::AttemptFailed::FAILED ||
                      outcome == v1::AttemptFailed::EXPIRED;
  const int failures = record.counted_failures + (counts ? 1 : 0);
  std::string message =
      absl::StrCat("trial ", trial.number, " ", StageText(record.key),
                   " attempt ", record.live_attempt, " ",
                   outcome == v1::AttemptFailed::FAILED    ? "failed: "
                   : outcome == v1::AttemptFailed::EXPIRED ? "expired: "
                                                           : "handed back: ",
                   error);
  if (counts && (candidate_fault ||
                 failures >= std::max(1, run.state.spec().max_attempts()))) {
    std::set<std::string> machines(record.failed_executors.begin(),
                                   record.failed_executors.end());
    machines.insert(executor);
    auto* ended = batch->events.emplace_back().mutable_trial_ended();
    ended->set_trial(trial.number);
    ended->set_state(v1::Trial::INFEASIBLE);
    ended->set_reason(Truncated(
        candidate_fault
            ? absl::StrCat(StageText(record.key), " is impossible: ", error)
            : absl::StrCat(StageText(record.key), " failed ", failures,
                           failures == 1 ? " time on " : " times on ",
                           machines.size(),
                           machines.size() == 1 ? " machine" : " machines",
                           "; last: ", error),
        kMaxErrorBytes));
    absl::StrAppend(&message, "; infeasible: ", ended->reason());
  }
  batch->changes.push_back({trial.number, std::move(message)});
}

absl::Status StudyEngine::FailAttempt(Run& run, const TrialRecord& trial,
                                      int stage,
                                      v1::AttemptFailed::Outcome outcome,
                                      const std::string& error,
                                      bool candidate_fault) {
  Batch batch;
  AddFailed(run, trial, stage, outcome, error, candidate_fault, &batch);
  return Commit(run, std::move(batch));
}

void StudyEngine::AddIgnored(const TrialRecord& trial, int stage, int attempt,
                             Batch* batch) {
  const StageRecord& record = trial.stages[stage];
  if (record.attempts[attempt - 1].ignored) return;
  auto* ignored = batch->events.emplace_back().mutable_result_ignored();
  SetStage(trial.number, record, attempt, ignored);
  ignored->set_executor(record.attempts[attempt - 1].executor);
  batch->changes.push_back({trial.number, ""});
}

absl::Status StudyEngine::IgnoreResult(Run& run, const TrialRecord& trial,
                                       int stage, int attempt) {
  Batch batch;
  AddIgnored(trial, stage, attempt, &batch);
  return Commit(run, std::move(batch));
}

absl::StatusOr<bool> StudyEngine::JudgeEpochs(
    Run& run, const TrialRecord& trial, int stage,
    const v1::TaskProgress& progress) {
  if (!run.fidelity || run.state.rungs() != nullptr ||
      trial.stages[stage].key.kind != v1::TRAIN) {
    return false;
  }
  std::vector<v1::EpochReport>& epochs = run.live[{trial.number, stage}].epochs;
  // One at a time, so that equal curves end equally however they are sent.
  for (const v1::EpochReport& epoch : progress.epochs()) {
    if (static_cast<int>(epochs.size()) >= run.state.curves().max_epochs ||
        epoch.epoch() <= (epochs.empty() ? 0 : epochs.back().epoch()) ||
        !std::isfinite(epoch.validation_accuracy()) ||
        !std::isfinite(epoch.validation_loss())) {
      continue;
    }
    epochs.push_back(epoch);
    const std::optional<std::string> reason = ReasonToStop(
        *run.fidelity, run.state.curves(), run.state.CurveOf(trial, epochs));
    if (!reason) continue;
    const StageRecord before = trial.stages[stage];
    std::vector<v1::JournalEvent> events(2);
    auto* failed = events[0].mutable_attempt_failed();
    SetStage(trial.number, before, before.live_attempt, failed);
    failed->set_outcome(v1::AttemptFailed::STOPPED);
    failed->set_executor(before.attempts[before.live_attempt - 1].executor);
    failed->mutable_epochs()->Assign(epochs.begin(), epochs.end());
    auto* ended = events[1].mutable_trial_ended();
    ended->set_trial(trial.number);
    ended->set_state(v1::Trial::STOPPED);
    ended->set_reason(*reason);
    HWNAS_RETURN_IF_ERROR(
        Commit(run, std::move(events), trial.number,
               absl::StrCat("trial ", trial.number, " stopped: ", *reason)));
    SendCancel(before, TaskId(run.state.study_id(), trial.number, before.key),
               "not worth going on with");
    return true;
  }
  return false;
}

void StudyEngine::SendCancel(const StageRecord& stage,
                             const std::string& task_id,
                             const std::string& reason) {
  if (stage.live_attempt == 0) return;
  SendCancel(stage, stage.live_attempt, task_id, reason);
}

void StudyEngine::SendCancel(const StageRecord& stage, int attempt_number,
                             const std::string& task_id,
                             const std::string& reason) {
  const AttemptRecord& attempt = stage.attempts[attempt_number - 1];
  v1::SessionResponse response;
  v1::CancelTask* cancel = response.mutable_cancel();
  cancel->mutable_lease()->set_task_id(task_id);
  cancel->mutable_lease()->set_attempt(attempt_number);
  cancel->mutable_lease()->set_token(attempt.token);
  cancel->set_reason(reason);
  SendTo(attempt.executor, response);
}

void StudyEngine::SendTo(const std::string& executor,
                         const v1::SessionResponse& message) {
  Executor* e = fleet_.Find(executor);
  if (e != nullptr && e->connected()) e->stream->Send(message);
}

}  // namespace hwnas::controller
