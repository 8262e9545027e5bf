// A table as other optimisers see it: plain categorical decisions.
#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "bench/search/problems.h"

namespace hwnas::bench {

// Unlike our strategies, which propose networks, an outsider chooses options,
// so it meets every row of the table, isomorphic cells included. An option that
// no row takes is not offered, nor a decision that then has one. Immutable.
struct PeerProblem {
  std::string id;
  std::vector<Decision> decisions;
  std::vector<TableRow> rows;  // Choices index the options of `decisions`.

  // Index of the row with these choices; of a table that is only a sample, the
  // row with the fewest different choices, the first of several.
  int Find(absl::Span<const int> choices) const;

  absl::flat_hash_map<std::vector<int>, int> index;  // Choices to row.
};

PeerProblem MakePeerProblem(const TableProblem& problem);

// One row of a peer's search after another, as it asked for them:
//
//   strategy,problem,seed,row row row
//
// `indices` are those of PeerProblem::rows; written are their numbers.
std::string TraceLine(const std::string& strategy, const PeerProblem& problem,
                      int seed, absl::Span<const int> indices);

}  // namespace hwnas::bench
