// Studies as their users steer and read them.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "controller/study/report_check.h"
#include "controller/study/stage_event.h"
#include "controller/study/study_engine.h"
#include "controller/study/task_names.h"
#include "google/protobuf/util/message_differencer.h"
#include "nas/space/space_factory.h"
#include "proto/convert/convert.h"
#include "proto/convert/resource_names.h"

namespace hwnas::controller {
namespace {

constexpr size_t kMaxDescriptionBytes = 4096;

absl::Status HasEnded(const StudyState& state) {
  return absl::FailedPreconditionError(
      absl::StrCat("study '", state.study_id(),
                   "' has ended: ", v1::Study::State_Name(state.state())));
}

}  // namespace

absl::StatusOr<StudyEngine::Run*> StudyEngine::FindRun(
    const std::string& study_id) {
  const auto it = studies_.find(study_id);
  if (it == studies_.end()) {
    return absl::NotFoundError(
        absl::StrCat("there is no study '", Truncated(study_id, 63), "'"));
  }
  if (absl::IsUnavailable(it->second->broken)) return it->second->broken;
  if (!it->second->broken.ok()) {
    return absl::DataLossError(absl::StrCat(
        "study '", study_id, "' is stopped: ", it->second->broken.message()));
  }
  return it->second.get();
}

absl::StatusOr<std::vector<v1::SourceTrials>> StudyEngine::TrialsOfSources(
    const v1::CreateStudyRequest& request) {
  std::vector<v1::SourceTrials> of_sources;
  int folders = 0;
  for (int i = 0; i < request.spec().warm_start_size(); ++i) {
    const v1::WarmStartSource& source = request.spec().warm_start(i);
    if (source.study().empty()) {
      if (folders == request.source_trials_size()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "spec.warm_start[", i,
            "].folder: its trials did not come with the request; only the "
            "command line reads folders"));
      }
      of_sources.push_back(request.source_trials(folders++));
      continue;
    }
    const absl::StatusOr<Run*> run = FindRun(source.study());
    if (!run.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "spec.warm_start[", i, "].study: ", run.status().message()));
    }
    const StudyState& state = (*run)->state;
    std::vector<v1::Trial> trials;
    for (const TrialRecord& record : state.trials()) {
      v1::Trial& trial = trials.emplace_back();
      trial.set_state(record.state);
      *trial.mutable_architecture() = ArchitectureView(**run, record);
      for (const MeasurementRecord& m : record.measurements) {
        *trial.add_measurements() = m.ToProto();
      }
    }
    of_sources.push_back(ToSourceTrials(state.spec(), trials));
  }
  if (folders != request.source_trials_size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("source_trials: ", request.source_trials_size(),
                     " sources, expected one for each of the ", folders,
                     " folders of spec.warm_start"));
  }
  return of_sources;
}

absl::Status StudyEngine::CheckRoomForStudyOf(const std::string& user) const {
  if (options_.max_user_studies == 0 || user.empty()) return absl::OkStatus();
  const auto open =
      std::count_if(studies_.begin(), studies_.end(), [&](const auto& entry) {
        const StudyState& state = entry.second->state;
        return state.user() == user && !state.ended();
      });
  if (open < options_.max_user_studies) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "user '", user, "' has ", open, " studies that have not ended: expected ",
      "at most ", options_.max_user_studies,
      "; cancel one, or see "
      "--max_user_studies of the controller"));
}

