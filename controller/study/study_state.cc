#include "controller/study/study_state.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace hwnas::controller {
namespace {

absl::Status Corrupt(absl::string_view what) {
  return absl::DataLossError(std::string(what));
}

std::string StageText(const StageKey& key) {
  std::string text = v1::StageKind_Name(key.kind);
  if (!key.device_class.empty()) absl::StrAppend(&text, "@", key.device_class);
  if (key.rung_epochs > 0) {
    absl::StrAppend(&text, " to epoch ", key.rung_epochs);
  }
  return text;
}
template <typename Event>
StageKey KeyOf(const Event& e) {
  return {e.stage(), e.device_class(), e.rung_epochs()};
}

// The trained metrics that a report of an epoch states.
std::vector<v1::Measurement> MeasurementsOf(const v1::EpochReport& epoch) {
  std::vector<v1::Measurement> measurements(2);
  measurements[0].set_metric("accuracy");
  measurements[0].set_value(epoch.validation_accuracy());
  measurements[1].set_metric("validation_loss");
  measurements[1].set_value(epoch.validation_loss());
  for (v1::Measurement& m : measurements) {
    if (const MetricInfo* info = FindMetric(m.metric())) {
      m.set_unit(std::string(info->unit));
    }
    m.set_sample_count(1);
    m.set_provenance(v1::TRAINED);
  }
  return measurements;
}

}  // namespace

int TrialRecord::CurrentStage() const {
  for (size_t i = 0; i < stages.size(); ++i) {
    if (stages[i].state != v1::TrialStage::FINISHED) return static_cast<int>(i);
  }
  return static_cast<int>(stages.size());
}

int TrialRecord::IndexOf(const StageKey& key) const {
  for (size_t i = 0; i < stages.size(); ++i) {
    if (stages[i].key == key) return static_cast<int>(i);
  }
  return -1;
}

namespace {

template <typename List>
std::vector<MetricValue> ValuesOfAll(const List& measurements) {
  std::vector<MetricValue> values;
  values.reserve(measurements.size());
  for (const v1::Measurement& m : measurements) {
    values.push_back({{m.metric(), m.device_class()}, m.value()});
  }
  return values;
}

}  // namespace

std::vector<MetricValue> ValuesOf(
    absl::Span<const v1::Measurement> measurements) {
  return ValuesOfAll(measurements);
}

std::vector<MetricValue> ValuesOf(
    const google::protobuf::RepeatedPtrField<v1::Measurement>& measurements) {
  return ValuesOfAll(measurements);
}

Point StudyFront::Select(absl::Span<const double> declared) const {
  Point point;
  point.reserve(objectives.size());
  for (const int i : objectives) point.push_back(declared[i]);
  return point;
}

namespace {

void AddValue(const MeasurementRecord& m, std::vector<MetricValue>* values) {
  values->push_back({{m.about->metric(), m.about->device_class()}, m.value});
}

}  // namespace

std::vector<MetricValue> TrialRecord::Values() const {
  std::vector<MetricValue> values;
  values.reserve(measurements.size());
  for (const MeasurementRecord& m : measurements) AddValue(m, &values);
  return values;
}

v1::HopTimes StageTimes::ToProto() const {
  v1::HopTimes proto;
  constexpr absl::Time kUnset = absl::InfinitePast();
  if (queued != kUnset) *proto.mutable_queued() = hwnas::ToProto(queued);
  if (leased != kUnset) *proto.mutable_leased() = hwnas::ToProto(leased);
  if (started != kUnset) *proto.mutable_started() = hwnas::ToProto(started);
  if (executed != kUnset) *proto.mutable_executed() = hwnas::ToProto(executed);
  if (recorded != kUnset) *proto.mutable_recorded() = hwnas::ToProto(recorded);
  return proto;
}

namespace {

// Of the stages before training.
std::vector<MetricValue> UntrainedValues(const TrialRecord& trial) {
  std::vector<MetricValue> values;
  for (const StageRecord& stage : trial.stages) {
    if (stage.key.rung_epochs > 0) continue;
    for (int i = 0; i < stage.measurement_count; ++i) {
      AddValue(trial.measurements[stage.first_measurement + i], &values);
    }
  }
  return values;
}

}  // namespace

