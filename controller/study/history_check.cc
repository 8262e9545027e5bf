#include "controller/study/history_check.h"

#include <cmath>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "controller/farm/farm_state.h"
#include "controller/study/study_state.h"
#include "nas/pareto/pareto.h"

namespace hwnas::controller {
namespace {

constexpr size_t kMaxViolations = 100;

// Trial, kind, device class, epochs of the rung.
using Stage = std::tuple<int64_t, int, std::string, int>;

template <typename Event>
Stage StageOf(const Event& e) {
  return {e.trial(), e.stage(), e.device_class(), e.rung_epochs()};
}

// Follows the events one by one.
class History {
 public:
  explicit History(HistoryReport* report) : report_(*report) {}

  template <typename... Parts>
  void Violated(const Parts&... what) {
    if (report_.violations.size() < kMaxViolations) {
      report_.violations.push_back(absl::StrCat(what...));
    }
  }

  void Follow(const v1::JournalEvent& event) {
    if (event.sequence() != ++report_.events) {
      Violated("event ", event.sequence(), " at position ", report_.events);
    }
    switch (event.event_case()) {
      case v1::JournalEvent::kStudyCreated:
        budget_ = event.study_created().spec().budget().trials();
        break;
      case v1::JournalEvent::kStudyStateChanged:
        report_.ended =
            event.study_state_changed().state() == v1::Study::COMPLETED ||
            event.study_state_changed().state() == v1::Study::CANCELLED;
        break;
      case v1::JournalEvent::kTrialProposed:
        Proposed(event.trial_proposed());
        break;
      case v1::JournalEvent::kTaskLeased:
        Leased(event.task_leased());
        break;
      case v1::JournalEvent::kAttemptFailed:
        Failed(event.attempt_failed());
        break;
      case v1::JournalEvent::kStageFinished:
        Finished(event.stage_finished());
        break;
      case v1::JournalEvent::kTrialEnded:
        Ended(event.trial_ended());
        break;
      case v1::JournalEvent::kStageInvalidated: {
        const auto& e = event.stage_invalidated();
        // The stage may finish, and the trial end, once more.
        finished_.erase(Stage(e.trial(), e.stage(), e.device_class(), 0));
        if (!report_.ended) ended_.erase(e.trial());
        break;
      }
      default:
        break;
    }
  }

  void Close() {
    report_.proposed = proposed_;
    report_.ended_trials = static_cast<int64_t>(ended_.size());
    if (report_.ended) report_.lost = proposed_ - report_.ended_trials;
    if (report_.lost != 0) {
      Violated(report_.lost, " trials never ended, though the study has");
    }
    if (budget_ > 0 && proposed_ > budget_) {
      Violated(proposed_, " trials exceed the budget of ", budget_);
    }
  }

 private:
  void NotAfterEnd(int64_t trial, const char* what) {
    if (ended_.count(trial)) Violated(what, " after the end of trial ", trial);
  }

  void Proposed(const v1::TrialProposed& e) {
    if (e.trial() != ++proposed_) {
      Violated("trial ", e.trial(), " proposed as number ", proposed_);
    }
    if (!digests_.insert(e.architecture().digest()).second) {
      Violated("trial ", e.trial(), " repeats a digest");
      ++report_.repeated;
    }
  }

  void Leased(const v1::TaskLeased& e) {
    const Stage stage = StageOf(e);
    ++report_.attempts;
    NotAfterEnd(e.trial(), "lease");
    if (e.token() <= last_token_) {
      Violated("token ", e.token(), " after ", last_token_);
    }
    last_token_ = e.token();
    if (finished_.count(stage)) {
      Violated("lease of a finished stage of trial ", e.trial());
    }
    if (!live_.insert(stage).second) {
      Violated("two live leases on a stage of trial ", e.trial());
    }
  }

  void Failed(const v1::AttemptFailed& e) {
    live_.erase(StageOf(e));
    if (e.outcome() == v1::AttemptFailed::EXPIRED) ++report_.expired_attempts;
  }

  void Finished(const v1::StageFinished& e) {
    const Stage stage = StageOf(e);
    NotAfterEnd(e.trial(), "result");
    live_.erase(stage);
    if (!finished_.insert(stage).second) {
      Violated("a stage of trial ", e.trial(), " finished twice");
      ++report_.repeated;
    }
    for (const v1::Measurement& m : e.measurements()) {
      if (!std::isfinite(m.value())) {
        Violated("trial ", e.trial(), " has ", m.metric(), " = ", m.value());
      }
    }
  }

  void Ended(const v1::TrialEnded& e) {
    if (e.trial() < 1 || e.trial() > proposed_) {
      Violated("end of unknown trial ", e.trial());
    }
    if (!ended_.insert(e.trial()).second) {
      Violated("trial ", e.trial(), " ended twice");
      ++report_.repeated;
    }
  }

  HistoryReport& report_;
  int64_t budget_ = 0;
  int64_t proposed_ = 0;
  int64_t last_token_ = 0;
  std::set<std::string> digests_;
  std::set<int64_t> ended_;
  std::set<Stage> finished_;
  std::set<Stage> live_;
};

// Compares values: of equal ones a front need not name each trial.
void CheckFronts(const StudyState& state, History* history) {
  for (const StudyFront& front : state.fronts()) {
    std::vector<Point> all;
    for (const TrialRecord& trial : state.trials()) {
      if (trial.state == v1::Trial::COMPLETED) {
        all.push_back(front.Select(trial.evaluation.declared));
      }
    }
    std::set<Point> expected, got;
    for (const int i : NonDominated(all)) expected.insert(all[i]);
    for (const int64_t number : state.Members(front)) {
      got.insert(front.Select(state.FindTrial(number)->evaluation.declared));
    }
    if (got != expected) {
      history->Violated("the front",
                        front.device_class.empty()
                            ? ""
                            : absl::StrCat(" of ", front.device_class),
                        " has ", got.size(), " points, the trials give ",
                        expected.size(), ", and they differ");
    }
  }
}

}  // namespace

HistoryReport CheckHistory(JournalStore& store, const std::string& study_id) {
  HistoryReport report;
  History history(&report);
  StudyState state;
  absl::Status fold;
  const bool farm = study_id == kFarmJournal;
  const absl::Status read =
      store.Read(study_id, 0, [&](v1::JournalEvent&& event) {
        history.Follow(event);
        if (fold.ok() && !farm) fold = state.Apply(event);
        return absl::OkStatus();
      });
  for (const absl::Status& status : {read, fold}) {
    if (!status.ok()) history.Violated(std::string(status.message()));
  }
  if (!farm && read.ok()) history.Close();
  if (!farm && read.ok() && fold.ok()) CheckFronts(state, &history);
  return report;
}

}  // namespace hwnas::controller
