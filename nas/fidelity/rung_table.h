// Who has reached which rung: all that decisions about fidelity depend on.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "nas/fidelity/fidelity_lift.h"
#include "nas/problem.h"

namespace hwnas {

// What is known of one trial. Rungs are counted from 0; the last is full
// fidelity.
struct RungTrial {
  int first_rung = 0;  // Where it starts.
  // Results at first_rung, first_rung + 1, ...
  std::vector<Evaluation> results;
  // Not ended, and neither waiting for nor working on the next rung: only a
  // promotion lets it go on.
  bool paused = false;
  bool ended = false;

  // The highest rung with a result; first_rung - 1 if there is none.
  int rung() const { return first_rung + static_cast<int>(results.size()) - 1; }
  // nullptr if it has none there.
  const Evaluation* ResultAt(int rung) const {
    const int i = rung - first_rung;
    return i >= 0 && i < static_cast<int>(results.size()) ? &results[i]
                                                          : nullptr;
  }
};

// A fold over the facts of a study, in journal order. FAILED_PRECONDITION if
// one is not possible after those before it; nothing has changed then.
// Copyable; not thread-safe.
//
//   Propose -> [results at first_rung] Finish -> paused -> Promote -> Finish
//   ...
//   -> End, which also follows the result at the last rung
class RungTable {
 public:
  // Epochs of each rung, ascending; at least one rung.
  explicit RungTable(std::vector<int> epochs) : epochs_(std::move(epochs)) {}

  // Trials are numbered from 1, without gaps.
  absl::Status Propose(int64_t trial, int first_rung);
  absl::Status Finish(int64_t trial, const Evaluation& evaluation);
  absl::Status Promote(int64_t trial);
  absl::Status End(int64_t trial);

  int rungs() const { return static_cast<int>(epochs_.size()); }
  const std::vector<int>& epochs() const { return epochs_; }
  // Share of the training at a rung: 1 at the last.
  double FidelityOf(int rung) const {
    return static_cast<double>(epochs_[rung]) / epochs_.back();
  }

  // How many results at `rung`, below the last, let one trial go on: `eta`, or
  // if that is 0 as many as the next rung has more epochs, so that each rung
  // takes about the same training in all.
  double EtaAt(int rung, double eta) const {
    return eta > 0 ? eta
                   : static_cast<double>(epochs_[rung + 1]) / epochs_[rung];
  }

  // Trial n is trials()[n - 1].
  absl::Span<const RungTrial> trials() const { return trials_; }
  // Numbers of the paused trials, ascending.
  std::vector<int64_t> Paused() const;
  // Those at the last rung.
  std::vector<const Evaluation*> FullResults() const;
  // How values move between the rungs.
  const FidelityLift& lift() const { return lift_; }

 private:
  // One that has not ended; nullptr if there is none.
  RungTrial* Find(int64_t trial);

  std::vector<int> epochs_;
  std::vector<RungTrial> trials_;
  FidelityLift lift_;
};

}  // namespace hwnas
