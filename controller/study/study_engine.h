// The one place where the loop closes:
//
//   strategy -> proposal -> screen -> scheduler -> worker | agent | client
//       ^                                                     |
//       +--- observations <--- journal <--- result -----------+
//
// Every change is one durable append to the journal of its study, and only then
// a change of state, a message or an acknowledgement. When the store refuses
// (disk full, gone) nothing changes; the timer tries again, so work waits and
// resumes by itself.
//
//   HWNAS_ASSIGN_OR_RETURN(auto engine, StudyEngine::Create(options, deps));
//   engine->CreateStudy(request);
//   engine->Connect(hello, stream);   // Assignments come through the stream.
//   engine->Tick();                   // From a timer, a few times a second.
//
// docs/controller.md draws the states of studies, trials and stages.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mutex.h"
#include "controller/controller_metrics.h"
#include "controller/farm/device_checks.h"
#include "controller/farm/farm_state.h"
#include "controller/scheduler/scheduler.h"
#include "controller/study/fleet.h"
#include "controller/study/replay_tables.h"
#include "controller/study/result_index.h"
#include "controller/study/study_state.h"
#include "estimator/estimator.h"
#include "hwnas/v1/access_service.pb.h"
#include "hwnas/v1/device_service.pb.h"
#include "hwnas/v1/fleet_service.pb.h"
#include "hwnas/v1/study_service.pb.h"
#include "hwnas/v1/trial_service.pb.h"
#include "nas/fidelity/fidelity_policy.h"
#include "nas/space/search_space.h"
#include "nas/strategy/strategy.h"
#include "store/artifact_store.h"
#include "store/journal_store.h"

namespace hwnas::controller {

struct EngineOptions {
  // How long a lease lives without a heartbeat.
  absl::Duration lease_duration = absl::Seconds(30);
  QuarantineOptions quarantine;
  // Bytes of ONNX files that may wait for a profile at once.
  size_t max_profile_bytes = size_t{256} << 20;
  // How long an artifact that no result names is kept: a worker may be away
  // between its upload and its result.
  absl::Duration unclaimed_artifact_lifetime = absl::Hours(24);
  // A study that asks for energy ends after it has seen, for so long, only
  // agents of the device class that cannot measure it.
  absl::Duration energy_patience = absl::Seconds(60);
  // Folder of the tables that studies with `replay` name. Empty: there are
  // none.
  std::string tables_dir;
  DeviceCheckOptions checks;
  Quotas quotas;
  // Studies of one user that have not ended; 0: no limit.
  int max_user_studies = 0;
  // Gives a training that takes far longer than others of its study to a second
  // worker that has nothing to do; the first result counts.
  bool speculate = true;
  // Slow strategies (Strategy::IsSlow) propose in the calls of Propose(), and
  // the loop goes on meanwhile. Else the loop waits for them.
  bool propose_apart = false;
};

// Follows one study. Thread-safe; no method blocks or calls the engine.
class StudyWatcher {
 public:
  virtual ~StudyWatcher() = default;
  // Trial `trial` changed, or the study itself (0). `message` is one line for
  // people; it may be empty.
  virtual void OnChange(int64_t trial, const std::string& message) = 0;
};

// Follows one profile. Thread-safe; no method blocks or calls the engine.
class ProfileListener {
 public:
  virtual ~ProfileListener() = default;
  virtual void OnUpdate(const v1::ProfileModelUpdate& update) = 0;
  // Last call.
  virtual void OnEnd(const absl::Status& status) = 0;
};

// What an export needs; see StudyEngine::ModelOf.
struct TrialModel {
  ModelGraph graph;
  v1::Architecture architecture;
  std::string trial_name;
  std::string weights_digest;  // Empty if none are stored.
};

// Thread-safe: one mutex guards everything. Calls take as long as an append to
// the journal, so they do not belong on a thread that must not block.
//
// Asking and telling release the mutex while their append is on its way, so
// that many of them share a sync. Meanwhile the state is ahead of the journal:
// only they may see it so (MutexLock), and they answer once what they have seen
// is durable. Everybody else waits until nothing is on its way (DurableLock).
class StudyEngine {
 public:
  // What the engine works with; all must outlive it.
  struct Dependencies {
    JournalStore* journals = nullptr;
    ArtifactStore* artifacts = nullptr;
    const Clock* clock = nullptr;
    ControllerMetrics* metrics = nullptr;
    std::shared_ptr<Logger> logger;
  };

  // Folds all journals and goes on where they end. Leases that were live get a
  // fresh full period. A corrupt journal is reported and left alone; the other
  // studies go on.
  static absl::StatusOr<std::unique_ptr<StudyEngine>> Create(
      const EngineOptions& options, const Dependencies& dependencies);
  ~StudyEngine();

