#include "controller/study/study_engine.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "controller/study/report_check.h"
#include "nas/space/space_factory.h"
#include "proto/convert/convert.h"
#include "proto/convert/resource_names.h"

namespace hwnas::controller {
namespace {

absl::Duration TimeSince(std::chrono::steady_clock::time_point begin) {
  return absl::FromChrono(std::chrono::steady_clock::now() - begin);
}

}  // namespace

absl::StatusOr<int> PageSize(int requested) {
  constexpr int kDefault = 100, kLargest = 1000;
  if (requested < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("page_size is ", requested, ": expected 1 to ", kLargest));
  }
  return requested == 0 ? kDefault : std::min(requested, kLargest);
}

absl::Status CheckPageToken(const std::string& token) {
  // The key of the last entry given out.
  constexpr size_t kLongest = 128;
  if (token.size() > kLongest) {
    return absl::InvalidArgumentError(
        "page_token is too long: expected the one of the last response");
  }
  return absl::OkStatus();
}

// ---- Recovery ----

StudyEngine::StudyEngine(const EngineOptions& options,
                         const Dependencies& dependencies)
    : options_(options),
      deps_(dependencies),
      analytic_(CreateAnalyticEstimator()),
      replay_tables_(options.tables_dir),
      fleet_(options.quarantine, &running_) {}

StudyEngine::~StudyEngine() = default;

absl::StatusOr<std::unique_ptr<StudyEngine>> StudyEngine::Create(
    const EngineOptions& options, const Dependencies& dependencies) {
  auto engine =
      std::unique_ptr<StudyEngine>(new StudyEngine(options, dependencies));
  DurableLock lock(engine.get());
  HWNAS_RETURN_IF_ERROR(engine->Recover());
  return engine;
}

absl::Status StudyEngine::Recover() {
  HWNAS_ASSIGN_OR_RETURN(const std::vector<StoredArtifact> artifacts,
                         deps_.artifacts->List());
  for (const StoredArtifact& artifact : artifacts) {
    artifacts_.insert(artifact.digest);
    unclaimed_[artifact.digest] = artifact.put_time;
  }
  HWNAS_ASSIGN_OR_RETURN(const std::vector<std::string> ids,
                         deps_.journals->ListStudies());
  for (const std::string& id : ids) {
    if (id == kFarmJournal) {
      HWNAS_RETURN_IF_ERROR(RecoverFarm());
      continue;
    }
    absl::StatusOr<std::unique_ptr<Run>> run = Load(id);
    if (!run.ok()) {
      if (!absl::IsDataLoss(run.status())) return run.status();
      deps_.logger->error("event=corrupt_journal study={} error=\"{}\"",
                          StudyName(id), run.status().ToString());
      auto broken = std::make_unique<Run>();
      broken->broken = run.status();
      studies_[id] = std::move(broken);
      continue;
    }
    deps_.logger->info("event=recovered study={} events={} trials={} state={}",
                       StudyName(id), (*run)->state.sequence(),
                       (*run)->state.trials().size(),
                       v1::Study::State_Name((*run)->state.state()));
    studies_[id] = *std::move(run);
  }
  Pump();
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<StudyEngine::Run>> StudyEngine::Load(
    const std::string& study_id) {
  auto run = std::make_unique<Run>();
  run->taken_up = deps_.clock->Now();
  run->inherited = true;
  HWNAS_RETURN_IF_ERROR(deps_.journals->Read(
      study_id, 0,
      [&](v1::JournalEvent&& event) { return run->state.Apply(event); }));
  if (run->state.sequence() == 0) {
    return absl::DataLossError(
        absl::StrCat("journal of study '", study_id, "' is empty"));
  }
  if (absl::Status status = Equip(*run); !status.ok()) {
    return absl::DataLossError(
        absl::StrCat("study '", study_id, "': ", status.message()));
  }
  return run;
}

absl::Status StudyEngine::CheckArchitectures(const Run& run) {
  for (const TrialRecord& trial : run.state.trials()) {
    if (absl::Status status = run.space->Validate(trial.architecture);
        !status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("trial ", trial.number, ": ", status.message()));
    }
    // A release that digests otherwise would search otherwise.
    const std::string digest = run.space->Digest(trial.architecture);
    if (trial.digest == Sha256() || trial.digest == Sha256::FromHex(digest)) {
      continue;
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "trial ", trial.number, ": digest ", trial.digest.Hex(),
        " does not belong to its choices in this space: expected ", digest));
  }
  return absl::OkStatus();
}

