// Trials that a user's own program evaluates.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "controller/study/report_check.h"
#include "controller/study/stage_event.h"
#include "controller/study/study_engine.h"
#include "proto/convert/convert.h"
#include "proto/convert/resource_names.h"

namespace hwnas::controller {
namespace {

constexpr int kMaxAskedTrials = 64;
constexpr size_t kMaxClientIdBytes = 128;

}  // namespace

absl::StatusOr<v1::AskTrialsResponse> StudyEngine::AskTrials(
    const std::string& study_id, const v1::AskTrialsRequest& request) {
  if (request.count() < 0 || request.count() > kMaxAskedTrials) {
    return absl::InvalidArgumentError(absl::StrCat(
        "count is ", request.count(), ": expected 1 to ", kMaxAskedTrials));
  }
  if (request.client_id().size() > kMaxClientIdBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("client_id has ", request.client_id().size(),
                     " bytes: expected at most ", kMaxClientIdBytes));
  }
  const int count = std::max(1, request.count());
  MutexLock lock(&mutex_);
  HWNAS_ASSIGN_OR_RETURN(Run * run, FindRun(study_id));
  StudyState& state = run->state;
  if (!state.spec().has_external()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "study '", study_id,
        "' is evaluated by workers and agents; only a study with `external` "
        "hands out trials"));
  }
  const auto waiting = [&] {
    std::vector<int64_t> numbers;
    for (const int64_t number : state.active()) {
      const TrialRecord& trial = *state.FindTrial(number);
      if (trial.stages[0].state == v1::TrialStage::QUEUED) {
        numbers.push_back(number);
      }
    }
    return numbers;
  };
  v1::AskTrialsResponse response;
  if (state.state() == v1::Study::RUNNING) {
    while (static_cast<int>(waiting().size()) < count && MayPropose(*run)) {
      HWNAS_ASSIGN_OR_RETURN(const bool proposed, Propose(*run));
      if (!proposed) break;
    }
    std::vector<int64_t> numbers = waiting();
    if (static_cast<int>(numbers.size()) > count) numbers.resize(count);
    const absl::Time now = deps_.clock->Now();
    const absl::Duration lease = FromProto(state.spec().external().lease());
    const std::string client = absl::StrCat(
        "clients/",
        request.client_id().empty() ? "unnamed" : request.client_id());
    std::vector<v1::JournalEvent> events;
    int64_t token = state.last_token();
    for (const int64_t number : numbers) {
      const StageRecord& stage = state.FindTrial(number)->stages[0];
      auto* leased = events.emplace_back().mutable_task_leased();
      SetStage(number, stage, static_cast<int>(stage.attempts.size()) + 1,
               leased);
      leased->set_token(++token);
      leased->set_executor(client);
      *leased->mutable_deadline() = ToProto(now + lease);
      *leased->mutable_queued() = stage.times.queued();
    }
    HWNAS_RETURN_IF_ERROR(
        Commit(*run, std::move(events), numbers.empty() ? 0 : numbers[0], ""));
    for (const int64_t number : numbers) {
      const TrialRecord& trial = *state.FindTrial(number);
      Notify(*run, number, "");
      v1::AskedTrial* asked = response.add_trials();
      *asked->mutable_trial() = TrialView(*run, trial);
      asked->set_attempt(trial.stages[0].live_attempt);
      *asked->mutable_lease_deadline() = ToProto(now + lease);
      const absl::Span<const Decision> decisions = run->space->decisions();
      for (int i = 0; i < trial.architecture.choices_size(); ++i) {
        (*asked->mutable_parameters())[decisions[i].name] =
            decisions[i].options[trial.architecture.choices(i)];
      }
    }
    // Nothing to hand out may mean that all is done.
    int allowance = 0;
    HWNAS_RETURN_IF_ERROR(Settle(*run, &allowance));
  }
  response.set_study_ended(state.ended());
  return response;
}