absl::StatusOr<v1::Study> StudyEngine::CreateStudy(
    const v1::CreateStudyRequest& request) {
  HWNAS_RETURN_IF_ERROR(CheckStudyId(request.study_id()));
  HWNAS_RETURN_IF_ERROR(CheckStudySpec(request.spec()));
  HWNAS_RETURN_IF_ERROR(CheckUser("user", request.user()));
  if (request.description().size() > kMaxDescriptionBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("description has ", request.description().size(),
                     " bytes: expected at most ", kMaxDescriptionBytes));
  }
  std::vector<v1::JournalEvent> events(1);
  auto* created = events[0].mutable_study_created();
  created->set_study_id(request.study_id());
  *created->mutable_spec() = WithDefaults(request.spec());
  // Kept until Equip asks for it; without the mutex, since it may take a while.
  std::shared_ptr<const ReplayTable> table;
  if (created->spec().has_replay()) {
    HWNAS_ASSIGN_OR_RETURN(table, replay_tables_.Load(created->spec()));
    RecordTables(*table, created->mutable_spec()->mutable_replay());
  }
  created->set_description(request.description());
  created->set_user(request.user());
  DurableLock lock(this);
  if (const auto it = studies_.find(request.study_id()); it != studies_.end()) {
    HWNAS_ASSIGN_OR_RETURN(Run * existing, FindRun(request.study_id()));
    if (!google::protobuf::util::MessageDifferencer::Equals(
            existing->state.spec(), created->spec())) {
      return absl::AlreadyExistsError(
          absl::StrCat("study '", request.study_id(),
                       "' exists with another specification; choose another "
                       "name"));
    }
    return StudyView(*existing);
  }
  HWNAS_ASSIGN_OR_RETURN(const std::vector<v1::SourceTrials> source_trials,
                         TrialsOfSources(request));
  created->mutable_source_trials()->Assign(source_trials.begin(),
                                           source_trials.end());
  auto run = std::make_unique<Run>();
  if (request.validate_only()) {
    events[0].set_sequence(1);
    *events[0].mutable_time() = ToProto(deps_.clock->Now());
    HWNAS_RETURN_IF_ERROR(run->state.Apply(events[0]));
    HWNAS_RETURN_IF_ERROR(Equip(*run));
    return StudyView(*run);
  }
  HWNAS_RETURN_IF_ERROR(CheckRoomForStudyOf(request.user()));
  // Whatever may be wrong shows before anything is durable.
  {
    Run trial_run;
    v1::JournalEvent event = events[0];
    event.set_sequence(1);
    HWNAS_RETURN_IF_ERROR(trial_run.state.Apply(event));
    HWNAS_RETURN_IF_ERROR(Equip(trial_run));
  }
  HWNAS_RETURN_IF_ERROR(Commit(*run, std::move(events), 0, "study created"));
  HWNAS_RETURN_IF_ERROR(Equip(*run));
  Run& added = *run;
  studies_[request.study_id()] = std::move(run);
  Pump();
  return StudyView(added);
}

absl::StatusOr<v1::Study> StudyEngine::GetStudy(const std::string& study_id) {
  DurableLock lock(this);
  HWNAS_ASSIGN_OR_RETURN(Run * run, FindRun(study_id));
  return StudyView(*run);
}

absl::StatusOr<v1::Study> StudyEngine::SwitchState(const std::string& study_id,
                                                   v1::Study::State from,
                                                   v1::Study::State to,
                                                   const std::string& message) {
  HWNAS_ASSIGN_OR_RETURN(Run * run, FindRun(study_id));
  if (run->state.ended()) return HasEnded(run->state);
  if (run->state.state() == from) {
    v1::JournalEvent event;
    event.mutable_study_state_changed()->set_state(to);
    HWNAS_RETURN_IF_ERROR(Commit(*run, {event}, 0, message));
    if (to == v1::Study::RUNNING) Pump();
  }
  return StudyView(*run);
}

absl::StatusOr<v1::Study> StudyEngine::PauseStudy(const std::string& study_id) {
  DurableLock lock(this);
  return SwitchState(study_id, v1::Study::RUNNING, v1::Study::PAUSED,
                     "study paused");
}

absl::StatusOr<v1::Study> StudyEngine::ResumeStudy(
    const std::string& study_id) {
  DurableLock lock(this);
  return SwitchState(study_id, v1::Study::PAUSED, v1::Study::RUNNING,
                     "study resumed");
}

absl::StatusOr<v1::Study> StudyEngine::CancelStudy(
    const std::string& study_id) {
  DurableLock lock(this);
  HWNAS_ASSIGN_OR_RETURN(Run * run, FindRun(study_id));
  const StudyState& state = run->state;
  if (state.state() == v1::Study::CANCELLED) return StudyView(*run);
  if (state.ended()) return HasEnded(state);
  HWNAS_RETURN_IF_ERROR(Cancel(*run, "cancelled by a user", "study cancelled"));
  Pump();
  return StudyView(*run);
}

absl::Status StudyEngine::Cancel(Run& run, const std::string& reason,
                                 const std::string& message) {
  const StudyState& state = run.state;
  const std::string study_id = state.study_id();
  std::vector<v1::JournalEvent> events;
  std::vector<std::pair<std::string, StageRecord>> to_cancel;
  for (const int64_t number : state.active()) {
    const TrialRecord& trial = *state.FindTrial(number);
    const int current = trial.CurrentStage();
    if (current < static_cast<int>(trial.stages.size()) &&
        trial.stages[current].live_attempt != 0) {
      const StageRecord& stage = trial.stages[current];
      auto* failed = events.emplace_back().mutable_attempt_failed();
      SetStage(number, stage, stage.live_attempt, failed);
      failed->set_outcome(v1::AttemptFailed::CANCELLED);
      failed->set_executor(stage.attempts[stage.live_attempt - 1].executor);
      to_cancel.emplace_back(TaskId(study_id, number, stage.key), stage);
    }
    auto* ended = events.emplace_back().mutable_trial_ended();
    ended->set_trial(number);
    ended->set_state(v1::Trial::CANCELLED);
    ended->set_reason(reason);
  }
  const std::vector<int64_t> changed = state.active();
  auto* change = events.emplace_back().mutable_study_state_changed();
  change->set_state(v1::Study::CANCELLED);
  change->set_reason(reason);
  HWNAS_RETURN_IF_ERROR(Commit(run, std::move(events), 0, message));
  for (const int64_t trial : changed) Notify(run, trial, "");
  for (const auto& [task_id, stage] : to_cancel) {
    SendCancel(stage, task_id, "the study was cancelled");
  }
  return absl::OkStatus();
}