const TrialRecord* StudyState::FindTrial(int64_t number) const {
  if (number < 1 || number > static_cast<int64_t>(trials_.size())) {
    return nullptr;
  }
  return &trials_[number - 1];
}

absl::Status StudyState::Apply(const v1::JournalEvent& event) {
  const absl::Time time = FromProto(event.time());
  const absl::Duration work_time =
      WorkTime(time, event.has_taken_up() ? FromProto(event.taken_up())
                                          : absl::InfinitePast());
  absl::Status status;
  if (event.sequence() != sequence_ + 1) {
    status = Corrupt(absl::StrCat("expected event ", sequence_ + 1));
  } else if ((event.event_case() == v1::JournalEvent::kStudyCreated) !=
             (sequence_ == 0)) {
    status = Corrupt("a journal begins with study_created, and has it once");
  } else if (event.has_simulated_seconds() &&
             !(std::isfinite(event.simulated_seconds()) &&
               event.simulated_seconds() >= simulated_s_)) {
    status = Corrupt(absl::StrCat("simulated time ", event.simulated_seconds(),
                                  " s after ", simulated_s_, " s"));
  } else {
    if (event.has_simulated_seconds()) {
      simulated_s_ = event.simulated_seconds();
    }
    switch (event.event_case()) {
      case v1::JournalEvent::kStudyCreated:
        status = ApplyCreated(event.study_created(), time);
        break;
      case v1::JournalEvent::kStudyStateChanged:
        status = ApplyStateChanged(event.study_state_changed(), time);
        break;
      case v1::JournalEvent::kTrialProposed:
        status = ApplyProposed(event.trial_proposed(), time);
        break;
      case v1::JournalEvent::kTaskLeased:
        status = ApplyLeased(event.task_leased(), time);
        break;
      case v1::JournalEvent::kStageFinished:
        status = ApplyFinished(event.stage_finished(), time);
        break;
      case v1::JournalEvent::kAttemptFailed:
        status = ApplyFailed(event.attempt_failed(), time);
        break;
      case v1::JournalEvent::kTrialEnded:
        status = ApplyEnded(event.trial_ended(), time);
        break;
      case v1::JournalEvent::kResultIgnored:
        status = ApplyIgnored(event.result_ignored());
        break;
      case v1::JournalEvent::kTrialPromoted:
        status = ApplyPromoted(event.trial_promoted(), time);
        break;
      case v1::JournalEvent::kStageInvalidated:
        status = ApplyInvalidated(event.stage_invalidated(), time);
        break;
      case v1::JournalEvent::kStudyShared:
        shared_with_.assign(event.study_shared().users().begin(),
                            event.study_shared().users().end());
        break;
      case v1::JournalEvent::kDeviceEvent:
        status = Corrupt("an event of the farm");
        break;
      case v1::JournalEvent::EVENT_NOT_SET:
        status = Corrupt("an event of a kind that this version does not know");
        break;
    }
  }
  if (!status.ok()) {
    return Corrupt(absl::StrCat("journal of study '", study_id_, "', event ",
                                event.sequence(), ": ", status.message()));
  }
  sequence_ = event.sequence();
  work_time_ = work_time;
  last_event_time_ = time;
  return absl::OkStatus();
}

absl::Duration StudyState::WorkTime(absl::Time now, absl::Time taken_up) const {
  if (state_ != v1::Study::RUNNING) return work_time_;
  return work_time_ + std::max(absl::ZeroDuration(),
                               now - std::max(last_event_time_, taken_up));
}

