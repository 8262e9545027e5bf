#include "controller/study/study_engine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"
#include "controller/study/report_check.h"
#include "controller/study/task_names.h"
#include "google/protobuf/util/message_differencer.h"
#include "nas/space/space_factory.h"
#include "proto/convert/convert.h"
#include "proto/convert/resource_names.h"

namespace hwnas::controller {
namespace {

// Proposals made in one go; between goes others get the mutex.
constexpr int kProposalsPerRound = 64;
constexpr int kRoundsPerPump = 16;
constexpr size_t kMaxPendingResults = 4096;
constexpr size_t kMaxDescriptionBytes = 4096;
constexpr int kMaxAskedTrials = 64;
constexpr size_t kMaxClientIdBytes = 128;
constexpr int64_t kMaxExternalActive = 10000;

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

// The training seed of a trial.
uint64_t TrainSeed(const std::string& digest, uint64_t study_seed) {
  uint64_t bits = 0;
  (void)absl::SimpleHexAtoi(digest.substr(0, 16), &bits);
  return bits ^ study_seed;
}

template <typename Message>
void SetStage(int64_t trial, const StageRecord& stage, int attempt,
              Message* message) {
  message->set_trial(trial);
  message->set_stage(stage.key.kind);
  message->set_device_class(stage.key.device_class);
  message->set_rung_epochs(stage.key.rung_epochs);
  message->set_attempt(attempt);
}

absl::Status HasEnded(const StudyState& state) {
  return absl::FailedPreconditionError(
      absl::StrCat("study '", state.study_id(),
                   "' has ended: ", v1::Study::State_Name(state.state())));
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

// ---- Recovery ----

StudyEngine::StudyEngine(const EngineOptions& options,
                         const Dependencies& dependencies)
    : options_(options),
      deps_(dependencies),
      analytic_(CreateAnalyticEstimator()),
      replay_tables_(options.tables_dir),
      fleet_(options.quarantine) {}

StudyEngine::~StudyEngine() = default;

absl::StatusOr<std::unique_ptr<StudyEngine>> StudyEngine::Create(
    const EngineOptions& options, const Dependencies& dependencies) {
  auto engine =
      std::unique_ptr<StudyEngine>(new StudyEngine(options, dependencies));
  MutexLock lock(&engine->mutex_);
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

Evidence StudyEngine::AnalyticEvidence(const SearchSpace* space) const {
  return [space, analytic = analytic_.get()](const Architecture& architecture) {
    std::vector<MetricValue> values;
    for (const MetricInfo& metric : KnownMetrics()) {
      if (metric.source != MetricSource::kAnalytic) continue;
      values.push_back({{std::string(metric.name), ""},
                        std::numeric_limits<double>::quiet_NaN()});
    }
    const absl::StatusOr<ModelGraph> graph = space->Decode(architecture);
    if (!graph.ok()) return values;
    const absl::StatusOr<std::vector<Estimate>> estimates =
        analytic->Predict(*graph);
    if (!estimates.ok()) return values;
    for (MetricValue& value : values) {
      for (const Estimate& estimate : *estimates) {
        if (estimate.key == value.key) value.value = estimate.value;
      }
    }
    return values;
  };
}

absl::Status StudyEngine::Equip(Run& run) {
  const StudyState& state = run.state;
  HWNAS_ASSIGN_OR_RETURN(const SpaceConfig config,
                         FromProto(state.spec().space()));
  HWNAS_ASSIGN_OR_RETURN(run.space, CreateSpace(config));
  for (const StageKey& key : StagesOf(state.spec())) {
    run.reuse_scopes.emplace_back(key, ReuseScope(key, state.spec()));
  }
  if (state.spec().has_fidelity()) {
    HWNAS_ASSIGN_OR_RETURN(run.fidelity, FidelityFromProto(state.spec()));
  }
  if (state.spec().has_replay()) {
    HWNAS_RETURN_IF_ERROR(EquipReplay(run));
  }
  if (!state.ended()) {
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
  const absl::Time now = deps_.clock->Now();
  for (const int64_t number : state.active()) {
    const TrialRecord& trial = *state.FindTrial(number);
    for (size_t i = 0; i < trial.stages.size(); ++i) {
      const StageRecord& stage = trial.stages[i];
      if (stage.live_attempt == 0) continue;
      run.live[{number, static_cast<int>(i)}].deadline =
          now + LeasePeriod(run, stage.key.kind);
    }
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
void StudyEngine::Reload(Run& run) {
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
    if (absl::IsDataLoss(fresh.status())) run.broken = fresh.status();
    deps_.logger->error("event=reload_failed study={} error=\"{}\"",
                        StudyName(id), fresh.status().ToString());
    return;
  }
  (*fresh)->watchers = std::move(run.watchers);
  (*fresh)->taken_up = run.taken_up;
  run = std::move(**fresh);
  Notify(run, 0, "");
}

// ---- The journal ----

absl::Status StudyEngine::Commit(Run& run, std::vector<v1::JournalEvent> events,
                                 int64_t changed_trial,
                                 const std::string& message) {
  if (events.empty()) return absl::OkStatus();
  const auto time = ToProto(deps_.clock->Now());
  for (v1::JournalEvent& event : events) *event.mutable_time() = time;
  if (run.inherited) *events[0].mutable_taken_up() = ToProto(run.taken_up);
  if (run.replay != nullptr) StampSimulatedTime(run.state, &events);
  const std::string id = events[0].has_study_created()
                             ? events[0].study_created().study_id()
                             : run.state.study_id();
  const auto begin = std::chrono::steady_clock::now();
  const absl::Status status =
      deps_.journals->Append(id, run.state.sequence(), absl::MakeSpan(events));
  deps_.metrics->JournalAppend(
      absl::FromChrono(std::chrono::steady_clock::now() - begin), status.ok());
  if (!status.ok()) {
    if (store_ok_) {
      deps_.logger->error("event=store_failed study={} error=\"{}\"",
                          StudyName(id), status.ToString());
    }
    store_ok_ = false;
    if (absl::IsFailedPrecondition(status) && run.state.sequence() > 0) {
      Reload(run);
      return absl::UnavailableError(status.message());
    }
    return status;
  }
  if (!store_ok_)
    deps_.logger->info("event=store_back study={}", StudyName(id));
  store_ok_ = true;
  run.inherited = false;
  for (const v1::JournalEvent& event : events) {
    if (absl::Status applied = run.state.Apply(event); !applied.ok()) {
      // Only a programming error leads here; the study stops, others go on.
      run.broken = applied;
      deps_.logger->error("event=fold_failed study={} error=\"{}\"",
                          StudyName(id), applied.ToString());
      return applied;
    }
    AfterEvent(run, event);
  }
  if (run.strategy != nullptr) {
    if (absl::Status shown = ShowObservations(run); !shown.ok()) {
      run.broken = shown;
      return shown;
    }
  }
  if (run.state.ended()) {
    run.strategy = nullptr;
    run.replay = nullptr;
  }
  DropWeights(run);
  if (!message.empty()) {
    deps_.logger->info("event=change study={} message=\"{}\"", StudyName(id),
                       message);
  }
  Notify(run, changed_trial, message);
  return absl::OkStatus();
}

void StudyEngine::AfterEvent(Run& run, const v1::JournalEvent& event) {
  const auto stage_index = [&](const auto& e) {
    const TrialRecord& record = *run.state.FindTrial(e.trial());
    for (size_t i = 0; i < record.stages.size(); ++i) {
      if (record.stages[i].key ==
          StageKey{e.stage(), e.device_class(), e.rung_epochs()}) {
        return static_cast<int>(i);
      }
    }
    return -1;
  };
  switch (event.event_case()) {
    case v1::JournalEvent::kTaskLeased: {
      const auto& e = event.task_leased();
      run.live[{e.trial(), stage_index(e)}] = {
          .deadline = e.has_deadline() ? FromProto(e.deadline())
                                       : absl::InfiniteFuture()};
      break;
    }
    case v1::JournalEvent::kStageFinished: {
      const auto& e = event.stage_finished();
      const int index = stage_index(e);
      run.live.erase({e.trial(), index});
      const TrialRecord& trial = *run.state.FindTrial(e.trial());
      LearnResult(run, trial, index);
      if (e.reused()) deps_.metrics->StageReused(e.stage());
      const v1::HopTimes& times = trial.stages[index].times;
      if (times.has_leased()) {
        deps_.metrics->StageFinished(
            e.stage(), FromProto(times.recorded()) - FromProto(times.leased()));
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
      if (e.outcome() == v1::AttemptFailed::EXPIRED) {
        deps_.metrics->LeaseExpired();
      } else if (e.outcome() == v1::AttemptFailed::FAILED) {
        deps_.metrics->AttemptFailed(e.stage());
      }
      break;
    }
    case v1::JournalEvent::kTrialEnded: {
      const TrialRecord& trial =
          *run.state.FindTrial(event.trial_ended().trial());
      deps_.metrics->TrialEnded(trial.state,
                                trial.end_time - trial.create_time);
      break;
    }
    case v1::JournalEvent::kResultIgnored:
      deps_.metrics->ResultIgnored();
      break;
    default:
      break;
  }
}

absl::Status StudyEngine::ShowObservations(Run& run) {
  std::vector<Observation> fresh;
  const std::vector<ObservationRecord>& observed = run.state.observed();
  for (; run.observed < observed.size(); ++run.observed) {
    const ObservationRecord& record = observed[run.observed];
    const TrialRecord& trial = *run.state.FindTrial(record.trial);
    HWNAS_ASSIGN_OR_RETURN(Architecture architecture,
                           FromProto(*run.space, trial.architecture));
    fresh.push_back({.proposal = {.number = trial.number,
                                  .architecture = std::move(architecture),
                                  .digest = trial.architecture.digest(),
                                  .origin = trial.origin},
                     .evaluation = record.evaluation.Shown(),
                     .fidelity = record.fidelity});
  }
  return fresh.empty() ? absl::OkStatus() : run.strategy->Observe(fresh);
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

// ---- The loop ----

bool StudyEngine::Tick() {
  MutexLock lock(&mutex_);
  RetryResults();
  DropUnclaimed();
  std::set<std::string> in_use;
  for (const auto& [name, busy] : BusySlots()) in_use.insert(name);
  fleet_.Forget(deps_.clock->Now(), in_use);
  EndWithoutEnergy();
  return Pump();
}

// Returns true if there is more to do at once.
bool StudyEngine::Pump() {
  int allowance = kProposalsPerRound;
  for (int round = 0; round < kRoundsPerPump; ++round) {
    for (auto& [id, run] : studies_) {
      if (!run->broken.ok() || run->state.ended()) continue;
      if (absl::Status status = Settle(*run, &allowance); !status.ok()) {
        return false;  // The store is away: the timer tries again.
      }
    }
    const absl::StatusOr<bool> reused = ReuseResults(&allowance);
    if (!reused.ok()) return false;
    const absl::StatusOr<bool> again = ScheduleTasks();
    if (!again.ok()) return false;
    if (!*again && !*reused) return allowance <= 0;
  }
  return true;
}

bool StudyEngine::TimeUsed(const Run& run) const {
  const v1::Budget& budget = run.state.spec().budget();
  const absl::Duration elapsed = run.replay != nullptr
                                     ? absl::Seconds(run.state.simulated_s())
                                     : WorkTime(run);
  return budget.has_wall_clock() && elapsed >= FromProto(budget.wall_clock());
}

bool StudyEngine::BudgetUsed(const Run& run) const {
  return static_cast<int64_t>(run.state.trials().size()) >=
             run.state.spec().budget().trials() ||
         TimeUsed(run) ||
         run.exhausted_at == static_cast<int64_t>(run.observed);
}

absl::Duration StudyEngine::WorkTime(const Run& run) const {
  return run.state.WorkTime(deps_.clock->Now(), run.taken_up);
}

int64_t StudyEngine::MaxParallel(const Run& run) const {
  constexpr int64_t kLeast = 4;
  const v1::StudySpec& spec = run.state.spec();
  if (spec.max_parallel_trials() > 0) return spec.max_parallel_trials();
  if (spec.has_external()) return kMaxExternalActive;
  if (spec.has_replay()) return spec.replay().workers();
  return std::max<int64_t>(kLeast, 2 * fleet_.slots());
}

bool StudyEngine::HasRoom(const Run& run) const {
  return run.broken.ok() && run.state.state() == v1::Study::RUNNING &&
         static_cast<int64_t>(run.state.active().size()) -
                 run.state.paused_count() <
             MaxParallel(run);
}

bool StudyEngine::MayPropose(const Run& run) const {
  return HasRoom(run) && !BudgetUsed(run);
}

std::optional<int64_t> StudyEngine::PromotionOf(const Run& run) const {
  if (run.state.paused_count() == 0 || TimeUsed(run)) return std::nullopt;
  return NextPromotion(*run.fidelity, *run.state.rungs(),
                       /*proposing=*/!BudgetUsed(run));
}

absl::StatusOr<bool> StudyEngine::Promote(Run& run) {
  const std::optional<int64_t> promoted = PromotionOf(run);
  if (!promoted) return false;
  const TrialRecord& trial = *run.state.FindTrial(*promoted);
  const int epochs = trial.stages[trial.CurrentStage()].key.rung_epochs;
  v1::JournalEvent event;
  event.mutable_trial_promoted()->set_trial(*promoted);
  event.mutable_trial_promoted()->set_rung_epochs(epochs);
  HWNAS_RETURN_IF_ERROR(
      Commit(run, {event}, *promoted,
             absl::StrCat("trial ", *promoted, " promoted to epoch ", epochs)));
  return true;
}

absl::StatusOr<bool> StudyEngine::Begin(Run& run) {
  HWNAS_ASSIGN_OR_RETURN(const bool promoted, Promote(run));
  if (promoted) return true;
  if (BudgetUsed(run)) return false;
  HWNAS_ASSIGN_OR_RETURN(const bool proposed, Propose(run));
  if (proposed || !BudgetUsed(run)) return proposed;
  // The space has nothing new: some may go on that did not before.
  return Promote(run);
}

absl::Status StudyEngine::Complete(Run& run) {
  const StudyState& state = run.state;
  const int64_t trials = static_cast<int64_t>(state.trials().size());
  std::string reason = "the trials of the budget are done";
  if (trials < state.spec().budget().trials()) {
    reason = run.exhausted_at == static_cast<int64_t>(run.observed)
                 ? "no new architecture was found in the space"
                 : "the time of the budget is over";
  }
  std::vector<v1::JournalEvent> events;
  const std::vector<int64_t> stopped = state.active();
  for (const int64_t number : stopped) {
    auto* ended = events.emplace_back().mutable_trial_ended();
    ended->set_trial(number);
    ended->set_state(v1::Trial::STOPPED);
    ended->set_reason(absl::StrCat("not promoted beyond epoch ",
                                   state.FindTrial(number)->trained_epochs));
  }
  auto* change = events.emplace_back().mutable_study_state_changed();
  change->set_state(v1::Study::COMPLETED);
  change->set_reason(reason);
  HWNAS_RETURN_IF_ERROR(Commit(run, std::move(events), 0,
                               absl::StrCat("study completed: ", reason)));
  for (const int64_t number : stopped) Notify(run, number, "");
  return absl::OkStatus();
}

absl::Status StudyEngine::Settle(Run& run, int* allowance) {
  if (run.replay != nullptr) {
    HWNAS_RETURN_IF_ERROR(SettleReplay(run, allowance));
  }
  // The trials of an external study are proposed when somebody asks.
  const bool by_fleet =
      run.replay == nullptr && !run.state.spec().has_external();
  while (by_fleet && *allowance > 0 && HasRoom(run)) {
    --*allowance;
    HWNAS_ASSIGN_OR_RETURN(const bool begun, Begin(run));
    if (!begun) break;
  }
  const bool idle = static_cast<int64_t>(run.state.active().size()) ==
                    run.state.paused_count();
  if (run.broken.ok() && run.state.state() == v1::Study::RUNNING && idle &&
      BudgetUsed(run) && !PromotionOf(run)) {
    return Complete(run);
  }
  return absl::OkStatus();
}

// One at a time, so that the same journal always leads to the same request.
absl::StatusOr<bool> StudyEngine::Propose(Run& run) {
  const StudyState& state = run.state;
  std::vector<Proposal> pending;
  for (const int64_t number : state.active()) {
    const TrialRecord& trial = *state.FindTrial(number);
    // With rungs: what has a result has been observed.
    if (state.rungs() != nullptr && trial.trained_epochs > 0) continue;
    HWNAS_ASSIGN_OR_RETURN(Architecture architecture,
                           FromProto(*run.space, trial.architecture));
    pending.push_back({.number = number,
                       .architecture = std::move(architecture),
                       .digest = trial.architecture.digest(),
                       .origin = trial.origin});
  }
  const int64_t number = static_cast<int64_t>(state.trials().size()) + 1;
  absl::StatusOr<std::vector<Proposal>> proposals = run.strategy->Suggest(
      {.next_number = number, .count = 1, .pending = pending});
  if (!proposals.ok()) {
    run.broken = proposals.status();
    deps_.logger->error("event=strategy_failed study={} error=\"{}\"",
                        StudyName(state.study_id()),
                        proposals.status().ToString());
    return false;
  }
  if (proposals->empty()) {
    run.exhausted_at = static_cast<int64_t>(run.observed);
    return false;
  }
  const Proposal& proposal = proposals->front();

  std::vector<v1::JournalEvent> events(1);
  auto* proposed = events[0].mutable_trial_proposed();
  proposed->set_trial(number);
  *proposed->mutable_architecture() =
      ToProto(*run.space, proposal.architecture);
  proposed->set_origin(proposal.origin);
  if (const RungTable* rungs = state.rungs()) {
    proposed->set_rung_epochs(
        rungs->epochs()[NextFirstRung(*run.fidelity, *rungs)]);
  }
  std::string message =
      absl::StrFormat("trial %d proposed (%s)", number, proposal.origin);

  const std::vector<StageKey> stages = StagesOf(state.spec());
  if (run.replay != nullptr) {
    AppendReplay(run, number, proposal.architecture, &events, &message);
  } else if (!stages.empty() && stages[0].kind == v1::SCREEN) {
    const absl::StatusOr<std::vector<v1::Measurement>> estimates =
        Screen(run, proposal.architecture);
    if (!estimates.ok()) {
      v1::JournalEvent ended;
      ended.mutable_trial_ended()->set_trial(number);
      ended.mutable_trial_ended()->set_state(v1::Trial::INFEASIBLE);
      ended.mutable_trial_ended()->set_reason(
          absl::StrCat("not a network: ", estimates.status().message()));
      events.push_back(ended);
    } else {
      auto* finished = events.emplace_back().mutable_stage_finished();
      finished->set_trial(number);
      finished->set_stage(v1::SCREEN);
      finished->mutable_measurements()->Assign(estimates->begin(),
                                               estimates->end());
      const std::string values =
          ValuesText(*estimates, MetricsOf(stages[0], state.problem()));
      if (!values.empty()) absl::StrAppend(&message, " ", values);
      TrialRecord trial;
      trial.number = number;
      absl::StrAppend(&message, EndIfDecided(run, trial, *estimates,
                                             stages.size() == 1, &events));
    }
  }
  HWNAS_RETURN_IF_ERROR(Commit(run, std::move(events), number, message));
  return true;
}

absl::StatusOr<bool> StudyEngine::ReuseResults(int* allowance) {
  bool any = false;
  for (auto& [id, run] : studies_) {
    if (!run->broken.ok() || run->state.state() != v1::Study::RUNNING) continue;
    const std::vector<int64_t> active = run->state.active();
    for (const int64_t number : active) {
      const TrialRecord& trial = *run->state.FindTrial(number);
      while (*allowance > 0 && trial.state == v1::Trial::ACTIVE) {
        const int current = trial.CurrentStage();
        std::optional<v1::StageFinished> known =
            KnownResult(*run, trial, current);
        if (!known) break;
        --*allowance;
        HWNAS_RETURN_IF_ERROR(
            FinishStage(*run, trial, current, *std::move(known)));
        any = true;
      }
    }
  }
  return any;
}

std::optional<v1::StageFinished> StudyEngine::KnownResult(
    const Run& run, const TrialRecord& trial, int stage) const {
  if (stage == static_cast<int>(trial.stages.size())) return std::nullopt;
  const StageRecord& record = trial.stages[stage];
  const std::string& scope = run.ScopeOf(record.key);
  if (record.state != v1::TrialStage::QUEUED || scope.empty()) {
    return std::nullopt;
  }
  const ResultIndex::Place* place =
      known_results_.Find(scope, trial.architecture.digest());
  if (place == nullptr) return std::nullopt;
  const auto it = studies_.find(place->study_id);
  if (it == studies_.end() || !it->second->broken.ok()) return std::nullopt;
  const TrialRecord& source = *it->second->state.FindTrial(place->trial);
  const StageRecord& from = source.stages[place->stage];
  v1::StageFinished finished;
  SetStage(trial.number, record, /*attempt=*/0, &finished);
  const auto begin = source.measurements.begin() + from.first_measurement;
  finished.mutable_measurements()->Assign(begin,
                                          begin + from.measurement_count);
  if (!Missing(MetricsOf(record.key, run.state.problem()),
               finished.measurements())
           .empty()) {
    return std::nullopt;
  }
  if (record.key.kind == v1::TRAIN) {
    const bool last = stage + 1 == static_cast<int>(trial.stages.size());
    if (last && artifacts_.count(source.weights_digest)) {
      finished.set_weights_digest(source.weights_digest);
    }
    if (!last && artifacts_.count(from.checkpoint_digest)) {
      finished.set_checkpoint_digest(from.checkpoint_digest);
    }
  }
  finished.set_executor(from.attempts[from.finished_attempt - 1].executor);
  finished.set_reused(true);
  finished.set_reused_from(TrialName(place->study_id, place->trial));
  return finished;
}

void StudyEngine::LearnResult(const Run& run, const TrialRecord& trial,
                              int stage) {
  const StageRecord& record = trial.stages[stage];
  if (record.state != v1::TrialStage::FINISHED ||
      record.finished_attempt == 0 || run.ScopeOf(record.key).empty()) {
    return;
  }
  // A value with a remark that limits trust is better had again.
  const auto begin = trial.measurements.begin() + record.first_measurement;
  if (std::any_of(
          begin, begin + record.measurement_count,
          [](const v1::Measurement& m) { return m.flags_size() > 0; })) {
    return;
  }
  known_results_.Add(run.ScopeOf(record.key), trial.architecture.digest(),
                     {.study_id = run.state.study_id(),
                      .trial = trial.number,
                      .stage = stage,
                      .recorded = FromProto(record.times.recorded())});
}

absl::StatusOr<std::vector<v1::Measurement>> StudyEngine::Screen(
    const Run& run, const Architecture& architecture) const {
  HWNAS_ASSIGN_OR_RETURN(const ModelGraph graph,
                         run.space->Decode(architecture));
  HWNAS_ASSIGN_OR_RETURN(const std::vector<Estimate> estimates,
                         analytic_->Predict(graph));
  std::vector<v1::Measurement> measurements;
  for (const Estimate& estimate : estimates) {
    v1::Measurement& m = measurements.emplace_back();
    m.set_metric(estimate.key.metric);
    m.set_device_class(estimate.key.device_class);
    m.set_value(estimate.value);
    if (const MetricInfo* info = FindMetric(estimate.key.metric)) {
      m.set_unit(std::string(info->unit));
    }
    m.set_sample_count(1);
    m.set_provenance(v1::ANALYTIC);
  }
  return measurements;
}

absl::StatusOr<bool> StudyEngine::ScheduleTasks() {
  const absl::Time now = deps_.clock->Now();
  SchedulerInput input;
  input.now = now;
  input.fleet = fleet_.Snapshot(now);
  input.last_served = last_served_;
  struct Source {
    Run* run = nullptr;
    StageId stage;
    int64_t profile = 0;
  };
  std::vector<Source> queue, leases;
  for (auto& [id, run] : studies_) {
    if (!run->broken.ok()) continue;
    const StudyState& state = run->state;
    for (const auto& [stage_id, live] : run->live) {
      const StageRecord& stage =
          state.FindTrial(stage_id.first)->stages[stage_id.second];
      if (stage.key.kind == v1::REPLAY) continue;
      input.leases.push_back(
          {.study_id = id,
           .stage = stage.key.kind,
           .executor = stage.attempts[stage.live_attempt - 1].executor,
           .deadline = live.deadline});
      leases.push_back({.run = run.get(), .stage = stage_id});
    }
    if (state.state() != v1::Study::RUNNING) continue;
    for (const int64_t number : state.active()) {
      const TrialRecord& trial = *state.FindTrial(number);
      const int current = trial.CurrentStage();
      if (current == static_cast<int>(trial.stages.size())) continue;
      const StageRecord& stage = trial.stages[current];
      if (stage.state != v1::TrialStage::QUEUED ||
          (stage.key.kind != v1::MEASURE && stage.key.kind != v1::TRAIN)) {
        continue;
      }
      if (KnownResult(*run, trial, current)) continue;  // Next time.
      input.queue.push_back(
          {.study_id = id,
           .stage = stage.key.kind,
           .device_class = stage.key.device_class,
           .runtime = state.spec().measure().runtime(),
           .energy = AsksForEnergy(stage.key, state.problem()),
           .dataset = state.spec().train().dataset(),
           .order = number,
           .passed_over = state.last_token() - stage.queued_token,
           .failed_executors = stage.failed_executors});
      queue.push_back({.run = run.get(), .stage = {number, current}});
    }
  }
  for (auto& [id, profile] : profiles_) {
    if (profile.executor.empty()) {
      input.queue.push_back({.stage = v1::MEASURE,
                             .device_class = profile.task.device_class(),
                             .runtime = profile.task.measure().runtime(),
                             .energy = profile.task.energy(),
                             .order = id,
                             .failed_executors = profile.failed_executors});
      queue.push_back({.profile = id});
    } else {
      input.leases.push_back({.stage = v1::MEASURE,
                              .executor = profile.executor,
                              .deadline = profile.deadline});
      leases.push_back({.profile = id});
    }
  }
  UpdateGauges(input.queue);
  const SchedulerOutput output = Schedule(input);

  for (const int index : output.expired) {
    const Source& source = leases[index];
    const std::string executor = input.leases[index].executor;
    const std::string error =
        absl::StrCat("the lease of ", executor, " ran out");
    if (source.run == nullptr) {
      FailProfile(profiles_.at(source.profile), error, /*final=*/false);
      continue;
    }
    const TrialRecord& trial = *source.run->state.FindTrial(source.stage.first);
    const int stage = source.stage.second;
    const StageRecord before = trial.stages[stage];
    const std::string trial_name =
        TrialName(source.run->state.study_id(), trial.number);
    const std::string task_id =
        TaskId(source.run->state.study_id(), trial.number, before.key);
    HWNAS_RETURN_IF_ERROR(FailAttempt(*source.run, trial, stage,
                                      v1::AttemptFailed::EXPIRED, error,
                                      /*candidate_fault=*/false));
    SendCancel(before, task_id, "the lease ran out");
    const Executor* holder = fleet_.Find(executor);
    if (holder != nullptr && holder->connected()) {
      CountFailure(executor, trial_name, error);
    }
  }

  // One append for each study.
  std::map<Run*, std::vector<int>> by_study;
  for (size_t i = 0; i < output.assignments.size(); ++i) {
    const Assignment& assignment = output.assignments[i];
    const Source& source = queue[assignment.task];
    if (source.run != nullptr) {
      by_study[source.run].push_back(static_cast<int>(i));
    } else {
      LeaseProfile(profiles_.at(source.profile),
                   input.fleet[assignment.executor].name);
      last_served_[""] = ++turn_;
    }
  }
  for (const auto& [run, indices] : by_study) {
    std::vector<v1::JournalEvent> events;
    std::vector<std::pair<std::string, v1::Task>> tasks;
    int64_t token = run->state.last_token();
    for (const int i : indices) {
      const Assignment& assignment = output.assignments[i];
      const StageId& id = queue[assignment.task].stage;
      const TrialRecord& trial = *run->state.FindTrial(id.first);
      // An expired lease of the same study may have ended the trial above.
      if (trial.state != v1::Trial::ACTIVE) continue;
      const StageRecord& stage = trial.stages[id.second];
      const std::string& executor = input.fleet[assignment.executor].name;
      absl::StatusOr<v1::Task> task = BuildTask(*run, trial, id.second);
      if (!task.ok()) {
        deps_.logger->error("event=task_not_built trial={} error=\"{}\"",
                            TrialName(run->state.study_id(), trial.number),
                            task.status().ToString());
        continue;
      }
      const int attempt = static_cast<int>(stage.attempts.size()) + 1;
      const auto deadline = ToProto(now + options_.lease_duration);
      v1::JournalEvent event;
      auto* leased = event.mutable_task_leased();
      SetStage(trial.number, stage, attempt, leased);
      leased->set_token(++token);
      leased->set_executor(executor);
      *leased->mutable_deadline() = deadline;
      *leased->mutable_queued() = stage.times.queued();
      events.push_back(std::move(event));
      v1::LeaseKey* lease = task->mutable_lease();
      lease->set_task_id(
          TaskId(run->state.study_id(), trial.number, stage.key));
      lease->set_attempt(attempt);
      lease->set_token(token);
      *task->mutable_lease_deadline() = deadline;
      tasks.emplace_back(executor, *std::move(task));
    }
    if (events.empty()) continue;
    std::vector<int64_t> trials;
    for (const auto& event : events) {
      trials.push_back(event.task_leased().trial());
    }
    HWNAS_RETURN_IF_ERROR(Commit(*run, std::move(events), trials[0], ""));
    for (size_t i = 1; i < trials.size(); ++i) Notify(*run, trials[i], "");
    for (auto& [executor, task] : tasks) {
      deps_.logger->info("event=lease task={} attempt={} executor={}",
                         task.lease().task_id(), task.lease().attempt(),
                         executor);
      v1::SessionResponse response;
      *response.mutable_assignment() = std::move(task);
      SendTo(executor, response);
      last_served_[run->state.study_id()] = ++turn_;
    }
  }
  return !output.expired.empty();
}

absl::StatusOr<v1::Task> StudyEngine::BuildTask(const Run& run,
                                                const TrialRecord& trial,
                                                int stage) {
  const StudyState& state = run.state;
  HWNAS_ASSIGN_OR_RETURN(const Architecture architecture,
                         FromProto(*run.space, trial.architecture));
  HWNAS_ASSIGN_OR_RETURN(const ModelGraph graph,
                         run.space->Decode(architecture));
  v1::Task task;
  task.set_trial(TrialName(state.study_id(), trial.number));
  const StageKey& key = trial.stages[stage].key;
  if (key.kind == v1::TRAIN) {
    v1::TrainTask* train = task.mutable_train();
    *train->mutable_graph() = ToProto(graph);
    *train->mutable_train() = state.spec().train();
    train->set_seed(
        TrainSeed(trial.architecture.digest(), state.spec().seed()));
    train->set_architecture_digest(trial.architecture.digest());
    const bool rung = key.rung_epochs > 0;
    const bool last = stage + 1 == static_cast<int>(trial.stages.size());
    train->set_keep_weights(last);
    train->set_keep_checkpoint(!last);
    if (rung && !last) train->set_until_epoch(key.rung_epochs);
    if (const auto it = run.checkpoints.find(trial.number);
        it != run.checkpoints.end()) {
      train->set_checkpoint_digest(it->second);
    }
  } else {
    v1::MeasureTask* measure = task.mutable_measure();
    *measure->mutable_graph() = ToProto(graph);
    *measure->mutable_measure() = state.spec().measure();
    measure->set_device_class(key.device_class);
    measure->set_energy(AsksForEnergy(key, state.problem()));
  }
  return task;
}

void StudyEngine::UpdateGauges(const std::vector<QueuedTask>& queue) {
  int64_t measure = 0, train = 0;
  for (const QueuedTask& task : queue) {
    ++(task.stage == v1::MEASURE ? measure : train);
  }
  deps_.metrics->SetQueueLength(v1::MEASURE, measure);
  deps_.metrics->SetQueueLength(v1::TRAIN, train);
  const absl::Time now = deps_.clock->Now();
  std::map<std::pair<v1::ExecutorKind, v1::Executor::State>, int64_t> executors;
  for (const auto kind : {v1::WORKER, v1::AGENT}) {
    for (const auto state :
         {v1::Executor::CONNECTED, v1::Executor::LOST, v1::Executor::DRAINING,
          v1::Executor::QUARANTINED}) {
      executors[{kind, state}] = 0;
    }
  }
  for (const auto& [name, executor] : fleet_.executors()) {
    ++executors[{executor.hello.kind(), executor.state(now)}];
  }
  for (const auto& [key, count] : executors) {
    deps_.metrics->SetExecutors(key.first, key.second, count);
  }
  int64_t running = 0, paused = 0, ended = 0;
  for (const auto& [id, run] : studies_) {
    if (run->state.ended()) {
      ++ended;
    } else {
      ++(run->state.state() == v1::Study::PAUSED ? paused : running);
    }
  }
  deps_.metrics->SetStudies(running, paused, ended);
}

// ---- Results ----

StudyEngine::StageRef StudyEngine::FindStage(const std::string& task_id) {
  const absl::StatusOr<TaskKey> key = ParseTaskId(task_id);
  if (!key.ok()) return {};
  const auto it = studies_.find(key->study_id);
  if (it == studies_.end() || !it->second->broken.ok()) return {};
  const TrialRecord* trial = it->second->state.FindTrial(key->trial);
  if (trial == nullptr) return {};
  for (size_t i = 0; i < trial->stages.size(); ++i) {
    if (trial->stages[i].key == key->stage) {
      return {it->second.get(), trial, static_cast<int>(i)};
    }
  }
  return {};
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
  MutexLock lock(&mutex_);
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
  const TrialRecord& trial = *ref.trial;
  const StageRecord before = trial.stages[ref.stage];
  const StudyState& state = ref.run->state;
  const std::string trial_name = TrialName(state.study_id(), trial.number);
  const bool success = result.error().empty();
  if (trial.state != v1::Trial::ACTIVE ||
      before.state == v1::TrialStage::FINISHED) {
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
        Missing(MetricsOf(before.key, state.problem()), result.measurements());
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
      if (Executor* e = fleet_.Find(executor)) fleet_.RecordSuccess(*e);
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

absl::Status StudyEngine::FinishStage(Run& run, const TrialRecord& trial,
                                      int stage, v1::StageFinished finished) {
  const StageRecord& record = trial.stages[stage];
  const std::vector<v1::Measurement> added(finished.measurements().begin(),
                                           finished.measurements().end());
  std::string message =
      absl::StrCat("trial ", trial.number, " ", Verb(record.key.kind));
  if (record.key.rung_epochs > 0) {
    absl::StrAppend(&message, " to epoch ", record.key.rung_epochs);
  }
  if (!record.key.device_class.empty()) {
    absl::StrAppend(&message, " on ", record.key.device_class);
  }
  const std::string values =
      ValuesText(added, MetricsOf(record.key, run.state.problem()));
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
  std::vector<v1::JournalEvent> events(1);
  *events[0].mutable_stage_finished() = std::move(finished);
  const bool last = stage + 1 == static_cast<int>(trial.stages.size());
  // Values at a rung decide nothing by themselves: more training betters them.
  if (last || record.key.rung_epochs == 0) {
    absl::StrAppend(&message, EndIfDecided(run, trial, added, last, &events));
  }
  return Commit(run, std::move(events), trial.number, message);
}

std::string StudyEngine::EndIfDecided(
    const Run& run, const TrialRecord& trial,
    const std::vector<v1::Measurement>& added, bool last_stage,
    std::vector<v1::JournalEvent>* events) const {
  const Problem& problem = run.state.problem();
  std::vector<MetricValue> values = trial.Values();
  for (MetricValue& value : ValuesOf(added)) values.push_back(std::move(value));
  const Evaluation evaluation = problem.Evaluate(values);
  v1::JournalEvent event;
  auto* ended = event.mutable_trial_ended();
  ended->set_trial(trial.number);
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

absl::Status StudyEngine::FailAttempt(Run& run, const TrialRecord& trial,
                                      int stage,
                                      v1::AttemptFailed::Outcome outcome,
                                      const std::string& error,
                                      bool candidate_fault) {
  const StageRecord& record = trial.stages[stage];
  const std::string& executor =
      record.attempts[record.live_attempt - 1].executor;
  std::vector<v1::JournalEvent> events(1);
  auto* failed = events[0].mutable_attempt_failed();
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
    v1::JournalEvent event;
    auto* ended = event.mutable_trial_ended();
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
    events.push_back(std::move(event));
  }
  return Commit(run, std::move(events), trial.number, message);
}

absl::Status StudyEngine::IgnoreResult(Run& run, const TrialRecord& trial,
                                       int stage, int attempt) {
  const StageRecord& record = trial.stages[stage];
  if (record.attempts[attempt - 1].ignored) return absl::OkStatus();
  std::vector<v1::JournalEvent> events(1);
  auto* ignored = events[0].mutable_result_ignored();
  SetStage(trial.number, record, attempt, ignored);
  ignored->set_executor(record.attempts[attempt - 1].executor);
  return Commit(run, std::move(events), trial.number, "");
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
  const AttemptRecord& attempt = stage.attempts[stage.live_attempt - 1];
  v1::SessionResponse response;
  v1::CancelTask* cancel = response.mutable_cancel();
  cancel->mutable_lease()->set_task_id(task_id);
  cancel->mutable_lease()->set_attempt(stage.live_attempt);
  cancel->mutable_lease()->set_token(attempt.token);
  cancel->set_reason(reason);
  SendTo(attempt.executor, response);
}

void StudyEngine::SendTo(const std::string& executor,
                         const v1::SessionResponse& message) {
  Executor* e = fleet_.Find(executor);
  if (e != nullptr && e->connected()) e->stream->Send(message);
}

// ---- Studies ----

absl::StatusOr<StudyEngine::Run*> StudyEngine::FindRun(
    const std::string& study_id) {
  const auto it = studies_.find(study_id);
  if (it == studies_.end()) {
    return absl::NotFoundError(
        absl::StrCat("there is no study '", Truncated(study_id, 63), "'"));
  }
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
      *trial.mutable_architecture() = record.architecture;
      trial.mutable_measurements()->Assign(record.measurements.begin(),
                                           record.measurements.end());
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

absl::StatusOr<v1::Study> StudyEngine::CreateStudy(
    const v1::CreateStudyRequest& request) {
  HWNAS_RETURN_IF_ERROR(CheckStudyId(request.study_id()));
  HWNAS_RETURN_IF_ERROR(CheckStudySpec(request.spec()));
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
  MutexLock lock(&mutex_);
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
  MutexLock lock(&mutex_);
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
  MutexLock lock(&mutex_);
  return SwitchState(study_id, v1::Study::RUNNING, v1::Study::PAUSED,
                     "study paused");
}

absl::StatusOr<v1::Study> StudyEngine::ResumeStudy(
    const std::string& study_id) {
  MutexLock lock(&mutex_);
  return SwitchState(study_id, v1::Study::PAUSED, v1::Study::RUNNING,
                     "study resumed");
}

absl::StatusOr<v1::Study> StudyEngine::CancelStudy(
    const std::string& study_id) {
  MutexLock lock(&mutex_);
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
    for (const ExecutorSnapshot& executor :
         fleet_.Snapshot(deps_.clock->Now())) {
      QueuedTask task = {.stage = v1::MEASURE,
                         .device_class = stage.device_class,
                         .runtime = run.state.spec().measure().runtime()};
      any |= IsCapable(executor, task) &&
             fleet_.executors().at(executor.name).connected();
      task.energy = true;
      metered |= IsCapable(executor, task);
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
  const absl::Time now = deps_.clock->Now();
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
  MutexLock lock(&mutex_);
  HWNAS_ASSIGN_OR_RETURN(Run * run, FindRun(study_id));
  HWNAS_ASSIGN_OR_RETURN(const TrialRecord* trial, FindTrial(*run, number));
  HWNAS_ASSIGN_OR_RETURN(const Architecture architecture,
                         FromProto(*run->space, trial->architecture));
  TrialModel model;
  HWNAS_ASSIGN_OR_RETURN(model.graph, run->space->Decode(architecture));
  model.architecture = trial->architecture;
  model.trial_name = TrialName(study_id, number);
  if (const auto it = run->weights.find(number); it != run->weights.end()) {
    model.weights_digest = it->second;
  }
  return model;
}

absl::Status StudyEngine::AddWatcher(const std::string& study_id,
                                     std::shared_ptr<StudyWatcher> watcher) {
  MutexLock lock(&mutex_);
  HWNAS_ASSIGN_OR_RETURN(Run * run, FindRun(study_id));
  watcher->OnChange(0, "");
  run->watchers.push_back(std::move(watcher));
  return absl::OkStatus();
}

void StudyEngine::RemoveWatcher(const std::string& study_id,
                                const StudyWatcher* watcher) {
  MutexLock lock(&mutex_);
  const auto it = studies_.find(study_id);
  if (it == studies_.end()) return;
  auto& watchers = it->second->watchers;
  watchers.erase(
      std::remove_if(watchers.begin(), watchers.end(),
                     [&](const auto& w) { return w.get() == watcher; }),
      watchers.end());
}

// ---- Ask and tell ----

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

// ---- Fleet ----

absl::StatusOr<std::string> StudyEngine::Connect(
    const v1::Hello& hello, std::shared_ptr<ExecutorStream> stream) {
  MutexLock lock(&mutex_);
  const absl::Time now = deps_.clock->Now();
  bool other_incarnation = false;
  HWNAS_ASSIGN_OR_RETURN(
      Executor * executor,
      fleet_.Connect(hello, stream, now, &other_incarnation));
  const std::string name = executor->name;
  const std::string session_id = executor->session_id;

  v1::SessionResponse response;
  v1::Welcome* welcome = response.mutable_welcome();
  welcome->set_session_id(session_id);
  *welcome->mutable_heartbeat_interval() = ToProto(options_.lease_duration / 3);
  std::set<std::pair<Run*, StageId>> held;
  std::set<int64_t> held_profiles;
  for (const v1::LeaseKey& lease : hello.held_leases()) {
    if (IsProfileTask(lease.task_id())) {
      Profile* profile = FindProfile(lease);
      if (profile != nullptr && profile->executor == name) {
        profile->deadline = now + options_.lease_duration;
        held_profiles.insert(profile->id);
      } else {
        *welcome->add_dropped_leases() = lease;
      }
      continue;
    }
    const StageRef ref = FindStage(lease.task_id());
    if (IsLive(ref, lease, name)) {
      const StageId id(ref.trial->number, ref.stage);
      LiveLease& live = ref.run->live[id];
      live.confirmed = true;
      live.deadline = now + options_.lease_duration;
      held.insert({ref.run, id});
      continue;
    }
    // Of an expired attempt: its result would still be welcome.
    const bool useful =
        ref.run != nullptr && ref.trial->state == v1::Trial::ACTIVE &&
        ref.trial->stages[ref.stage].state != v1::TrialStage::FINISHED;
    if (!useful) *welcome->add_dropped_leases() = lease;
  }
  stream->Send(response);
  deps_.logger->info(
      "event=connected executor={} session={} slots={} host={} held={}", name,
      session_id, hello.slots(), Truncated(hello.host_id(), 64),
      hello.held_leases_size());

  // What it was given and does not have: lost with an earlier process of it,
  // or never arrived.
  for (auto& [study_id, run] : studies_) {
    std::vector<StageId> lost;
    for (const auto& [id, live] : run->live) {
      const StageRecord& stage =
          run->state.FindTrial(id.first)->stages[id.second];
      if (stage.attempts[stage.live_attempt - 1].executor == name &&
          !held.count({run.get(), id})) {
        lost.push_back(id);
      }
    }
    for (const StageId& id : lost) {
      const absl::Status status = FailAttempt(
          *run, *run->state.FindTrial(id.first), id.second,
          other_incarnation ? v1::AttemptFailed::EXPIRED
                            : v1::AttemptFailed::HANDED_BACK,
          other_incarnation
              ? absl::StrCat(name, " was restarted and lost the task")
              : absl::StrCat(name, " came back without the task"),
          /*candidate_fault=*/false);
      if (!status.ok()) break;  // The lease runs out instead.
    }
  }
  for (auto& [id, profile] : profiles_) {
    if (profile.executor == name && !held_profiles.count(id)) {
      profile.deadline = now;  // Ends with the next round of the scheduler.
    }
  }
  Pump();
  return session_id;
}

void StudyEngine::Disconnect(const std::string& session_id) {
  MutexLock lock(&mutex_);
  if (const Executor* executor = fleet_.FindSession(session_id)) {
    deps_.logger->info("event=disconnected executor={} session={}",
                       executor->name, session_id);
  }
  fleet_.Disconnect(session_id, deps_.clock->Now());
  Pump();
}

absl::Status StudyEngine::OnHeartbeat(const std::string& session_id,
                                      const v1::Heartbeat& heartbeat) {
  MutexLock lock(&mutex_);
  Executor* executor = fleet_.FindSession(session_id);
  if (executor == nullptr) return absl::OkStatus();
  const absl::Time now = deps_.clock->Now();
  executor->last_seen = now;
  bool any_stopped = false;
  constexpr int kMaxTasks = 4096;
  if (heartbeat.tasks_size() > kMaxTasks) {
    return absl::InvalidArgumentError(
        absl::StrCat("heartbeat.tasks has ", heartbeat.tasks_size(),
                     " entries: expected at most ", kMaxTasks));
  }
  for (const v1::TaskProgress& progress : heartbeat.tasks()) {
    const v1::LeaseKey& lease = progress.lease();
    const std::string note = Truncated(progress.note(), 200);
    if (IsProfileTask(lease.task_id())) {
      if (Profile* profile = FindProfile(lease);
          profile != nullptr && profile->executor == executor->name) {
        profile->deadline = now + options_.lease_duration;
        if (note != profile->last_note) {
          profile->last_note = note;
          v1::ProfileModelUpdate update;
          update.set_note(note);
          update.set_device(DeviceName(executor->hello.executor_id()));
          profile->listener->OnUpdate(update);
        }
        continue;
      }
    } else if (const StageRef ref = FindStage(lease.task_id());
               IsLive(ref, lease, executor->name)) {
      LiveLease& live = ref.run->live[{ref.trial->number, ref.stage}];
      live.confirmed = true;
      live.deadline = now + options_.lease_duration;
      live.note = note;
      const absl::StatusOr<bool> stopped =
          JudgeEpochs(*ref.run, *ref.trial, ref.stage, progress);
      // If the store refuses, the next epoch asks again.
      if (stopped.value_or(false)) {
        any_stopped = true;
        continue;
      }
      const v1::EpochReport& epoch = progress.epoch();
      if (progress.has_epoch() && epoch.epoch() != live.epoch.epoch()) {
        live.epoch = epoch;
        Notify(*ref.run, ref.trial->number,
               absl::StrFormat("trial %d epoch %d/%d loss=%.4g accuracy=%.4g",
                               ref.trial->number, epoch.epoch(),
                               epoch.epoch_count(), epoch.train_loss(),
                               epoch.validation_accuracy()));
      }
      continue;
    }
    v1::SessionResponse response;
    *response.mutable_cancel()->mutable_lease() = lease;
    response.mutable_cancel()->set_reason("the lease is not live any more");
    executor->stream->Send(response);
  }
  if (any_stopped) Pump();
  return absl::OkStatus();
}

void StudyEngine::OnDrain(const std::string& session_id) {
  MutexLock lock(&mutex_);
  Executor* executor = fleet_.FindSession(session_id);
  if (executor == nullptr) return;
  executor->draining = true;
  deps_.logger->info("event=draining executor={}", executor->name);
}

void StudyEngine::OnArtifact(const std::string& digest) {
  MutexLock lock(&mutex_);
  artifacts_.insert(digest);
  if (!weights_uses_.count(digest)) unclaimed_[digest] = deps_.clock->Now();
}

}  // namespace hwnas::controller
