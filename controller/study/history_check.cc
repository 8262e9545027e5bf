#include "controller/study/history_check.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/farm/farm_state.h"
#include "nas/pareto/pareto.h"
#include "nas/problem.h"
#include "proto/convert/convert.h"

namespace hwnas::controller {
namespace {

constexpr size_t kMaxViolations = 100;

// Kind, device class, epochs of the rung.
using Stage = std::tuple<int, std::string, int>;

template <typename Event>
Stage StageOf(const Event& e) {
  return {e.stage(), e.device_class(), e.rung_epochs()};
}

// A trial, as its events tell.
struct TrialHistory {
  v1::Trial::State state = v1::Trial::ACTIVE;
  std::map<Stage, int> leases;  // How many there were.
  std::map<Stage, int> live;    // The attempt of a lease that is alive.
  // What the problem needs of the results, in the order in which they came.
  std::vector<std::pair<Stage, std::vector<MetricValue>>> finished;

  bool HasFinished(const Stage& stage) const {
    return std::any_of(finished.begin(), finished.end(),
                       [&](const auto& of) { return of.first == stage; });
  }
  bool HasFinishedRung() const {
    return std::any_of(finished.begin(), finished.end(), [](const auto& of) {
      return std::get<2>(of.first) > 0;
    });
  }
};

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
        Created(event.study_created());
        break;
      case v1::JournalEvent::kStudyStateChanged:
        if (report_.ended) Violated("a change of state after the study's end");
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
      case v1::JournalEvent::kTrialPromoted:
        (void)Active(event.trial_promoted().trial(), "promotion");
        break;
      case v1::JournalEvent::kTrialEnded:
        Ended(event.trial_ended());
        break;
      case v1::JournalEvent::kStageInvalidated:
        Invalidated(event.stage_invalidated());
        break;
      default:
        break;
    }
  }

  void Close() {
    for (const TrialHistory& trial : trials_) {
      if (trial.state != v1::Trial::ACTIVE) ++report_.ended_trials;
    }
    report_.proposed = static_cast<int64_t>(trials_.size());
    if (report_.ended) report_.lost = report_.proposed - report_.ended_trials;
    if (report_.lost != 0) {
      Violated(report_.lost, " trials never ended, though the study has");
    }
    if (budget_ > 0 && report_.proposed > budget_) {
      Violated(report_.proposed, " trials exceed the budget of ", budget_);
    }
  }

  // Compares values: of equal ones a front need not name each trial.
  void CheckFronts(const StudyState& shown) {
    std::vector<std::vector<double>> completed;
    for (const TrialHistory& trial : trials_) {
      if (trial.state == v1::Trial::COMPLETED) {
        completed.push_back(EvaluationOf(trial).declared);
      }
    }
    for (const StudyFront& front : shown.fronts()) {
      std::vector<Point> all;
      for (const auto& declared : completed) {
        all.push_back(front.Select(declared));
      }
      std::set<Point> expected, got;
      for (const int i : NonDominated(all)) expected.insert(all[i]);
      for (const int64_t number : shown.Members(front)) {
        got.insert(front.Select(shown.FindTrial(number)->evaluation.declared));
      }
      if (got != expected) {
        Violated("the front",
                 front.device_class.empty()
                     ? ""
                     : absl::StrCat(" of ", front.device_class),
                 " has ", got.size(), " points, the results give ",
                 expected.size(), ", and they differ");
      }
    }
  }

 private:
  void Created(const v1::StudyCreated& e) {
    budget_ = e.spec().budget().trials();
    // The fold says what is wrong with a specification.
    if (!CheckStudySpec(e.spec()).ok()) return;
    problem_ = ProblemFromProto(e.spec());
    for (MetricKey& key : problem_.Keys()) needed_.insert(std::move(key));
    rungs_ = !RungsOf(e.spec()).empty();
    for (const StageKey& key : StagesOf(e.spec())) {
      stages_.push_back({key.kind, key.device_class, key.rung_epochs});
    }
  }

  // nullptr, and a violation, if there is no such trial.
  TrialHistory* Find(int64_t number, const char* what) {
    if (number >= 1 && number <= static_cast<int64_t>(trials_.size())) {
      return &trials_[number - 1];
    }
    Violated(what, " of unknown trial ", number);
    return nullptr;
  }

  // A violation as well if the trial has ended.
  TrialHistory* Active(int64_t number, const char* what) {
    TrialHistory* trial = Find(number, what);
    if (trial != nullptr && trial->state != v1::Trial::ACTIVE) {
      Violated(what, " after the end of trial ", number);
    }
    return trial;
  }

  Evaluation EvaluationOf(const TrialHistory& trial) const {
    std::vector<MetricValue> values;
    for (const auto& [stage, of_stage] : trial.finished) {
      values.insert(values.end(), of_stage.begin(), of_stage.end());
    }
    return problem_.Evaluate(values);
  }

  void Proposed(const v1::TrialProposed& e) {
    if (report_.ended) {
      Violated("trial ", e.trial(), " proposed after the study's end");
    }
    trials_.emplace_back();
    if (e.trial() != static_cast<int64_t>(trials_.size())) {
      Violated("trial ", e.trial(), " proposed as number ", trials_.size());
    }
    if (!digests_.insert(e.architecture().digest()).second) {
      Violated("trial ", e.trial(), " repeats a digest");
      ++report_.repeated;
    }
  }

  void Leased(const v1::TaskLeased& e) {
    ++report_.attempts;
    if (e.token() <= last_token_) {
      Violated("token ", e.token(), " after ", last_token_);
    }
    last_token_ = e.token();
    TrialHistory* trial = Active(e.trial(), "lease");
    if (trial == nullptr) return;
    const Stage stage = StageOf(e);
    ++trial->leases[stage];
    if (trial->HasFinished(stage)) {
      Violated("lease of a finished stage of trial ", e.trial());
    }
    if (!trial->live.insert_or_assign(stage, e.attempt()).second) {
      Violated("two live leases on a stage of trial ", e.trial());
    }
  }

  void Failed(const v1::AttemptFailed& e) {
    if (e.outcome() == v1::AttemptFailed::EXPIRED) ++report_.expired_attempts;
    TrialHistory* trial = Active(e.trial(), "failure");
    if (trial == nullptr) return;
    const auto live = trial->live.find(StageOf(e));
    if (live == trial->live.end() || live->second != e.attempt()) {
      Violated("failure of attempt ", e.attempt(), " at a stage of trial ",
               e.trial(), ", which has no live lease");
      return;
    }
    trial->live.erase(live);
  }

  void Finished(const v1::StageFinished& e) {
    TrialHistory* trial = Active(e.trial(), "result");
    if (trial == nullptr) return;
    const Stage stage = StageOf(e);
    trial->live.erase(stage);
    const auto leases = trial->leases.find(stage);
    if (e.attempt() > (leases == trial->leases.end() ? 0 : leases->second)) {
      Violated("result of attempt ", e.attempt(), " at a stage of trial ",
               e.trial(), ", which was never leased");
    }
    if (trial->HasFinished(stage)) {
      Violated("a stage of trial ", e.trial(), " finished twice");
      ++report_.repeated;
    }
    std::vector<MetricValue> values;
    for (const v1::Measurement& m : e.measurements()) {
      if (!std::isfinite(m.value())) {
        Violated("trial ", e.trial(), " has ", m.metric(), " = ", m.value());
      }
      MetricKey key{m.metric(), m.device_class()};
      if (needed_.count(key)) values.push_back({std::move(key), m.value()});
    }
    trial->finished.emplace_back(stage, std::move(values));
  }

  void Ended(const v1::TrialEnded& e) {
    TrialHistory* trial = Find(e.trial(), "end");
    if (trial == nullptr) return;
    if (trial->state != v1::Trial::ACTIVE) {
      Violated("trial ", e.trial(), " ended twice");
      ++report_.repeated;
    }
    trial->state = e.state();
    const bool all_finished =
        std::all_of(stages_.begin(), stages_.end(), [&](const Stage& stage) {
          // A trial may begin at a later rung.
          return trial->HasFinished(stage) ||
                 (std::get<2>(stage) > 0 && stage != stages_.back());
        });
    const Evaluation evaluation = EvaluationOf(*trial);
    const bool good =
        all_finished && evaluation.complete && !(evaluation.violation > 0);
    if (good != (e.state() == v1::Trial::COMPLETED)) {
      Violated("trial ", e.trial(), " ended ", v1::Trial::State_Name(e.state()),
               ", but its results ", good ? "are" : "are not",
               " those of a completed one");
    }
  }

  // If the study goes on, the stage may finish, and the trial end, once more;
  // but not if that would change nothing or what a rung has seen.
  void Invalidated(const v1::StageInvalidated& e) {
    TrialHistory* trial = Find(e.trial(), "a measurement taken back");
    if (trial == nullptr || report_.ended) return;
    if (rungs_ &&
        (trial->HasFinishedRung() || trial->state != v1::Trial::ACTIVE)) {
      return;
    }
    const bool decided_by_values = trial->state == v1::Trial::COMPLETED ||
                                   (trial->state == v1::Trial::INFEASIBLE &&
                                    EvaluationOf(*trial).violation > 0);
    if (trial->state != v1::Trial::ACTIVE && !decided_by_values) return;
    const Stage stage(e.stage(), e.device_class(), 0);
    std::erase_if(trial->finished,
                  [&](const auto& of) { return of.first == stage; });
    trial->state = v1::Trial::ACTIVE;
  }

  HistoryReport& report_;
  Problem problem_;
  std::set<MetricKey> needed_;  // By the problem.
  std::vector<Stage> stages_;
  bool rungs_ = false;
  int64_t budget_ = 0;
  int64_t last_token_ = 0;
  std::set<std::string> digests_;
  std::deque<TrialHistory> trials_;
};

// `shown`: nullptr for what the journal folds to.
HistoryReport Check(JournalStore& store, const std::string& study_id,
                    const StudyState* shown) {
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
  if (!farm && read.ok() && fold.ok()) {
    history.CheckFronts(shown != nullptr ? *shown : state);
  }
  return report;
}

}  // namespace

HistoryReport CheckHistory(JournalStore& store, const std::string& study_id) {
  return Check(store, study_id, nullptr);
}

HistoryReport CheckHistory(JournalStore& store, const std::string& study_id,
                           const StudyState& shown) {
  return Check(store, study_id, &shown);
}

}  // namespace hwnas::controller
