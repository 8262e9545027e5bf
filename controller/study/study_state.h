// The state of a study as a pure fold over its journal.
//
//   events -> Apply -> trials, stages, attempts, counters, front, observations
//
// Nothing here knows a clock, a store or the network: equal journals give equal
// states, so the state can be dropped at any time and folded again.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/digest.h"
#include "controller/study/measurement_record.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "hwnas/v1/journal.pb.h"
#include "nas/fidelity/curves.h"
#include "nas/fidelity/rung_table.h"
#include "nas/pareto/archive.h"
#include "nas/problem.h"
#include "proto/convert/convert.h"

namespace hwnas::controller {

// One try at a stage, begun by TaskLeased.
struct AttemptRecord {
  int64_t token = 0;
  std::string executor;
  // A result of it that changed nothing is in the journal already.
  bool ignored = false;
  // It failed, and said that the candidate was at fault.
  bool blamed_candidate = false;
};

// v1::HopTimes; InfinitePast: did not get there.
struct StageTimes {
  absl::Time queued = absl::InfinitePast();
  absl::Time leased = absl::InfinitePast();
  absl::Time started = absl::InfinitePast();
  absl::Time executed = absl::InfinitePast();
  absl::Time recorded = absl::InfinitePast();

  v1::HopTimes ToProto() const;
};

// One step of a trial.
struct StageRecord {
  StageKey key;
  v1::TrialStage::State state = v1::TrialStage::WAITING;
  // Attempt i is attempts[i - 1].
  absl::InlinedVector<AttemptRecord, 1> attempts;
  // The attempt with the live lease; 0 if there is none.
  int live_attempt = 0;
  absl::Time live_deadline = absl::InfinitePast();
  // Attempts that FAILED or EXPIRED; others do not count.
  int counted_failures = 0;
  // Executors whose attempts failed, each once.
  std::vector<std::string> failed_executors;
  // The attempt that finished the stage; 0 if none did or none was needed.
  int finished_attempt = 0;
  // The first so many attempts are of before the stage was queued again: their
  // results count no more.
  int void_attempts = 0;
  // Of its StageFinished in the journal; 0 before.
  int64_t finished_sequence = 0;
  // last_token() of the study when the stage was queued last.
  int64_t queued_token = 0;
  StageTimes times;
  std::string last_error;
  // Where a training that pauses after it goes on; empty if that is not kept.
  std::string checkpoint_digest;
  // Its values among the trial's measurements, once it is FINISHED.
  int first_measurement = 0;
  int measurement_count = 0;
  // The trial that the values were taken from; empty if from none.
  std::string reused_from;
  // REPLAY: simulated seconds since the study's start.
  double simulated_start_s = 0;
  double simulated_end_s = 0;
};

struct TrialRecord {
  int64_t number = 0;
  Architecture architecture;
  Sha256 digest;  // Of the architecture.
  std::string origin;
  v1::Trial::State state = v1::Trial::ACTIVE;
  std::string reason;  // Why it is INFEASIBLE.
  std::vector<StageRecord> stages;
  // As they came; of several values of one metric the last counts.
  std::vector<MeasurementRecord> measurements;
  Evaluation evaluation;  // Of the measurements so far.
  // Epochs that its trained values are after, in a study with `fidelity`; 0 if
  // it has none.
  int trained_epochs = 0;
  std::string weights_digest;
  absl::Time create_time;
  absl::Time end_time;
  // In a study with `replay`, in simulated seconds since the study's start.
  double simulated_create_s = 0;
  double simulated_end_s = 0;

  // Index of the stage to do or being done; stages.size() if all are finished.
  int CurrentStage() const;
  // Of the stage with that key; -1 if there is none.
  int IndexOf(const StageKey& key) const;
  std::vector<MetricValue> Values() const;
};

// The non-dominated completed trials by some of a study's objectives.
struct StudyFront {
  std::string device_class;     // Empty: over all objectives.
  std::vector<int> objectives;  // Indices into those of the problem.
  // Points of these objectives, minimised; ids are numbers of trials. Its
  // hypervolume is 0 until a trial has completed.
  ParetoArchive archive;