absl::Status StudyState::ApplyCreated(const v1::StudyCreated& e,
                                      absl::Time time) {
  study_id_ = e.study_id();
  if (absl::Status status = CheckStudySpec(e.spec()); !status.ok()) {
    return Corrupt(absl::StrCat("specification: ", status.message()));
  }
  if (e.source_trials_size() != e.spec().warm_start_size()) {
    return Corrupt(absl::StrCat("trials of ", e.source_trials_size(),
                                " sources, expected of ",
                                e.spec().warm_start_size()));
  }
  spec_ = e.spec();
  description_ = e.description();
  user_ = e.user();
  source_trials_ = e.source_trials();
  problem_ = ProblemFromProto(spec_);
  stage_keys_ = StagesOf(spec_);
  if (std::vector<int> rungs = RungsOf(spec_); !rungs.empty()) {
    rungs_.emplace(std::move(rungs));
  }
  curves_.max_epochs = FullEpochs(spec_);
  state_ = v1::Study::RUNNING;
  create_time_ = time;
  std::vector<std::string> front_names = problem_.FrontDevices();
  front_names.insert(front_names.begin(), "");
  for (std::string& device_class : front_names) {
    std::vector<int> objectives(problem_.objectives.size());
    std::iota(objectives.begin(), objectives.end(), 0);
    if (!device_class.empty()) {
      objectives = problem_.FrontObjectives(device_class);
    }
    const int count = static_cast<int>(objectives.size());
    fronts_.push_back(
        {std::move(device_class), std::move(objectives), ParetoArchive(count)});
  }
  return absl::OkStatus();
}

absl::Status StudyState::ApplyStateChanged(const v1::StudyStateChanged& e,
                                           absl::Time time) {
  if (ended()) return Corrupt("the study has ended before");
  switch (e.state()) {
    case v1::Study::RUNNING:
    case v1::Study::PAUSED:
      break;
    case v1::Study::COMPLETED:
    case v1::Study::CANCELLED:
      if (!active_.empty()) {
        return Corrupt(absl::StrCat("the study ends, but trial ",
                                    active_.front(), " is active"));
      }
      end_time_ = time;
      break;
    default:
      return Corrupt(absl::StrCat("study state ", e.state()));
  }
  state_ = e.state();
  return absl::OkStatus();
}

absl::StatusOr<TrialRecord*> StudyState::Trial(int64_t number) {
  if (number < 1 || number > static_cast<int64_t>(trials_.size())) {
    return Corrupt(absl::StrCat("trial ", number, " was never proposed"));
  }
  return &trials_[number - 1];
}

absl::StatusOr<TrialRecord*> StudyState::ActiveTrial(int64_t number) {
  HWNAS_ASSIGN_OR_RETURN(TrialRecord * trial, Trial(number));
  if (trial->state != v1::Trial::ACTIVE) {
    return Corrupt(absl::StrCat("trial ", number, " has ended before"));
  }
  return trial;
}

template <typename Event>
absl::StatusOr<StageRecord*> StudyState::Stage(TrialRecord& trial,
                                               const Event& e) {
  for (StageRecord& stage : trial.stages) {
    if (stage.key == KeyOf(e)) return &stage;
  }
  return Corrupt(absl::StrCat("trial ", trial.number, " has no stage ",
                              StageText(KeyOf(e))));
}

// The first unfinished stage becomes ready.
void StudyState::Queue(TrialRecord& trial, absl::Time time) {
  const int current = trial.CurrentStage();
  if (current == static_cast<int>(trial.stages.size())) return;
  StageRecord& stage = trial.stages[current];
  // A stage that is measured again may find a later one at work.
  if (stage.live_attempt != 0 || stage.state == v1::TrialStage::QUEUED) return;
  stage.state = v1::TrialStage::QUEUED;
  stage.queued_token = last_token_;
  stage.times.queued = time;
}

