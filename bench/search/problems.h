// Searches over public benchmark tables, with their exact answers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "nas/pareto/pareto.h"
#include "nas/problem.h"
#include "nas/space/search_space.h"

namespace hwnas::bench {

// One line of a table, with its choices as indices of the space's options.
struct TableRow {
  int64_t number = 0;   // Line of data, from 0.
  int64_t network = 0;  // Number of the first row of the same network.
  std::vector<int> choices;
  Point values;  // Minimised.
};

// One row of oracles.csv: a space of which every network has been evaluated,
// and the hypervolume of its true front. Immutable.
struct TableProblem {
  std::string id;
  std::unique_ptr<SearchSpace> space;  // Exactly the networks of the table.
  Problem problem;                     // Objectives with their references.
  // Objective values, minimised, by the choices of each canonical network.
  absl::flat_hash_map<std::vector<int>, Point> values;
  // All rows of the table that have all values, isomorphic networks included.
  std::vector<TableRow> rows;
  Point reference;
  double hypervolume = 0;

  Evaluation Evaluate(const Architecture& architecture) const {
    return {values.at(space->Canonicalize(architecture).choices), 0, true};
  }
  // Share of the true front's hypervolume that is missing from `found`.
  double Regret(double found) const {
    return std::max(0., 1 - found / hypervolume);
  }
};

// All ids of `dir`/oracles.csv.
absl::StatusOr<std::vector<std::string>> ProblemIds(const std::string& dir);

// Other objectives on the tables of the same folder, written as in oracles.csv
// ("+maximised|-minimised", columns of the tables); without a reference, and
// with hypervolume 0. `id` tells apart tables that share a folder.
absl::StatusOr<TableProblem> LoadTable(const std::string& dir,
                                       const std::string& id,
                                       const std::string& table,
                                       const std::string& objectives);

// NOT_FOUND for an unknown id or a table that is not there.
absl::StatusOr<TableProblem> LoadProblem(const std::string& dir,
                                         const std::string& id);

}  // namespace hwnas::bench
