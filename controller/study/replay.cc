// Studies that are answered from tables: a discrete-event simulation of a fleet
// whose whole state is in the journal.
//
// A simulated worker is busy from the TaskLeased of its trial until that
// event's simulated_end_seconds. While workers are free, trials are proposed
// and started; then time jumps to the earliest end, and that trial's result is
// recorded. Of equal ends the lower trial number comes first. With rungs a
// trial pays for one at a time: what its training takes beyond the rung before.
// Nothing depends on real time or on the order in which anybody calls, so the
// search goes on the same after a restart at any moment.
#include <algorithm>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"
#include "controller/study/report_check.h"
#include "controller/study/study_engine.h"
#include "nas/space/tabulated.h"

namespace hwnas::controller {
namespace {

constexpr absl::string_view kSimulatedWorker = "simulated/";

// Index of the stage that an active trial's cost is paid at now: a rung, or the
// last.
int CostlyStageIndex(const TrialRecord& trial) {
  const int last = static_cast<int>(trial.stages.size()) - 1;
  const int current = trial.CurrentStage();
  return current < last && trial.stages[current].key.rung_epochs > 0 ? current
                                                                     : last;
}
const StageRecord& CostlyStage(const TrialRecord& trial) {
  return trial.stages[CostlyStageIndex(trial)];
}

// As the tables name a training: 0 is the full one.
int TableEpochs(const v1::StudySpec& spec, const StageKey& key) {
  return key.rung_epochs == FullEpochs(spec) ? 0 : key.rung_epochs;
}

// Simulated seconds of a stage after `before` (nullptr: from the beginning).
absl::StatusOr<double> CostSeconds(const v1::StudySpec& spec,
                                   const ReplayTable& table, int row,
                                   const StageKey* before,
                                   const StageKey& stage) {
  HWNAS_ASSIGN_OR_RETURN(const double to_here_s,
                         table.CostSeconds(row, TableEpochs(spec, stage)));
  if (before == nullptr || before->rung_epochs == 0) return to_here_s;
  HWNAS_ASSIGN_OR_RETURN(const double to_there_s,
                         table.CostSeconds(row, TableEpochs(spec, *before)));
  return std::max(0.0, to_here_s - to_there_s);
}

// The lowest free simulated worker, from 1; 0 if all are busy.
int FreeWorker(const StudyState& state) {
  std::set<int> busy;
  for (const int64_t number : state.active()) {
    const StageRecord& stage = CostlyStage(*state.FindTrial(number));
    if (stage.live_attempt == 0) continue;
    absl::string_view name = stage.attempts[stage.live_attempt - 1].executor;
    int worker = 0;
    if (absl::ConsumePrefix(&name, kSimulatedWorker) &&
        absl::SimpleAtoi(name, &worker)) {
      busy.insert(worker);
    }
  }
  for (int worker = 1; worker <= state.spec().replay().workers(); ++worker) {
    if (!busy.count(worker)) return worker;
  }
  return 0;
}

v1::JournalEvent LeaseEvent(const StudyState& state, int64_t trial,
                            const StageKey& stage, int attempt, int worker,
                            double cost_s) {
  v1::JournalEvent event;
  auto* leased = event.mutable_task_leased();
  leased->set_trial(trial);
  leased->set_stage(v1::REPLAY);
  leased->set_rung_epochs(stage.rung_epochs);
  leased->set_attempt(attempt);
  leased->set_token(state.last_token() + 1);
  leased->set_executor(absl::StrCat(kSimulatedWorker, worker));
  leased->set_simulated_end_seconds(state.simulated_s() + cost_s);
  return event;
}

// Whether the tables give that metric.
bool IsGiven(const v1::StudySpec& spec, const v1::Measurement& m) {
  const auto& given = spec.replay().metrics();
  return std::any_of(given.begin(), given.end(),
                     [&](const v1::ReplayMetric& metric) {
                       return metric.metric() == m.metric() &&
                              metric.device() == m.device_class();
                     });
}

Measurements MeasurementsOf(const std::vector<ReplayValue>& values) {
  Measurements measurements;
  for (const ReplayValue& value : values) {
    v1::Measurement& m = *measurements.Add();
    m.set_metric(value.key.metric);
    m.set_device_class(value.key.device_class);
    m.set_value(value.value);
    m.set_unit(value.unit);
    m.set_sample_count(1);
    m.set_provenance(v1::TABULAR);
  }
  return measurements;
}

}  // namespace

void StampSimulatedTime(const StudyState& state,
                        std::vector<v1::JournalEvent>* events) {
  double now_s = state.simulated_s();
  for (v1::JournalEvent& event : *events) {
    const v1::StageFinished& finished = event.stage_finished();
    if (finished.stage() == v1::REPLAY && finished.attempt() > 0) {
      now_s = CostlyStage(*state.FindTrial(finished.trial())).simulated_end_s;
    }
    event.set_simulated_seconds(now_s);
  }
}

absl::Status StudyEngine::EquipReplay(Run& run,
                                      std::unique_ptr<SearchSpace>* space) {
  const bool restricted = run.state.spec().replay().restrict();
  // An ended study is only looked at.
  if (run.state.ended() && !restricted) return absl::OkStatus();
  absl::StatusOr<std::shared_ptr<const ReplayTable>> table =
      replay_tables_.Load(run.state.spec());
  if (!table.ok()) {
    return run.state.ended() ? absl::OkStatus() : table.status();
  }
  if (restricted) {
    const std::vector<Architecture> members = (*table)->CompleteMembers();
    if (members.empty()) {
      return absl::InvalidArgumentError(
          "spec.replay.tables: no row has a value for every objective and "
          "constraint");
    }
    HWNAS_ASSIGN_OR_RETURN(*space,
                           TabulatedSpace::Create(std::move(*space), members));
  }
  if (!run.state.ended()) run.replay = *std::move(table);
  return absl::OkStatus();
}

Evidence StudyEngine::EvidenceOf(const Run& run) const {
  const SearchSpace* space = run.space.get();
  Evidence counts = AnalyticEvidence(space, analytic_.get());
  if (run.replay == nullptr) return counts;
  // What a table gives, at whatever stage, is its affair alone.
  std::set<MetricKey> given;
  for (const v1::ReplayMetric& m : run.state.spec().replay().metrics()) {
    given.insert({m.metric(), m.device()});
  }
  return [counts = std::move(counts), given = std::move(given),
          table = run.replay, space](const Architecture& architecture) {
    std::vector<MetricValue> values =
        table->FreeValues(space->Canonicalize(architecture));
    for (MetricValue& value : counts(architecture)) {
      if (!given.count(value.key)) values.push_back(std::move(value));
    }
    return values;
  };
}

absl::Status StudyEngine::SettleReplay(Run& run, int* allowance) {
  while (*allowance > 0 && run.replay != nullptr && run.broken.ok() &&
         run.state.state() == v1::Study::RUNNING) {
    --*allowance;
    HWNAS_ASSIGN_OR_RETURN(bool moved, StartReplay(run));
    if (!moved && HasRoom(run)) {
      Batch batch;
      HWNAS_ASSIGN_OR_RETURN(const int begun, AddBegun(run, 1, &batch));
      HWNAS_RETURN_IF_ERROR(Commit(run, std::move(batch)));
      moved = begun > 0;
    }
    if (!moved && run.broken.ok()) {
      HWNAS_ASSIGN_OR_RETURN(moved, FinishReplay(run));
    }
    if (!moved) break;
  }
  return absl::OkStatus();
}

void StudyEngine::AppendReplay(const Run& run, int64_t number,
                               const Architecture& architecture,
                               std::vector<v1::JournalEvent>* events,
                               std::string* message) const {
  const StudyState& state = run.state;
  const ReplayTable& table = *run.replay;
  const auto end = [&](const absl::Status& why) {
    auto* ended = events->emplace_back().mutable_trial_ended();
    ended->set_trial(number);
    ended->set_state(v1::Trial::INFEASIBLE);
    ended->set_reason(std::string(why.message()));
    absl::StrAppend(message, "; infeasible: ", why.message());
  };
  const int row = table.Find(run.space->Canonicalize(architecture));
  if (row < 0) {
    end(absl::NotFoundError("the table has no row for this architecture"));
    return;
  }
  std::vector<MetricValue> known;  // As far as the events have come.
  const std::vector<StageKey> stages = StagesOf(state.spec());
  for (const StageKey& stage : stages) {
    if (stage == stages.back() || stage.rung_epochs > 0) break;
    const absl::StatusOr<std::vector<ReplayValue>> values = table.Values(
        row,
        stage.kind == v1::SCREEN ? ReplayStage::kScreen : ReplayStage::kMeasure,
        stage.device_class);
    if (!values.ok()) {
      end(values.status());
      return;
    }
    Measurements measurements = MeasurementsOf(*values);
    if (stage.kind == v1::SCREEN) {
      // What the table does not tell may follow from the network, if the space
      // has networks.
      absl::StatusOr<std::vector<v1::Measurement>> counted =
          Screen(run, architecture);
      if (counted.ok()) {
        for (v1::Measurement& m : *counted) {
          if (!IsGiven(state.spec(), m)) *measurements.Add() = std::move(m);
        }
      } else if (!absl::IsFailedPrecondition(counted.status())) {
        end(absl::InvalidArgumentError(
            absl::StrCat("not a network: ", counted.status().message())));
        return;
      }
    }
    auto* finished = events->emplace_back().mutable_stage_finished();
    finished->set_trial(number);
    finished->set_stage(stage.kind);
    finished->set_device_class(stage.device_class);
    *finished->mutable_measurements() = measurements;
    const std::string text =
        ValuesText(measurements, run.FactsOf(stage).metrics);
    if (!text.empty()) absl::StrAppend(message, " ", text);
    for (MetricValue& value : ValuesOf(measurements)) {
      known.push_back(std::move(value));
    }
    const std::string ended =
        EndIfDecided(run, number, known, /*last_stage=*/false, events);
    absl::StrAppend(message, ended);
    if (!ended.empty()) return;
  }
  // Known before anything is paid.
  const int begins_at = events->front().trial_proposed().rung_epochs();
  const StageKey* first = nullptr;
  double first_cost_s = 0;
  for (const StageKey& stage : stages) {
    const bool costly = stage == stages.back() || stage.rung_epochs > 0;
    if (!costly || stage.rung_epochs < begins_at) continue;
    const absl::StatusOr<std::vector<ReplayValue>> values = table.Values(
        row, ReplayStage::kTrain, "", TableEpochs(state.spec(), stage));
    const absl::StatusOr<double> cost_s =
        CostSeconds(state.spec(), table, row, nullptr, stage);
    if (!values.ok() || !cost_s.ok()) {
      end(values.ok() ? cost_s.status() : values.status());
      return;
    }
    if (first == nullptr) {
      first = &stage;
      first_cost_s = *cost_s;
    }
  }
  if (const int worker = FreeWorker(state); worker > 0) {
    events->push_back(
        LeaseEvent(state, number, *first, /*attempt=*/1, worker, first_cost_s));
  }
}

absl::StatusOr<bool> StudyEngine::StartReplay(Run& run) {
  const StudyState& state = run.state;
  const int worker = FreeWorker(state);
  if (worker == 0) return false;
  for (const int64_t number : state.active()) {
    const TrialRecord& trial = *state.FindTrial(number);
    const StageRecord& stage = CostlyStage(trial);
    if (stage.state != v1::TrialStage::QUEUED) continue;
    const int index = CostlyStageIndex(trial);
    HWNAS_ASSIGN_OR_RETURN(
        const double cost_s,
        CostSeconds(
            state.spec(), *run.replay, run.replay->Find(trial.architecture),
            index > 0 ? &trial.stages[index - 1].key : nullptr, stage.key));
    HWNAS_RETURN_IF_ERROR(
        Commit(run,
               {LeaseEvent(state, number, stage.key,
                           static_cast<int>(stage.attempts.size()) + 1, worker,
                           cost_s)},
               number, ""));
    return true;
  }
  return false;
}

absl::StatusOr<bool> StudyEngine::FinishReplay(Run& run) {
  const StudyState& state = run.state;
  const TrialRecord* next = nullptr;
  for (const int64_t number : state.active()) {
    const TrialRecord& trial = *state.FindTrial(number);
    if (CostlyStage(trial).live_attempt == 0) continue;
    if (next == nullptr || CostlyStage(trial).simulated_end_s <
                               CostlyStage(*next).simulated_end_s) {
      next = &trial;
    }
  }
  if (next == nullptr) return false;
  const StageRecord& stage = CostlyStage(*next);
  HWNAS_ASSIGN_OR_RETURN(
      const std::vector<ReplayValue> values,
      run.replay->Values(run.replay->Find(next->architecture),
                         ReplayStage::kTrain, "",
                         TableEpochs(state.spec(), stage.key)));
  v1::StageFinished finished;
  finished.set_trial(next->number);
  finished.set_stage(v1::REPLAY);
  finished.set_rung_epochs(stage.key.rung_epochs);
  finished.set_attempt(stage.live_attempt);
  finished.set_executor(stage.attempts[stage.live_attempt - 1].executor);
  *finished.mutable_measurements() = MeasurementsOf(values);
  HWNAS_RETURN_IF_ERROR(
      FinishStage(run, *next, CostlyStageIndex(*next), std::move(finished)));
  return true;
}

}  // namespace hwnas::controller
