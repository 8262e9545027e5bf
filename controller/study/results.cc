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

// Results that wait for the store in our memory.
constexpr size_t kMaxPendingResults = 16384;
constexpr size_t kMaxPendingResultBytes = size_t{256} << 20;

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

void StudyEngine::OnResult(const std::string& session_id,
                           const v1::TaskResult& result) {
  OnResults({{{.session_id = session_id, .result = &result}}});
}

void StudyEngine::OnResults(absl::Span<const SessionResult> results) {
  DurableLock lock(this);
  std::vector<CheckedResult> checked;
  for (const SessionResult& one : results) {
    Executor* executor = fleet_.FindSession(one.session_id);
    if (executor == nullptr) continue;  // Replaced meanwhile.
    executor->last_seen = deps_.clock->Now();
    CheckedResult& added = checked.emplace_back();
    added.executor = executor->name;
    if (absl::Status status = CheckTaskResult(*one.result); status.ok()) {
      added.result = *one.result;
    } else {
      *added.result.mutable_lease() = one.result->lease();
      added.result.set_error(
          absl::StrCat("unacceptable result: ", status.message()));
    }
    added.result.set_error(Truncated(added.result.error(), kMaxErrorBytes));
  }
  Record(std::move(checked));
  Pump();
}

void StudyEngine::RetryResults() {
  // First one: as long as the store refuses that, it is not asked about all.
  for (const bool all : {false, true}) {
    std::vector<CheckedResult> results;
    while (!pending_results_.empty() && (results.empty() || all)) {
      auto node = pending_results_.extract(pending_results_.begin());
      pending_result_bytes_ -= node.mapped().result.ByteSizeLong();
      results.push_back(std::move(node.mapped()));
    }
    Record(std::move(results));
    if (!store_ok_) return;
  }
}

void StudyEngine::KeepResult(CheckedResult result) {
  const v1::LeaseKey& lease = result.result.lease();
  const auto key =
      std::make_tuple(result.executor, lease.task_id(), lease.attempt());
  if (pending_results_.count(key) > 0) return;
  const size_t bytes = result.result.ByteSizeLong();
  if (pending_results_.size() < kMaxPendingResults &&
      pending_result_bytes_ + bytes <= kMaxPendingResultBytes) {
    pending_result_bytes_ += bytes;
    pending_results_.emplace(key, std::move(result));
    return;
  }
  // It has no acknowledgement: the executor keeps it, and sends it again in its
  // next session.
  const Executor* executor = fleet_.Find(result.executor);
  if (executor != nullptr && executor->connected()) {
    executor->stream->Close(absl::UnavailableError(
        "the store is away, and too many results wait for it"));
  }
}

void StudyEngine::Record(std::vector<CheckedResult> results) {
  ResultsByStudy recorded;
  for (CheckedResult& result : results) {
    JudgeResult(std::move(result), &recorded);
  }
  CommitResults(&recorded);
}

void StudyEngine::CommitResults(ResultsByStudy* recorded) {
  std::vector<std::pair<Run*, Batch>> batches;
  for (auto& [run, of_study] : *recorded) {
    batches.emplace_back(run, std::move(of_study.batch));
  }
  const std::vector<absl::Status> statuses = CommitTogether(std::move(batches));
  size_t i = 0;
  for (auto& [run, of_study] : std::exchange(*recorded, {})) {
    if (statuses[i++].ok()) {
      for (const auto& then : of_study.then) then();
    } else {
      for (CheckedResult& result : of_study.results) {
        KeepResult(std::move(result));
      }
    }
  }
}

void StudyEngine::Acknowledge(const std::string& executor,
                              const v1::LeaseKey& lease, bool ignored) {
  v1::SessionResponse ack;
  *ack.mutable_result_ack()->mutable_lease() = lease;
  ack.mutable_result_ack()->set_ignored(ignored);
  SendTo(executor, ack);
}

