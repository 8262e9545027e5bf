// Searches public benchmark tables with our strategies, one trial at a time,
// and prints how much of the true front they miss:
//
//   strategy,problem,seed,evaluations,regret
//
//   search_bench --strategies=auto,nsga2 --problems=macro_flops --seeds=20
#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "bench/search/problems.h"
#include "bench/search/strategies.h"
#include "common/mutex.h"
#include "nas/pareto/archive.h"
#include "nas/strategy/strategy.h"
#include "tests/fakes/benchmark_data.h"

ABSL_FLAG(std::string, data, "",
          "Folder of the tables; empty: $HWNAS_DATA_DIR or ../shared/data.");
ABSL_FLAG(std::vector<std::string>, problems,
          std::vector<std::string>({"nb201_cifar100_pi5_litert_2obj"}),
          "Ids of oracles.csv, or all.");
ABSL_FLAG(std::vector<std::string>, strategies,
          std::vector<std::string>({"random", "nsga2"}), "Or all.");
ABSL_FLAG(int, seeds, 20, "Searches for each pair.");
ABSL_FLAG(int, first_seed, 1, "Seed of the first.");
ABSL_FLAG(std::vector<std::string>, checkpoints,
          std::vector<std::string>({"25", "50", "100", "150", "200", "300",
                                    "500"}),
          "Evaluations after which the regret is printed, ascending.");
ABSL_FLAG(int, jobs, 1, "Searches at once.");
ABSL_FLAG(bool, every, false,
          "Print the regret whenever it falls, not only at checkpoints.");
ABSL_FLAG(bool, list, false, "Print the names of --strategies and end.");
ABSL_FLAG(bool, times, false, "Print seconds in all to standard error.");

namespace hwnas::bench {
namespace {

// All lines of one search.
std::string Search(const TableProblem& problem, const NamedStrategy& strategy,
                   uint64_t seed, const std::vector<int>& checkpoints,
                   bool every) {
  auto searcher = CreateStrategy(strategy.config, problem.space.get(),
                                 problem.problem, seed);
  if (!searcher.ok()) return searcher.status().ToString();
  ParetoArchive archive(static_cast<int>(problem.reference.size()));
  archive.SetReference(problem.reference);
  std::string lines;
  const auto print = [&](int evaluations) {
    absl::StrAppendFormat(&lines, "%s,%s,%d,%d,%.6f\n", strategy.name,
                          problem.id, seed, evaluations,
                          problem.Regret(archive.hypervolume()));
  };
  size_t next = 0;
  int done = 0;
  for (; next < checkpoints.size(); ++done) {
    if (done == checkpoints[next]) {
      print(done);
      ++next;
      if (next == checkpoints.size()) break;
    }
    SuggestRequest request;
    request.next_number = done + 1;
    auto proposals = (*searcher)->Suggest(request);
    if (!proposals.ok()) return proposals.status().ToString();
    if (proposals->empty()) break;
    Observation observation{proposals->front(),
                            problem.Evaluate(proposals->front().architecture)};
    const double before = archive.hypervolume();
    archive.Insert(observation.evaluation.objectives, done);
    if (every && archive.hypervolume() > before) print(done + 1);
    const absl::Status told = (*searcher)->Observe({observation});
    if (!told.ok()) return told.ToString();
  }
  for (; next < checkpoints.size(); ++next) print(checkpoints[next]);
  return lines;
}

int Main() {
  std::string dir = absl::GetFlag(FLAGS_data);
  if (dir.empty()) dir = BenchmarkDataDir().value_or("");
  std::vector<std::string> ids = absl::GetFlag(FLAGS_problems);
  if (ids == std::vector<std::string>{"all"}) {
    auto all = ProblemIds(dir);
    if (!all.ok()) {
      std::fprintf(stderr, "%s\n", all.status().ToString().c_str());
      return 1;
    }
    ids = *all;
  }
  std::vector<int> checkpoints;
  for (const std::string& text : absl::GetFlag(FLAGS_checkpoints)) {
    checkpoints.push_back(std::atoi(text.c_str()));
  }
  const auto strategies = FindStrategies(absl::GetFlag(FLAGS_strategies));
  if (!strategies.ok()) {
    absl::FPrintF(stderr, "--strategies: %s\n", strategies.status().message());
    return 2;
  }
  if (absl::GetFlag(FLAGS_list)) {
    for (const NamedStrategy& strategy : *strategies) {
      std::printf("%s\n", strategy.name.c_str());
    }
    return 0;
  }

  std::printf("strategy,problem,seed,evaluations,regret\n");
  for (const std::string& id : ids) {
    const auto problem = LoadProblem(dir, id);
    if (!problem.ok()) {
      std::fprintf(stderr, "%s\n", problem.status().ToString().c_str());
      return 1;
    }
    for (const NamedStrategy& strategy : *strategies) {
      const absl::Time start = absl::Now();
      const int seeds = absl::GetFlag(FLAGS_seeds);
      std::vector<std::string> results(seeds);
      std::atomic<int> next{0};
      std::vector<std::thread> threads;
      for (int j = 0; j < absl::GetFlag(FLAGS_jobs); ++j) {
        threads.emplace_back([&] {
          for (int i; (i = next++) < seeds;) {
            results[i] =
                Search(*problem, strategy, absl::GetFlag(FLAGS_first_seed) + i,
                       checkpoints, absl::GetFlag(FLAGS_every));
          }
        });
      }
      for (std::thread& thread : threads) thread.join();
      for (const std::string& lines : results)
        std::fputs(lines.c_str(), stdout);
      std::fflush(stdout);
      if (absl::GetFlag(FLAGS_times)) {
        std::fprintf(stderr, "%s %s: %.1f s\n", strategy.name.c_str(),
                     id.c_str(), absl::ToDoubleSeconds(absl::Now() - start));
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace hwnas::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Searches public benchmark tables and prints the regret.");
  absl::ParseCommandLine(argc, argv);
  return hwnas::bench::Main();
}
