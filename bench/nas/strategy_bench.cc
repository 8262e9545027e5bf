// How fast strategies propose and learn. Argument: trials observed before.
#include <benchmark/benchmark.h>

#include <memory>
#include <utility>
#include <vector>

#include "nas/strategy/strategy.h"
#include "tests/fakes/toy_space.h"

namespace hwnas {
namespace {

// 5^20 points: never exhausted.
const ToySpace& Space() {
  static const auto* space = new ToySpace(20, 5);
  return *space;
}

std::unique_ptr<Strategy> WithHistory(const StrategyConfig& config,
                                      int64_t trials) {
  auto strategy = *CreateStrategy(config, &Space(), ToyProblem(), 1);
  for (int64_t i = 0; i < trials; ++i) {
    SuggestRequest request;
    request.next_number = i + 1;
    const std::vector<Proposal> proposals = *strategy->Suggest(request);
    for (const Proposal& p : proposals) {
      (void)strategy->Observe({{p, GridZdt1(Space(), p.architecture)}});
    }
  }
  return strategy;
}

// One proposal and one end after another, as a study with one worker sees it.
void BM_SuggestAndObserve(benchmark::State& state,
                          const StrategyConfig& config) {
  auto strategy = WithHistory(config, state.range(0));
  SuggestRequest request;
  request.next_number = state.range(0) + 1;
  for (auto _ : state) {
    const std::vector<Proposal> proposals = *strategy->Suggest(request);
    const Proposal& p = proposals.front();
    benchmark::DoNotOptimize(
        strategy->Observe({{p, GridZdt1(Space(), p.architecture)}}));
    ++request.next_number;
  }
  state.SetItemsProcessed(state.iterations());
}

// A batch of 1,000 with as many pending.
void BM_SuggestBatch(benchmark::State& state, const StrategyConfig& config) {
  auto strategy = WithHistory(config, state.range(0));
  SuggestRequest request;
  request.next_number = state.range(0) + 1;
  request.count = 1000;
  const std::vector<Proposal> pending = *strategy->Suggest(request);
  request.pending = pending;
  request.next_number += 1000;
  for (auto _ : state) {
    benchmark::DoNotOptimize(strategy->Suggest(request));
  }
  state.SetItemsProcessed(state.iterations() * request.count);
}

// What a restarted controller waits for.
void BM_Rebuild(benchmark::State& state, const StrategyConfig& config) {
  auto strategy = *CreateStrategy(RandomConfig{}, &Space(), ToyProblem(), 1);
  SuggestRequest request;
  request.count = static_cast<int>(state.range(0));
  std::vector<Observation> observations;
  std::vector<Proposal> proposals = *strategy->Suggest(request);
  for (Proposal& p : proposals) {
    const Evaluation evaluation = GridZdt1(Space(), p.architecture);
    observations.push_back({std::move(p), evaluation});
  }
  for (auto _ : state) {
    auto rebuilt = *CreateStrategy(config, &Space(), ToyProblem(), 1);
    benchmark::DoNotOptimize(rebuilt->Observe(observations));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

#define HWNAS_BENCH_STRATEGY(name, config)              \
  BENCHMARK_CAPTURE(BM_SuggestAndObserve, name, config) \
      ->Arg(100)                                        \
      ->Arg(10000)                                      \
      ->Arg(100000)                                     \
      ->Unit(benchmark::kMicrosecond);                  \
  BENCHMARK_CAPTURE(BM_SuggestBatch, name, config)      \
      ->Arg(10000)                                      \
      ->Unit(benchmark::kMillisecond);                  \
  BENCHMARK_CAPTURE(BM_Rebuild, name, config)           \
      ->Arg(10000)                                      \
      ->Unit(benchmark::kMillisecond)

HWNAS_BENCH_STRATEGY(random, RandomConfig{});
HWNAS_BENCH_STRATEGY(ageing_evolution, AgeingEvolutionConfig{});
HWNAS_BENCH_STRATEGY(nsga2, Nsga2Config{});
HWNAS_BENCH_STRATEGY(quasi_random, QuasiRandomConfig{});
HWNAS_BENCH_STRATEGY(nsga3, Nsga3Config{});
HWNAS_BENCH_STRATEGY(moead, MoeadConfig{});
HWNAS_BENCH_STRATEGY(local_search, LocalSearchConfig{});
HWNAS_BENCH_STRATEGY(reinforce, ReinforceConfig{});

}  // namespace
}  // namespace hwnas