  // Expires leases, ends quarantines, retries what the store refused. Returns
  // true if there is more to do at once.
  bool Tick();
  // Does that, without the rest of Tick. Returns the same.
  bool GoOn();
  // With `propose_apart`: lets a slow strategy propose what the loop wants of
  // it. Nobody else waits for that, and several threads may call it, each at
  // work on another study. Waits at most `patience` for something to do; false
  // if there was nothing.
  bool Propose(absl::Duration patience);

  // ---- Studies (see StudyService) ----
  absl::StatusOr<v1::Study> CreateStudy(const v1::CreateStudyRequest& request);
  absl::StatusOr<v1::Study> GetStudy(const std::string& study_id);
  absl::StatusOr<v1::ListStudiesResponse> ListStudies(
      const v1::ListStudiesRequest& request);
  absl::StatusOr<v1::Study> PauseStudy(const std::string& study_id);
  absl::StatusOr<v1::Study> ResumeStudy(const std::string& study_id);
  absl::StatusOr<v1::Study> CancelStudy(const std::string& study_id);
  absl::StatusOr<v1::ListTrialsResponse> ListTrials(
      const std::string& study_id, const v1::ListTrialsRequest& request);
  absl::StatusOr<v1::Trial> GetTrial(const std::string& study_id,
                                     int64_t number);
  // Reads from the journal what the state does not hold.
  absl::StatusOr<v1::TrialSamples> GetTrialSamples(const std::string& study_id,
                                                   int64_t number);
  // The front over all objectives, or that of a device class.
  absl::StatusOr<v1::Front> GetFront(const std::string& study_id,
                                     const std::string& device_class = "");
  // The graph of a trial and where its weights are.
  absl::StatusOr<TrialModel> ModelOf(const std::string& study_id,
                                     int64_t number);

  // ---- Sharing (see AccessService) ----
  absl::StatusOr<v1::StudyAccess> GetStudyAccess(const std::string& study_id);
  absl::StatusOr<v1::StudyAccess> ShareStudy(
      const v1::ShareStudyRequest& request);

  absl::Status AddWatcher(const std::string& study_id,
                          std::shared_ptr<StudyWatcher> watcher);
  void RemoveWatcher(const std::string& study_id, const StudyWatcher* watcher);
  // The present state, and that of a trial unless it is 0.
  absl::StatusOr<v1::StudyUpdate> MakeUpdate(const std::string& study_id,
                                             int64_t trial);

  // ---- Ask and tell (see TrialService) ----
  absl::StatusOr<v1::AskTrialsResponse> AskTrials(
      const std::string& study_id, const v1::AskTrialsRequest& request);
  absl::StatusOr<v1::ReportProgressResponse> ReportProgress(
      const v1::ReportProgressRequest& request);
  // One status for each report, in order.
  absl::StatusOr<v1::TellTrialsResponse> TellTrials(
      const v1::TellTrialsRequest& request);

  // ---- Fleet (see FleetService) ----
  // Sends Welcome, then assignments, through `stream`. Returns the session id.
  absl::StatusOr<std::string> Connect(const v1::Hello& hello,
                                      std::shared_ptr<ExecutorStream> stream);
  void Disconnect(const std::string& session_id);
  // INVALID_ARGUMENT if the message breaks the protocol: close the stream.
  absl::Status OnHeartbeat(const std::string& session_id,
                           const v1::Heartbeat& heartbeat);
  void OnResult(const std::string& session_id, const v1::TaskResult& result);
  // Many at once: one append for each study, and one round of the loop. Each is
  // acknowledged, or waits for the store.
  struct SessionResult {
    std::string session_id;
    const v1::TaskResult* result = nullptr;  // Not null.
  };
  void OnResults(absl::Span<const SessionResult> results);
  void OnDrain(const std::string& session_id);
  absl::StatusOr<v1::ListExecutorsResponse> ListExecutors(
      const v1::ListExecutorsRequest& request);
  // Tells that an artifact was stored.
  void OnArtifact(const std::string& digest);

  // ---- Devices (see DeviceService) ----
  absl::StatusOr<v1::ListDevicesResponse> ListDevices(
      const v1::ListDevicesRequest& request);
  absl::StatusOr<v1::Device> GetDevice(const std::string& executor_id);
  // Queues a profile; the listener hears of it until OnEnd. Returns its id.
  absl::StatusOr<int64_t> StartProfile(
      const v1::ProfileModelRequest& request,
      std::shared_ptr<ProfileListener> listener);
  // The caller left: no more calls to the listener, and the device is freed.
  void CancelProfile(int64_t id);
  absl::StatusOr<v1::Device> ReserveDevice(
      const v1::ReserveDeviceRequest& request);
  absl::StatusOr<v1::Device> ReleaseDevice(
      const v1::ReleaseDeviceRequest& request);
  absl::StatusOr<v1::Device> DrainDevice(const v1::DrainDeviceRequest& request);
  absl::StatusOr<v1::Device> QuarantineDevice(
      const v1::QuarantineDeviceRequest& request);
  absl::StatusOr<v1::Device> ResumeDevice(
      const v1::ResumeDeviceRequest& request);

