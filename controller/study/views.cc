// What the engine shows: its state as messages of the API.
#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "controller/study/report_check.h"
#include "controller/study/stage_event.h"
#include "controller/study/study_engine.h"
#include "proto/convert/resource_names.h"

namespace hwnas::controller {

v1::Study StudyEngine::StudyView(const Run& run) const {
  const StudyState& state = run.state;
  v1::Study study;
  study.set_name(StudyName(state.study_id()));
  *study.mutable_spec() = state.spec();
  study.set_state(state.state());
  *study.mutable_create_time() = ToProto(state.create_time());
  study.set_description(state.description());
  study.set_user(state.user());
  if (state.ended()) *study.mutable_end_time() = ToProto(state.end_time());

  v1::StudyProgress* progress = study.mutable_progress();
  const int64_t proposed = static_cast<int64_t>(state.trials().size());
  const int64_t active = static_cast<int64_t>(state.active().size());
  const int64_t running = static_cast<int64_t>(run.live.size());
  progress->set_proposed_count(proposed);
  progress->set_running_count(running);
  progress->set_waiting_count(active - running - state.paused_count());
  progress->set_paused_count(state.paused_count());
  progress->set_stopped_count(state.stopped_count());
  progress->set_completed_count(state.completed_count());
  progress->set_infeasible_count(state.infeasible_count());
  for (const StudyFront& front : state.fronts()) {
    if (front.device_class.empty()) {
      progress->set_front_size(front.archive.size());
      progress->set_hypervolume(front.archive.hypervolume());
      for (const double value : state.Reference(front)) {
        progress->add_reference(value);
      }
      continue;
    }
    v1::DeviceFrontProgress* device = progress->add_device_fronts();
    device->set_device_class(front.device_class);
    device->set_front_size(front.archive.size());
    device->set_hypervolume(front.archive.hypervolume());
  }
  for (const double value : state.best_values()) {
    progress->add_best_values(value);
  }
  if (state.best_score()) progress->set_best_score(*state.best_score());
  const double elapsed = absl::ToDoubleSeconds(WorkTime(run));
  progress->set_elapsed_seconds(elapsed);
  if (state.spec().has_replay()) {
    progress->set_simulated_seconds(state.simulated_s());
    progress->set_simulated_work_seconds(state.simulated_work_s());
  }
  // One that pauses has had what most trials get.
  const int64_t done = state.completed_count() + state.infeasible_count() +
                       state.stopped_count() + state.paused_count();
  if (state.state() == v1::Study::RUNNING && state.completed_count() > 0) {
    const v1::Budget& budget = state.spec().budget();
    double eta = elapsed / static_cast<double>(done) *
                 static_cast<double>(budget.trials() - done);
    // The time budget of a replay is one of simulated time.
    if (budget.has_wall_clock() && !state.spec().has_replay()) {
      eta = std::min(
          eta, absl::ToDoubleSeconds(FromProto(budget.wall_clock())) - elapsed);
    }
    progress->set_eta_seconds(std::max(0.0, eta));
  }
  return study;
}

v1::Architecture StudyEngine::ArchitectureView(const Run& run,
                                               const TrialRecord& trial) {
  v1::Architecture view;
  const std::vector<int>& choices = trial.architecture.choices;
  view.mutable_choices()->Assign(choices.begin(), choices.end());
  // Of a study that has ended the journal may say what it likes.
  if (run.space->Validate(trial.architecture).ok()) {
    view.set_text(run.space->ToText(trial.architecture));
  }
  view.set_digest(trial.digest.Hex());
  return view;
}

v1::Trial StudyEngine::TrialView(const Run& run,
                                 const TrialRecord& trial) const {
  v1::Trial view;
  view.set_name(TrialName(run.state.study_id(), trial.number));
  view.set_number(trial.number);
  view.set_state(trial.state);
  *view.mutable_architecture() = ArchitectureView(run, trial);
  const bool rungs = run.state.rungs() != nullptr;
  for (size_t i = 0; i < trial.measurements.size(); ++i) {
    const v1::Measurement& m = *trial.measurements[i].about;
    // Each rung has values of its own; here is what is known now.
    const bool outdated =
        rungs &&
        std::any_of(trial.measurements.begin() + i + 1,
                    trial.measurements.end(),
                    [&m](const MeasurementRecord& later) {
                      return later.about->metric() == m.metric() &&
                             later.about->device_class() == m.device_class();
                    });
    if (!outdated) *view.add_measurements() = trial.measurements[i].ToProto();
  }
  view.set_trained_epochs(trial.trained_epochs);
  if (trial.state == v1::Trial::INFEASIBLE) {
    view.set_infeasible_reason(trial.reason);
  }
  if (trial.state == v1::Trial::STOPPED ||
      trial.state == v1::Trial::CANCELLED) {
    view.set_stop_reason(trial.reason);
  }
  for (size_t i = 0; i < trial.stages.size(); ++i) {
    const StageRecord& record = trial.stages[i];
    v1::TrialStage* stage = view.add_stages();
    stage->set_kind(record.key.kind);
    stage->set_device_class(record.key.device_class);
    stage->set_state(record.state);
    stage->set_rung_epochs(record.key.rung_epochs);
    if (record.key.rung_epochs > 0 &&
        record.state == v1::TrialStage::FINISHED) {
      v1::RungResult* rung = view.add_rungs();
      rung->set_epochs(record.key.rung_epochs);
      AddMeasurements(trial, record, rung->mutable_measurements());
    }
    stage->set_attempt_count(static_cast<int>(record.attempts.size()));
    if (record.finished_attempt > 0) {
      stage->set_executor(
          record.attempts[record.finished_attempt - 1].executor);
    } else if (!record.attempts.empty()) {
      stage->set_executor(record.attempts.back().executor);
    }
    *stage->mutable_times() = record.times.ToProto();
    stage->set_last_error(record.last_error);
    stage->set_reused_from(record.reused_from);
    const auto live = run.live.find({trial.number, static_cast<int>(i)});
    if (live != run.live.end() && live->second.epoch.epoch() > 0) {
      *view.mutable_last_epoch() = live->second.epoch;
    }
  }
  *view.mutable_create_time() = ToProto(trial.create_time);
  const bool replay = run.state.spec().has_replay();
  if (replay) view.set_simulated_create_seconds(trial.simulated_create_s);
  if (trial.state != v1::Trial::ACTIVE) {
    *view.mutable_end_time() = ToProto(trial.end_time);
    if (replay) view.set_simulated_end_seconds(trial.simulated_end_s);
  }
  if (const auto it = run.weights.find(trial.number); it != run.weights.end()) {
    view.set_weights_digest(it->second);
  }
  view.set_on_front(trial.state == v1::Trial::COMPLETED &&
                    run.state.OnFront(trial.number));
  if (trial.evaluation.score) view.set_score(*trial.evaluation.score);
  return view;
}

absl::StatusOr<v1::ListStudiesResponse> StudyEngine::ListStudies(
    const v1::ListStudiesRequest& request) {
  HWNAS_ASSIGN_OR_RETURN(const int size, PageSize(request.page_size()));
  HWNAS_RETURN_IF_ERROR(CheckPageToken(request.page_token()));
  DurableLock lock(this);
  v1::ListStudiesResponse response;
  std::string last;
  for (auto it = studies_.upper_bound(request.page_token());
       it != studies_.end(); ++it) {
    if (!it->second->broken.ok()) continue;
    if (response.studies_size() == size) {
      response.set_next_page_token(last);
      break;
    }
    *response.add_studies() = StudyView(*it->second);
    last = it->first;
  }
  return response;
}

absl::StatusOr<v1::ListTrialsResponse> StudyEngine::ListTrials(
    const std::string& study_id, const v1::ListTrialsRequest& request) {
  HWNAS_ASSIGN_OR_RETURN(const int size, PageSize(request.page_size()));
  int64_t after = 0;
  if (!request.page_token().empty() &&
      (!absl::SimpleAtoi(request.page_token(), &after) || after < 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("page_token '", Truncated(request.page_token(), 32),
                     "': expected the one of the last response"));
  }
  DurableLock lock(this);
  HWNAS_ASSIGN_OR_RETURN(Run * run, FindRun(study_id));
  v1::ListTrialsResponse response;
  const std::deque<TrialRecord>& trials = run->state.trials();
  for (size_t i = static_cast<size_t>(after); i < trials.size(); ++i) {
    const TrialRecord& trial = trials[i];
    if (request.state() != v1::Trial::STATE_UNSPECIFIED &&
        request.state() != trial.state) {
      continue;
    }
    if (response.trials_size() == size) {
      response.set_next_page_token(
          absl::StrCat(response.trials(response.trials_size() - 1).number()));
      break;
    }
    *response.add_trials() = TrialView(*run, trial);
  }
  return response;
}

absl::StatusOr<v1::Trial> StudyEngine::GetTrial(const std::string& study_id,
                                                int64_t number) {
  DurableLock lock(this);
  HWNAS_ASSIGN_OR_RETURN(Run * run, FindRun(study_id));
  HWNAS_ASSIGN_OR_RETURN(const TrialRecord* trial, FindTrial(*run, number));
  return TrialView(*run, *trial);
}

absl::StatusOr<const TrialRecord*> StudyEngine::FindTrial(
    const Run& run, int64_t number) const {
  const TrialRecord* trial = run.state.FindTrial(number);
  if (trial != nullptr) return trial;
  return absl::NotFoundError(
      absl::StrCat("study '", run.state.study_id(), "' has no trial ", number,
                   "; it has ", run.state.trials().size()));
}

absl::StatusOr<v1::Front> StudyEngine::GetFront(
    const std::string& study_id, const std::string& device_class) {
  DurableLock lock(this);
  HWNAS_ASSIGN_OR_RETURN(Run * run, FindRun(study_id));
  const StudyState& state = run->state;
  const StudyFront* found = state.FindFront(device_class);
  if (found == nullptr) {
    const std::vector<std::string> devices = state.problem().FrontDevices();
    return absl::InvalidArgumentError(absl::StrCat(
        "study '", study_id, "' has no front of '", Truncated(device_class, 64),
        "': ",
        devices.empty()
            ? "no objective is over each of several devices"
            : absl::StrCat("expected ", absl::StrJoin(devices, ", "))));
  }
  v1::Front front;
  front.set_device_class(device_class);
  for (const int64_t number : state.Members(*found)) {
    *front.add_trials() = TrialView(*run, *state.FindTrial(number));
  }
  front.set_hypervolume(found->archive.hypervolume());
  for (const double value : state.Reference(*found)) {
    front.add_reference(value);
  }
  return front;
}

absl::StatusOr<v1::StudyUpdate> StudyEngine::MakeUpdate(
    const std::string& study_id, int64_t trial) {
  DurableLock lock(this);
  HWNAS_ASSIGN_OR_RETURN(Run * run, FindRun(study_id));
  v1::StudyUpdate update;
  *update.mutable_time() = ToProto(deps_.clock->Now());
  *update.mutable_study() = StudyView(*run);
  if (const TrialRecord* record = run->state.FindTrial(trial)) {
    *update.mutable_trial() = TrialView(*run, *record);
  }
  return update;
}

v1::Executor::State StudyEngine::StateOf(const Executor& executor,
                                         absl::Time now) const {
  const v1::Executor::State state = executor.state(now);
  if (state != v1::Executor::CONNECTED || executor.hello.kind() != v1::AGENT) {
    return state;
  }
  const DeviceRecord& device =
      farm_.Find(DeviceName(executor.hello.executor_id()));
  return device.quarantined ? v1::Executor::QUARANTINED
         : device.drained   ? v1::Executor::DRAINING
                            : state;
}

v1::Executor StudyEngine::ExecutorView(const Executor& executor) const {
  const absl::Time now = deps_.clock->Steady();
  v1::Executor view;
  view.set_name(executor.name);
  view.set_kind(executor.hello.kind());
  view.set_state(StateOf(executor, now));
  view.set_slots(executor.hello.slots());
  view.set_busy_slots(running_.OfExecutor(executor.name).all());
  *view.mutable_device_classes() = executor.hello.device_classes();
  *view.mutable_environment() = executor.hello.environment();
  *view.mutable_capabilities() = executor.hello.capabilities();
  *view.mutable_profiles() = executor.hello.profiles();
  *view.mutable_labels() = executor.hello.labels();
  *view.mutable_connect_time() = ToProto(executor.connect_time);
  *view.mutable_last_seen_time() = ToProto(executor.last_seen);
  view.set_finished_count(executor.finished_count);
  view.set_failed_count(executor.failed_count);
  if (executor.quarantined(now)) {
    view.set_quarantine_reason(executor.quarantine_reason);
  } else if (executor.hello.kind() == v1::AGENT) {
    view.set_quarantine_reason(
        farm_.Find(DeviceName(executor.hello.executor_id())).reason);
  }
  if (executor.hello.has_power()) {
    *view.mutable_power() = executor.hello.power();
  }
  return view;
}

absl::StatusOr<v1::TrialSamples> StudyEngine::GetTrialSamples(
    const std::string& study_id, int64_t number) {
  // Where in which journal the samples are.
  struct Source {
    v1::StageSamples* samples = nullptr;
    std::string study_id;
    int64_t sequence = 0;
  };
  std::vector<Source> sources;
  v1::TrialSamples all;
  {
    DurableLock lock(this);
    HWNAS_ASSIGN_OR_RETURN(Run * run, FindRun(study_id));
    HWNAS_ASSIGN_OR_RETURN(const TrialRecord* trial, FindTrial(*run, number));
    all.set_name(TrialName(study_id, number));
    for (const StageRecord& stage : trial->stages) {
      if (stage.key.kind != v1::MEASURE ||
          stage.state != v1::TrialStage::FINISHED) {
        continue;
      }
      v1::StageSamples* samples = all.add_stages();
      samples->set_device_class(stage.key.device_class);
      samples->set_reused_from(stage.reused_from);
      AddMeasurements(*trial, stage, samples->mutable_measurements());
      Source source = {samples, study_id, stage.finished_sequence};
      if (!stage.reused_from.empty()) {
        HWNAS_ASSIGN_OR_RETURN(const TrialId id,
                               ParseTrialName(stage.reused_from));
        HWNAS_ASSIGN_OR_RETURN(Run * origin, FindRun(id.study_id));
        HWNAS_ASSIGN_OR_RETURN(const TrialRecord* measured,
                               FindTrial(*origin, id.number));
        const int index = measured->IndexOf(stage.key);
        if (index < 0) continue;
        source.study_id = id.study_id;
        source.sequence = measured->stages[index].finished_sequence;
      }
      if (source.sequence > 0) sources.push_back(source);
    }
  }
  for (const Source& source : sources) {
    const absl::Status stop = absl::CancelledError("one is enough");
    const absl::Status status = deps_.journals->Read(
        source.study_id, source.sequence - 1, [&](v1::JournalEvent&& event) {
          v1::StageFinished& finished = *event.mutable_stage_finished();
          if (const auto id = ParseAgentName(finished.executor()); id.ok()) {
            source.samples->set_device(DeviceName(*id));
          }
          *source.samples->mutable_latency_samples() =
              std::move(*finished.mutable_latency_samples());
          *source.samples->mutable_environment() =
              std::move(*finished.mutable_environment());
          if (finished.has_energy()) {
            *source.samples->mutable_energy() = finished.energy();
          }
          return stop;
        });
    if (status != stop) HWNAS_RETURN_IF_ERROR(status);
  }
  return all;
}

absl::StatusOr<v1::ListExecutorsResponse> StudyEngine::ListExecutors(
    const v1::ListExecutorsRequest& request) {
  HWNAS_ASSIGN_OR_RETURN(const int size, PageSize(request.page_size()));
  HWNAS_RETURN_IF_ERROR(CheckPageToken(request.page_token()));
  DurableLock lock(this);
  v1::ListExecutorsResponse response;
  const auto& executors = fleet_.executors();
  for (auto it = executors.upper_bound(request.page_token());
       it != executors.end(); ++it) {
    if (request.kind() != v1::EXECUTOR_KIND_UNSPECIFIED &&
        request.kind() != it->second.hello.kind()) {
      continue;
    }
    if (response.executors_size() == size) {
      response.set_next_page_token(
          response.executors(response.executors_size() - 1).name());
      break;
    }
    *response.add_executors() = ExecutorView(it->second);
  }
  return response;
}

}  // namespace hwnas::controller
