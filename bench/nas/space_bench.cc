// How fast spaces sample, mutate and name their architectures: strategies do it
// for every proposal.
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "common/rng.h"
#include "nas/space/space_factory.h"

namespace hwnas {
namespace {

// A network of three stages, each with its own depth, kernel, expansion and
// kind of block.
DeclaredConfig Declared() {
  const DeclaredBlock residual{
      .kind = DeclaredBlock::kResidual,
      .bodies = {
          {{.kind = DeclaredBlock::kConv,
            .parameters = {{"channels", "2*width"}, {"kernel", "kernel{s}"}}},
           {.kind = DeclaredBlock::kConv}}}};
  const DeclaredBlock mobile{.kind = DeclaredBlock::kMbConv,
                             .parameters = {{"channels", "2*width"},
                                            {"kernel", "kernel{s}"},
                                            {"expansion", "expansion{s}"}}};
  const DeclaredBlock choose{.kind = DeclaredBlock::kChoose,
                             .parameters = {{"by", "block{s}"}},
                             .bodies = {{residual}, {mobile}},
                             .cases = {{"residual"}, {"mobile"}}};
  const DeclaredBlock stage{
      .kind = DeclaredBlock::kRepeat,
      .parameters = {{"times", "depth{s}"}, {"stride", "2"}},
      .bodies = {{choose}}};
  return {
      .choices = {{.name = "width", .ordered = {"8", "12", "16"}},
                  {.name = "block{0..2}", .options = {"residual", "mobile"}},
                  {.name = "depth{0..2}", .integers = IntegerRange{1, 4}},
                  {.name = "kernel{0..2}", .ordered = {"3", "5", "7"}},
                  {.name = "expansion{0..2}", .ordered = {"2", "4", "6"}}},
      .network = DeclaredNetworkConfig{
          .input = {1, 28, 28},
          .blocks = {{.kind = DeclaredBlock::kRepeat,
                      .parameters = {{"times", "3"}, {"index", "s"}},
                      .bodies = {{stage}}}}}};
}

void BM_Sample(benchmark::State& state, const SpaceConfig& config) {
  const auto space = *CreateSpace(config);
  Rng rng(1);
  for (auto _ : state) benchmark::DoNotOptimize(space->Sample(rng));
}

void BM_MutateOne(benchmark::State& state, const SpaceConfig& config) {
  const auto space = *CreateSpace(config);
  Rng rng(1);
  Architecture architecture = space->Sample(rng);
  for (auto _ : state) architecture = space->MutateOne(architecture, rng);
}

void BM_Digest(benchmark::State& state, const SpaceConfig& config) {
  const auto space = *CreateSpace(config);
  Rng rng(1);
  std::vector<Architecture> sampled;
  for (int i = 0; i < 256; ++i) sampled.push_back(space->Sample(rng));
  size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(space->Digest(sampled[i++ % sampled.size()]));
  }
}

void BM_Decode(benchmark::State& state, const SpaceConfig& config) {
  const auto space = *CreateSpace(config);
  Rng rng(1);
  const Architecture architecture = space->Sample(rng);
  for (auto _ : state) benchmark::DoNotOptimize(space->Decode(architecture));
}

// Each name is a constructor of a configuration.
#define HWNAS_SPACE(name, ...)                                     \
  BENCHMARK_CAPTURE(BM_Sample, name, SpaceConfig(__VA_ARGS__));    \
  BENCHMARK_CAPTURE(BM_MutateOne, name, SpaceConfig(__VA_ARGS__)); \
  BENCHMARK_CAPTURE(BM_Digest, name, SpaceConfig(__VA_ARGS__));    \
  BENCHMARK_CAPTURE(BM_Decode, name, SpaceConfig(__VA_ARGS__))     \
      ->Unit(benchmark::kMicrosecond)

HWNAS_SPACE(nasbench201, Nasbench201Config{});
HWNAS_SPACE(mobile, MobileConfig{});
HWNAS_SPACE(nasbench_macro, MacroConfig{.preset = "nasbench_macro"});
HWNAS_SPACE(transnasbench101,
            MacroConfig{.input = {3, 64, 64}, .preset = "transnasbench101"});
HWNAS_SPACE(fbnet, MacroConfig{.preset = "fbnet"});
HWNAS_SPACE(hierarchical, MacroConfig{.cell = Nasbench201CellConfig{}});
HWNAS_SPACE(dag, DagConfig{});
HWNAS_SPACE(complete_graph,
            DagConfig{.cells = 1, .cell = {.nodes = 12, .max_edges = 0}});
HWNAS_SPACE(declared, Declared());

}  // namespace
}  // namespace hwnas