 private:
  // A live lease of a study. Deadlines move on in memory only: after a restart
  // each lease gets a fresh period.
  struct LiveLease {
    absl::Time deadline;  // Clock::Steady, as all deadlines of leases.
    // Of none, if nobody of the fleet has it.
    RunningTasks::Task running;
    // Its executor has spoken of it to this process.
    bool confirmed = false;
    v1::EpochReport epoch;
    // Those heard of, in a study with `fidelity`.
    std::vector<v1::EpochReport> epochs;
    std::string note;
  };
  using StageId = std::pair<int64_t, int>;  // Trial number, index of stage.

  // An attempt at a training that goes on although another one has the lease;
  // see stragglers.cc.
  struct Straggler {
    int attempt = 0;  // 0: it does not any more.
    absl::Time deadline;
    RunningTasks::Task running;

    void End() {
      attempt = 0;
      running = {};
    }
  };

  // What is computed of a stage that the trials of a study have.
  struct StageFacts {
    StageKey key;
    // See ReuseScope.
    std::string reuse_scope;
    // Those of the problem that it must bring.
    std::vector<MetricKey> metrics;
    // Trials that wait in it for an executor.
    std::set<int64_t> queued;
  };

  // A study at work.
  struct Run {
    StudyState state;
    // An earlier process wrote the journal so far.
    bool inherited = false;
    // When this process loaded it.
    absl::Time taken_up = absl::InfinitePast();
    std::shared_ptr<SearchSpace> space;
    std::vector<StageFacts> stages;
    // nullptr without `replay`, and once the study has ended.
    std::shared_ptr<const ReplayTable> replay;
    // nullptr once the study has ended.
    std::shared_ptr<Strategy> strategy;
    // Observations the strategy has seen.
    size_t observed = 0;
    // Of a strategy that proposes apart: it is proposing, so that it can see
    // none; how many proposals the loop wants; and those that are there, for
    // the next trials.
    bool proposing = false;
    int wanted = 0;
    std::deque<Proposal> ready;
    // observed() when the strategy last had nothing to propose; -1: never.
    int64_t exhausted_at = -1;
    std::map<StageId, LiveLease> live;
    // Of trainings that have been given to a second worker, each once.
    std::map<StageId, Straggler> stragglers;
    // Trials that began to wait for an executor since ReuseResults looked.
    std::set<int64_t> newly_queued;
    // Trials under evaluation that the strategy has not observed, of the first
    // `pending_until` trials. See Pending().
    std::vector<Proposal> pending;
    int64_t pending_until = 0;
    // Proposals to ask for: fewer where screening ends many trials.
    int propose_at_once = 1;
    // Trials whose weights are kept.
    std::map<int64_t, std::string> weights;
    // Active trials that may go on from a checkpoint.
    std::map<int64_t, std::string> checkpoints;
    // Set in a study with `fidelity`.
    std::optional<FidelityConfig> fidelity;
    std::vector<std::shared_ptr<StudyWatcher>> watchers;
    // Since when no agent can measure the energy that it asks for.
    absl::Time no_energy_since = absl::InfiniteFuture();
    // Set if the journal is corrupt: nothing is done any more.
    absl::Status broken;
    // Appends on their way, the last of them, and whether one has failed, so
    // that the journal has to be read again once all are over.
    int in_flight = 0;
    std::shared_ptr<PendingAppend> last_append;
    bool fell_behind = false;

    // Of a stage that trials of the study have.
    const StageFacts& FactsOf(const StageKey& key) const {
      return *std::find_if(
          stages.begin(), stages.end(),
          [&](const StageFacts& facts) { return facts.key == key; });
    }
    StageFacts& FactsOf(const StageKey& key) {
      return const_cast<StageFacts&>(std::as_const(*this).FactsOf(key));
    }
  };

