// Trials that a user's own program evaluates. One append for each call, however
// many trials it is about.
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
constexpr int kMaxReports = 64;
constexpr size_t kMaxClientIdBytes = 128;

}  // namespace

absl::StatusOr<v1::AskTrialsResponse> StudyEngine::AskTrials(
    const std::string& study_id, const v1::AskTrialsRequest& request) {
  v1::AskTrialsResponse response;
  Landing landing;
  const absl::Status asked =
      Ask(study_id, request, /*lands_nothing=*/true, &response, &landing);
  const absl::Status landed = Land(landing);
  HWNAS_RETURN_IF_ERROR(asked);
  HWNAS_RETURN_IF_ERROR(landed);
  return response;
}

absl::Status StudyEngine::Ask(const std::string& study_id,
                              const v1::AskTrialsRequest& request,
                              bool lands_nothing,
                              v1::AskTrialsResponse* response,
                              Landing* landing) {
  if (request.count() < 0 || request.count() > kMaxAskedTrials) {
    return absl::InvalidArgumentError(absl::StrCat(
        "count is ", request.count(), ": expected 1 to ", kMaxAskedTrials));
  }
  if (request.client_id().size() > kMaxClientIdBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("client_id has ", request.client_id().size(),
                     " bytes: expected at most ", kMaxClientIdBytes));
  }
  const std::string client = absl::StrCat(
      "clients/",
      request.client_id().empty() ? "unnamed" : request.client_id());
  MutexLock lock(&mutex_);
  const int count = std::max(1, request.count());
  HWNAS_ASSIGN_OR_RETURN(Run * run, FindCurrentRun(study_id, lands_nothing));
  for (int lacking; (lacking = Lacking(*run, count)) > 0;) {
    if (run->proposing) {
      proposed_.Wait(&mutex_);
    } else {
      ProposeApart(study_id, *run, lacking);
    }
    HWNAS_ASSIGN_OR_RETURN(run, FindCurrentRun(study_id, lands_nothing));
  }
  const StudyState& state = run->state;
  if (!state.spec().has_external()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "study '", study_id,
        "' is evaluated by workers and agents; only a study with `external` "
        "hands out trials"));
  }
  *landing = Rest(*run);
  if (state.state() == v1::Study::RUNNING) {
    HWNAS_ASSIGN_OR_RETURN(const std::vector<int64_t> numbers,
                           HandOut(*run, count, client, landing));
    for (const int64_t number : numbers) {
      const TrialRecord& trial = *state.FindTrial(number);
      v1::AskedTrial* asked = response->add_trials();
      *asked->mutable_trial() = TrialView(*run, trial);
      asked->set_attempt(trial.stages[0].live_attempt);
      *asked->mutable_lease_deadline() =
          ToProto(WallTime(run->live[{number, 0}].deadline));
      const absl::Span<const Decision> decisions = run->space->decisions();
      const auto& choices = asked->trial().architecture().choices();
      for (int i = 0; i < choices.size(); ++i) {
        (*asked->mutable_parameters())[decisions[i].name] =
            decisions[i].options[choices[i]];
      }
    }
    // Nothing to hand out may mean that all is done.
    HWNAS_RETURN_IF_ERROR(CompleteIfDone(*run));
  }
  response->set_study_ended(state.ended());
  return absl::OkStatus();
}

int StudyEngine::Lacking(const Run& run, int count) const {
  if (!ProposesApart(run) || !run.state.spec().has_external() ||
      !MayPropose(run) ||
      run.exhausted_at == static_cast<int64_t>(run.observed)) {
    return 0;
  }
  const StudyState& state = run.state;
  const auto queued =
      static_cast<int64_t>(state.active().size() - run.live.size());
  const int64_t wanted =
      std::min({count - queued, Room(run),
                static_cast<int64_t>(state.spec().budget().trials()) -
                    static_cast<int64_t>(state.trials().size())});
  return static_cast<int>(wanted) - static_cast<int>(run.ready.size());
}

