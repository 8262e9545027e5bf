// What a result at low fidelity says about full fidelity.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "nas/problem.h"

namespace hwnas {

// Learns from the trials that have results at several fidelities how values
// move between them, and moves values of other trials accordingly. Values of
// two fidelities must not be compared before.
//
// The model is one straight line for each objective and pair of fidelities,
// fitted by least squares to the change y - x of a value x, its slope shrunk
// towards 0 as by two more pairs without change of slope. So without evidence
// values stay as they are, after one pair they move by what that one did, and
// what does not depend on training (a latency) stays exactly as it is. The size
// of violations is one more value. Where few trials have gone from a fidelity
// to full fidelity, the lift goes through a fidelity in between. Not
// thread-safe.
class FidelityLift {
 public:
  struct Lifted {
    // Expected at full fidelity.
    Evaluation evaluation;
    // Standard deviation of the error for each objective; infinite while fewer
    // than kMinPairs trials support it.
    std::vector<double> deviation;
    double violation_deviation = 0;
  };

  static constexpr int kMinPairs = 3;

  // A result of trial `trial` at a fidelity in (0, 1]. Incomplete evaluations
  // are ignored.
  void Add(int64_t trial, double fidelity, const Evaluation& evaluation);

  // At fidelity 1 the evaluation itself.
  Lifted Lift(const Evaluation& evaluation, double fidelity) const;

 private:
  // Running sums over pairs (x, d): a value and its change.
  struct Line {
    double mean_x = 0;
    double mean_d = 0;
    double xx = 0;
    double xd = 0;
    double dd = 0;
  };
  // From one fidelity to a higher one.
  struct Step {
    int pairs = 0;
    std::vector<Line> lines;  // By objective; last the violation.
  };
  using Values = std::vector<double>;

  static Values ValuesOf(const Evaluation& evaluation);
  // The best supported step upwards from `fidelity`; nullptr if there is none.
  const std::pair<const std::pair<double, double>, Step>* StepFrom(
      double fidelity) const;

  // Results so far of each trial that has one below full fidelity.
  absl::flat_hash_map<int64_t, std::vector<std::pair<double, Values>>> results_;
  std::map<std::pair<double, double>, Step> steps_;
};

}  // namespace hwnas