absl::Status StudyState::ApplyProposed(const v1::TrialProposed& e,
                                       absl::Time time) {
  if (ended()) return Corrupt("a proposal after the study's end");
  if (e.trial() != static_cast<int64_t>(trials_.size()) + 1) {
    return Corrupt(absl::StrCat("trial ", e.trial(), " proposed, expected ",
                                trials_.size() + 1));
  }
  const std::string& digest = e.architecture().digest();
  if (!digest.empty() && !IsSha256Hex(digest)) {
    return Corrupt(absl::StrCat("trial ", e.trial(), " has digest '",
                                digest.substr(0, 64), "'"));
  }
  TrialRecord trial;
  trial.number = e.trial();
  trial.architecture.choices.assign(e.architecture().choices().begin(),
                                    e.architecture().choices().end());
  if (!digest.empty()) trial.digest = Sha256::FromHex(digest);
  trial.origin = e.origin();
  trial.create_time = time;
  trial.simulated_create_s = simulated_s_;
  if (rungs_) {
    const std::vector<int>& epochs = rungs_->epochs();
    const auto first = std::find(epochs.begin(), epochs.end(), e.rung_epochs());
    if (first == epochs.end()) {
      return Corrupt(absl::StrCat("trial ", e.trial(), " begins at a rung of ",
                                  e.rung_epochs(),
                                  " epochs, which the study does not have"));
    }
    HWNAS_RETURN_IF_ERROR(
        rungs_->Propose(e.trial(), static_cast<int>(first - epochs.begin())));
  }
  for (const StageKey& key : stage_keys_) {
    if (key.rung_epochs > 0 && key.rung_epochs < e.rung_epochs()) continue;
    trial.stages.push_back({.key = key});
  }
  trial.evaluation = problem_.Evaluate({});
  Queue(trial, time);
  trials_.push_back(std::move(trial));
  active_.push_back(e.trial());
  return absl::OkStatus();
}

absl::Status StudyState::ApplyLeased(const v1::TaskLeased& e, absl::Time time) {
  HWNAS_ASSIGN_OR_RETURN(TrialRecord * trial, ActiveTrial(e.trial()));
  HWNAS_ASSIGN_OR_RETURN(StageRecord * stage, Stage(*trial, e));
  if (stage->state != v1::TrialStage::QUEUED) {
    return Corrupt(absl::StrCat(StageText(KeyOf(e)), " of trial ", e.trial(),
                                " leased while ",
                                v1::TrialStage::State_Name(stage->state)));
  }
  if (e.attempt() != static_cast<int>(stage->attempts.size()) + 1) {
    return Corrupt(absl::StrCat("attempt ", e.attempt(), " leased, expected ",
                                stage->attempts.size() + 1));
  }
  if (e.token() <= last_token_) {
    return Corrupt(
        absl::StrCat("token ", e.token(), " after token ", last_token_));
  }
  if (e.stage() == v1::REPLAY) {
    const double end = e.simulated_end_seconds();
    if (!(std::isfinite(end) && end >= simulated_s_)) {
      return Corrupt(absl::StrCat("trial ", e.trial(), " leased at ",
                                  simulated_s_, " s of simulated time until ",
                                  end, " s"));
    }
    stage->simulated_start_s = simulated_s_;
    stage->simulated_end_s = end;
  }
  last_token_ = e.token();
  stage->attempts.push_back({.token = e.token(), .executor = e.executor()});
  stage->live_attempt = e.attempt();
  stage->live_deadline = FromProto(e.deadline());
  stage->state = v1::TrialStage::LEASED;
  stage->times.leased = time;
  return absl::OkStatus();
}