absl::StatusOr<std::vector<int64_t>> StudyEngine::HandOut(
    Run& run, int count, const std::string& client, Landing* landing) {
  const StudyState& state = run.state;
  // Given back, expired, or proposed and not handed out: before new ones.
  std::vector<int64_t> numbers;
  if (state.active().size() > run.live.size()) {
    for (const int64_t number : state.active()) {
      if (static_cast<int>(numbers.size()) == count) break;
      if (state.FindTrial(number)->stages[0].state == v1::TrialStage::QUEUED) {
        numbers.push_back(number);
      }
    }
  }
  std::vector<Proposal> proposals;
  const int64_t trials = static_cast<int64_t>(state.trials().size());
  if (MayPropose(run)) {
    const int64_t wanted = std::min(
        {count - static_cast<int64_t>(numbers.size()), Room(run),
         static_cast<int64_t>(state.spec().budget().trials()) - trials});
    proposals = Suggest(run, static_cast<int>(wanted));
  }

  const absl::Time now = deps_.clock->Now();
  const auto deadline = ToProto(now + LeasePeriod(run, v1::ASK));
  int64_t token = state.last_token();
  Batch batch;
  const auto lease = [&](int64_t number, int attempt) {
    auto* leased = batch.events.emplace_back().mutable_task_leased();
    leased->set_trial(number);
    leased->set_stage(v1::ASK);
    leased->set_attempt(attempt);
    leased->set_token(++token);
    leased->set_executor(client);
    *leased->mutable_deadline() = deadline;
    return leased;
  };
  batch.events.reserve(numbers.size() + 2 * proposals.size());
  for (const int64_t number : numbers) {
    const StageRecord& stage = state.FindTrial(number)->stages[0];
    *lease(number, static_cast<int>(stage.attempts.size()) + 1)
         ->mutable_queued() = ToProto(stage.times.queued);
    batch.changes.push_back({number, ""});
  }
  for (const Proposal& proposal : proposals) {
    AddProposed(run, proposal, &batch);
    *lease(proposal.number, /*attempt=*/1)->mutable_queued() = ToProto(now);
    numbers.push_back(proposal.number);
  }
  HWNAS_RETURN_IF_ERROR(Commit(run, std::move(batch), landing));
  return numbers;
}

absl::StatusOr<v1::ReportProgressResponse> StudyEngine::ReportProgress(
    const v1::ReportProgressRequest& request) {
  HWNAS_ASSIGN_OR_RETURN(const TrialId id, ParseTrialName(request.trial()));
  HWNAS_RETURN_IF_ERROR(CheckMeasurements(request.measurements()));
  DurableLock lock(this);
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
      deps_.clock->Steady() + FromProto(run->state.spec().external().lease());
  std::vector<std::string> values;
  for (const auto& m : request.measurements()) values.push_back(ValueText(m));
  live.note = Truncated(absl::StrCat("step ", request.step()), 200);
  Notify(*run, id.number,
         absl::StrCat("trial ", id.number, " step ", request.step(), " ",
                      absl::StrJoin(values, " ")));
  v1::ReportProgressResponse response;
  *response.mutable_lease_deadline() = ToProto(WallTime(live.deadline));
  return response;
}

absl::StatusOr<v1::TellTrialsResponse> StudyEngine::TellTrials(
    const v1::TellTrialsRequest& request) {
  const int count = request.reports_size();
  if (count < 1 || count > kMaxReports) {
    return absl::InvalidArgumentError(
        absl::StrCat("reports holds ", count, ": expected 1 to ", kMaxReports));
  }
  std::vector<absl::Status> statuses(count);
  std::vector<Landing> landings;
  const auto land = [&] {
    for (const Landing& landing : std::exchange(landings, {})) {
      const absl::Status status = Land(landing);
      if (status.ok()) continue;
      for (const int report : landing.reports) statuses[report] = status;
    }
  };
  const absl::StatusOr<std::string> asked =
      ParseStudyName(request.next().parent());
  bool slow = false;
  {
    MutexLock lock(&mutex_);
    // Reports on different trials of one study are appended together.
    ToldBatch told;
    for (int i = 0; i < count; ++i) {
      statuses[i] = AddReport(request.reports(i), i, &told, &statuses);
    }
    CommitTold(&told, &statuses);
    landings = std::move(told.landings);
    const absl::StatusOr<Run*> run =
        asked.ok() ? FindRun(*asked) : asked.status();
    slow = run.ok() && ProposesApart(**run);
  }
  // What is handed out next knows these reports. It shares their sync, unless
  // they would wait for long.
  if (slow) land();
  v1::TellTrialsResponse response;
  absl::Status next;
  Landing next_landing;
  if (request.has_next()) {
    next = asked.ok() ? Ask(*asked, request.next(), landings.empty(),
                            response.mutable_next(), &next_landing)
                      : asked.status();
  }
  land();
  next.Update(Land(next_landing));
  for (const absl::Status& status : statuses) {
    *response.add_statuses() = ReportStatusOf(status);
  }
  if (request.has_next()) {
    *response.mutable_next_status() = ReportStatusOf(next);
    if (!next.ok()) response.clear_next();
  }
  return response;
}