void StudyEngine::JudgeResult(CheckedResult checked, ResultsByStudy* recorded) {
  const std::string executor = checked.executor;
  const v1::LeaseKey lease = checked.result.lease();
  if (IsProfileTask(lease.task_id())) {
    // It may change studies, too.
    CommitResults(recorded);
    HandleProfileResult(executor, checked.result);
    return;
  }
  StageRef ref = FindStage(lease.task_id());
  if (ref.run != nullptr && recorded->count(ref.run) > 0) {
    const std::vector<int64_t>& trials = recorded->at(ref.run).trials;
    if (std::find(trials.begin(), trials.end(), ref.trial->number) !=
        trials.end()) {
      CommitResults(recorded);
      ref =
          FindStage(lease.task_id());  // The journal may have been read again.
    }
  }
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
    Acknowledge(executor, lease, /*ignored=*/true);
    return;
  }
  if (Straggler* straggler = FindStraggler(ref, lease, executor)) {
    straggler->End();  // However it ended, it has.
  }
  const TrialRecord& trial = *ref.trial;
  const StageRecord& stage = trial.stages[ref.stage];
  const bool success = checked.result.error().empty();
  RecordedResults entry;  // What this result alone leads to.
  std::string error = checked.result.error();
  const bool over = trial.state != v1::Trial::ACTIVE ||
                    stage.state == v1::TrialStage::FINISHED ||
                    attempt <= stage.void_attempts;
  if (over) {
    if (success && stage.finished_attempt != attempt) {
      AddIgnored(trial, ref.stage, attempt, &entry.batch);
    }
    entry.then.push_back([=, this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      Acknowledge(executor, lease, /*ignored=*/true);
    });
  } else if (success && JudgeSuccess(ref, checked, &entry, &error)) {
    // Done.
  } else if (stage.live_attempt != attempt) {
    Acknowledge(executor, lease, /*ignored=*/true);
    return;
  } else {
    const bool handed_back = checked.result.handed_back();
    const bool candidate_fault = !success && checked.result.candidate_fault();
    const std::vector<std::string> blamers = Blamers(stage);
    AddFailed(*ref.run, trial, ref.stage,
              handed_back ? v1::AttemptFailed::HANDED_BACK
                          : v1::AttemptFailed::FAILED,
              error, candidate_fault, &entry.batch);
    const std::string name = TrialName(ref.run->state.study_id(), trial.number);
    entry.then.push_back([=, this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      if (!handed_back && candidate_fault) {
        CountBlame(executor, name, error, blamers);
      } else if (!handed_back) {
        CountFailure(executor, name, error);
      } else if (Executor* e = fleet_.Find(executor); handed_back && e) {
        fleet_.RecordHandBack(*e, deps_.clock->Steady());
      }
      Acknowledge(executor, lease, /*ignored=*/false);
    });
  }
  RecordedResults& of_study = (*recorded)[ref.run];
  of_study.trials.push_back(trial.number);
  of_study.results.push_back(std::move(checked));
  for (v1::JournalEvent& event : entry.batch.events) {
    of_study.batch.events.push_back(std::move(event));
  }
  for (Change& change : entry.batch.changes) {
    of_study.batch.changes.push_back(std::move(change));
  }
  of_study.then.push_back(std::move(entry.then.front()));
}

std::vector<std::string> StudyEngine::Blamers(const StageRecord& stage) {
  std::vector<std::string> blamers;
  for (size_t i = stage.void_attempts; i < stage.attempts.size(); ++i) {
    if (stage.attempts[i].blamed_candidate) {
      blamers.push_back(stage.attempts[i].executor);
    }
  }
  return blamers;
}