absl::Status StudyState::ApplyFinished(const v1::StageFinished& e,
                                       absl::Time time) {
  HWNAS_ASSIGN_OR_RETURN(TrialRecord * trial, ActiveTrial(e.trial()));
  HWNAS_ASSIGN_OR_RETURN(StageRecord * stage, Stage(*trial, e));
  if (stage->state != v1::TrialStage::QUEUED &&
      stage->state != v1::TrialStage::LEASED) {
    return Corrupt(absl::StrCat(StageText(KeyOf(e)), " of trial ", e.trial(),
                                " finished while ",
                                v1::TrialStage::State_Name(stage->state)));
  }
  if (e.attempt() < 0 ||
      e.attempt() > static_cast<int>(stage->attempts.size()) ||
      (e.attempt() == 0 && e.stage() != v1::SCREEN && e.stage() != v1::REPLAY &&
       !e.reused())) {
    return Corrupt(absl::StrCat("attempt ", e.attempt(), " of ",
                                StageText(KeyOf(e)), " was never leased"));
  }
  for (const v1::Measurement& m : e.measurements()) {
    if (!std::isfinite(m.value())) {
      return Corrupt(absl::StrCat(m.metric(), " is ", m.value()));
    }
  }
  stage->state = v1::TrialStage::FINISHED;
  stage->live_attempt = 0;
  stage->finished_attempt = e.attempt();
  stage->finished_sequence = sequence_ + 1;
  simulated_work_s_ += stage->simulated_end_s - stage->simulated_start_s;
  if (e.times().has_leased() && stage->times.leased == absl::InfinitePast()) {
    stage->times.leased = FromProto(e.times().leased());
  }
  if (e.times().has_started()) {
    stage->times.started = FromProto(e.times().started());
  }
  if (e.times().has_executed()) {
    stage->times.executed = FromProto(e.times().executed());
  }
  stage->times.recorded = time;
  stage->first_measurement = static_cast<int>(trial->measurements.size());
  stage->measurement_count = e.measurements_size();
  stage->reused_from = e.reused_from();
  trial->measurements.reserve(trial->measurements.size() +
                              e.measurements_size());
  for (const v1::Measurement& m : e.measurements()) {
    trial->measurements.push_back(recorder_.Record(m));
  }
  trial->evaluation = problem_.Evaluate(trial->Values());
  if (!e.weights_digest().empty()) trial->weights_digest = e.weights_digest();
  stage->checkpoint_digest = e.checkpoint_digest();
  if (stage->key.rung_epochs > 0) {
    return FinishRung(*trial, stage->key.rung_epochs);
  }
  if (spec_.has_fidelity() && stage->key.kind == v1::TRAIN) {
    trial->trained_epochs = curves_.max_epochs;
    const std::vector<v1::EpochReport> epochs(e.epochs().begin(),
                                              e.epochs().end());
    curves_.finished.push_back(CurveOf(*trial, epochs));
  }
  Queue(*trial, time);
  return absl::OkStatus();
}

absl::Status StudyState::FinishRung(TrialRecord& trial, int epochs) {
  trial.trained_epochs = epochs;
  HWNAS_RETURN_IF_ERROR(rungs_->Finish(trial.number, trial.evaluation.Shown()));
  const int current = trial.CurrentStage();
  if (current == static_cast<int>(trial.stages.size())) {
    return absl::OkStatus();  // What it comes to is seen when it ends.
  }
  trial.stages[current].state = v1::TrialStage::PAUSED;
  ++paused_count_;
  observed_.push_back({trial.number,
                       static_cast<double>(epochs) / rungs_->epochs().back(),
                       std::make_shared<Evaluation>(trial.evaluation)});
  return absl::OkStatus();
}

absl::Status StudyState::ApplyPromoted(const v1::TrialPromoted& e,
                                       absl::Time time) {
  HWNAS_ASSIGN_OR_RETURN(TrialRecord * trial, ActiveTrial(e.trial()));
  if (!rungs_) return Corrupt("a promotion in a study without rungs");
  HWNAS_RETURN_IF_ERROR(rungs_->Promote(e.trial()));
  const StageRecord& stage = trial->stages[trial->CurrentStage()];
  if (stage.key.rung_epochs != e.rung_epochs()) {
    return Corrupt(absl::StrCat("trial ", e.trial(), " is promoted to ",
                                e.rung_epochs(), " epochs, expected ",
                                stage.key.rung_epochs));
  }
  --paused_count_;
  Queue(*trial, time);
  return absl::OkStatus();
}

Curve StudyState::CurveOf(const TrialRecord& trial,
                          absl::Span<const v1::EpochReport> epochs) const {
  Curve curve;
  curve.trial = trial.number;
  const std::vector<MetricValue> before = trial.Values();
  for (const v1::EpochReport& epoch : epochs) {
    std::vector<MetricValue> values = before;
    for (MetricValue& value : ValuesOf(MeasurementsOf(epoch))) {
      values.push_back(std::move(value));
    }
    curve.points.push_back({epoch.epoch(), problem_.Evaluate(values).Shown()});
  }
  return curve;
}