absl::Status StudyEngine::Equip(Run& run) {
  const StudyState& state = run.state;
  HWNAS_ASSIGN_OR_RETURN(const SpaceConfig config, SearchedSpace(state.spec()));
  HWNAS_ASSIGN_OR_RETURN(std::unique_ptr<SearchSpace> space,
                         CreateSpace(config));
  for (const StageKey& key : StagesOf(state.spec())) {
    run.stages.push_back(
        {key, ReuseScope(key, state.spec()), MetricsOf(key, state.problem())});
  }
  if (state.spec().has_fidelity()) {
    HWNAS_ASSIGN_OR_RETURN(run.fidelity, FidelityFromProto(state.spec()));
  }
  if (state.spec().has_replay()) {
    HWNAS_RETURN_IF_ERROR(EquipReplay(run, &space));
  }
  run.space = std::move(space);
  if (!state.ended()) {
    HWNAS_RETURN_IF_ERROR(CheckArchitectures(run));
    HWNAS_ASSIGN_OR_RETURN(const StrategyConfig strategy,
                           FromProto(state.spec().strategy()));
    std::vector<SourceTrials> sources;
    for (int i = 0; i < state.source_trials().size(); ++i) {
      const v1::WarmStartSource& named = state.spec().warm_start(i);
      absl::StatusOr<SourceTrials> source = FromProto(
          *run.space, state.source_trials()[i],
          named.folder().empty() ? StudyName(named.study()) : named.folder());
      if (!source.ok()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "spec.warm_start[", i, "]: ", named.study() + named.folder(), " ",
            source.status().message()));
      }
      sources.push_back(*std::move(source));
    }
    HWNAS_ASSIGN_OR_RETURN(
        run.strategy,
        CreateStrategy(strategy, run.space.get(), state.problem(),
                       state.spec().seed(), EvidenceOf(run), sources));
    HWNAS_RETURN_IF_ERROR(ShowObservations(run));
  }
  const absl::Time now = deps_.clock->Steady();
  for (const int64_t number : state.active()) {
    const TrialRecord& trial = *state.FindTrial(number);
    for (size_t i = 0; i < trial.stages.size(); ++i) {
      const StageRecord& stage = trial.stages[i];
      if (stage.live_attempt == 0) continue;
      run.live[{number, static_cast<int>(i)}] = {
          .deadline = now + LeasePeriod(run, stage.key.kind),
          .running =
              CountTask(run, stage.key.kind,
                        stage.attempts[stage.live_attempt - 1].executor)};
    }
    UpdateQueued(run, number);
  }
  for (const TrialRecord& trial : state.trials()) {
    for (size_t i = 0; i < trial.stages.size(); ++i) {
      LearnResult(run, trial, static_cast<int>(i));
    }
    if (trial.weights_digest.empty() ||
        !artifacts_.count(trial.weights_digest)) {
      continue;
    }
    run.weights[trial.number] = trial.weights_digest;
    UseArtifact(trial.weights_digest);
  }
  for (const int64_t number : state.active()) {
    KeepCheckpoint(run, *state.FindTrial(number));
  }
  DropWeights(run);
  return absl::OkStatus();
}

absl::Duration StudyEngine::LeasePeriod(const Run& run,
                                        v1::StageKind kind) const {
  switch (kind) {
    case v1::ASK:
      return FromProto(run.state.spec().external().lease());
    case v1::REPLAY:  // No executor that could be lost.
      return absl::InfiniteDuration();
    default:
      return options_.lease_duration;
  }
}

