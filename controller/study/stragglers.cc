// Trainings that take far longer than others of their study get a second
// attempt on a worker that has nothing to do.
//
// In the journal the first attempt is handed back, which counts for nothing,
// and the next one is leased: a stage never has two live leases. Only its
// worker is not told; whichever result comes first is recorded, as ever, and
// the other worker is cancelled. That the first one still works is known to
// this process alone: after a restart it is cancelled at its next heartbeat.
#include "controller/scheduler/stragglers.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "controller/study/study_engine.h"
#include "controller/study/task_names.h"

namespace hwnas::controller {
namespace {

// As many of the last trials are looked at, and as many trainings of them.
constexpr size_t kTrialsLookedAt = 512;
constexpr size_t kTrainingsLookedAt = 64;

// Of the training that is this stage alone: the rungs before it are done.
int EpochsOf(const TrialRecord& trial, int stage, const v1::StudySpec& spec) {
  const int end = trial.stages[stage].key.rung_epochs > 0
                      ? trial.stages[stage].key.rung_epochs
                      : static_cast<int>(spec.train().epochs());
  const int begin = stage > 0 && trial.stages[stage - 1].key.kind == v1::TRAIN
                        ? trial.stages[stage - 1].key.rung_epochs
                        : 0;
  return std::max(1, end - begin);
}

// What an epoch took in the last trainings that have finished.
std::vector<double> EpochSeconds(const StudyState& state) {
  std::vector<double> seconds;
  const auto& trials = state.trials();
  const size_t count = std::min(trials.size(), kTrialsLookedAt);
  for (size_t i = 1; i <= count; ++i) {
    const TrialRecord& trial = trials[trials.size() - i];
    for (size_t j = 0; j < trial.stages.size(); ++j) {
      const StageRecord& stage = trial.stages[j];
      if (stage.key.kind != v1::TRAIN || stage.finished_attempt == 0 ||
          stage.times.started == absl::InfinitePast() ||
          stage.times.executed <= stage.times.started) {
        continue;
      }
      seconds.push_back(
          absl::ToDoubleSeconds(stage.times.executed - stage.times.started) /
          EpochsOf(trial, static_cast<int>(j), state.spec()));
      if (seconds.size() == kTrainingsLookedAt) return seconds;
    }
  }
  return seconds;
}

}  // namespace

StudyEngine::Straggler* StudyEngine::FindStraggler(
    const StageRef& ref, const v1::LeaseKey& lease,
    const std::string& executor) {
  if (ref.run == nullptr) return nullptr;
  const auto it = ref.run->stragglers.find({ref.trial->number, ref.stage});
  if (it == ref.run->stragglers.end() ||
      it->second.attempt != lease.attempt()) {
    return nullptr;
  }
  const AttemptRecord& attempt =
      ref.trial->stages[ref.stage].attempts[lease.attempt() - 1];
  return attempt.token == lease.token() && attempt.executor == executor
             ? &it->second
             : nullptr;
}

void StudyEngine::DropStragglers() {
  const absl::Time now = deps_.clock->Steady();
  for (auto& [study_id, run] : studies_) {
    for (auto& [id, straggler] : run->stragglers) {
      if (straggler.attempt == 0) continue;
      const TrialRecord& trial = *run->state.FindTrial(id.first);
      const StageRecord& stage = trial.stages[id.second];
      const bool useful = trial.state == v1::Trial::ACTIVE &&
                          stage.state != v1::TrialStage::FINISHED &&
                          straggler.attempt > stage.void_attempts;
      if (useful && straggler.deadline > now) continue;
      SendCancel(stage, straggler.attempt,
                 TaskId(study_id, trial.number, stage.key),
                 "another attempt was faster");
      straggler.End();
    }
    std::erase_if(run->stragglers, [&run = *run](const auto& entry) {
      return run.state.FindTrial(entry.first.first)->state != v1::Trial::ACTIVE;
    });
  }
}

absl::StatusOr<bool> StudyEngine::SecondStraggler() {
  if (!options_.speculate || running_.All().training == 0) return false;
  SchedulerInput input = {.fleet = FleetSnapshot(),
                          .running = &running_,
                          .quotas = options_.quotas,
                          .last_served = last_served_};
  if (std::none_of(input.fleet.begin(), input.fleet.end(),
                   [](const ExecutorSnapshot* executor) {
                     return executor->kind == v1::WORKER && executor->accepts &&
                            executor->running.all() < executor->slots;
                   })) {
    return false;
  }
  for (const auto& [study_id, run] : studies_) {
    if (!run->broken.ok() || run->state.state() != v1::Study::RUNNING) continue;
    for (const StageFacts& facts : run->stages) {
      if (facts.key.kind == v1::TRAIN && !facts.queued.empty()) return false;
    }
  }
  // Nothing waits: whoever is free now has nothing to do.
  const absl::Time now = deps_.clock->Now();
  for (auto& [study_id, run] : studies_) {
    const StudyState& state = run->state;
    if (!run->broken.ok() || state.state() != v1::Study::RUNNING) continue;
    std::optional<std::vector<double>> epoch_seconds;
    for (const auto& [id, live] : run->live) {
      const TrialRecord& trial = *state.FindTrial(id.first);
      const StageRecord& stage = trial.stages[id.second];
      const absl::Duration running = now - stage.times.leased;
      // Once for each training.
      if (stage.key.kind != v1::TRAIN || stage.live_attempt == 0 ||
          running < kLeastStragglerTime || run->stragglers.count(id)) {
        continue;
      }
      if (!epoch_seconds) epoch_seconds = EpochSeconds(state);
      const absl::Duration limit = StragglerTime(
          *epoch_seconds, EpochsOf(trial, id.second, state.spec()));
      if (running <= limit) continue;
      const std::string executor =
          stage.attempts[stage.live_attempt - 1].executor;
      // Would somebody else get it?
      input.queue = {{.study_id = study_id,
                      .user = state.user(),
                      .stage = v1::TRAIN,
                      .dataset = state.spec().train().dataset(),
                      .order = trial.number,
                      .failed_executors = {executor}}};
      const std::vector<Assignment> answer = Schedule(input);
      if (answer.empty()) break;  // Nor any other of the study.
      if (input.fleet[answer[0].executor]->name == executor) continue;
      Straggler straggler = {.attempt = stage.live_attempt,
                             .deadline = live.deadline};
      const StageId second = id;
      HWNAS_RETURN_IF_ERROR(FailAttempt(
          *run, trial, second.second, v1::AttemptFailed::HANDED_BACK,
          absl::StrCat(
              "it has taken ",
              absl::FormatDuration(absl::Trunc(running, absl::Seconds(1))),
              " on ", executor,
              ", far longer than others: another worker tries as "
              "well"),
          /*candidate_fault=*/false));
      straggler.running = CountTask(*run, v1::TRAIN, executor);
      run->stragglers[second] = std::move(straggler);
      return true;
    }
  }
  return false;
}

}  // namespace hwnas::controller
