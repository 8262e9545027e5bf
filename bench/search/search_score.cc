// Judges the traces of peers (see peer_problem.h) exactly as search_bench
// judges our strategies, and prints the regret whenever it falls, and at the
// end:
//
//   strategy,problem,seed,evaluations,regret
//
// Once with every evaluation counted, as the peer's user pays for it, and once,
// as STRATEGY+free_repeats, as if a user paid for each network only once.
//
//   search_score TRACE...
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "bench/search/problems.h"
#include "nas/pareto/archive.h"
#include "tests/fakes/benchmark_data.h"

ABSL_FLAG(std::string, data, "",
          "Folder of the tables; empty: $HWNAS_DATA_DIR or ../shared/data.");

namespace hwnas::bench {
namespace {

void Score(const TableProblem& problem, const std::string& strategy,
           absl::string_view seed, const std::vector<const TableRow*>& rows,
           bool repeats_free) {
  ParetoArchive archive(static_cast<int>(problem.reference.size()));
  archive.SetReference(problem.reference);
  absl::flat_hash_set<int64_t> networks;
  int evaluations = 0;
  const auto print = [&] {
    absl::PrintF("%s,%s,%s,%d,%.6f\n", strategy, problem.id, seed, evaluations,
                 problem.Regret(archive.hypervolume()));
  };
  for (const TableRow* row : rows) {
    const bool is_new = networks.insert(row->network).second;
    if (is_new || !repeats_free) ++evaluations;
    const double before = archive.hypervolume();
    archive.Insert(row->values, evaluations);
    if (archive.hypervolume() > before) print();
  }
  print();  // How far it went.
}

int Main(const std::vector<char*>& paths) {
  std::string dir = absl::GetFlag(FLAGS_data);
  if (dir.empty()) dir = BenchmarkDataDir().value_or("");
  absl::flat_hash_map<std::string, TableProblem> problems;
  std::printf("strategy,problem,seed,evaluations,regret\n");
  for (const char* path : paths) {
    std::ifstream file(path);
    int number = 0;
    for (std::string line; std::getline(file, line);) {
      ++number;
      const std::vector<std::string> cells = absl::StrSplit(line, ',');
      if (cells.size() != 4) {
        absl::FPrintF(stderr, "%s:%d: expected strategy,problem,seed,rows\n",
                      path, number);
        return 1;
      }
      auto found = problems.find(cells[1]);
      if (found == problems.end()) {
        auto problem = LoadProblem(dir, cells[1]);
        if (!problem.ok()) {
          absl::FPrintF(stderr, "%s\n", problem.status().ToString());
          return 1;
        }
        found = problems.emplace(cells[1], *std::move(problem)).first;
      }
      absl::flat_hash_map<int64_t, const TableRow*> by_number;
      for (const TableRow& row : found->second.rows) {
        by_number[row.number] = &row;
      }
      std::vector<const TableRow*> rows;
      for (absl::string_view text : absl::StrSplit(cells[3], ' ')) {
        int64_t row = -1;
        if (!absl::SimpleAtoi(text, &row) || !by_number.contains(row)) {
          absl::FPrintF(stderr, "%s:%d: row %s is not in the table\n", path,
                        number, text);
          return 1;
        }
        rows.push_back(by_number[row]);
      }
      for (bool repeats_free : {false, true}) {
        Score(found->second,
              absl::StrCat(cells[0], repeats_free ? "+free_repeats" : ""),
              cells[2], rows, repeats_free);
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace hwnas::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Judges what other optimisers tried: search_score TRACE...");
  const std::vector<char*> arguments = absl::ParseCommandLine(argc, argv);
  return hwnas::bench::Main({arguments.begin() + 1, arguments.end()});
}
