// Searches tables with the multi-objective algorithms of pagmo2 and prints the
// rows that each search asked for (see peer_problem.h).
//
//   peer_pagmo --problems=macro_flops --seeds=20
//
// NSGA-II takes the decisions as integers; MOEA/D, which knows only continuous
// variables, as numbers that are rounded.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <pagmo/algorithm.hpp>
#include <pagmo/algorithms/moead.hpp>
#include <pagmo/algorithms/nsga2.hpp>
#include <pagmo/population.hpp>
#include <pagmo/problem.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "bench/search/peer_problem.h"
#include "bench/search/problems.h"
#include "tests/fakes/benchmark_data.h"

ABSL_FLAG(std::string, data, "",
          "Folder of the tables; empty: $HWNAS_DATA_DIR or ../shared/data.");
ABSL_FLAG(std::vector<std::string>, problems,
          std::vector<std::string>({"nb201_cifar100_pi5_litert_2obj"}),
          "Ids of oracles.csv.");
ABSL_FLAG(std::vector<std::string>, strategies,
          std::vector<std::string>({"pagmo_nsga2", "pagmo_moead"}), "");
ABSL_FLAG(int, seeds, 20, "Searches for each pair, from seed 1.");
ABSL_FLAG(int, evaluations, 500, "Different networks to find in each search.");
ABSL_FLAG(int, suggestions, 1000, "At most so many evaluations for that.");
ABSL_FLAG(int, population, 0,
          "A multiple of 4; 0: 20 for NSGA-II and 32 for MOEA/D.");
ABSL_FLAG(
    double, mutation, 0,
    "Probability of each decision to mutate in NSGA-II; 0: 1 / decisions.");

namespace hwnas::bench {
namespace {

// What a search has asked for; shared by the copies that pagmo makes.
struct Trace {
  const PeerProblem* problem = nullptr;
  std::vector<int> indices;
};

// A user-defined problem of pagmo.
struct TableUdp {
  std::shared_ptr<Trace> trace;
  bool integer = true;

  pagmo::vector_double fitness(const pagmo::vector_double& x) const {
    std::vector<int> choices;
    for (size_t i = 0; i < x.size(); ++i) {
      const int last =
          static_cast<int>(trace->problem->decisions[i].options.size()) - 1;
      choices.push_back(
          std::clamp(static_cast<int>(std::lround(x[i])), 0, last));
    }
    trace->indices.push_back(trace->problem->Find(choices));
    return trace->problem->rows[trace->indices.back()].values;
  }
  std::pair<pagmo::vector_double, pagmo::vector_double> get_bounds() const {
    // Rounded numbers need room for the first and the last option, too.
    const double margin = integer ? 0 : 0.499;
    std::pair<pagmo::vector_double, pagmo::vector_double> bounds;
    for (const Decision& decision : trace->problem->decisions) {
      bounds.first.push_back(-margin);
      bounds.second.push_back(static_cast<double>(decision.options.size()) - 1 +
                              margin);
    }
    return bounds;
  }
  pagmo::vector_double::size_type get_nobj() const {
    return trace->problem->rows.front().values.size();
  }
  pagmo::vector_double::size_type get_nix() const {
    return integer ? trace->problem->decisions.size() : 0;
  }
  // Evaluations in one thread, in order.
  pagmo::thread_safety get_thread_safety() const {
    return pagmo::thread_safety::none;
  }

  template <typename Archive>
  void serialize(Archive&, unsigned) {}
};

std::string Search(const PeerProblem& problem, const std::string& strategy,
                   int seed) {
  auto trace = std::make_shared<Trace>();
  trace->problem = &problem;
  const bool nsga2 = strategy == "pagmo_nsga2";
  // Of 12, 20, 32 and 48 these did best, and so did the mutation rate.
  const int wanted = absl::GetFlag(FLAGS_population);
  const unsigned population_size = wanted > 0 ? wanted : nsga2 ? 20 : 32;
  const size_t evaluations = absl::GetFlag(FLAGS_evaluations);
  const size_t suggestions = absl::GetFlag(FLAGS_suggestions);
  pagmo::population population{
      pagmo::problem{TableUdp{trace, /*integer=*/nsga2}}, population_size,
      static_cast<unsigned>(seed)};
  // Other parameters are pagmo's defaults. Its mutation rate of 0.01 would
  // leave most children of few decisions without any.
  const double mutation =
      absl::GetFlag(FLAGS_mutation) > 0
          ? absl::GetFlag(FLAGS_mutation)
          : 1. / static_cast<double>(problem.decisions.size());
  const auto generations = static_cast<unsigned>(suggestions / population_size);
  pagmo::algorithm algorithm =
      nsga2 ? pagmo::algorithm{pagmo::nsga2{generations, 0.95, 10., mutation,
                                            50., static_cast<unsigned>(seed)}}
            : pagmo::algorithm{
                  pagmo::moead{generations, "low discrepancy", "tchebycheff",
                               std::min(20u, population_size - 1), 1., 0.5, 20.,
                               0.9, 2, true, static_cast<unsigned>(seed)}};
  algorithm.evolve(population);

  // Generations end together: cut after the evaluation that was needed.
  std::set<int> networks;
  size_t length = 0;
  while (length < std::min(trace->indices.size(), suggestions) &&
         (length < evaluations || networks.size() < evaluations)) {
    networks.insert(problem.rows[trace->indices[length++]].network);
  }
  trace->indices.resize(length);
  return TraceLine(strategy, problem, seed, trace->indices);
}

int Main() {
  std::string dir = absl::GetFlag(FLAGS_data);
  if (dir.empty()) dir = BenchmarkDataDir().value_or("");
  for (const std::string& id : absl::GetFlag(FLAGS_problems)) {
    const auto table = LoadProblem(dir, id);
    if (!table.ok()) {
      std::fprintf(stderr, "%s\n", table.status().ToString().c_str());
      return 1;
    }
    const PeerProblem problem = MakePeerProblem(*table);
    for (const std::string& strategy : absl::GetFlag(FLAGS_strategies)) {
      if (strategy != "pagmo_nsga2" && strategy != "pagmo_moead") {
        std::fprintf(stderr, "--strategies: %s is unknown\n", strategy.c_str());
        return 2;
      }
      for (int seed = 1; seed <= absl::GetFlag(FLAGS_seeds); ++seed) {
        std::fputs(Search(problem, strategy, seed).c_str(), stdout);
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace hwnas::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Searches public benchmark tables with pagmo2 and prints what it tried.");
  absl::ParseCommandLine(argc, argv);
  return hwnas::bench::Main();
}
