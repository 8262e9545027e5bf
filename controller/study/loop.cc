// The loop of the engine: proposals, the scheduler, what it decides.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "controller/study/report_check.h"
#include "controller/study/stage_event.h"
#include "controller/study/study_engine.h"
#include "controller/study/task_names.h"
#include "proto/convert/convert.h"
#include "proto/convert/resource_names.h"

namespace hwnas::controller {
namespace {

// Proposals made in one go; between goes others get the mutex.
constexpr int kProposalsPerRound = 64;
constexpr int kRoundsPerPump = 16;
constexpr int64_t kMaxExternalActive = 10000;
// Measurements that a study offers the scheduler beyond the free slots: for
// those that wait for their hosts to be free.
constexpr int kOfferedBeyond = 16;
// Tasks handed out in one go.
constexpr size_t kTasksPerRound = 1024;

// The training seed of a trial.
uint64_t TrainSeed(const std::string& digest, uint64_t study_seed) {
  uint64_t bits = 0;
  (void)absl::SimpleHexAtoi(digest.substr(0, 16), &bits);
  return bits ^ study_seed;
}

}  // namespace

bool StudyEngine::Tick() {
  DurableLock lock(this);
  for (auto& [id, run] : studies_) {
    if (absl::IsUnavailable(run->broken)) Reload(*run, /*ahead=*/true);
  }
  RetryResults();
  DropUnclaimed();
  fleet_.Forget(deps_.clock->Now(), deps_.clock->Steady());
  EndWithoutEnergy();
  PlanChecks();
  ExpireLeases();
  bool more = Pump();
  if (!more && SecondStraggler().value_or(false)) more = Pump();
  UpdateGauges();
  return more;
}

bool StudyEngine::GoOn() {
  DurableLock lock(this);
  return Pump();
}

// Returns true if there is more to do at once.
bool StudyEngine::Pump() {
  int allowance = kProposalsPerRound;
  for (int round = 0; round < kRoundsPerPump; ++round) {
    // If the store is away, the timer tries again.
    for (auto& [id, run] : studies_) {
      if (!SettleReplay(*run, &allowance).ok()) return false;
    }
    if (!BeginTrials(&allowance).ok()) return false;
    for (auto& [id, run] : studies_) {
      if (!CompleteIfDone(*run).ok()) return false;
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
         TimeUsed(run) || IsExhausted(run);
}

bool StudyEngine::IsExhausted(const Run& run) {
  return run.exhausted_at == static_cast<int64_t>(run.observed) &&
         run.ready.empty();
}

absl::Duration StudyEngine::WorkTime(const Run& run) const {
  return run.state.WorkTime(deps_.clock->Now(), run.taken_up);
}

bool StudyEngine::IsOfFleet(const Run& run) {
  return run.broken.ok() && run.state.state() == v1::Study::RUNNING &&
         !run.state.spec().has_external() && !run.state.spec().has_replay();
}

int64_t StudyEngine::Room(const Run& run, int64_t sharing) const {
  if (!run.broken.ok() || run.state.state() != v1::Study::RUNNING) return 0;
  const v1::StudySpec& spec = run.state.spec();
  const int64_t active = static_cast<int64_t>(run.state.active().size()) -
                         run.state.paused_count();
  if (spec.max_parallel_trials() > 0) {
    return spec.max_parallel_trials() - active;
  }
  if (spec.has_external()) return kMaxExternalActive - active;
  if (spec.has_replay()) return spec.replay().workers() - active;
  // Enough to wait that nobody is idle, and no more: who is proposed later is
  // proposed with more known.
  constexpr int64_t kLeast = 4;
  constexpr int64_t kWaiting = 64;
  const int64_t slots = fleet_.slots();
  const int64_t free = std::max<int64_t>(0, slots - running_.All().all());
  int64_t waiting = 0;
  for (const StageFacts& facts : run.stages) {
    waiting += static_cast<int64_t>(facts.queued.size());
  }
  return std::min(
      std::max(kLeast, 2 * slots) - active,
      std::max(kLeast, (free + std::min(slots, kWaiting)) / sharing) - waiting);
}

bool StudyEngine::MayPropose(const Run& run) const {
  return HasRoom(run) && !BudgetUsed(run);
}

std::optional<int64_t> StudyEngine::PromotionOf(const Run& run) const {
  if (run.state.paused_count() == 0 || TimeUsed(run)) return std::nullopt;
  return NextPromotion(*run.fidelity, *run.state.rungs(),
                       /*proposing=*/!BudgetUsed(run));
}

bool StudyEngine::AddPromotion(const Run& run, Batch* batch) const {
  const std::optional<int64_t> promoted = PromotionOf(run);
  if (!promoted) return false;
  const TrialRecord& trial = *run.state.FindTrial(*promoted);
  const int epochs = trial.stages[trial.CurrentStage()].key.rung_epochs;
  auto* event = batch->events.emplace_back().mutable_trial_promoted();
  event->set_trial(*promoted);
  event->set_rung_epochs(epochs);
  batch->changes.push_back(
      {*promoted,
       absl::StrCat("trial ", *promoted, " promoted to epoch ", epochs)});
  return true;
}

absl::StatusOr<int> StudyEngine::AddBegun(Run& run, int count, Batch* batch) {
  if (AddPromotion(run, batch)) return 1;
  if (BudgetUsed(run)) return 0;
  const int proposed = AddProposals(run, count, batch);
  if (proposed > 0 || !BudgetUsed(run)) return proposed;
  // The space has nothing new: some may go on that did not before.
  return AddPromotion(run, batch) ? 1 : 0;
}

absl::Status StudyEngine::Complete(Run& run) {
  const StudyState& state = run.state;
  const int64_t trials = static_cast<int64_t>(state.trials().size());
  std::string reason = "the trials of the budget are done";
  if (trials < state.spec().budget().trials()) {
    reason = IsExhausted(run) ? "no new architecture was found in the space"
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

absl::Status StudyEngine::BeginTrials(int* allowance) {
  const int64_t sharing =
      std::count_if(studies_.begin(), studies_.end(),
                    [](const auto& run) { return IsOfFleet(*run.second); });
  for (bool more = true; more;) {
    more = false;
    std::vector<std::pair<Run*, Batch>> batches;
    for (auto& [id, run] : studies_) {
      // The trials of an external study are proposed when somebody asks.
      if (*allowance <= 0 || !IsOfFleet(*run)) continue;
      const int64_t room = Room(*run, sharing);
      if (room <= 0) continue;
      // With rungs the next to begin may be one that pauses.
      const int64_t count =
          run->fidelity
              ? 1
              : std::min(
                    {int64_t{*allowance}, room,
                     run->state.spec().budget().trials() -
                         static_cast<int64_t>(run->state.trials().size())});
      Batch batch;
      HWNAS_ASSIGN_OR_RETURN(
          const int begun,
          AddBegun(*run, static_cast<int>(std::max<int64_t>(1, count)),
                   &batch));
      *allowance -= begun;
      if (begun > 0) batches.emplace_back(run.get(), std::move(batch));
    }
    for (const absl::Status& status : CommitTogether(std::move(batches))) {
      HWNAS_RETURN_IF_ERROR(status);
      more = true;
    }
  }
  return absl::OkStatus();
}

absl::Status StudyEngine::CompleteIfDone(Run& run) {
  const bool idle = static_cast<int64_t>(run.state.active().size()) ==
                    run.state.paused_count();
  if (run.broken.ok() && run.state.state() == v1::Study::RUNNING && idle &&
      BudgetUsed(run) && !PromotionOf(run)) {
    return Complete(run);
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> StudyEngine::ReuseResults(int* allowance) {
  bool any = false;
  // What follows from an append may be known as well: the next stage of a
  // trial.
  for (bool more = true; more;) {
    more = false;
    std::vector<std::pair<Run*, Batch>> batches;
    for (auto& [id, run] : studies_) {
      if (!run->broken.ok() || run->state.state() != v1::Study::RUNNING) {
        continue;
      }
      Batch batch;
      // In their order, so that a restart goes the same way.
      std::set<int64_t>& queued = run->newly_queued;
      while (*allowance > 0 && !queued.empty()) {
        const TrialRecord& trial =
            *run->state.FindTrial(queued.extract(queued.begin()).value());
        if (trial.state != v1::Trial::ACTIVE) continue;
        const int current = trial.CurrentStage();
        if (std::optional<v1::StageFinished> known =
                KnownResult(*run, trial, current)) {
          --*allowance;
          AddFinished(*run, trial, current, *std::move(known), &batch);
        }
      }
      if (!batch.events.empty())
        batches.emplace_back(run.get(), std::move(batch));
    }
    for (const absl::Status& status : CommitTogether(std::move(batches))) {
      HWNAS_RETURN_IF_ERROR(status);
      any = more = true;
    }
  }
  return any;
}

std::optional<v1::StageFinished> StudyEngine::KnownResult(
    const Run& run, const TrialRecord& trial, int stage) const {
  if (stage == static_cast<int>(trial.stages.size())) return std::nullopt;
  const StageRecord& record = trial.stages[stage];
  const StageFacts& facts = run.FactsOf(record.key);
  const std::string& scope = facts.reuse_scope;
  if (record.state != v1::TrialStage::QUEUED || scope.empty()) {
    return std::nullopt;
  }
  const ResultIndex::Place* place =
      known_results_.Find(scope, trial.digest.Hex());
  if (place == nullptr) return std::nullopt;
  const auto it = studies_.find(place->study_id);
  if (it == studies_.end() || !it->second->broken.ok()) return std::nullopt;
  const TrialRecord& source = *it->second->state.FindTrial(place->trial);
  const StageRecord& from = source.stages[place->stage];
  v1::StageFinished finished;
  SetStage(trial.number, record, /*attempt=*/0, &finished);
  AddMeasurements(source, from, finished.mutable_measurements());
  if (!Missing(facts.metrics, finished.measurements()).empty()) {
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
      record.finished_attempt == 0) {
    return;
  }
  const std::string& scope = run.FactsOf(record.key).reuse_scope;
  if (scope.empty()) {
    return;
  }
  // A value with a remark that limits trust is better had again.
  const auto begin = trial.measurements.begin() + record.first_measurement;
  if (std::any_of(begin, begin + record.measurement_count,
                  [](const MeasurementRecord& m) {
                    return m.about->flags_size() > 0;
                  })) {
    return;
  }
  known_results_.Add(scope, trial.digest.Hex(),
                     {.study_id = run.state.study_id(),
                      .trial = trial.number,
                      .stage = stage,
                      .recorded = record.times.recorded});
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

RunningTasks::Task StudyEngine::CountTask(const Run& run, v1::StageKind kind,
                                          const std::string& executor) {
  if (kind != v1::MEASURE && kind != v1::TRAIN) return {};
  return RunningTasks::Task(&running_, run.state.study_id(), run.state.user(),
                            executor, kind);
}

void StudyEngine::UpdateQueued(Run& run, int64_t number) {
  for (StageFacts& facts : run.stages) facts.queued.erase(number);
  const TrialRecord& trial = *run.state.FindTrial(number);
  const int current = trial.CurrentStage();
  if (trial.state != v1::Trial::ACTIVE ||
      current == static_cast<int>(trial.stages.size())) {
    return;
  }
  const StageRecord& stage = trial.stages[current];
  if (stage.state != v1::TrialStage::QUEUED ||
      (stage.key.kind != v1::MEASURE && stage.key.kind != v1::TRAIN)) {
    return;
  }
  run.FactsOf(stage.key).queued.insert(number);
  run.newly_queued.insert(number);
}

void StudyEngine::ExpireLeases() {
  const absl::Time now = deps_.clock->Steady();
  for (auto& [study_id, run] : studies_) {
    if (!run->broken.ok()) continue;
    struct Expired {
      int64_t trial = 0;
      StageRecord stage;  // As it was.
      std::string executor;
      std::string error;
    };
    std::vector<Expired> expired;
    Batch batch;
    for (const auto& [id, live] : run->live) {
      // Of a trial that is measured again while it trains one at a time: each
      // may end the trial.
      const bool same = !expired.empty() && expired.back().trial == id.first;
      if (live.deadline > now || same) continue;
      const TrialRecord& trial = *run->state.FindTrial(id.first);
      const StageRecord& stage = trial.stages[id.second];
      const std::string& executor =
          stage.attempts[stage.live_attempt - 1].executor;
      const std::string error =
          absl::StrCat("the lease of ", executor, " ran out");
      AddFailed(*run, trial, id.second, v1::AttemptFailed::EXPIRED, error,
                /*candidate_fault=*/false, &batch);
      expired.push_back({trial.number, stage, executor, error});
      if (expired.size() == kTasksPerRound) break;
    }
    // If the store is away, the timer tries again.
    if (!Commit(*run, std::move(batch)).ok()) continue;
    for (const Expired& e : expired) {
      SendCancel(e.stage, TaskId(study_id, e.trial, e.stage.key),
                 "the lease ran out");
      const Executor* holder = fleet_.Find(e.executor);
      if (holder != nullptr && holder->connected()) {
        CountFailure(e.executor, TrialName(study_id, e.trial), e.error);
      }
    }
  }
}

void StudyEngine::ExpireProfiles() {
  const absl::Time now = deps_.clock->Steady();
  std::vector<int64_t> expired;
  for (const auto& [id, profile] : profiles_) {
    if (!profile.executor.empty() && profile.deadline <= now) {
      expired.push_back(id);
    }
  }
  for (const int64_t id : expired) {
    const auto it = profiles_.find(id);
    if (it == profiles_.end()) continue;
    Profile& profile = it->second;
    FailProfile(profile,
                absl::StrCat("the lease of ", profile.executor, " ran out"),
                /*final=*/false);
  }
}

// Where a task that the scheduler is offered comes from.
struct StudyEngine::Source {
  Run* run = nullptr;  // nullptr: a profile.
  StageId stage;
  int64_t profile = 0;
};

QueuedTask StudyEngine::TaskOf(const Run& run, const TrialRecord& trial,
                               int stage) {
  const StudyState& state = run.state;
  const v1::MeasureSpec& measure = state.spec().measure();
  const StageRecord& record = trial.stages[stage];
  return {.study_id = state.study_id(),
          .user = state.user(),
          .priority = state.spec().priority(),
          .stage = record.key.kind,
          .device_class = record.key.device_class,
          .runtime = measure.runtime(),
          .precision = measure.precision(),
          .profile = measure.profile(),
          .labels = {measure.labels().begin(), measure.labels().end()},
          .energy = AsksForEnergy(record.key, state.problem()),
          .dataset = state.spec().train().dataset(),
          .order = trial.number,
          .passed_over = state.last_token() - record.queued_token,
          .failed_executors = record.failed_executors};
}

void StudyEngine::OfferTasks(Run& run, int count,
                             std::vector<QueuedTask>* queue,
                             std::vector<Source>* sources) {
  const StudyState& state = run.state;
  for (const StageFacts& facts : run.stages) {
    const int most =
        facts.key.kind == v1::MEASURE ? count + kOfferedBeyond : count;
    int offered = 0;
    for (const int64_t number : facts.queued) {
      if (offered == most) break;
      const TrialRecord& trial = *state.FindTrial(number);
      const int current = trial.CurrentStage();
      if (KnownResult(run, trial, current)) {
        run.newly_queued.insert(number);  // Next time.
        continue;
      }
      QueuedTask task = TaskOf(run, trial, current);
      std::vector<std::string>& avoided = task.failed_executors;
      if (const auto it = run.stragglers.find({number, current});
          it != run.stragglers.end() && it->second.attempt != 0) {
        avoided.push_back(it->second.running.executor());
      }
      // Those wait for a particular machine while others may go on.
      offered += avoided.empty();
      queue->push_back(std::move(task));
      sources->push_back({.run = &run, .stage = {number, current}});
    }
  }
}

absl::StatusOr<bool> StudyEngine::ScheduleTasks() {
  ExpireProfiles();
  DropStragglers();
  SchedulerInput input;
  input.fleet = FleetSnapshot();
  input.running = &running_;
  input.quotas = options_.quotas;
  input.last_served = last_served_;
  int free = 0;
  for (const ExecutorSnapshot* executor : input.fleet) {
    if (!executor->accepts) continue;
    free += std::max(0, executor->slots - executor->running.all());
  }
  if (free == 0) return false;
  std::vector<Source> sources;
  for (auto& [id, run] : studies_) {
    if (!run->broken.ok() || run->state.state() != v1::Study::RUNNING) continue;
    OfferTasks(*run, std::min(free, static_cast<int>(kTasksPerRound)),
               &input.queue, &sources);
  }
  for (auto& [id, profile] : profiles_) {
    if (!profile.executor.empty()) continue;
    input.queue.push_back(QueuedProfile(profile));
    sources.push_back({.profile = id});
  }
  if (input.queue.empty()) return false;
  const std::vector<Assignment> assignments = Schedule(input);

  // One append for each study.
  std::map<Run*, std::vector<int>> by_study;
  for (size_t i = 0; i < assignments.size(); ++i) {
    const Assignment& assignment = assignments[i];
    const Source& source = sources[assignment.task];
    if (source.run != nullptr) {
      by_study[source.run].push_back(static_cast<int>(i));
    } else {
      LeaseProfile(profiles_.at(source.profile),
                   input.fleet[assignment.executor]->name);
      last_served_[GroupOf(input.queue[assignment.task])] = ++turn_;
    }
  }
  using TasksOfStudy = std::vector<std::pair<std::string, v1::Task>>;
  std::vector<std::pair<Run*, Batch>> batches;
  std::vector<TasksOfStudy> tasks;
  std::vector<std::string> served;  // The studies.
  for (const auto& [run, indices] : by_study) {
    Batch batch;
    TasksOfStudy of_study;
    int64_t token = run->state.last_token();
    for (const int i : indices) {
      const Assignment& assignment = assignments[i];
      const StageId& id = sources[assignment.task].stage;
      const TrialRecord& trial = *run->state.FindTrial(id.first);
      const StageRecord& stage = trial.stages[id.second];
      const std::string& executor = input.fleet[assignment.executor]->name;
      absl::StatusOr<v1::Task> task = BuildTask(*run, trial, id.second);
      if (!task.ok()) {
        deps_.logger->error("event=task_not_built trial={} error=\"{}\"",
                            TrialName(run->state.study_id(), trial.number),
                            task.status().ToString());
        continue;
      }
      const int attempt = static_cast<int>(stage.attempts.size()) + 1;
      const auto deadline =
          ToProto(deps_.clock->Now() + options_.lease_duration);
      auto* leased = batch.events.emplace_back().mutable_task_leased();
      SetStage(trial.number, stage, attempt, leased);
      leased->set_token(++token);
      leased->set_executor(executor);
      *leased->mutable_deadline() = deadline;
      *leased->mutable_queued() = ToProto(stage.times.queued);
      batch.changes.push_back({trial.number, ""});
      v1::LeaseKey* lease = task->mutable_lease();
      lease->set_task_id(
          TaskId(run->state.study_id(), trial.number, stage.key));
      lease->set_attempt(attempt);
      lease->set_token(token);
      *task->mutable_lease_deadline() = deadline;
      of_study.emplace_back(executor, *std::move(task));
    }
    served.push_back(run->state.study_id());
    batches.emplace_back(run, std::move(batch));
    tasks.push_back(std::move(of_study));
  }
  const std::vector<absl::Status> leased = CommitTogether(std::move(batches));
  absl::Status status;
  for (size_t i = 0; i < leased.size(); ++i) {
    status.Update(leased[i]);
    if (!leased[i].ok()) continue;
    for (auto& [executor, task] : tasks[i]) {
      deps_.logger->info("event=lease task={} attempt={} executor={}",
                         task.lease().task_id(), task.lease().attempt(),
                         executor);
      v1::SessionResponse response;
      *response.mutable_assignment() = std::move(task);
      SendTo(executor, response);
    }
    last_served_[served[i]] = ++turn_;
  }
  HWNAS_RETURN_IF_ERROR(status);
  return assignments.size() >= kTasksPerRound;
}

absl::StatusOr<v1::Task> StudyEngine::BuildTask(const Run& run,
                                                const TrialRecord& trial,
                                                int stage) {
  const StudyState& state = run.state;
  HWNAS_ASSIGN_OR_RETURN(const ModelGraph graph,
                         run.space->Decode(trial.architecture));
  v1::Task task;
  task.set_trial(TrialName(state.study_id(), trial.number));
  const StageKey& key = trial.stages[stage].key;
  if (key.kind == v1::TRAIN) {
    v1::TrainTask* train = task.mutable_train();
    *train->mutable_graph() = ToProto(graph);
    *train->mutable_train() = state.spec().train();
    train->set_seed(TrainSeed(trial.digest.Hex(), state.spec().seed()));
    train->set_architecture_digest(trial.digest.Hex());
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

void StudyEngine::UpdateGauges() {
  int64_t measure = 0, train = 0;
  for (const auto& [id, run] : studies_) {
    if (!run->broken.ok() || run->state.state() != v1::Study::RUNNING) continue;
    for (const StageFacts& facts : run->stages) {
      (facts.key.kind == v1::MEASURE ? measure : train) +=
          static_cast<int64_t>(facts.queued.size());
    }
  }
  for (const auto& [id, profile] : profiles_) {
    measure += profile.executor.empty();
  }
  deps_.metrics->SetQueueLength(v1::MEASURE, measure);
  deps_.metrics->SetQueueLength(v1::TRAIN, train);
  for (const v1::StageKind stage : {v1::MEASURE, v1::TRAIN}) {
    deps_.metrics->SetRunningTasks(stage, running_.All().of(stage));
  }
  const absl::Time now = deps_.clock->Steady();
  std::map<std::pair<v1::ExecutorKind, v1::Executor::State>, int64_t> executors;
  for (const auto kind : {v1::WORKER, v1::AGENT}) {
    for (const auto state :
         {v1::Executor::CONNECTED, v1::Executor::LOST, v1::Executor::DRAINING,
          v1::Executor::QUARANTINED}) {
      executors[{kind, state}] = 0;
    }
  }
  for (const auto& [name, executor] : fleet_.executors()) {
    ++executors[{executor.hello.kind(), StateOf(executor, now)}];
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

}  // namespace hwnas::controller
