// NAS-Bench-201 as most of its users run it, with one objective: searched by
// validation accuracy, judged by the test accuracy of the best. Prints medians
// of the seeds as a Markdown table.
//
//   single_objective --strategies=random,ageing_evolution,auto
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/str_format.h"
#include "bench/search/problems.h"
#include "bench/search/strategies.h"
#include "nas/strategy/strategy.h"
#include "tests/fakes/benchmark_data.h"

ABSL_FLAG(std::string, data, "",
          "Folder of the tables; empty: $HWNAS_DATA_DIR or ../shared/data.");
ABSL_FLAG(std::vector<std::string>, strategies,
          std::vector<std::string>({"random", "ageing_evolution", "auto"}),
          "Or all.");
ABSL_FLAG(int, seeds, 20, "Searches for each, from seed 1.");

namespace hwnas::bench {
namespace {

struct Task {
  std::string name;
  std::string searched, reported;  // Columns.
  int evaluations;
};

// Values of the searched and the reported column.
struct Tables {
  TableProblem searched, reported;
};

// What the best by the searched value is worth in the end.
absl::StatusOr<double> Search(const Tables& tables, const Task& task,
                              const StrategyConfig& config, int seed) {
  const TableProblem& problem = tables.searched;
  auto strategy =
      CreateStrategy(config, problem.space.get(), problem.problem, seed);
  if (!strategy.ok()) return strategy.status();
  double best = 0;
  double reported = 0;
  for (int i = 0; i < task.evaluations; ++i) {
    SuggestRequest request;
    request.next_number = i + 1;
    auto proposals = (*strategy)->Suggest(request);
    if (!proposals.ok()) return proposals.status();
    if (proposals->empty()) break;
    const Observation observation{
        proposals->front(), problem.Evaluate(proposals->front().architecture)};
    if (observation.evaluation.objectives[0] < best) {
      best = observation.evaluation.objectives[0];
      reported = -tables.reported.Evaluate(observation.proposal.architecture)
                      .objectives[0];
    }
    const absl::Status told = (*strategy)->Observe({observation});
    if (!told.ok()) return told;
  }
  return reported;
}

int Main() {
  std::string dir = absl::GetFlag(FLAGS_data);
  if (dir.empty()) dir = BenchmarkDataDir().value_or("");
  const std::vector<Task> tasks = {
      {"CIFAR-100", "cifar100_val_200ep", "cifar100_test_200ep", 100},
      {"NinaPro", "ninapro_test_200ep", "ninapro_test_200ep", 50}};
  std::vector<Tables> tables;
  for (const Task& task : tasks) {
    auto searched =
        LoadTable(dir, task.name, "nasbench201", "+" + task.searched);
    auto reported =
        LoadTable(dir, task.name, "nasbench201", "+" + task.reported);
    if (!searched.ok() || !reported.ok()) {
      absl::FPrintF(stderr, "%s\n",
                    (searched.ok() ? reported : searched).status().ToString());
      return 1;
    }
    tables.push_back({*std::move(searched), *std::move(reported)});
  }
  const auto strategies = FindStrategies(absl::GetFlag(FLAGS_strategies));
  if (!strategies.ok()) {
    absl::FPrintF(stderr, "--strategies: %s\n", strategies.status().message());
    return 2;
  }

  std::string header = "| strategy |", rule = "|---|", optimum = "| optimum |";
  for (size_t t = 0; t < tasks.size(); ++t) {
    absl::StrAppendFormat(&header, " %s, %d evaluations |", tasks[t].name,
                          tasks[t].evaluations);
    rule += "---|";
    double best = 0;
    for (const TableRow& row : tables[t].reported.rows) {
      best = std::max(best, -row.values[0]);
    }
    absl::StrAppendFormat(&optimum, " %.2f |", best);
  }
  absl::PrintF("%s\n%s\n", header, rule);
  for (const NamedStrategy& strategy : *strategies) {
    absl::PrintF("| %s |", strategy.name);
    for (size_t t = 0; t < tasks.size(); ++t) {
      std::vector<double> found;
      for (int seed = 1; seed <= absl::GetFlag(FLAGS_seeds); ++seed) {
        const auto value = Search(tables[t], tasks[t], strategy.config, seed);
        if (!value.ok()) {
          absl::FPrintF(stderr, "%s\n", value.status().ToString());
          return 1;
        }
        found.push_back(*value);
      }
      std::sort(found.begin(), found.end());
      const size_t n = found.size();
      absl::PrintF(" %.2f |", (found[(n - 1) / 2] + found[n / 2]) / 2);
    }
    absl::PrintF("\n");
  }
  absl::PrintF("%s\n", optimum);
  return 0;
}

}  // namespace
}  // namespace hwnas::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Searches NAS-Bench-201 for the most accurate network.");
  absl::ParseCommandLine(argc, argv);
  return hwnas::bench::Main();
}