  // What watchers and the log hear of: trial `trial`, or the study itself (0),
  // in one line for people, which may be empty.
  struct Change {
    int64_t trial = 0;
    std::string message;
  };
  // Events of one study that are appended together, and what to say of them.
  struct Batch {
    std::vector<v1::JournalEvent> events;
    std::vector<Change> changes;
  };
  // What an answer rests on, if it is not known to be durable.
  struct Landing {
    Run* run = nullptr;
    std::shared_ptr<PendingAppend> append;  // nullptr: all is durable.
    // Of an append by this call; else it only rests on that of another.
    bool own = false;
    std::chrono::steady_clock::time_point begin;
    std::vector<Change> changes;
    std::vector<int> reports;  // Of TellTrials: those that rest on it.
  };
  // Locks when no append is on its way.
  class ABSL_SCOPED_LOCKABLE DurableLock {
   public:
    explicit DurableLock(const StudyEngine* engine)
        ABSL_EXCLUSIVE_LOCK_FUNCTION(engine->mutex_)
        : engine_(engine) {
      engine_->LockDurable();
    }
    ~DurableLock() ABSL_UNLOCK_FUNCTION() { engine_->mutex_.Unlock(); }
    DurableLock(const DurableLock&) = delete;
    DurableLock& operator=(const DurableLock&) = delete;

   private:
    const StudyEngine* const engine_;
  };
  void LockDurable() const ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex_);

  // Reports of a call that are appended together: each on another trial.
  struct ToldBatch {
    Run* run = nullptr;
    std::vector<int> reports;  // Their indices in the call.
    std::vector<int64_t> trials;
    Batch batch;
    std::vector<Landing> landings;  // Of the batches before.
  };

  // A measurement in no study: a user's profile, or a check of a device by the
  // farm itself.
  struct Profile {
    enum class Purpose { kUser, kAnchor, kCrossCheck };

    int64_t id = 0;
    Purpose purpose = Purpose::kUser;
    v1::MeasureTask task;
    std::string user;
    int priority = 0;
    std::string only_executor;  // Empty: anybody.
    // CROSS_CHECK: who measured the same before, and what it was.
    std::string other_device;
    double other_latency_ms = 0;
    std::shared_ptr<ProfileListener> listener;  // nullptr for a check.
    int attempt = 0;
    int failures = 0;
    int64_t token = 0;
    std::string executor;  // Empty: queued.
    RunningTasks::Task running;
    absl::Time deadline;
    std::vector<std::string> failed_executors;
    std::string last_note;

    void Tell(const v1::ProfileModelUpdate& update) const {
      if (listener != nullptr) listener->OnUpdate(update);
    }
    // Back to the queue.
    void Free() {
      executor.clear();
      running = {};
    }
  };

  // A result that has been checked.
  struct CheckedResult {
    std::string executor;
    v1::TaskResult result;
  };
  // Results on one study that are appended together: each on another trial.
  struct RecordedResults {
    std::vector<int64_t> trials;
    Batch batch;
    std::vector<CheckedResult> results;
    // What follows once the events are durable.
    std::vector<std::function<void()>> then;
  };
  using ResultsByStudy = std::map<Run*, RecordedResults>;

  // What a lease key names.
  struct StageRef {
    Run* run = nullptr;
    const TrialRecord* trial = nullptr;
    int stage = 0;
  };

  StudyEngine(const EngineOptions& options, const Dependencies& dependencies);

