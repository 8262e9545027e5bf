// What a search gains, or loses, by starting from the trials of another
// (docs/warm-start.md), on public benchmark tables. Prints the median regret
// over seeds as a table:
//
//   warm_start_bench --seeds=20 --source=auto --source_trials=150
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "bench/search/problems.h"
#include "bench/search/strategies.h"
#include "common/statistics.h"
#include "nas/pareto/archive.h"
#include "nas/strategy/strategy.h"
#include "tests/fakes/benchmark_data.h"

ABSL_FLAG(std::string, data, "",
          "Folder of the tables; empty: $HWNAS_DATA_DIR or ../shared/data.");
ABSL_FLAG(std::vector<std::string>, pairs, std::vector<std::string>({"all"}),
          "Names of pairs, or all.");
ABSL_FLAG(std::vector<std::string>, strategies,
          std::vector<std::string>({"auto"}), "Of the searches.");
ABSL_FLAG(std::string, source, "auto", "Strategy of the sources.");
ABSL_FLAG(int, source_trials, 150, "Trials of each source.");
ABSL_FLAG(int, seeds, 20, "Searches, each with a source of its own.");
ABSL_FLAG(int, first_seed, 1, "Seed of the first.");
ABSL_FLAG(std::vector<std::string>, checkpoints,
          std::vector<std::string>({"12", "25", "50", "100"}),
          "Evaluations after which the regret is taken, ascending.");
ABSL_FLAG(int, jobs, 1, "Searches at once.");
ABSL_FLAG(bool, means, false,
          "Prints after each median the mean and its standard error.");

