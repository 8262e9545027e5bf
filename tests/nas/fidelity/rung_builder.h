// Tables of rung results, written as a test reads best.
#pragma once

#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "nas/fidelity/rung_table.h"

namespace hwnas {

// One minimised objective.
inline Evaluation Loss(double value, double violation = 0) {
  return {{value}, violation, true};
}
// Two of them.
inline Evaluation Losses(double a, double b) { return {{a, b}, 0, true}; }
inline Evaluation Failed(int objectives = 1) {
  return {std::vector<double>(objectives), 0, false};
}

class RungBuilder {
 public:
  explicit RungBuilder(std::vector<int> epochs) : table(std::move(epochs)) {}

  // A trial with results at its first rungs, promoted in between.
  RungBuilder& Trial(std::vector<Evaluation> results, int first_rung = 0) {
    const auto number = static_cast<int64_t>(table.trials().size()) + 1;
    EXPECT_TRUE(table.Propose(number, first_rung).ok());
    for (size_t i = 0; i < results.size(); ++i) {
      if (i > 0) {
        EXPECT_TRUE(table.Promote(number).ok());
      }
      EXPECT_TRUE(table.Finish(number, results[i]).ok());
    }
    if (table.trials().back().rung() == table.rungs() - 1) {
      EXPECT_TRUE(table.End(number).ok());
    }
    return *this;
  }
  // One with a single objective.
  RungBuilder& Losses(const std::vector<double>& losses, int first_rung = 0) {
    std::vector<Evaluation> results;
    for (const double loss : losses) results.push_back(Loss(loss));
    return Trial(std::move(results), first_rung);
  }

  RungTable table;
};

}  // namespace hwnas