  // -- Recovery (study_engine.cc) --
  absl::Status Recover() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::unique_ptr<Run>> Load(const std::string& study_id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What the studies and folders that `request` starts from have found out.
  // INVALID_ARGUMENT names the source.
  absl::StatusOr<std::vector<v1::SourceTrials>> TrialsOfSources(
      const v1::CreateStudyRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // RESOURCE_EXHAUSTED if the user has as many studies as one may.
  absl::Status CheckRoomForStudyOf(const std::string& user) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // INVALID_ARGUMENT if a trial of the journal is no point of the space.
  static absl::Status CheckArchitectures(const Run& run);
  // Builds what the state implies but the journal does not hold.
  absl::Status Equip(Run& run) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What the wall clock will say then if nobody sets it.
  absl::Time WallTime(absl::Time steady) const {
    return deps_.clock->Now() + (steady - deps_.clock->Steady());
  }
  // How long a new lease of a stage lives.
  absl::Duration LeasePeriod(const Run& run, v1::StageKind kind) const;
  // `ahead`: the state has events that the journal does not have.
  void Reload(Run& run, bool ahead = false)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // -- The journal (study_engine.cc) --
  // Makes the events durable, then applies them and all that follows from them.
  absl::Status Commit(Run& run, Batch batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return Commit(run, std::move(batch), nullptr);
  }
  // The same, but what is not durable yet when this returns is left to Land:
  // until then nobody may hear of it.
  absl::Status Commit(Run& run, Batch batch, Landing* landing)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Waits until what an answer rests on is durable.
  absl::Status Land(const Landing& landing) ABSL_LOCKS_EXCLUDED(mutex_);
  // What an answer rests on that needed no append of its own.
  static Landing Rest(Run& run) {
    return {.run = &run, .append = run.last_append};
  }
  // The run, once it is not behind its journal. May let go of the mutex, so
  // whatever was read of the state before is outdated. A caller whose own
  // append is on its way does not wait: UNAVAILABLE.
  absl::StatusOr<Run*> FindCurrentRun(const std::string& study_id,
                                      bool lands_nothing)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Commit(Run& run, std::vector<v1::JournalEvent> events,
                      int64_t changed_trial, const std::string& message)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Batches of several studies, made durable together: one status for each.
  std::vector<absl::Status> CommitTogether(
      std::vector<std::pair<Run*, Batch>> batches)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The parts of a commit: what events need before they are appended (returns
  // the id of the study), what the store's answer means, and what follows from
  // events that are (or soon will be) durable.
  std::string Stamp(const Run& run, std::vector<v1::JournalEvent>* events)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Appended(Run& run, const std::string& id,
                        std::chrono::steady_clock::time_point begin,
                        const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Follow(Run& run, const std::string& id,
                      const std::vector<v1::JournalEvent>& events)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Logs that the store has gone or is back.
  void NoteStore(const std::string& study, const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What has become durable, to watchers and the log.
  void Announce(Run& run, const std::vector<Change>& changes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // One line, however many there are.
  void LogChanges(const std::string& study,
                  const std::vector<Change>& changes) const;
  // Whether anybody will read the message of the next change in `batch`: the
  // log has the first, watchers all.
  static bool IsRead(const Run& run, const Batch& batch) {
    return batch.changes.empty() || !run.watchers.empty();
  }
  void AfterEvent(Run& run, const v1::JournalEvent& event)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ShowObservations(Run& run) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Deletes what no trial needs any more.
  void DropWeights(Run& run) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Counts the uses of an artifact by trials; at the last one it is deleted.
  void UseArtifact(const std::string& digest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropArtifact(const std::string& digest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What a trial goes on from, if it is stored.
  void KeepCheckpoint(Run& run, const TrialRecord& trial)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Deletes artifacts that no result has named for too long.
  void DropUnclaimed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DeleteArtifact(const std::string& digest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Notify(Run& run, int64_t trial, const std::string& message)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Nothing if the study is in another state than `from`; FAILED_PRECONDITION
  // if it has ended.
  absl::StatusOr<v1::Study> SwitchState(const std::string& study_id,
                                        v1::Study::State from,
                                        v1::Study::State to,
                                        const std::string& message)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // -- The loop (loop.cc) --
  bool Pump() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Begins up to `*allowance` trials of the studies that the fleet evaluates, a
  // few of each in turn, and one append for each together.
  absl::Status BeginTrials(int* allowance)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Ends the study when all is done.
  absl::Status CompleteIfDone(Run& run) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // -- Ask and tell (ask_tell.cc) --
  // What is in `response` counts once `landing` has landed. See FindCurrentRun.
  absl::Status Ask(const std::string& study_id,
                   const v1::AskTrialsRequest& request, bool lands_nothing,
                   v1::AskTrialsResponse* response, Landing* landing)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // How many proposals should be ready for `count` trials to be handed out, but
  // are not.
  int Lacking(const Run& run, int count) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Leases up to `count` trials, old ones before new ones, in one append.
  absl::StatusOr<std::vector<int64_t>> HandOut(Run& run, int count,
                                               const std::string& client,
                                               Landing* landing)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Adds what report `index` leads to; what cannot wait with it is committed.
  absl::Status AddReport(const v1::TrialReport& report, int index,
                         ToldBatch* told, std::vector<absl::Status>* statuses)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status JudgeReport(const Run& run, const v1::TrialReport& report,
                           int64_t number, Batch* batch) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CommitTold(ToldBatch* told, std::vector<absl::Status>* statuses)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // -- Proposals (loop.cc) --
  bool MayPropose(const Run& run) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool TimeUsed(const Run& run) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Running, with trials that workers and agents evaluate.
  static bool IsOfFleet(const Run& run);
  // How many more trials may be under evaluation, if `sharing` studies share
  // what is free of the fleet.
  int64_t Room(const Run& run, int64_t sharing = 1) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasRoom(const Run& run) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return Room(run) > 0;
  }
  // Who is to go on to the next rung; nullopt if nobody is.
  std::optional<int64_t> PromotionOf(const Run& run) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Each of the next three adds to a batch what is to be appended.
  // Lets that one go on. False if there is none.
  bool AddPromotion(const Run& run, Batch* batch) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Lets a paused trial go on, or proposes up to `count` new ones. Returns how
  // many begin.
  absl::StatusOr<int> AddBegun(Run& run, int count, Batch* batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Nobody goes on any more: ends paused trials, and the study.
  absl::Status Complete(Run& run) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Ends the study before its time, with the running attempts and all trials
  // that have not ended.
  absl::Status Cancel(Run& run, const std::string& reason,
                      const std::string& message)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Why agents of the class have no power source, to be appended to a message.
  // Empty if there is none without.
  std::string WhyNoPower(const std::string& device_class) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Why the energy that the study asks for cannot be had from the agents that
  // there are. Empty if it can, or if nobody is there to say.
  std::string WhyNoEnergy(const Run& run) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Ends studies for which that has been so for long enough.
  void EndWithoutEnergy() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes in epochs of a running training, and ends it if it is not worth going
  // on with. True if it was.
  absl::StatusOr<bool> JudgeEpochs(Run& run, const TrialRecord& trial,
                                   int stage, const v1::TaskProgress& progress)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool BudgetUsed(const Run& run) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The strategy has nothing new to propose, as far as it has seen.
  static bool IsExhausted(const Run& run);
  absl::Duration WorkTime(const Run& run) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // -- Proposals (proposals.cc) --
  bool ProposesApart(const Run& run) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes up to `count` proposals ready. Lets go of the mutex meanwhile, so
  // whatever was read of the state before is outdated.
  void ProposeApart(const std::string& study_id, Run& run, int count)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes note of a strategy's answer, given when it had seen `observed`.
  std::vector<Proposal> Suggested(
      Run& run, absl::StatusOr<std::vector<Proposal>> proposals, int count,
      int64_t observed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Up to `count`; fewer if the strategy has to see what became of one before
  // it proposes more. Returns how many; 0: the strategy has nothing to propose
  // now.
  int AddProposals(Run& run, int count, Batch* batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Adds what screening says of a proposal. True if that ends the trial.
  bool AddScreened(const Run& run, const Proposal& proposal, Batch* batch) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What is under evaluation and not observed.
  absl::Span<const Proposal> Pending(Run& run)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Up to `count` new trials; fewer only if the strategy has no more now, or
  // proposes apart and no more are ready.
  std::vector<Proposal> Suggest(Run& run, int count)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddProposed(const Run& run, const Proposal& proposal, Batch* batch) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Answers up to `*allowance` queued stages by values that are known. True if
  // it answered any.
  absl::StatusOr<bool> ReuseResults(int* allowance)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<v1::StageFinished> KnownResult(const Run& run,
                                               const TrialRecord& trial,
                                               int stage) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Remembers the values of a finished stage, if others may take them over.
  void LearnResult(const Run& run, const TrialRecord& trial, int stage)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What the network itself tells. FAILED_PRECONDITION if the space has none.
  absl::StatusOr<std::vector<v1::Measurement>> Screen(
      const Run& run, const Architecture& architecture) const;
  // Hands out what fits. True if there is more to do at once.
  absl::StatusOr<bool> ScheduleTasks() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The oldest tasks of each kind that wait in a study, up to `count` of a kind
  // and all that have failed before among them.
  struct Source;
  static QueuedTask TaskOf(const Run& run, const TrialRecord& trial, int stage);
  void OfferTasks(Run& run, int count, std::vector<QueuedTask>* queue,
                  std::vector<Source>* sources)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Ends leases that have run out.
  void ExpireLeases() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ExpireProfiles() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Where the trial waits now, if it does.
  void UpdateQueued(Run& run, int64_t trial)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Counts a lease among the running tasks, if an executor of the fleet has it.
  RunningTasks::Task CountTask(const Run& run, v1::StageKind kind,
                               const std::string& executor)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Nothing is done with the study any more.
  void Break(Run& run, absl::Status why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<v1::Task> BuildTask(const Run& run, const TrialRecord& trial,
                                     int stage)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void UpdateGauges() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // -- Stragglers (stragglers.cc) --

  // The straggling attempt that the lease is of; nullptr: it is of none.
  Straggler* FindStraggler(const StageRef& ref, const v1::LeaseKey& lease,
                           const std::string& executor)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Cancels those that are not needed any more.
  void DropStragglers() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Queues a training that takes too long once more, if a worker has nothing
  // else to do. True if it did.
  absl::StatusOr<bool> SecondStraggler() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // -- Replay (replay.cc) --
  // Gives an evaluating study its tables, and its space their bounds.
  absl::Status EquipReplay(Run& run, std::unique_ptr<SearchSpace>* space)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What is free to know before anything is proposed: analytic counts, and in a
  // replay what the tables tell for free.
  Evidence EvidenceOf(const Run& run) const;
  // Proposes as simulated workers are free, and lets simulated time pass.
  absl::Status SettleReplay(Run& run, int* allowance)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Adds all that the tables say of a new trial before it costs anything, and
  // hands it to a simulated worker if one is free.
  void AppendReplay(const Run& run, int64_t number,
                    const Architecture& architecture,
                    std::vector<v1::JournalEvent>* events,
                    std::string* message) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Starts the oldest waiting trial. False if there is none, or no free worker.
  absl::StatusOr<bool> StartReplay(Run& run)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Lets time pass until the next trial is done. False if none is running.
  absl::StatusOr<bool> FinishReplay(Run& run)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // -- Results (results.cc) --
  StageRef FindStage(const std::string& task_id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Record(std::vector<CheckedResult> results)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Answers the result at once, or adds what it leads to.
  void JudgeResult(CheckedResult result, ResultsByStudy* recorded)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What a success leads to; false, with the error, if it lacks a metric.
  bool JudgeSuccess(const StageRef& ref, const CheckedResult& result,
                    RecordedResults* recorded, std::string* error)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CommitResults(ResultsByStudy* recorded)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Acknowledge(const std::string& executor, const v1::LeaseKey& lease,
                   bool ignored) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The store has refused it.
  void KeepResult(CheckedResult result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RetryResults() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static std::string FinishText(const Run& run, const TrialRecord& trial,
                                const StageRecord& record,
                                const v1::StageFinished& finished);
  // Each of these adds to a batch the events of a result and all that follows
  // from them; the next three commit that at once.
  void AddFinished(const Run& run, const TrialRecord& trial, int stage,
                   v1::StageFinished finished, Batch* batch) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddFailed(const Run& run, const TrialRecord& trial, int stage,
                 v1::AttemptFailed::Outcome outcome, const std::string& error,
                 bool candidate_fault, Batch* batch) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Nothing if that attempt was ignored before.
  static void AddIgnored(const TrialRecord& trial, int stage, int attempt,
                         Batch* batch);
  absl::Status FinishStage(Run& run, const TrialRecord& trial, int stage,
                           v1::StageFinished finished)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status FailAttempt(Run& run, const TrialRecord& trial, int stage,
                           v1::AttemptFailed::Outcome outcome,
                           const std::string& error, bool candidate_fault)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Appends TrialEnded if the values that a trial has by then say so; returns
  // what to tell people.
  std::string EndIfDecided(const Run& run, int64_t trial,
                           const std::vector<MetricValue>& values,
                           bool last_stage,
                           std::vector<v1::JournalEvent>* events) const;
  // The live attempt, if there is one.
  void SendCancel(const StageRecord& stage, const std::string& task_id,
                  const std::string& reason)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SendCancel(const StageRecord& stage, int attempt,
                  const std::string& task_id, const std::string& reason)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsLive(const StageRef& ref, const v1::LeaseKey& lease,
              const std::string& executor) const;
  void CountFailure(const std::string& executor, const std::string& trial,
                    const std::string& error)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whose attempts said that the candidate was at fault; of those that count.
  static std::vector<std::string> Blamers(const StageRecord& stage);
  // It says that the candidate is at fault, as `others` have.
  void CountBlame(const std::string& executor, const std::string& trial,
                  const std::string& error,
                  const std::vector<std::string>& others)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LogQuarantine(const Executor& executor) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether there is one, other than `executor`, that could try the stage now.
  bool AnotherCan(const Run& run, const TrialRecord& trial, int stage,
                  const std::string& executor) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // -- Profiles (profiles.cc) --
  void HandleProfileResult(const std::string& executor,
                           const v1::TaskResult& result)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FailProfile(Profile& profile, const std::string& error, bool final)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LeaseProfile(Profile& profile, const std::string& executor)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  v1::LeaseKey ProfileLease(const Profile& profile) const;
  Profile* FindProfile(const v1::LeaseKey& lease)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static QueuedTask QueuedProfile(const Profile& profile);
  // FAILED_PRECONDITION if no connected agent could ever run it.
  absl::Status CheckCapable(const Profile& profile) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SendTo(const std::string& executor, const v1::SessionResponse& message)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // -- Devices (devices.cc) --
  absl::Status RecoverFarm() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Applies what its journal has beyond the state.
  absl::Status ReadFarm() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes an event of the farm durable, then applies it.
  absl::Status CommitDevice(v1::DeviceEvent event)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The fleet with what the farm knows of its devices; until the next call.
  std::vector<const ExecutorSnapshot*> FleetSnapshot()
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Queues the anchors that are due, ends reservations that are over, and
  // forgets checks of devices that have gone.
  void PlanChecks() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PlanAnchor(const Executor& executor)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Lets another device of the class measure the same, if it is this
  // candidate's turn.
  void PlanCrossCheck(const Run& run, const TrialRecord& trial, int stage,
                      const Executor& executor, const v1::TaskResult& result)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void HandleCheckResult(const Profile& profile, const v1::TaskResult& result)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void HandleAnchor(const std::string& device, double latency_ms,
                    const std::vector<std::string>& flags)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void HandleCrossCheck(const Profile& profile, double latency_ms)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void HandleFailedCheck(const Profile& profile, const std::string& error)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // No more work for the device. What it measured since `since` is taken back.
  absl::Status Quarantine(const std::string& device, const std::string& reason,
                          bool recheck, absl::Time since)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes back what the device has measured after `since`, also where others
  // took it over. Returns how many results.
  absl::StatusOr<int64_t> Invalidate(const std::string& device,
                                     absl::Time since,
                                     const std::string& reason)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The executor's running work goes back to the queue, but for profiles of
  // `user`.
  absl::Status GiveBack(const std::string& executor, const std::string& reason,
                        const std::string& user)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The id of the device with that name. NOT_FOUND if nobody knows it.
  absl::StatusOr<std::string> FindDevice(const std::string& name) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  v1::Device DeviceView(const std::string& executor_id) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // -- Views (views.cc) --
  v1::Study StudyView(const Run& run) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  v1::Trial TrialView(const Run& run, const TrialRecord& trial) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static v1::Architecture ArchitectureView(const Run& run,
                                           const TrialRecord& trial);
  v1::Executor ExecutorView(const Executor& executor) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The state of an executor, with what the farm knows of its device.
  v1::Executor::State StateOf(const Executor& executor, absl::Time now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // NOT_FOUND.
  absl::StatusOr<const TrialRecord*> FindTrial(const Run& run,
                                               int64_t number) const;
  // NOT_FOUND, or DATA_LOSS if its journal is corrupt.
  absl::StatusOr<Run*> FindRun(const std::string& study_id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const EngineOptions options_;
  const Dependencies deps_;
  const std::unique_ptr<Estimator> analytic_;
  ReplayTables replay_tables_;

  mutable Mutex mutex_;
  // Appends on their way, and who waits for there to be none.
  int in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  mutable int waiting_for_none_ ABSL_GUARDED_BY(mutex_) = 0;
  mutable CondVar landed_;
  // Studies whose strategies are to propose apart, the longest wait first; and
  // when one is done.
  std::deque<std::string> wanting_ ABSL_GUARDED_BY(mutex_);
  CondVar wanted_;
  CondVar proposed_;
  // Before all that has running tasks.
  RunningTasks running_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::unique_ptr<Run>> studies_ ABSL_GUARDED_BY(mutex_);
  ResultIndex known_results_ ABSL_GUARDED_BY(mutex_);
  Fleet fleet_ ABSL_GUARDED_BY(mutex_);
  FarmState farm_ ABSL_GUARDED_BY(mutex_);
  // Set if its journal is corrupt.
  absl::Status farm_broken_ ABSL_GUARDED_BY(mutex_);
  // When the next anchor of an agent is due, of those that were connected once.
  std::map<std::string, absl::Time> anchor_due_ ABSL_GUARDED_BY(mutex_);
  std::map<int64_t, Profile> profiles_ ABSL_GUARDED_BY(mutex_);
  int64_t last_profile_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t last_profile_token_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, int64_t> last_served_ ABSL_GUARDED_BY(mutex_);
  int64_t turn_ ABSL_GUARDED_BY(mutex_) = 0;
  // Those that the store refused, by executor, task and attempt, and their
  // bytes.
  std::map<std::tuple<std::string, std::string, int>, CheckedResult>
      pending_results_ ABSL_GUARDED_BY(mutex_);
  size_t pending_result_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  // The store took the last append.
  bool store_ok_ ABSL_GUARDED_BY(mutex_) = true;
  // Stored artifacts, and of them those that no trial names, with the time when
  // they were put or given up.
  std::set<std::string> artifacts_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, absl::Time> unclaimed_ ABSL_GUARDED_BY(mutex_);
  // How many trials keep the artifact.
  std::map<std::string, int> weights_uses_ ABSL_GUARDED_BY(mutex_);
};

// Sets the simulated time of events that follow the state of a study with
// `replay`: the time it stands at, moved on by each trial that is done.
void StampSimulatedTime(const StudyState& state,
                        std::vector<v1::JournalEvent>* events);

// Bounds a page: `requested` 0 means 100; at most 1000. INVALID_ARGUMENT if it
// is negative.
absl::StatusOr<int> PageSize(int requested);
// INVALID_ARGUMENT for a token that no response can have given.
absl::Status CheckPageToken(const std::string& token);

}  // namespace hwnas::controller