// Somebody else wrote to the journal, or an append was made durable though the
// store reported an error: the journal is the truth.
void StudyEngine::Reload(Run& run, bool ahead) {
  const std::string id = run.state.study_id();
  for (const auto* kept : {&run.weights, &run.checkpoints}) {
    for (const auto& [trial, digest] : *kept) {
      if (--weights_uses_[digest] == 0) {
        weights_uses_.erase(digest);
        unclaimed_[digest] = deps_.clock->Now();
      }
    }
  }
  run.checkpoints.clear();
  run.weights.clear();
  absl::StatusOr<std::unique_ptr<Run>> fresh = Load(id);
  if (!fresh.ok()) {
    // If the store is away, and the state is ahead of it, the timer tries
    // again.
    if (absl::IsDataLoss(fresh.status()) || ahead) Break(run, fresh.status());
    deps_.logger->error("event=reload_failed study={} error=\"{}\"",
                        StudyName(id), fresh.status().ToString());
    return;
  }
  (*fresh)->watchers = std::move(run.watchers);
  (*fresh)->taken_up = run.taken_up;
  (*fresh)->in_flight = run.in_flight;
  (*fresh)->last_append = std::move(run.last_append);
  run = std::move(**fresh);
  Notify(run, 0, "");
}

// ---- The journal ----

absl::Status StudyEngine::Commit(Run& run, std::vector<v1::JournalEvent> events,
                                 int64_t changed_trial,
                                 const std::string& message) {
  Batch batch = {std::move(events), {}};
  batch.changes.push_back({changed_trial, message});
  return Commit(run, std::move(batch));
}

void StudyEngine::LockDurable() const {
  mutex_.Lock();
  // From now on asks and tells keep the mutex while they append.
  ++waiting_for_none_;
  while (in_flight_ > 0) landed_.Wait(&mutex_);
  --waiting_for_none_;
}

absl::StatusOr<StudyEngine::Run*> StudyEngine::FindCurrentRun(
    const std::string& study_id, bool lands_nothing) {
  HWNAS_ASSIGN_OR_RETURN(Run * run, FindRun(study_id));
  if (run->fell_behind && !lands_nothing) {
    return absl::UnavailableError(
        "the store has just refused an append: try again");
  }
  while (run->fell_behind) landed_.Wait(&mutex_);
  return FindRun(study_id);
}

absl::Status StudyEngine::Land(const Landing& landing) {
  if (landing.append == nullptr) return absl::OkStatus();
  absl::Status status = landing.append->Wait();
  // The events that it follows were refused, somebody else's came before, or
  // another controller leads.
  if (absl::IsFailedPrecondition(status) || absl::IsAborted(status)) {
    status = absl::UnavailableError(status.message());
  }
  if (!landing.own) return status;
  MutexLock lock(&mutex_);
  Run& run = *landing.run;
  deps_.metrics->JournalAppend(TimeSince(landing.begin), status.ok());
  NoteStore(StudyName(run.state.study_id()), status);
  --in_flight_;
  --run.in_flight;
  if (status.ok()) {
    Announce(run, landing.changes);
  } else {
    run.fell_behind = true;
  }
  if (run.in_flight == 0) {
    run.last_append = nullptr;
    if (run.fell_behind) {
      run.fell_behind = false;
      Reload(run, /*ahead=*/true);
    }
  }
  landed_.SignalAll();
  return status;
}

void StudyEngine::NoteStore(const std::string& study,
                            const absl::Status& status) {
  if (!status.ok() && store_ok_) {
    deps_.logger->error("event=store_failed study={} error=\"{}\"", study,
                        status.ToString());
  } else if (status.ok() && !store_ok_) {
    deps_.logger->info("event=store_back study={}", study);
  }
  store_ok_ = status.ok();
}

void StudyEngine::Announce(Run& run, const std::vector<Change>& changes) {
  LogChanges(StudyName(run.state.study_id()), changes);
  for (const Change& change : changes) {
    Notify(run, change.trial, change.message);
  }
}

std::string StudyEngine::Stamp(const Run& run,
                               std::vector<v1::JournalEvent>* events) {
  const auto time = ToProto(deps_.clock->Now());
  for (v1::JournalEvent& event : *events) *event.mutable_time() = time;
  if (run.inherited)
    *events->front().mutable_taken_up() = ToProto(run.taken_up);
  if (run.replay != nullptr) StampSimulatedTime(run.state, events);
  const v1::JournalEvent& first = events->front();
  return first.has_study_created() ? first.study_created().study_id()
                                   : run.state.study_id();
}

