// What the strategies propose: at once, or, where a strategy is slow, apart
// from the loop and from whoever waits for the engine.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "controller/study/report_check.h"
#include "controller/study/study_engine.h"
#include "proto/convert/convert.h"
#include "proto/convert/resource_names.h"

namespace hwnas::controller {
namespace {

// Proposals made in one go.
constexpr int kMostAtOnce = 64;

}  // namespace

bool StudyEngine::Propose(absl::Duration patience) {
  {
    MutexLock lock(&mutex_);
    if (wanting_.empty()) wanted_.WaitWithTimeout(&mutex_, patience);
    if (wanting_.empty()) return false;
    const std::string study_id = std::move(wanting_.front());
    wanting_.pop_front();
    const absl::StatusOr<Run*> run = FindRun(study_id);
    const int count = run.ok() ? std::exchange((*run)->wanted, 0) : 0;
    if (count == 0 || !ProposesApart(**run) || (*run)->proposing) return true;
    ProposeApart(study_id, **run, count);
  }
  GoOn();
  return true;
}

bool StudyEngine::ProposesApart(const Run& run) const {
  return options_.propose_apart && run.broken.ok() && run.replay == nullptr &&
         run.strategy != nullptr && run.strategy->IsSlow();
}

void StudyEngine::ProposeApart(const std::string& study_id, Run& run,
                               int count) {
  run.proposing = true;
  // The run may be loaded again, or end, meanwhile.
  const std::shared_ptr<SearchSpace> space = run.space;
  const std::shared_ptr<Strategy> strategy = run.strategy;
  const int64_t observed = static_cast<int64_t>(run.observed);
  const absl::Span<const Proposal> pending = Pending(run);
  std::vector<Proposal> taken(pending.begin(), pending.end());
  taken.insert(taken.end(), run.ready.begin(), run.ready.end());
  const int64_t number =
      static_cast<int64_t>(run.state.trials().size() + run.ready.size()) + 1;
  mutex_.Unlock();
  absl::StatusOr<std::vector<Proposal>> proposals = strategy->Suggest(
      {.next_number = number, .count = count, .pending = taken});
  mutex_.Lock();
  proposed_.SignalAll();
  const absl::StatusOr<Run*> found = FindRun(study_id);
  if (!found.ok() || (*found)->strategy != strategy) return;
  Run& now = **found;
  now.proposing = false;
  for (Proposal& proposal :
       Suggested(now, std::move(proposals), count, observed)) {
    now.ready.push_back(std::move(proposal));
  }
  // What has come meanwhile.
  if (absl::Status shown = ShowObservations(now); !shown.ok()) {
    Break(now, std::move(shown));
  }
}

std::vector<Proposal> StudyEngine::Suggested(
    Run& run, absl::StatusOr<std::vector<Proposal>> proposals, int count,
    int64_t observed) {
  if (!proposals.ok()) {
    Break(run, proposals.status());
    deps_.logger->error("event=strategy_failed study={} error=\"{}\"",
                        StudyName(run.state.study_id()),
                        proposals.status().ToString());
    return {};
  }
  if (static_cast<int>(proposals->size()) < count) run.exhausted_at = observed;
  return *std::move(proposals);
}

std::vector<Proposal> StudyEngine::Suggest(Run& run, int count) {
  if (count <= 0) return {};
  const int64_t number = static_cast<int64_t>(run.state.trials().size()) + 1;
  if (!ProposesApart(run)) {
    return Suggested(
        run,
        run.strategy->Suggest(
            {.next_number = number, .count = count, .pending = Pending(run)}),
        count, static_cast<int64_t>(run.observed));
  }
  // An append of some that were taken may have failed.
  if (!run.ready.empty() && run.ready.front().number != number) {
    run.ready.clear();
  }
  std::vector<Proposal> proposals;
  while (!run.ready.empty() && static_cast<int>(proposals.size()) < count) {
    proposals.push_back(std::move(run.ready.front()));
    run.ready.pop_front();
  }
  return proposals;
}

// Kept from one call to the next: with thousands of trials under evaluation the
// copies would cost more than the proposals.
absl::Span<const Proposal> StudyEngine::Pending(Run& run) {
  const StudyState& state = run.state;
  const std::vector<int64_t>& active = state.active();
  // With rungs: what has a result has been observed.
  const auto observed = [&](int64_t number) {
    return state.rungs() != nullptr &&
           state.FindTrial(number)->trained_epochs > 0;
  };
  auto next = active.begin();
  std::erase_if(run.pending, [&](const Proposal& proposal) {
    while (next != active.end() && *next < proposal.number) ++next;
    return next == active.end() || *next != proposal.number ||
           observed(proposal.number);
  });
  for (auto it =
           std::upper_bound(active.begin(), active.end(), run.pending_until);
       it != active.end(); ++it) {
    if (observed(*it)) continue;
    const TrialRecord& trial = *state.FindTrial(*it);
    run.pending.push_back({.number = trial.number,
                           .architecture = trial.architecture,
                           .digest = trial.digest.Hex(),
                           .origin = trial.origin});
  }
  run.pending_until = static_cast<int64_t>(state.trials().size());
  return run.pending;
}

void StudyEngine::AddProposed(const Run& run, const Proposal& proposal,
                              Batch* batch) const {
  auto* proposed = batch->events.emplace_back().mutable_trial_proposed();
  proposed->set_trial(proposal.number);
  v1::Architecture* architecture = proposed->mutable_architecture();
  architecture->mutable_choices()->Assign(proposal.architecture.choices.begin(),
                                          proposal.architecture.choices.end());
  architecture->set_text(run.space->ToText(proposal.architecture));
  architecture->set_digest(proposal.digest);
  proposed->set_origin(proposal.origin);
  if (const RungTable* rungs = run.state.rungs()) {
    proposed->set_rung_epochs(
        rungs->epochs()[NextFirstRung(*run.fidelity, *rungs)]);
  }
  Change change = {proposal.number, ""};
  if (IsRead(run, *batch)) {
    change.message = absl::StrCat("trial ", proposal.number, " proposed (",
                                  proposal.origin, ")");
  }
  batch->changes.push_back(std::move(change));
}

int StudyEngine::AddProposals(Run& run, int count, Batch* batch) {
  count = std::min(count, run.propose_at_once);
  const std::vector<Proposal> proposals = Suggest(run, count);
  if (proposals.empty() && ProposesApart(run) && !run.proposing &&
      std::exchange(run.wanted, count) == 0) {
    wanting_.push_back(run.state.study_id());
    wanted_.Signal();
  }
  const std::vector<StageKey> stages = StagesOf(run.state.spec());
  const bool screened = !stages.empty() && stages[0].kind == v1::SCREEN;
  run.propose_at_once = std::min(kMostAtOnce, 2 * run.propose_at_once);
  int proposed = 0;
  for (const Proposal& proposal : proposals) {
    ++proposed;
    AddProposed(run, proposal, batch);
    if (run.replay != nullptr) {
      AppendReplay(run, proposal.number, proposal.architecture, &batch->events,
                   &batch->changes.back().message);
    } else if (!screened || !AddScreened(run, proposal, batch)) {
      continue;
    }
    // What became of it decides about the next: the strategy must see a trial
    // that has ended, and a simulated worker may be busy now. So the same
    // journal always leads to the same request.
    run.propose_at_once = 1;
    break;
  }
  return proposed;
}

bool StudyEngine::AddScreened(const Run& run, const Proposal& proposal,
                              Batch* batch) const {
  const int64_t number = proposal.number;
  const absl::StatusOr<std::vector<v1::Measurement>> estimates =
      Screen(run, proposal.architecture);
  if (!estimates.ok()) {
    auto* ended = batch->events.emplace_back().mutable_trial_ended();
    ended->set_trial(number);
    ended->set_state(v1::Trial::INFEASIBLE);
    ended->set_reason(
        absl::StrCat("not a network: ", estimates.status().message()));
    return true;
  }
  const Measurements measurements(estimates->begin(), estimates->end());
  auto* finished = batch->events.emplace_back().mutable_stage_finished();
  finished->set_trial(number);
  finished->set_stage(v1::SCREEN);
  *finished->mutable_measurements() = measurements;
  std::string& message = batch->changes.back().message;
  const std::string values = ValuesText(measurements, run.stages[0].metrics);
  if (!values.empty()) absl::StrAppend(&message, " ", values);
  const size_t events = batch->events.size();
  absl::StrAppend(&message,
                  EndIfDecided(run, number, ValuesOf(measurements),
                               run.stages.size() == 1, &batch->events));
  return batch->events.size() > events;
}

}  // namespace hwnas::controller