absl::Status StudyState::ApplyFailed(const v1::AttemptFailed& e,
                                     absl::Time time) {
  HWNAS_ASSIGN_OR_RETURN(TrialRecord * trial, ActiveTrial(e.trial()));
  HWNAS_ASSIGN_OR_RETURN(StageRecord * stage, Stage(*trial, e));
  if (e.attempt() == 0 || stage->live_attempt != e.attempt()) {
    return Corrupt(absl::StrCat("attempt ", e.attempt(), " of ",
                                StageText(KeyOf(e)), " failed, but attempt ",
                                stage->live_attempt, " is live"));
  }
  stage->attempts[e.attempt() - 1].blamed_candidate = e.candidate_fault();
  stage->live_attempt = 0;
  stage->state = v1::TrialStage::WAITING;
  if (!e.error().empty()) stage->last_error = e.error();
  if (e.outcome() == v1::AttemptFailed::STOPPED && !e.epochs().empty()) {
    // Ends the trial in the next event, with what it came to.
    const v1::EpochReport& last = *e.epochs().rbegin();
    for (const v1::Measurement& m : MeasurementsOf(last)) {
      trial->measurements.push_back(recorder_.Record(m));
    }
    trial->trained_epochs = last.epoch();
    trial->evaluation = problem_.Evaluate(trial->Values());
  }
  if (e.outcome() == v1::AttemptFailed::FAILED ||
      e.outcome() == v1::AttemptFailed::EXPIRED) {
    ++stage->counted_failures;
    if (std::find(stage->failed_executors.begin(),
                  stage->failed_executors.end(),
                  e.executor()) == stage->failed_executors.end()) {
      stage->failed_executors.push_back(e.executor());
    }
  }
  Queue(*trial, time);
  return absl::OkStatus();
}

absl::Status StudyState::ApplyEnded(const v1::TrialEnded& e, absl::Time time) {
  HWNAS_ASSIGN_OR_RETURN(TrialRecord * trial, ActiveTrial(e.trial()));
  const int current = trial->CurrentStage();
  const bool all_finished = current == static_cast<int>(trial->stages.size());
  switch (e.state()) {
    case v1::Trial::COMPLETED:
      if (!all_finished || !trial->evaluation.complete ||
          trial->evaluation.violation > 0) {
        return Corrupt(absl::StrCat("trial ", e.trial(),
                                    " completed without all values, or "
                                    "against a constraint"));
      }
      break;
    case v1::Trial::STOPPED:
      if (all_finished || !spec_.has_fidelity()) {
        return Corrupt(absl::StrCat("trial ", e.trial(),
                                    " stopped, but nothing was left of it"));
      }
      break;
    case v1::Trial::INFEASIBLE:
    case v1::Trial::CANCELLED:
      break;
    default:
      return Corrupt(
          absl::StrCat("trial ", e.trial(), " ended with state ", e.state()));
  }
  if (rungs_) HWNAS_RETURN_IF_ERROR(rungs_->End(e.trial()));
  if (!all_finished) {
    StageRecord& stage = trial->stages[current];
    if (stage.live_attempt != 0) {
      return Corrupt(absl::StrCat("trial ", e.trial(),
                                  " ended with a live lease on ",
                                  StageText(stage.key)));
    }
    if (stage.state == v1::TrialStage::PAUSED) --paused_count_;
    const bool failed =
        e.state() == v1::Trial::INFEASIBLE && stage.counted_failures > 0;
    stage.state = failed ? v1::TrialStage::FAILED : v1::TrialStage::SKIPPED;
    for (size_t i = current + 1; i < trial->stages.size(); ++i) {
      trial->stages[i].state = v1::TrialStage::SKIPPED;
    }
  }
  trial->state = e.state();
  trial->reason = e.reason();
  trial->end_time = time;
  trial->simulated_end_s = simulated_s_;
  active_.erase(std::lower_bound(active_.begin(), active_.end(), e.trial()));
  switch (e.state()) {
    case v1::Trial::COMPLETED:
      ++completed_count_;
      observed_.push_back({e.trial()});
      AddToFronts(*trial);
      break;
    case v1::Trial::INFEASIBLE:
      ++infeasible_count_;
      if (!all_finished && trial->trained_epochs > 0) {
        // It failed after a rung, whose values say nothing of full fidelity.
        trial->evaluation = problem_.Evaluate(UntrainedValues(*trial));
      }
      observed_.push_back({e.trial()});
      break;
    case v1::Trial::STOPPED:
      ++stopped_count_;
      // In a study with rungs its last result was seen when it came.
      if (!rungs_) {
        observed_.push_back(
            {e.trial(),
             static_cast<double>(trial->trained_epochs) / curves_.max_epochs,
             std::make_shared<Evaluation>(trial->evaluation)});
      }
      break;
    default:
      break;
  }
  return absl::OkStatus();
}