absl::Status StudyEngine::Appended(Run& run, const std::string& id,
                                   std::chrono::steady_clock::time_point begin,
                                   const absl::Status& status) {
  deps_.metrics->JournalAppend(TimeSince(begin), status.ok());
  NoteStore(StudyName(id), status);
  if (absl::IsFailedPrecondition(status) && run.state.sequence() > 0) {
    if (run.in_flight > 0) {
      run.fell_behind = true;  // The last to land reads the journal.
    } else {
      Reload(run);
    }
    return absl::UnavailableError(status.message());
  }
  if (absl::IsAborted(status)) return absl::UnavailableError(status.message());
  return status;
}

absl::Status StudyEngine::Commit(Run& run, Batch batch, Landing* landing) {
  std::vector<v1::JournalEvent>& events = batch.events;
  if (events.empty()) return absl::OkStatus();
  const std::string id = Stamp(run, &events);
  const auto begin = std::chrono::steady_clock::now();
  // A store that refuses is asked before anything is done, and nobody who waits
  // for what is durable waits for long.
  const bool later = landing != nullptr && store_ok_ && waiting_for_none_ == 0;
  if (later) {
    landing->run = &run;
    landing->append =
        deps_.journals->Start(id, run.state.sequence(), absl::MakeSpan(events));
    for (size_t i = 0; i < events.size(); ++i) {
      events[i].set_sequence(run.state.sequence() + 1 +
                             static_cast<int64_t>(i));
    }
    landing->own = true;
    landing->begin = begin;
    run.last_append = landing->append;
    ++run.in_flight;
    ++in_flight_;
  } else {
    HWNAS_RETURN_IF_ERROR(
        Appended(run, id, begin,
                 deps_.journals->Append(id, run.state.sequence(),
                                        absl::MakeSpan(events))));
  }
  HWNAS_RETURN_IF_ERROR(Follow(run, id, events));
  if (later) {
    landing->changes = std::move(batch.changes);
  } else {
    Announce(run, batch.changes);
  }
  return absl::OkStatus();
}

std::vector<absl::Status> StudyEngine::CommitTogether(
    std::vector<std::pair<Run*, Batch>> batches) {
  struct Append {
    std::string id;
    std::shared_ptr<PendingAppend> pending;
  };
  std::vector<absl::Status> statuses(batches.size());
  std::vector<Append> appends(batches.size());
  const auto begin = std::chrono::steady_clock::now();
  for (size_t i = 0; i < batches.size(); ++i) {
    auto& [run, batch] = batches[i];
    if (batch.events.empty()) continue;
    appends[i].id = Stamp(*run, &batch.events);
    appends[i].pending = deps_.journals->Start(
        appends[i].id, run->state.sequence(), absl::MakeSpan(batch.events));
    for (size_t e = 0; e < batch.events.size(); ++e) {
      batch.events[e].set_sequence(run->state.sequence() + 1 +
                                   static_cast<int64_t>(e));
    }
  }
  for (size_t i = 0; i < batches.size(); ++i) {
    if (appends[i].pending == nullptr) continue;
    auto& [run, batch] = batches[i];
    statuses[i] =
        Appended(*run, appends[i].id, begin, appends[i].pending->Wait());
    if (!statuses[i].ok()) continue;
    statuses[i] = Follow(*run, appends[i].id, batch.events);
    if (statuses[i].ok()) Announce(*run, batch.changes);
  }
  return statuses;
}

absl::Status StudyEngine::Follow(Run& run, const std::string& id,
                                 const std::vector<v1::JournalEvent>& events) {
  run.inherited = false;
  for (const v1::JournalEvent& event : events) {
    if (absl::Status applied = run.state.Apply(event); !applied.ok()) {
      // Only a programming error leads here; the study stops, others go on.
      Break(run, applied);
      deps_.logger->error("event=fold_failed study={} error=\"{}\"",
                          StudyName(id), applied.ToString());
      return applied;
    }
    AfterEvent(run, event);
  }
  const bool taken_back = std::any_of(
      events.begin(), events.end(),
      [](const auto& event) { return event.has_stage_invalidated(); });
  if (taken_back && !run.state.ended()) {
    // The strategy has seen values that are not to be trusted.
    Reload(run);
  } else if (run.strategy != nullptr) {
    if (absl::Status shown = ShowObservations(run); !shown.ok()) {
      Break(run, shown);
      return shown;
    }
  }
  if (run.state.ended()) {
    run.strategy = nullptr;
    run.replay = nullptr;
    run.pending.clear();
    run.ready.clear();
  }
  DropWeights(run);
  return absl::OkStatus();
}

