// Reads the journal of a study and proves what the service promises of it.
// Knows the events, not the engine: it would notice where that is wrong.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "controller/study/study_state.h"
#include "store/journal_store.h"

namespace hwnas::controller {

struct HistoryReport {
  int64_t events = 0;
  bool ended = false;    // The study.
  int64_t proposed = 0;  // Trials.
  int64_t ended_trials = 0;
  int64_t lost = 0;      // Proposed, never ended, though the study has.
  int64_t repeated = 0;  // A trial ended twice or a stage finished twice.
  int64_t attempts = 0;
  int64_t expired_attempts = 0;
  std::vector<std::string> violations;  // The first hundred.
};

// What must hold:
// - events are numbered from 1 without gaps, and each follows from the ones
//   before (StudyState);
// - proposals are numbered from 1 without gaps, digests differ, the budget is
//   not exceeded;
// - every trial ends exactly once, unless a measurement of it was taken back
//   meanwhile; no stage finishes twice likewise; nothing happens to a trial
//   after its end, nor to a study after its own, but late results that are
//   ignored;
// - what ends or finishes was leased before: results are of attempts that there
//   were, failures of the one whose lease is alive;
// - fencing tokens grow; no two leases on one stage are alive at once, none is
//   on a stage that has finished;
// - a trial is COMPLETED if its results give all values and keep the
//   constraints, and not otherwise;
// - the fronts are those of the values in the results of the completed trials,
//   which are put together here once more.
// What cannot be read is a violation as well. The farm's journal is only read.
HistoryReport CheckHistory(JournalStore& store, const std::string& study_id);

// The same, but proves the fronts that `shown` has instead of those that the
// journal folds to.
HistoryReport CheckHistory(JournalStore& store, const std::string& study_id,
                           const StudyState& shown);

}  // namespace hwnas::controller