std::string StudyEngine::WhyNoPower(const std::string& device_class) const {
  constexpr size_t kMaxNamed = 3;
  std::vector<std::string> reasons;
  size_t others = 0;
  for (const auto& [name, executor] : fleet_.executors()) {
    const v1::Hello& hello = executor.hello;
    if (hello.kind() != v1::AGENT || !hello.power().name().empty() ||
        std::find(hello.device_classes().begin(), hello.device_classes().end(),
                  device_class) == hello.device_classes().end()) {
      continue;
    }
    if (reasons.size() == kMaxNamed) {
      ++others;
      continue;
    }
    reasons.push_back(absl::StrCat(name, " has no power source (",
                                   hello.power().why_none().empty()
                                       ? "it does not say why"
                                       : hello.power().why_none(),
                                   ")"));
  }
  if (reasons.empty()) return "";
  if (others > 0) reasons.push_back(absl::StrCat(others, " more have none"));
  return absl::StrCat("; ", absl::StrJoin(reasons, "; "));
}

std::string StudyEngine::WhyNoEnergy(const Run& run) const {
  for (const StageKey& stage : StagesOf(run.state.spec())) {
    if (!AsksForEnergy(stage, run.state.problem())) continue;
    // Also an agent that is away just now may come back and measure.
    bool any = false, metered = false;
    for (const auto& [name, executor] : fleet_.executors()) {
      QueuedTask task = {.stage = v1::MEASURE,
                         .device_class = stage.device_class,
                         .runtime = run.state.spec().measure().runtime()};
      any |= executor.connected() && IsCapable(executor.snapshot, task);
      task.energy = true;
      metered |= IsCapable(executor.snapshot, task);
    }
    if (any && !metered) {
      return Truncated(
          absl::StrCat("no agent of ", stage.device_class,
                       " can measure the energy that the study asks for",
                       WhyNoPower(stage.device_class)),
          kMaxErrorBytes);
    }
  }
  return "";
}

void StudyEngine::EndWithoutEnergy() {
  const absl::Time now = deps_.clock->Steady();
  for (auto& [id, run] : studies_) {
    if (!run->broken.ok() || run->state.state() != v1::Study::RUNNING ||
        run->state.spec().has_replay()) {
      continue;
    }
    const std::string reason = WhyNoEnergy(*run);
    if (reason.empty()) {
      run->no_energy_since = absl::InfiniteFuture();
      continue;
    }
    run->no_energy_since = std::min(run->no_energy_since, now);
    if (now - run->no_energy_since < options_.energy_patience) continue;
    deps_.logger->warn("event=study_without_energy study={} reason=\"{}\"",
                       StudyName(id), reason);
    // If the store refuses, the next tick tries again.
    (void)Cancel(*run, reason, absl::StrCat("study cancelled: ", reason));
  }
}

absl::StatusOr<TrialModel> StudyEngine::ModelOf(const std::string& study_id,
                                                int64_t number) {
  DurableLock lock(this);
  HWNAS_ASSIGN_OR_RETURN(Run * run, FindRun(study_id));
  HWNAS_ASSIGN_OR_RETURN(const TrialRecord* trial, FindTrial(*run, number));
  HWNAS_ASSIGN_OR_RETURN(
      const Architecture architecture,
      FromProto(*run->space, ArchitectureView(*run, *trial)));
  TrialModel model;
  HWNAS_ASSIGN_OR_RETURN(model.graph, run->space->Decode(architecture));
  model.architecture = ArchitectureView(*run, *trial);
  model.trial_name = TrialName(study_id, number);
  if (const auto it = run->weights.find(number); it != run->weights.end()) {
    model.weights_digest = it->second;
  }
  return model;
}

absl::Status StudyEngine::AddWatcher(const std::string& study_id,
                                     std::shared_ptr<StudyWatcher> watcher) {
  DurableLock lock(this);
  HWNAS_ASSIGN_OR_RETURN(Run * run, FindRun(study_id));
  watcher->OnChange(0, "");
  run->watchers.push_back(std::move(watcher));
  return absl::OkStatus();
}

void StudyEngine::RemoveWatcher(const std::string& study_id,
                                const StudyWatcher* watcher) {
  DurableLock lock(this);
  const auto it = studies_.find(study_id);
  if (it == studies_.end()) return;
  auto& watchers = it->second->watchers;
  watchers.erase(
      std::remove_if(watchers.begin(), watchers.end(),
                     [&](const auto& w) { return w.get() == watcher; }),
      watchers.end());
}

}  // namespace hwnas::controller
