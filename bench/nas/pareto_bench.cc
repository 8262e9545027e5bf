// Fronts and hypervolume. Arguments: points, objectives.
#include <benchmark/benchmark.h>

#include "nas/pareto/archive.h"
#include "nas/pareto/pareto.h"
#include "tests/nas/pareto/random_points.h"

namespace hwnas {
namespace {

void BM_NonDominatedSort(benchmark::State& state) {
  Rng rng(1);
  const auto points = RandomPoints(rng, static_cast<int>(state.range(0)),
                                   static_cast<int>(state.range(1)), 0);
  for (auto _ : state) benchmark::DoNotOptimize(NonDominatedSort(points));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_NonDominatedSort)
    ->ArgsProduct({{100, 1000, 10000}, {2, 3}})
    ->Unit(benchmark::kMicrosecond);

// None of the points dominates another: the largest front possible.
void BM_Hypervolume(benchmark::State& state) {
  const int objectives = static_cast<int>(state.range(1));
  Rng rng(1);
  const auto points =
      SpherePoints(rng, static_cast<int>(state.range(0)), objectives);
  const Point reference(objectives, 1.1);
  for (auto _ : state) {
    benchmark::DoNotOptimize(Hypervolume(points, reference));
  }
}
BENCHMARK(BM_Hypervolume)
    ->ArgsProduct({{100, 1000}, {2, 3, 4}})
    ->Args({10000, 2})
    ->Args({10000, 3})
    ->Args({100, 5})
    ->Unit(benchmark::kMicrosecond);

void BM_HypervolumeContributions(benchmark::State& state) {
  const int objectives = static_cast<int>(state.range(1));
  Rng rng(1);
  const auto points =
      SpherePoints(rng, static_cast<int>(state.range(0)), objectives);
  const Point reference(objectives, 1.1);
  for (auto _ : state) {
    benchmark::DoNotOptimize(HypervolumeContributions(points, reference));
  }
}
BENCHMARK(BM_HypervolumeContributions)
    ->ArgsProduct({{100, 1000}, {2, 3}})
    ->Unit(benchmark::kMicrosecond);

// Time for one new point, on average over a study of that many.
void Insert(benchmark::State& state, const std::vector<Point>& points) {
  const int objectives = static_cast<int>(state.range(1));
  int front = 0;
  for (auto _ : state) {
    ParetoArchive archive(objectives);
    archive.SetReference(Point(objectives, 1.1));
    for (size_t i = 0; i < points.size(); ++i) {
      archive.Insert(points[i], static_cast<int64_t>(i));
    }
    benchmark::DoNotOptimize(archive.hypervolume());
    front = archive.size();
  }
  state.counters["front"] = front;
  state.counters["per_point"] = benchmark::Counter(
      static_cast<double>(state.iterations() * state.range(0)),
      benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void BM_ArchiveRandomPoints(benchmark::State& state) {
  Rng rng(1);
  Insert(state, RandomPoints(rng, static_cast<int>(state.range(0)),
                             static_cast<int>(state.range(1)), 0));
}
BENCHMARK(BM_ArchiveRandomPoints)
    ->Args({10000, 2})
    ->Args({10000, 3})
    ->Args({10000, 4})
    ->Args({10000, 6})
    ->Args({10000, 8})
    ->Unit(benchmark::kMillisecond);

// The worst case: each point joins the front and none ever leaves it.
void BM_ArchiveAllOnTheFront(benchmark::State& state) {
  Rng rng(1);
  Insert(state, SpherePoints(rng, static_cast<int>(state.range(0)),
                             static_cast<int>(state.range(1))));
}
BENCHMARK(BM_ArchiveAllOnTheFront)
    ->Args({10000, 2})
    ->Args({10000, 3})
    ->Args({1000, 4})
    ->Args({1000, 6})
    ->Args({1000, 8})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace hwnas