absl::StatusOr<v1::ReportProgressResponse> StudyEngine::ReportProgress(
    const v1::ReportProgressRequest& request) {
  HWNAS_ASSIGN_OR_RETURN(const TrialId id, ParseTrialName(request.trial()));
  HWNAS_RETURN_IF_ERROR(CheckMeasurements(request.measurements()));
  MutexLock lock(&mutex_);
  HWNAS_ASSIGN_OR_RETURN(Run * run, FindRun(id.study_id));
  const TrialRecord* trial = run->state.FindTrial(id.number);
  if (trial == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("there is no trial '", request.trial(), "'"));
  }
  const StageRecord& stage = trial->stages[0];
  if (stage.key.kind != v1::ASK || request.attempt() == 0 ||
      stage.live_attempt != request.attempt()) {
    return absl::AbortedError(
        absl::StrCat("attempt ", request.attempt(), " of ", request.trial(),
                     " has no live lease: stop working on it"));
  }
  LiveLease& live = run->live[{id.number, 0}];
  live.confirmed = true;
  live.deadline =
      deps_.clock->Now() + FromProto(run->state.spec().external().lease());
  std::vector<std::string> values;
  for (const auto& m : request.measurements()) values.push_back(ValueText(m));
  live.note = Truncated(absl::StrCat("step ", request.step()), 200);
  Notify(*run, id.number,
         absl::StrCat("trial ", id.number, " step ", request.step(), " ",
                      absl::StrJoin(values, " ")));
  v1::ReportProgressResponse response;
  *response.mutable_lease_deadline() = ToProto(live.deadline);
  return response;
}

absl::Status StudyEngine::TellTrial(const v1::TrialReport& report) {
  HWNAS_ASSIGN_OR_RETURN(const TrialId id, ParseTrialName(report.trial()));
  HWNAS_RETURN_IF_ERROR(CheckMeasurements(report.measurements()));
  MutexLock lock(&mutex_);
  HWNAS_ASSIGN_OR_RETURN(Run * run, FindRun(id.study_id));
  const TrialRecord* trial = run->state.FindTrial(id.number);
  if (trial == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("there is no trial '", report.trial(), "'"));
  }
  const StageRecord stage = trial->stages[0];
  if (stage.key.kind != v1::ASK) {
    return absl::FailedPreconditionError(absl::StrCat(
        report.trial(), " is evaluated by workers and agents, not by clients"));
  }
  if (report.attempt() < 1 ||
      report.attempt() > static_cast<int>(stage.attempts.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("attempt is ", report.attempt(), ": ", report.trial(),
                     " has been handed out ", stage.attempts.size(), " times"));
  }
  if (trial->state != v1::Trial::ACTIVE) {
    if (report.error().empty() && stage.finished_attempt != report.attempt()) {
      return IgnoreResult(*run, *trial, 0, report.attempt());
    }
    return absl::OkStatus();
  }
  if (!report.error().empty()) {
    if (stage.live_attempt != report.attempt()) return absl::OkStatus();
    HWNAS_RETURN_IF_ERROR(FailAttempt(
        *run, *trial, 0, v1::AttemptFailed::FAILED,
        Truncated(report.error(), kMaxErrorBytes), report.permanent()));
    Pump();
    return absl::OkStatus();
  }
  const std::vector<std::string> missing = Missing(
      MetricsOf(stage.key, run->state.problem()), report.measurements());
  if (!missing.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("measurements of ", report.trial(), " lack ",
                     absl::StrJoin(missing, ", ")));
  }
  v1::StageFinished finished;
  SetStage(id.number, stage, report.attempt(), &finished);
  *finished.mutable_measurements() = report.measurements();
  for (v1::Measurement& m : *finished.mutable_measurements()) {
    m.set_provenance(v1::EXTERNAL);
    if (m.sample_count() < 1) m.set_sample_count(1);
  }
  finished.set_executor(stage.attempts[report.attempt() - 1].executor);
  HWNAS_RETURN_IF_ERROR(FinishStage(*run, *trial, 0, std::move(finished)));
  Pump();
  return absl::OkStatus();
}

}  // namespace hwnas::controller