namespace hwnas::bench {
namespace {

// A search, and one that it may start from; all on cells of NAS-Bench-201.
struct Pair {
  const char* name;
  const char* source;  // Objectives on the tables.
  const char* target;  // Of oracles.csv; or one objective, maximised.
};
constexpr Pair kPairs[] = {
    {"CIFAR-10 to CIFAR-100 (Pi 5)",
     "+cifar10_test_200ep|-pi5_litert_cifar100_latency_ms",
     "nb201_cifar100_pi5_litert_2obj"},
    {"CIFAR-10 to ImageNet16-120 (FLOPs)", "+cifar10_test_200ep|-flops_m",
     "nb201_in16_flops"},
    {"Pi 5 LiteRT to ONNX Runtime (CIFAR-100)",
     "+cifar100_test_200ep|-pi5_litert_cifar100_latency_ms",
     "nb201_cifar100_pi5_onnx_2obj"},
    {"Pi 5 LiteRT to PyTorch Mobile (CIFAR-100)",
     "+cifar100_test_200ep|-pi5_litert_cifar100_latency_ms",
     "nb201_cifar100_pi5_torchmobile_2obj"},
    {"CIFAR-100 to NinaPro (Pi 5)",
     "+cifar100_test_200ep|-pi5_litert_cifar100_latency_ms",
     "nb201_ninapro_pi5_litert_2obj"},
    // Hardly related: the best cell of the source is at the 74th percentile.
    {"CIFAR-100 to NinaPro (accuracy alone)", "+cifar100_test_200ep",
     "+ninapro_test_200ep"},
};

absl::StatusOr<TableProblem> LoadTarget(const std::string& dir,
                                        const std::string& target) {
  if (target[0] != '+') return LoadProblem(dir, target);
  auto problem = LoadTable(dir, target, "nasbench201", target);
  if (!problem.ok()) return problem;
  problem->problem.objectives[0].reference = 0;
  problem->reference = {0};
  for (const auto& [choices, point] : problem->values) {
    problem->hypervolume = std::max(problem->hypervolume, -point[0]);
  }
  return problem;
}

// What a search would know before it pays: the counts among the objectives.
Evidence CountsOf(const TableProblem& problem) {
  return [&problem](const Architecture& architecture) {
    std::vector<MetricValue> values;
    const Point& point = problem.values.at(architecture.choices);
    for (size_t k = 0; k < point.size(); ++k) {
      const MetricKey& key = problem.problem.objectives[k].key;
      const MetricInfo* info = FindMetric(key.metric);
      if (info == nullptr || info->source != MetricSource::kAnalytic) continue;
      values.push_back({key, point[k]});
    }
    return values;
  };
}

// What the first `trials` proposals of a search came to.
std::vector<std::pair<Architecture, Point>> Search(
    const TableProblem& problem, const StrategyConfig& config, uint64_t seed,
    int trials, absl::Span<const SourceTrials> sources) {
  std::vector<std::pair<Architecture, Point>> found;
  auto strategy = CreateStrategy(config, problem.space.get(), problem.problem,
                                 seed, CountsOf(problem), sources);
  while (strategy.ok() && static_cast<int>(found.size()) < trials) {
    SuggestRequest request;
    request.next_number = static_cast<int64_t>(found.size()) + 1;
    const auto proposals = (*strategy)->Suggest(request);
    if (!proposals.ok() || proposals->empty()) break;
    const Observation observation{
        proposals->front(), problem.Evaluate(proposals->front().architecture)};
    if (!(*strategy)->Observe({observation}).ok()) break;
    found.emplace_back(proposals->front().architecture,
                       observation.evaluation.objectives);
  }
  return found;
}

SourceTrials SourceOf(const TableProblem& problem,
                      std::vector<std::pair<Architecture, Point>> found) {
  SourceTrials source;
  source.name = "source";
  source.problem = problem.problem;
  for (const ObjectiveSpec& objective : problem.problem.objectives) {
    source.metrics.push_back(objective.key);
  }
  for (auto& [architecture, point] : found) {
    for (size_t k = 0; k < point.size(); ++k) {
      if (problem.problem.objectives[k].maximize) point[k] = -point[k];
    }
    source.trials.push_back({std::move(architecture), std::move(point)});
  }
  return source;
}

// "mean +- standard error", of at least two values.
std::string MeanOf(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  double mean = 0, squares = 0;
  for (const double value : values) mean += value / n;
  for (const double value : values) squares += std::pow(value - mean, 2);
  return absl::StrFormat("%.4f +- %.4f", mean,
                         std::sqrt(squares / n / (n - 1)));
}

int Main() {
  std::string dir = absl::GetFlag(FLAGS_data);
  if (dir.empty()) dir = BenchmarkDataDir().value_or("");
  const auto strategies = FindStrategies(absl::GetFlag(FLAGS_strategies));
  const auto source_strategy = FindStrategies({absl::GetFlag(FLAGS_source)});
  if (!strategies.ok() || !source_strategy.ok()) {
    std::fprintf(stderr, "--strategies, --source: names of search_bench\n");
    return 2;
  }
  std::vector<int> checkpoints;
  for (const std::string& text : absl::GetFlag(FLAGS_checkpoints)) {
    checkpoints.push_back(std::atoi(text.c_str()));
  }
  const int seeds = absl::GetFlag(FLAGS_seeds);
  const std::vector<std::string> wanted = absl::GetFlag(FLAGS_pairs);
  const int source_trials = absl::GetFlag(FLAGS_source_trials);

  std::printf("| pair | strategy | start |");
  for (const int checkpoint : checkpoints) std::printf(" %d |", checkpoint);
  std::printf("\n|---|---|---|");
  for (size_t i = 0; i < checkpoints.size(); ++i) std::printf("---|");
  std::printf("\n");
  // Searched once for each source that several pairs share.
  std::map<std::string, std::vector<SourceTrials>> known_sources;
  for (const Pair& pair : kPairs) {
    if (wanted != std::vector<std::string>{"all"} &&
        std::find(wanted.begin(), wanted.end(), pair.name) == wanted.end()) {
      continue;
    }
    const auto target = LoadTarget(dir, pair.target);
    const auto source = LoadTable(dir, pair.source, "nasbench201", pair.source);
    if (!target.ok() || !source.ok()) {
      std::fprintf(stderr, "%s %s\n", target.status().ToString().c_str(),
                   source.status().ToString().c_str());
      return 1;
    }
    const auto in_parallel = [&](const auto& work) {
      std::atomic<int> next{0};
      std::vector<std::thread> threads;
      for (int j = 0; j < absl::GetFlag(FLAGS_jobs); ++j) {
        threads.emplace_back([&] {
          for (int i; (i = next++) < seeds;) work(i);
        });
      }
      for (std::thread& thread : threads) thread.join();
    };
    std::vector<SourceTrials>& sources = known_sources[pair.source];
    if (sources.empty()) {
      sources.resize(seeds);
      in_parallel([&](int i) {
        sources[i] =
            SourceOf(*source, Search(*source, source_strategy->front().config,
                                     1000 + absl::GetFlag(FLAGS_first_seed) + i,
                                     source_trials, {}));
      });
    }
    for (const NamedStrategy& strategy : *strategies) {
      for (const bool warm : {false, true}) {
        std::vector<std::vector<double>> regrets(checkpoints.size(),
                                                 std::vector<double>(seeds));
        const absl::Time start = absl::Now();
        in_parallel([&](int i) {
          absl::Span<const SourceTrials> from;
          if (warm) from = absl::MakeSpan(&sources[i], 1);
          const auto found = Search(*target, strategy.config,
                                    absl::GetFlag(FLAGS_first_seed) + i,
                                    checkpoints.back(), from);
          ParetoArchive archive(static_cast<int>(target->reference.size()));
          archive.SetReference(target->reference);
          size_t done = 0;
          for (size_t c = 0; c < checkpoints.size(); ++c) {
            const auto until = static_cast<size_t>(checkpoints[c]);
            for (; done < std::min(until, found.size()); ++done) {
              archive.Insert(found[done].second, static_cast<int64_t>(done));
            }
            regrets[c][i] = target->Regret(archive.hypervolume());
          }
        });
        std::printf("| %s | %s | %s |", pair.name, strategy.name.c_str(),
                    warm ? "warm" : "cold");
        for (const std::vector<double>& at : regrets) {
          const std::string mean =
              absl::GetFlag(FLAGS_means) ? " (" + MeanOf(at) + ")" : "";
          std::printf(" %.4f%s |", Median(at), mean.c_str());
        }
        std::printf("\n");
        std::fflush(stdout);
        std::fprintf(stderr, "%.1f s\n",
                     absl::ToDoubleSeconds(absl::Now() - start));
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace hwnas::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Compares searches that start from another's trials with those that do "
      "not.");
  absl::ParseCommandLine(argc, argv);
  return hwnas::bench::Main();
}
