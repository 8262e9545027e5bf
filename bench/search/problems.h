// Searches over public benchmark tables, with their exact answers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "nas/pareto/pareto.h"
#include "nas/problem.h"
#include "nas/space/search_space.h"

namespace hwnas::bench {

// One row of oracles.csv: a space of which every network has been evaluated,
// and the hypervolume of its true front. Immutable.
struct TableProblem {
  std::string id;
  std::unique_ptr<SearchSpace> space;  // Exactly the networks of the table.
  Problem problem;                     // Objectives with their references.
  // Objective values, minimised, by the choices of each canonical network.
  absl::flat_hash_map<std::vector<int>, Point> values;
  Point reference;
  double hypervolume = 0;

  Evaluation Evaluate(const Architecture& architecture) const {
    return {values.at(space->Canonicalize(architecture).choices), 0, true};
  }
};

// All ids of `dir`/oracles.csv.
absl::StatusOr<std::vector<std::string>> ProblemIds(const std::string& dir);

// NOT_FOUND for an unknown id or a table that is not there.
absl::StatusOr<TableProblem> LoadProblem(const std::string& dir,
                                         const std::string& id);

}  // namespace hwnas::bench