absl::Status StudyState::ApplyIgnored(const v1::ResultIgnored& e) {
  HWNAS_ASSIGN_OR_RETURN(TrialRecord * trial, Trial(e.trial()));
  HWNAS_ASSIGN_OR_RETURN(StageRecord * stage, Stage(*trial, e));
  if (e.attempt() < 1 ||
      e.attempt() > static_cast<int>(stage->attempts.size())) {
    return Corrupt(
        absl::StrCat("ignored attempt ", e.attempt(), " was never leased"));
  }
  stage->attempts[e.attempt() - 1].ignored = true;
  return absl::OkStatus();
}

bool StudyState::MayReopen(const TrialRecord& trial) const {
  // What a rung has seen stays.
  if (ended() || (rungs_ && trial.trained_epochs > 0)) return false;
  switch (trial.state) {
    case v1::Trial::ACTIVE:
      return true;
    case v1::Trial::COMPLETED:
      return !rungs_;
    case v1::Trial::INFEASIBLE:
      // By a value; not because nothing could be had of it.
      return !rungs_ && trial.evaluation.violation > 0;
    default:
      return false;
  }
}

absl::Status StudyState::ApplyInvalidated(const v1::StageInvalidated& e,
                                          absl::Time time) {
  HWNAS_ASSIGN_OR_RETURN(TrialRecord * trial, Trial(e.trial()));
  const auto stage = std::find_if(
      trial->stages.begin(), trial->stages.end(), [&](const StageRecord& s) {
        return s.key == StageKey{e.stage(), e.device_class()};
      });
  if (stage == trial->stages.end() || e.stage() != v1::MEASURE ||
      stage->state != v1::TrialStage::FINISHED) {
    return Corrupt(absl::StrCat("trial ", e.trial(),
                                " has no finished measurement on ",
                                e.device_class(), " to take back"));
  }
  if (MayReopen(*trial)) {
    Reopen(*trial, *stage, time);
    return absl::OkStatus();
  }
  for (int i = 0; i < stage->measurement_count; ++i) {
    MeasurementRecord& record =
        trial->measurements[stage->first_measurement + i];
    v1::Measurement measurement = record.ToProto();
    measurement.add_flags(absl::StrCat("INVALIDATED: ", e.reason()));
    record = recorder_.Record(measurement);
  }
  return absl::OkStatus();
}

void StudyState::Reopen(TrialRecord& trial, StageRecord& stage,
                        absl::Time time) {
  const auto begin = trial.measurements.begin() + stage.first_measurement;
  trial.measurements.erase(begin, begin + stage.measurement_count);
  for (StageRecord& other : trial.stages) {
    if (other.first_measurement > stage.first_measurement) {
      other.first_measurement -= stage.measurement_count;
    }
    if (other.state == v1::TrialStage::SKIPPED) {
      other.state = v1::TrialStage::WAITING;
    }
  }
  stage.state = v1::TrialStage::WAITING;
  stage.measurement_count = 0;
  stage.finished_attempt = 0;
  stage.void_attempts = static_cast<int>(stage.attempts.size());
  stage.finished_sequence = 0;
  stage.reused_from.clear();
  trial.evaluation = problem_.Evaluate(trial.Values());
  const v1::Trial::State was = trial.state;
  if (was != v1::Trial::ACTIVE) {
    trial.state = v1::Trial::ACTIVE;
    trial.reason.clear();
    trial.end_time = absl::Time();
    active_.insert(
        std::lower_bound(active_.begin(), active_.end(), trial.number),
        trial.number);
    std::erase_if(observed_, [&](const ObservationRecord& record) {
      return record.trial == trial.number;
    });
    if (was == v1::Trial::INFEASIBLE) --infeasible_count_;
    if (was == v1::Trial::COMPLETED) RebuildFronts();
  }
  Queue(trial, time);
}