void StudyEngine::Break(Run& run, absl::Status why) {
  run.broken = std::move(why);
  run.live.clear();
  run.stragglers.clear();
}

void StudyEngine::LogChanges(const std::string& study,
                             const std::vector<Change>& changes) const {
  if (changes.empty() || changes[0].message.empty()) return;
  if (changes.size() == 1) {
    deps_.logger->info("event=change study={} message=\"{}\"", study,
                       changes[0].message);
  } else {
    deps_.logger->info("event=change study={} message=\"{}\" more_trials={}",
                       study, changes[0].message, changes.size() - 1);
  }
}

void StudyEngine::AfterEvent(Run& run, const v1::JournalEvent& event) {
  const auto stage_index = [&](const auto& e) {
    return run.state.FindTrial(e.trial())->IndexOf(
        {e.stage(), e.device_class(), e.rung_epochs()});
  };
  switch (event.event_case()) {
    case v1::JournalEvent::kTaskLeased: {
      const auto& e = event.task_leased();
      run.live[{e.trial(), stage_index(e)}] = {
          .deadline = e.has_deadline()
                          ? deps_.clock->Steady() + (FromProto(e.deadline()) -
                                                     FromProto(event.time()))
                          : absl::InfiniteFuture(),
          .running = CountTask(run, e.stage(), e.executor())};
      UpdateQueued(run, e.trial());
      if (e.has_queued()) {
        deps_.metrics->QueueWait(
            e.stage(), run.state.spec().priority(),
            FromProto(event.time()) - FromProto(e.queued()));
      }
      break;
    }
    case v1::JournalEvent::kStageFinished: {
      const auto& e = event.stage_finished();
      const int index = stage_index(e);
      run.live.erase({e.trial(), index});
      UpdateQueued(run, e.trial());
      const TrialRecord& trial = *run.state.FindTrial(e.trial());
      LearnResult(run, trial, index);
      if (e.reused()) deps_.metrics->StageReused(e.stage());
      const StageTimes& times = trial.stages[index].times;
      if (times.leased != absl::InfinitePast()) {
        deps_.metrics->StageFinished(e.stage(), times.recorded - times.leased);
      }
      if (!e.weights_digest().empty()) {
        run.weights[e.trial()] = e.weights_digest();
        UseArtifact(e.weights_digest());
      }
      KeepCheckpoint(run, trial);
      break;
    }
    case v1::JournalEvent::kAttemptFailed: {
      const auto& e = event.attempt_failed();
      run.live.erase({e.trial(), stage_index(e)});
      UpdateQueued(run, e.trial());
      if (e.outcome() == v1::AttemptFailed::EXPIRED) {
        deps_.metrics->LeaseExpired();
      } else if (e.outcome() == v1::AttemptFailed::FAILED) {
        deps_.metrics->AttemptFailed(e.stage());
      }
      break;
    }
    case v1::JournalEvent::kTrialEnded: {
      UpdateQueued(run, event.trial_ended().trial());
      const TrialRecord& trial =
          *run.state.FindTrial(event.trial_ended().trial());
      deps_.metrics->TrialEnded(trial.state,
                                trial.end_time - trial.create_time);
      break;
    }
    case v1::JournalEvent::kTrialProposed:
      UpdateQueued(run, event.trial_proposed().trial());
      break;
    case v1::JournalEvent::kTrialPromoted:
      UpdateQueued(run, event.trial_promoted().trial());
      break;
    case v1::JournalEvent::kResultIgnored:
      deps_.metrics->ResultIgnored();
      break;
    case v1::JournalEvent::kStageInvalidated: {
      const auto& e = event.stage_invalidated();
      UpdateQueued(run, e.trial());
      known_results_.Remove(run.state.study_id(), e.trial(),
                            run.state.FindTrial(e.trial())->IndexOf(
                                {e.stage(), e.device_class()}));
      deps_.metrics->ResultInvalidated();
      break;
    }
    default:
      break;
  }
}