void StudyEngine::CommitTold(ToldBatch* told,
                             std::vector<absl::Status>* statuses) {
  if (told->reports.empty()) return;
  Landing& landing = told->landings.emplace_back();
  const absl::Status status =
      Commit(*told->run, std::move(told->batch), &landing);
  for (const int report : told->reports) (*statuses)[report] = status;
  landing.reports = std::move(told->reports);
  // If the store refuses that, the timer tries again.
  if (status.ok()) (void)CompleteIfDone(*told->run);
  told->run = nullptr;
  told->reports.clear();
  told->trials.clear();
  told->batch = Batch();
}

absl::Status StudyEngine::AddReport(const v1::TrialReport& report, int index,
                                    ToldBatch* told,
                                    std::vector<absl::Status>* statuses) {
  HWNAS_ASSIGN_OR_RETURN(const TrialId id, ParseTrialName(report.trial()));
  HWNAS_RETURN_IF_ERROR(CheckMeasurements(report.measurements()));
  HWNAS_ASSIGN_OR_RETURN(Run * run, FindRun(id.study_id));
  const auto& trials = told->trials;
  if (run != told->run || run->fell_behind ||
      std::find(trials.begin(), trials.end(), id.number) != trials.end()) {
    // What was gathered holds only as long as nobody else gets the mutex.
    CommitTold(told, statuses);
    HWNAS_ASSIGN_OR_RETURN(run,
                           FindCurrentRun(id.study_id, told->landings.empty()));
    told->run = run;
  }
  const size_t events = told->batch.events.size();
  HWNAS_RETURN_IF_ERROR(JudgeReport(*run, report, id.number, &told->batch));
  if (told->batch.events.size() > events) {
    told->reports.push_back(index);
    told->trials.push_back(id.number);
  } else if (run->last_append != nullptr) {
    told->landings.push_back(Rest(*run));
    told->landings.back().reports.push_back(index);
  }
  return absl::OkStatus();
}

absl::Status StudyEngine::JudgeReport(const Run& run,
                                      const v1::TrialReport& report,
                                      int64_t number, Batch* batch) const {
  const TrialRecord* trial = run.state.FindTrial(number);
  if (trial == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("there is no trial '", report.trial(), "'"));
  }
  const StageRecord& stage = trial->stages[0];
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
      AddIgnored(*trial, 0, report.attempt(), batch);
    }
    return absl::OkStatus();
  }
  if (!report.error().empty()) {
    if (stage.live_attempt != report.attempt()) return absl::OkStatus();
    AddFailed(run, *trial, 0, v1::AttemptFailed::FAILED,
              Truncated(report.error(), kMaxErrorBytes), report.permanent(),
              batch);
    return absl::OkStatus();
  }
  const std::vector<std::string> missing =
      Missing(run.FactsOf(stage.key).metrics, report.measurements());
  if (!missing.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("measurements of ", report.trial(), " lack ",
                     absl::StrJoin(missing, ", ")));
  }
  v1::StageFinished finished;
  SetStage(number, stage, report.attempt(), &finished);
  *finished.mutable_measurements() = report.measurements();
  for (v1::Measurement& m : *finished.mutable_measurements()) {
    m.set_provenance(v1::EXTERNAL);
    if (m.sample_count() < 1) m.set_sample_count(1);
  }
  finished.set_executor(stage.attempts[report.attempt() - 1].executor);
  AddFinished(run, *trial, 0, std::move(finished), batch);
  return absl::OkStatus();
}

}  // namespace hwnas::controller