bool StudyEngine::JudgeSuccess(const StageRef& ref,
                               const CheckedResult& checked,
                               RecordedResults* recorded, std::string* error) {
  const TrialRecord& trial = *ref.trial;
  const StageRecord& before = trial.stages[ref.stage];
  const v1::TaskResult& result = checked.result;
  const v1::LeaseKey& lease = result.lease();
  const std::string& executor = checked.executor;
  const std::vector<std::string> missing =
      Missing(ref.run->FactsOf(before.key).metrics, result.measurements());
  if (!missing.empty()) {
    *error = absl::StrCat("the result lacks ", absl::StrJoin(missing, ", "));
    for (const v1::MissingMetric& metric : result.missing_metrics()) {
      absl::StrAppend(error, "; ", metric.metric(), ": ", metric.reason());
    }
    return false;
  }
  v1::StageFinished finished;
  SetStage(trial.number, before, lease.attempt(), &finished);
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
                       TrialName(ref.run->state.study_id(), trial.number),
                       Truncated(result.weights_digest(), 64));
  }
  if (artifacts_.count(result.checkpoint_digest())) {
    finished.set_checkpoint_digest(result.checkpoint_digest());
  }
  AddFinished(*ref.run, trial, ref.stage, std::move(finished),
              &recorded->batch);
  // A newer attempt is at work in vain.
  std::optional<StageRecord> other;
  if (before.live_attempt != 0 && before.live_attempt != lease.attempt()) {
    other = before;
  }
  const std::vector<std::string> blamers = Blamers(before);
  const std::string name = TrialName(ref.run->state.study_id(), trial.number);
  // Only measurements are compared with those of other devices.
  const v1::TaskResult compared =
      before.key.kind == v1::MEASURE ? result : v1::TaskResult();
  recorded->then.push_back([=, this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (other) {
      SendCancel(*other, lease.task_id(), "an earlier attempt has reported");
    }
    for (const std::string& blamer : blamers) {
      if (blamer == executor) continue;
      CountFailure(blamer, name,
                   absl::StrCat("said that ", name, " was at fault, which ",
                                executor, " has done"));
    }
    if (Executor* e = fleet_.Find(executor)) {
      fleet_.RecordSuccess(*e);
      // Reading the journal again has moved the trial.
      const StageRef now = FindStage(lease.task_id());
      if (now.run != nullptr && compared.has_lease()) {
        PlanCrossCheck(*now.run, *now.trial, now.stage, *e, compared);
      }
    }
    Acknowledge(executor, lease, /*ignored=*/false);
  });
  return true;
}

void StudyEngine::CountFailure(const std::string& executor,
                               const std::string& trial,
                               const std::string& error) {
  Executor* e = fleet_.Find(executor);
  if (e == nullptr) return;
  const absl::Time now = deps_.clock->Steady();
  if (fleet_.RecordFailure(*e, trial, error, now)) LogQuarantine(*e);
}

void StudyEngine::CountBlame(const std::string& executor,
                             const std::string& trial, const std::string& error,
                             const std::vector<std::string>& others) {
  Executor* e = fleet_.Find(executor);
  if (e != nullptr &&
      fleet_.RecordBlame(*e, trial, error, deps_.clock->Steady())) {
    LogQuarantine(*e);
  }
  for (const std::string& other : others) {
    if (other == executor) continue;
    if (e != nullptr) fleet_.ForgetBlame(*e, trial);
    if (Executor* o = fleet_.Find(other)) fleet_.ForgetBlame(*o, trial);
  }
}

void StudyEngine::LogQuarantine(const Executor& executor) const {
  deps_.logger->warn(
      "event=quarantine executor={} seconds={} reason=\"{}\"", executor.name,
      absl::ToInt64Seconds(executor.quarantine_end - deps_.clock->Steady()),
      executor.quarantine_reason);
}

bool StudyEngine::AnotherCan(const Run& run, const TrialRecord& trial,
                             int stage, const std::string& executor) const {
  const QueuedTask task = TaskOf(run, trial, stage);
  const absl::Time now = deps_.clock->Steady();
  for (const auto& [name, other] : fleet_.executors()) {
    if (name != executor && other.connected() && !other.draining &&
        !other.quarantined(now) && IsCapable(other.snapshot, task)) {
      return true;
    }
  }
  return false;
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
  // A machine may be at fault as well: another one has its say, once.
  const bool impossible =
      candidate_fault &&
      (!Blamers(record).empty() || !AnotherCan(run, trial, stage, executor));
  std::string message =
      absl::StrCat("trial ", trial.number, " ", StageText(record.key),
                   " attempt ", record.live_attempt, " ",
                   outcome == v1::AttemptFailed::FAILED    ? "failed: "
                   : outcome == v1::AttemptFailed::EXPIRED ? "expired: "
                                                           : "handed back: ",
                   error);
  if (counts && (impossible ||
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
