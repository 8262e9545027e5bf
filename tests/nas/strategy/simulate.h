// Runs a study without the rest of hwnas.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "nas/pareto/constrained.h"
#include "nas/pareto/pareto.h"
#include "nas/strategy/strategy.h"

namespace hwnas {

// What a journal holds: what was proposed, and what ended, each in order.
struct Journal {
  std::vector<Proposal> proposed;
  std::vector<Observation> observed;

  // Proposed and not ended, in order.
  std::vector<Proposal> Pending() const {
    std::vector<Proposal> pending;
    for (const Proposal& proposal : proposed) {
      bool ended = false;
      for (const Observation& observation : observed) {
        ended |= observation.proposal.number == proposal.number;
      }
      if (!ended) pending.push_back(proposal);
    }
    return pending;
  }
};

using Evaluator = std::function<Evaluation(const Architecture&)>;

inline std::unique_ptr<Strategy> MustCreate(const StrategyConfig& config,
                                            const SearchSpace* space,
                                            const Problem& problem,
                                            uint64_t seed) {
  auto strategy = CreateStrategy(config, space, problem, seed);
  EXPECT_TRUE(strategy.ok()) << strategy.status();
  return *std::move(strategy);
}

// Evaluates `trials` architectures with `workers` at once. Which of the running
// trials ends next is drawn from `order_seed`, so they end out of order. Stops
// early when the space is exhausted.
inline Journal Simulate(Strategy& strategy, const Evaluator& evaluate,
                        int trials, int workers = 1, uint64_t order_seed = 1) {
  Journal journal;
  std::vector<Proposal> pending;
  Rng rng(order_seed);
  while (static_cast<int>(journal.observed.size()) < trials) {
    const int free = workers - static_cast<int>(pending.size());
    const int left = trials - static_cast<int>(journal.proposed.size());
    SuggestRequest request;
    request.next_number = static_cast<int64_t>(journal.proposed.size()) + 1;
    request.count = std::min(free, left);
    request.pending = pending;
    auto proposals = strategy.Suggest(request);
    EXPECT_TRUE(proposals.ok()) << proposals.status();
    for (Proposal& proposal : *proposals) {
      journal.proposed.push_back(proposal);
      pending.push_back(std::move(proposal));
    }
    if (pending.empty()) break;
    const size_t next = rng.Below(pending.size());
    Observation observation{pending[next],
                            evaluate(pending[next].architecture)};
    pending.erase(pending.begin() + next);
    EXPECT_TRUE(strategy.Observe({observation}).ok());
    journal.observed.push_back(std::move(observation));
  }
  return journal;
}

// Trial `number`, as it would have ended.
inline Observation MadeTrial(const SearchSpace& space, int64_t number,
                             std::vector<int> choices,
                             std::vector<double> objectives) {
  const Architecture architecture{std::move(choices)};
  return {{number, architecture, space.Digest(architecture), "made"},
          {std::move(objectives), 0, true}};
}

// How often each trial is the parent of the mutation that a strategy would
// propose next, of 1: under many numbers, which differ in their randomness. 0
// stands for other proposals. As if the rest of its initial design, of at most
// 20, was under evaluation.
inline std::map<int64_t, double> ShareOfParents(Strategy& strategy) {
  constexpr int kProposals = 2000;
  std::vector<Proposal> pending(20);
  for (Proposal& proposal : pending) proposal.digest = "of the design";
  std::map<int64_t, double> shares;
  for (int i = 0; i < kProposals; ++i) {
    SuggestRequest request;
    request.next_number = 1000000 + i;
    request.pending = pending;
    const auto proposals = strategy.Suggest(request);
    EXPECT_TRUE(proposals.ok() && proposals->size() == 1);
    absl::string_view origin = proposals->front().origin;
    int64_t parent = 0;
    if (absl::ConsumePrefix(&origin, "mutation of ")) {
      EXPECT_TRUE(absl::SimpleAtoi(origin, &parent)) << origin;
    }
    shares[parent] += 1. / kProposals;
  }
  return shares;
}

// Of the feasible trials.
inline double FrontHypervolume(const Journal& journal, const Point& reference) {
  std::vector<Point> points;
  for (const Observation& o : journal.observed) {
    if (StandingOf(o.evaluation) == Standing::kFeasible) {
      points.push_back(o.evaluation.objectives);
    }
  }
  return Hypervolume(points, reference);
}

// How many trials are feasible.
inline int Feasible(const Journal& journal) {
  int count = 0;
  for (const Observation& o : journal.observed) {
    count += StandingOf(o.evaluation) == Standing::kFeasible;
  }
  return count;
}

}  // namespace hwnas