  // The values of these objectives.
  Point Select(absl::Span<const double> declared) const;
};

// What a strategy is shown.
struct ObservationRecord {
  int64_t trial = 0;
  double fidelity = 1;
  // What the trial came to at that time; nullptr: what it has come to.
  std::shared_ptr<const Evaluation> partial = nullptr;
};

// The values that measurements state.
std::vector<MetricValue> ValuesOf(
    absl::Span<const v1::Measurement> measurements);
std::vector<MetricValue> ValuesOf(
    const google::protobuf::RepeatedPtrField<v1::Measurement>& measurements);

// Not thread-safe.
class StudyState {
 public:
  // The reference point of a minimised objective without one is the worst value
  // among this many first feasible trials.
  static constexpr int kReferenceTrials = 8;

  // Takes the next event. DATA_LOSS, naming the event, if it does not fit: the
  // journal is corrupt, and the state must not be used any more.
  absl::Status Apply(const v1::JournalEvent& event);

  // Number of events applied; 0 before StudyCreated.
  int64_t sequence() const { return sequence_; }

  const std::string& study_id() const { return study_id_; }
  const v1::StudySpec& spec() const { return spec_; }
  const std::string& description() const { return description_; }
  const std::string& user() const { return user_; }
  // Users who may do what its user may, sorted; "*" is everybody.
  const std::vector<std::string>& shared_with() const { return shared_with_; }
  const Problem& problem() const { return problem_; }
  // For each of spec().warm_start(), in order.
  const google::protobuf::RepeatedPtrField<v1::SourceTrials>& source_trials()
      const {
    return source_trials_;
  }
  v1::Study::State state() const { return state_; }
  bool ended() const {
    return state_ == v1::Study::COMPLETED || state_ == v1::Study::CANCELLED;
  }
  absl::Time create_time() const { return create_time_; }
  absl::Time end_time() const { return end_time_; }
  // How long the study has been at work by `now`: pauses, and the time in which
  // no controller ran, do not count. `taken_up` is when the controller that
  // asks took the study up.
  absl::Duration WorkTime(absl::Time now, absl::Time taken_up) const;

  // Stay where they are as long as the state does.
  const std::deque<TrialRecord>& trials() const { return trials_; }
  // nullptr if there is none.
  const TrialRecord* FindTrial(int64_t number) const;
  // Numbers of the trials that have not ended, ascending.
  const std::vector<int64_t>& active() const { return active_; }
  // What the strategy observes, in the order in which it came to be: the end of
  // COMPLETED and INFEASIBLE trials, and each result below full fidelity.
  const std::vector<ObservationRecord>& observed() const { return observed_; }
  const Evaluation& EvaluationOf(const ObservationRecord& record) const {
    return record.partial ? *record.partial
                          : trials_[record.trial - 1].evaluation;
  }
  int64_t completed_count() const { return completed_count_; }
  int64_t infeasible_count() const { return infeasible_count_; }
  // Simulated seconds since the start of a study with `replay`, and those that
  // its simulated workers have worked.
  double simulated_s() const { return simulated_s_; }
  double simulated_work_s() const { return simulated_work_s_; }
  int64_t stopped_count() const { return stopped_count_; }
  // Active trials that wait between two rungs.
  int64_t paused_count() const { return paused_count_; }
  // nullptr in a study without rungs.
  const RungTable* rungs() const { return rungs_ ? &*rungs_ : nullptr; }
  // Curves of the finished trainings of a study with `fidelity` but no rungs.
  const CurveTable& curves() const { return curves_; }
  // How an active trial stood after each of these epochs.
  Curve CurveOf(const TrialRecord& trial,
                absl::Span<const v1::EpochReport> epochs) const;
  // Fencing token of the last lease.
  int64_t last_token() const { return last_token_; }

