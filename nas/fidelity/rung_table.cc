#include "nas/fidelity/rung_table.h"

#include "absl/strings/str_cat.h"

namespace hwnas {
namespace {

absl::Status Impossible(int64_t trial, absl::string_view what) {
  return absl::FailedPreconditionError(
      absl::StrCat("trial ", trial, " ", what));
}

}  // namespace

RungTrial* RungTable::Find(int64_t trial) {
  if (trial < 1 || trial > static_cast<int64_t>(trials_.size())) return nullptr;
  RungTrial& found = trials_[trial - 1];
  return found.ended ? nullptr : &found;
}

absl::Status RungTable::Propose(int64_t trial, int first_rung) {
  if (trial != static_cast<int64_t>(trials_.size()) + 1) {
    return Impossible(trial, absl::StrCat("is proposed, expected trial ",
                                          trials_.size() + 1));
  }
  if (first_rung < 0 || first_rung >= rungs()) {
    return Impossible(
        trial, absl::StrCat("begins at rung ", first_rung, " of ", rungs()));
  }
  trials_.push_back({.first_rung = first_rung});
  return absl::OkStatus();
}

absl::Status RungTable::Finish(int64_t trial, const Evaluation& evaluation) {
  RungTrial* const found = Find(trial);
  if (found == nullptr) return Impossible(trial, "is not there or has ended");
  if (found->paused) return Impossible(trial, "has a result while paused");
  if (found->rung() + 1 >= rungs()) {
    return Impossible(trial, "has a result above the last rung");
  }
  found->results.push_back(evaluation);
  found->paused = found->rung() + 1 < rungs();
  lift_.Add(trial, FidelityOf(found->rung()), evaluation);
  return absl::OkStatus();
}

absl::Status RungTable::Promote(int64_t trial) {
  RungTrial* const found = Find(trial);
  if (found == nullptr) return Impossible(trial, "is not there or has ended");
  if (!found->paused) return Impossible(trial, "is promoted but not paused");
  found->paused = false;
  return absl::OkStatus();
}

absl::Status RungTable::End(int64_t trial) {
  RungTrial* const found = Find(trial);
  if (found == nullptr) return Impossible(trial, "is not there or has ended");
  found->paused = false;
  found->ended = true;
  return absl::OkStatus();
}

std::vector<int64_t> RungTable::Paused() const {
  std::vector<int64_t> paused;
  for (size_t i = 0; i < trials_.size(); ++i) {
    if (trials_[i].paused) paused.push_back(static_cast<int64_t>(i) + 1);
  }
  return paused;
}

std::vector<const Evaluation*> RungTable::FullResults() const {
  std::vector<const Evaluation*> results;
  for (const RungTrial& trial : trials_) {
    if (const Evaluation* result = trial.ResultAt(rungs() - 1)) {
      results.push_back(result);
    }
  }
  return results;
}

}  // namespace hwnas
