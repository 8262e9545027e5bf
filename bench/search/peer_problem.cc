#include "bench/search/peer_problem.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace hwnas::bench {

int PeerProblem::Find(absl::Span<const int> choices) const {
  const auto exact =
      index.find(std::vector<int>(choices.begin(), choices.end()));
  if (exact != index.end()) return exact->second;
  int nearest = 0;
  int fewest = std::numeric_limits<int>::max();
  for (size_t i = 0; i < rows.size(); ++i) {
    int different = 0;
    for (size_t k = 0; k < choices.size(); ++k) {
      different += rows[i].choices[k] != choices[k];
    }
    if (different < fewest) {
      fewest = different;
      nearest = static_cast<int>(i);
    }
  }
  return nearest;
}

PeerProblem MakePeerProblem(const TableProblem& problem) {
  PeerProblem out;
  out.id = problem.id;
  out.rows = problem.rows;
  for (TableRow& row : out.rows) row.choices.clear();
  const absl::Span<const Decision> decisions = problem.space->decisions();
  for (size_t k = 0; k < decisions.size(); ++k) {
    // Place of each option among those that some row takes.
    std::vector<int> place(decisions[k].options.size(), -1);
    for (const TableRow& row : problem.rows) place[row.choices[k]] = 0;
    Decision offered{decisions[k].name, {}, decisions[k].ordered};
    for (size_t option = 0; option < place.size(); ++option) {
      if (place[option] < 0) continue;
      place[option] = static_cast<int>(offered.options.size());
      offered.options.push_back(decisions[k].options[option]);
    }
    if (offered.options.size() == 1) continue;
    out.decisions.push_back(std::move(offered));
    for (size_t i = 0; i < out.rows.size(); ++i) {
      out.rows[i].choices.push_back(place[problem.rows[i].choices[k]]);
    }
  }
  for (size_t i = 0; i < out.rows.size(); ++i) {
    out.index.try_emplace(out.rows[i].choices, static_cast<int>(i));
  }
  return out;
}

std::string TraceLine(const std::string& strategy, const PeerProblem& problem,
                      int seed, absl::Span<const int> indices) {
  return absl::StrCat(strategy, ",", problem.id, ",", seed, ",",
                      absl::StrJoin(indices, " ",
                                    [&](std::string* out, int i) {
                                      absl::StrAppend(out,
                                                      problem.rows[i].number);
                                    }),
                      "\n");
}

}  // namespace hwnas::bench