void StudyState::RebuildFronts() {
  completed_count_ = 0;
  worst_.clear();
  best_values_.clear();
  best_score_.reset();
  for (StudyFront& front : fronts_) {
    front.archive = ParetoArchive(static_cast<int>(front.objectives.size()));
  }
  for (const ObservationRecord& record : observed_) {
    const TrialRecord& trial = trials_[record.trial - 1];
    if (trial.state != v1::Trial::COMPLETED) continue;
    ++completed_count_;
    AddToFronts(trial);
  }
}

void StudyState::AddToFronts(const TrialRecord& trial) {
  const std::vector<double>& point = trial.evaluation.declared;
  if (completed_count_ <= kReferenceTrials) {
    if (worst_.empty()) {
      worst_ = point;
    } else {
      for (size_t i = 0; i < point.size(); ++i) {
        worst_[i] = std::max(worst_[i], point[i]);
      }
    }
  }
  for (StudyFront& front : fronts_) {
    if (completed_count_ <= kReferenceTrials) {
      Point reference = Reference(front);
      for (size_t i = 0; i < reference.size(); ++i) {
        if (problem_.objectives[front.objectives[i]].maximize) {
          reference[i] = -reference[i];
        }
      }
      if (reference != front.archive.reference()) {
        front.archive.SetReference(std::move(reference));
      }
    }
    front.archive.Insert(front.Select(point), trial.number);
  }
  const bool first = best_values_.empty();
  best_values_.resize(point.size());
  for (size_t i = 0; i < point.size(); ++i) {
    const bool maximize = problem_.objectives[i].maximize;
    const double value = maximize ? -point[i] : point[i];
    double& best = best_values_[i];
    if (first || (maximize ? value > best : value < best)) best = value;
  }
  const std::optional<double>& score = trial.evaluation.score;
  if (score && (!best_score_ || *score > *best_score_)) best_score_ = score;
}

std::vector<double> StudyState::Reference(const StudyFront& front) const {
  std::vector<double> reference;
  for (const int i : front.objectives) {
    const ObjectiveSpec& objective = problem_.objectives[i];
    if (objective.reference) {
      reference.push_back(*objective.reference);
    } else if (objective.maximize) {
      reference.push_back(0);
    } else if (!worst_.empty()) {
      reference.push_back(worst_[i]);
    } else {
      return {};
    }
  }
  return reference;
}

const StudyFront* StudyState::FindFront(absl::string_view device_class) const {
  for (const StudyFront& front : fronts_) {
    if (front.device_class == device_class) return &front;
  }
  return nullptr;
}

std::vector<int64_t> StudyState::Members(const StudyFront& front) const {
  std::vector<int64_t> members = front.archive.ids();
  std::sort(members.begin(), members.end(), [&](int64_t a, int64_t b) {
    const Point left = front.Select(trials_[a - 1].evaluation.declared);
    const Point right = front.Select(trials_[b - 1].evaluation.declared);
    return left != right ? left < right : a < b;
  });
  return members;
}

bool StudyState::OnFront(int64_t number) const {
  return std::any_of(
      fronts_.begin(), fronts_.end(), [&](const StudyFront& front) {
        const std::vector<int64_t>& ids = front.archive.ids();
        return std::find(ids.begin(), ids.end(), number) != ids.end();
      });
}

}  // namespace hwnas::controller