absl::Status StudyEngine::ShowObservations(Run& run) {
  if (run.proposing) return absl::OkStatus();
  // After a restart there may be a million.
  constexpr size_t kAtOnce = 1024;
  std::vector<Observation> fresh;
  const std::vector<ObservationRecord>& observed = run.state.observed();
  while (run.observed < observed.size()) {
    fresh.clear();
    for (; run.observed < observed.size() && fresh.size() < kAtOnce;
         ++run.observed) {
      const ObservationRecord& record = observed[run.observed];
      const TrialRecord& trial = *run.state.FindTrial(record.trial);
      fresh.push_back({.proposal = {.number = trial.number,
                                    .architecture = trial.architecture,
                                    .digest = trial.digest.Hex(),
                                    .origin = trial.origin},
                       .evaluation = run.state.EvaluationOf(record).Shown(),
                       .fidelity = record.fidelity});
    }
    HWNAS_RETURN_IF_ERROR(run.strategy->Observe(fresh));
  }
  return absl::OkStatus();
}

// Keeps the weights of active trials and of the front only, and where active
// trials go on from.
void StudyEngine::DropWeights(Run& run) {
  for (auto it = run.weights.begin(); it != run.weights.end();) {
    const TrialRecord& trial = *run.state.FindTrial(it->first);
    if (trial.state == v1::Trial::ACTIVE || run.state.OnFront(it->first)) {
      ++it;
      continue;
    }
    DropArtifact(it->second);
    it = run.weights.erase(it);
  }
  for (auto it = run.checkpoints.begin(); it != run.checkpoints.end();) {
    if (run.state.FindTrial(it->first)->state == v1::Trial::ACTIVE) {
      ++it;
      continue;
    }
    DropArtifact(it->second);
    it = run.checkpoints.erase(it);
  }
}

void StudyEngine::UseArtifact(const std::string& digest) {
  ++weights_uses_[digest];
  unclaimed_.erase(digest);
}

void StudyEngine::DropArtifact(const std::string& digest) {
  if (--weights_uses_[digest] > 0) return;
  weights_uses_.erase(digest);
  DeleteArtifact(digest);
}

void StudyEngine::KeepCheckpoint(Run& run, const TrialRecord& trial) {
  std::string latest;
  for (const StageRecord& stage : trial.stages) {
    if (stage.state == v1::TrialStage::FINISHED && stage.key.rung_epochs > 0) {
      latest = stage.checkpoint_digest;
    }
  }
  if (!artifacts_.count(latest)) return;
  const auto it = run.checkpoints.find(trial.number);
  if (it != run.checkpoints.end()) {
    if (it->second == latest) return;
    const std::string earlier = it->second;
    run.checkpoints.erase(it);
    DropArtifact(earlier);
  }
  UseArtifact(latest);
  run.checkpoints[trial.number] = latest;
}

void StudyEngine::DropUnclaimed() {
  // What a corrupt journal names is not known.
  for (const auto& [id, run] : studies_) {
    if (!run->broken.ok()) return;
  }
  const absl::Time before =
      deps_.clock->Now() - options_.unclaimed_artifact_lifetime;
  for (auto it = unclaimed_.begin(); it != unclaimed_.end();) {
    if (it->second >= before) {
      ++it;
      continue;
    }
    DeleteArtifact(it->first);
    it = unclaimed_.erase(it);
  }
}

void StudyEngine::DeleteArtifact(const std::string& digest) {
  if (absl::Status status = deps_.artifacts->Delete(digest); !status.ok()) {
    deps_.logger->warn("event=artifact_not_deleted digest={} error=\"{}\"",
                       digest, status.ToString());
  } else {
    artifacts_.erase(digest);
  }
}

void StudyEngine::Notify(Run& run, int64_t trial, const std::string& message) {
  for (const auto& watcher : run.watchers) watcher->OnChange(trial, message);
}

}  // namespace hwnas::controller