  // The front over all objectives, then one for each of
  // Problem::FrontDevices().
  const std::vector<StudyFront>& fronts() const { return fronts_; }
  // nullptr if the device class has no front of its own; "" is the first.
  const StudyFront* FindFront(absl::string_view device_class) const;
  // Numbers of the trials on a front, by its first objective, best first.
  std::vector<int64_t> Members(const StudyFront& front) const;
  // Of a front's objectives, in each metric's own sense. Empty while an
  // objective without a reference of its own has no value yet.
  std::vector<double> Reference(const StudyFront& front) const;
  // Whether the trial is on any front.
  bool OnFront(int64_t number) const;
  // Best value of each objective among completed trials, in its own sense;
  // empty until there is one.
  const std::vector<double>& best_values() const { return best_values_; }
  // Largest score among completed trials.
  std::optional<double> best_score() const { return best_score_; }

 private:
  absl::Status ApplyCreated(const v1::StudyCreated& e, absl::Time time);
  absl::Status ApplyStateChanged(const v1::StudyStateChanged& e,
                                 absl::Time time);
  absl::Status ApplyProposed(const v1::TrialProposed& e, absl::Time time);
  absl::Status ApplyLeased(const v1::TaskLeased& e, absl::Time time);
  absl::Status ApplyFinished(const v1::StageFinished& e, absl::Time time);
  absl::Status ApplyFailed(const v1::AttemptFailed& e, absl::Time time);
  absl::Status ApplyEnded(const v1::TrialEnded& e, absl::Time time);
  absl::Status ApplyIgnored(const v1::ResultIgnored& e);
  absl::Status ApplyPromoted(const v1::TrialPromoted& e, absl::Time time);
  absl::Status ApplyInvalidated(const v1::StageInvalidated& e, absl::Time time);
  // Whether the trial may be evaluated once more in a stage that it finished.
  bool MayReopen(const TrialRecord& trial) const;
  // Forgets the values of a finished stage and queues it again.
  void Reopen(TrialRecord& trial, StageRecord& stage, absl::Time time);
  absl::StatusOr<TrialRecord*> Trial(int64_t number);
  absl::StatusOr<TrialRecord*> ActiveTrial(int64_t number);
  // The stage that an event is about.
  template <typename Event>
  static absl::StatusOr<StageRecord*> Stage(TrialRecord& trial, const Event& e);
  void Queue(TrialRecord& trial, absl::Time time);
  // A trial has its result at a rung: it pauses unless that was the last.
  absl::Status FinishRung(TrialRecord& trial, int epochs);
  void AddToFronts(const TrialRecord& trial);
  // Builds all that AddToFronts has built once more.
  void RebuildFronts();

  int64_t sequence_ = 0;
  std::string study_id_;
  v1::StudySpec spec_;
  std::string description_;
  std::string user_;
  std::vector<std::string> shared_with_;
  Problem problem_;
  google::protobuf::RepeatedPtrField<v1::SourceTrials> source_trials_;
  std::vector<StageKey> stage_keys_;
  v1::Study::State state_ = v1::Study::STATE_UNSPECIFIED;
  absl::Time create_time_;
  absl::Time end_time_;
  // Up to the last event.
  absl::Duration work_time_;
  absl::Time last_event_time_;
  std::deque<TrialRecord> trials_;
  MeasurementRecorder recorder_;
  std::vector<int64_t> active_;
  std::vector<ObservationRecord> observed_;
  int64_t completed_count_ = 0;
  int64_t infeasible_count_ = 0;
  int64_t stopped_count_ = 0;
  int64_t paused_count_ = 0;
  std::optional<RungTable> rungs_;
  CurveTable curves_;
  int64_t last_token_ = 0;
  double simulated_s_ = 0;
  double simulated_work_s_ = 0;
  std::vector<StudyFront> fronts_;
  // Worst value so far of each objective (minimised) among the first
  // kReferenceTrials completed trials.
  Point worst_;
  std::vector<double> best_values_;
  std::optional<double> best_score_;
};

}  // namespace hwnas::controller
