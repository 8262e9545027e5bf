// Writes a problem as a file for optimisers in other languages, one tagged line
// after another:
//
//   problem,ID
//   objectives,COUNT
//   decision,NAME,OPTION...
//   row,NUMBER,NETWORK,CHOICE...,VALUE...
//
// Choices are indices of options; all values are to be minimised; rows of the
// same network (isomorphic cells) have the same NETWORK.
#include <cstdio>
#include <string>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "bench/search/peer_problem.h"
#include "bench/search/problems.h"
#include "tests/fakes/benchmark_data.h"

ABSL_FLAG(std::string, data, "",
          "Folder of the tables; empty: $HWNAS_DATA_DIR or ../shared/data.");
ABSL_FLAG(std::string, problem, "", "Id of oracles.csv.");

namespace hwnas::bench {
namespace {

int Main() {
  std::string dir = absl::GetFlag(FLAGS_data);
  if (dir.empty()) dir = BenchmarkDataDir().value_or("");
  const auto table = LoadProblem(dir, absl::GetFlag(FLAGS_problem));
  if (!table.ok()) {
    absl::FPrintF(stderr, "%s\n", table.status().ToString());
    return 1;
  }
  const PeerProblem problem = MakePeerProblem(*table);
  absl::PrintF("problem,%s\nobjectives,%d\n", problem.id,
               table->reference.size());
  for (const Decision& decision : problem.decisions) {
    absl::PrintF("decision,%s,%s\n", decision.name,
                 absl::StrJoin(decision.options, ","));
  }
  for (const TableRow& row : problem.rows) {
    absl::PrintF("row,%d,%d,%s,%s\n", row.number, row.network,
                 absl::StrJoin(row.choices, ","),
                 absl::StrJoin(row.values, ",", [](std::string* out, double v) {
                   absl::StrAppendFormat(out, "%.17g", v);
                 }));
  }
  return 0;
}

}  // namespace
}  // namespace hwnas::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Writes a problem on a public benchmark table for other optimisers.");
  absl::ParseCommandLine(argc, argv);
  return hwnas::bench::Main();
}
