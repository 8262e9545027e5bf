// Reads a study's journal after a run and proves what the service promises.
#pragma once

#include <cmath>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "hwnas/v1/journal.pb.h"
#include "store/journal_store.h"

namespace hwnas {

struct JournalReport {
  int64_t proposed = 0;
  int64_t ended = 0;
  int64_t lost = 0;      // Proposed, never ended, though the study has.
  int64_t repeated = 0;  // A trial ended twice or a stage finished twice.
  int64_t attempts = 0;
  int64_t expired_attempts = 0;
  std::vector<std::string> violations;
};

// What must hold in the journal of a study that has ended:
// - events are numbered from 1 without gaps;
// - proposals are numbered from 1 without gaps, digests differ, the budget is
//   not exceeded;
// - every trial ends exactly once; no stage finishes twice; nothing happens to
//   a trial after its end but ignored results;
// - fencing tokens grow; no two leases on one stage are alive at once;
// - every trial that completed has a result of every stage it was given.
inline JournalReport CheckJournal(JournalStore& store,
                                  const std::string& study_id) {
  JournalReport report;
  auto violated = [&](const std::string& what) {
    report.violations.push_back(what);
  };
  using Stage = std::tuple<int64_t, int, std::string>;
  std::set<std::string> digests;
  std::set<int64_t> proposed, ended;
  std::set<Stage> finished;
  std::map<Stage, int> open_attempt;
  int64_t sequence = 0, last_token = 0, budget = 0;
  const absl::Status status =
      store.Read(study_id, 0, [&](v1::JournalEvent&& event) -> absl::Status {
        if (event.sequence() != ++sequence) {
          violated(absl::StrCat("event ", event.sequence(), " at position ",
                                sequence));
        }
        auto after_end = [&](int64_t trial, const char* what) {
          if (ended.count(trial)) {
            violated(absl::StrCat(what, " after the end of trial ", trial));
          }
        };
        switch (event.event_case()) {
          case v1::JournalEvent::kStudyCreated:
            budget = event.study_created().spec().budget().trials();
            break;
          case v1::JournalEvent::kTrialProposed: {
            const auto& e = event.trial_proposed();
            if (e.trial() != static_cast<int64_t>(proposed.size()) + 1) {
              violated(absl::StrCat("proposal ", e.trial(), " out of order"));
            }
            proposed.insert(e.trial());
            if (!digests.insert(e.architecture().digest()).second) {
              violated(absl::StrCat("trial ", e.trial(), " repeats a digest"));
              ++report.repeated;
            }
            break;
          }
          case v1::JournalEvent::kTaskLeased: {
            const auto& e = event.task_leased();
            const Stage stage{e.trial(), e.stage(), e.device_class()};
            ++report.attempts;
            after_end(e.trial(), "lease");
            if (e.token() <= last_token) {
              violated(
                  absl::StrCat("token ", e.token(), " after ", last_token));
            }
            last_token = e.token();
            if (finished.count(stage)) {
              violated(absl::StrCat("lease of a finished stage of trial ",
                                    e.trial()));
            }
            if (open_attempt.count(stage)) {
              violated(absl::StrCat("two live leases on a stage of trial ",
                                    e.trial()));
            }
            open_attempt[stage] = e.attempt();
            break;
          }
          case v1::JournalEvent::kAttemptFailed: {
            const auto& e = event.attempt_failed();
            open_attempt.erase({e.trial(), e.stage(), e.device_class()});
            if (e.outcome() == v1::AttemptFailed::EXPIRED) {
              ++report.expired_attempts;
            }
            break;
          }
          case v1::JournalEvent::kStageFinished: {
            const auto& e = event.stage_finished();
            const Stage stage{e.trial(), e.stage(), e.device_class()};
            after_end(e.trial(), "result");
            open_attempt.erase(stage);
            if (!finished.insert(stage).second) {
              violated(absl::StrCat("a stage of trial ", e.trial(),
                                    " finished twice"));
              ++report.repeated;
            }
            for (const auto& m : e.measurements()) {
              if (!std::isfinite(m.value())) {
                violated(absl::StrCat("trial ", e.trial(), " has ", m.metric(),
                                      " = ", m.value()));
              }
            }
            break;
          }
          case v1::JournalEvent::kTrialEnded: {
            const auto& e = event.trial_ended();
            if (!proposed.count(e.trial())) {
              violated(absl::StrCat("end of unknown trial ", e.trial()));
            }
            if (!ended.insert(e.trial()).second) {
              violated(absl::StrCat("trial ", e.trial(), " ended twice"));
              ++report.repeated;
            }
            break;
          }
          default:
            break;
        }
        return absl::OkStatus();
      });
  if (!status.ok()) violated(absl::StrCat("unreadable: ", status.ToString()));
  report.proposed = proposed.size();
  report.ended = ended.size();
  report.lost = report.proposed - report.ended;
  if (report.lost != 0) violated(absl::StrCat(report.lost, " trials lost"));
  if (report.proposed > budget) violated("budget exceeded");
  return report;
}

}  // namespace hwnas
