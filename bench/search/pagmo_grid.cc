// What pagmo2 finds of the toy problems of tests/fakes/toy_space.h, whose
// fronts are known: the hypervolume of all that a search has evaluated, after
// some numbers of evaluations; the median of many seeds.
// tests/nas/strategy/pagmo_reference_test.cc holds the answers.
//
//   pagmo_grid --seeds=20
//
// NSGA-II takes the decisions as integers; MOEA/D, which knows only continuous
// variables, as numbers that are rounded.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <pagmo/algorithm.hpp>
#include <pagmo/algorithms/moead.hpp>
#include <pagmo/algorithms/nsga2.hpp>
#include <pagmo/config.hpp>
#include <pagmo/population.hpp>
#include <pagmo/problem.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "nas/pareto/pareto.h"
#include "tests/fakes/toy_space.h"

ABSL_FLAG(int, seeds, 20, "Searches for each line, from seed 1.");

namespace hwnas::bench {
namespace {

constexpr int kDecisions = 8;
constexpr int kOptions = 11;

struct GridProblem {
  const char* name;
  int objectives;
  std::function<Point(const SearchSpace&, const Architecture&)> evaluate;
  Point reference;
  unsigned population;
};

// A user-defined problem of pagmo. Its copies share the trace.
struct GridUdp {
  const GridProblem* problem = nullptr;
  const SearchSpace* space = nullptr;
  std::shared_ptr<std::vector<Point>> trace;
  bool integer = true;

  pagmo::vector_double fitness(const pagmo::vector_double& x) const {
    Architecture architecture;
    for (const double value : x) {
      architecture.choices.push_back(
          std::clamp(static_cast<int>(std::lround(value)), 0, kOptions - 1));
    }
    trace->push_back(problem->evaluate(*space, architecture));
    return trace->back();
  }
  std::pair<pagmo::vector_double, pagmo::vector_double> get_bounds() const {
    // Rounded numbers need room for the first and the last option, too.
    const double margin = integer ? 0 : 0.499;
    return {pagmo::vector_double(kDecisions, -margin),
            pagmo::vector_double(kDecisions, kOptions - 1 + margin)};
  }
  pagmo::vector_double::size_type get_nobj() const {
    return problem->objectives;
  }
  pagmo::vector_double::size_type get_nix() const {
    return integer ? kDecisions : 0;
  }
  // Evaluations in one thread, in order.
  pagmo::thread_safety get_thread_safety() const {
    return pagmo::thread_safety::none;
  }

  template <typename Archive>
  void serialize(Archive&, unsigned) {}
};

std::vector<Point> Search(const GridProblem& problem, const SearchSpace& space,
                          bool nsga2, unsigned evaluations, unsigned seed) {
  auto trace = std::make_shared<std::vector<Point>>();
  pagmo::population population{
      pagmo::problem{GridUdp{&problem, &space, trace, /*integer=*/nsga2}},
      problem.population, seed};
  const unsigned generations =
      (evaluations + problem.population - 1) / problem.population;
  // pagmo's defaults, but for the weights and neighbours of MOEA/D, which are
  // ours, and NSGA-II's mutation rate: 0.01 would leave most children without.
  pagmo::algorithm algorithm =
      nsga2 ? pagmo::algorithm{pagmo::nsga2{generations, 0.95, 10.,
                                            1. / kDecisions, 50., seed}}
            : pagmo::algorithm{pagmo::moead{generations, "grid", "tchebycheff",
                                            10, 1., 0.5, 20., 0.9, 2, true,
                                            seed}};
  algorithm.evolve(population);
  return *trace;
}

int Main() {
  const ToySpace space(kDecisions, kOptions);
  const auto dtlz2 = [](int objectives) {
    return [objectives](const SearchSpace& space, const Architecture& a) {
      return GridDtlz2(space, a, objectives).objectives;
    };
  };
  const GridProblem problems[] = {
      {"zdt1",
       2,
       [](const SearchSpace& space, const Architecture& a) {
         return GridZdt1(space, a).objectives;
       },
       {1.1, 2},
       20},
      {"dtlz2 of 2", 2, dtlz2(2), {1.1, 1.1}, 20},
      {"dtlz2 of 3", 3, dtlz2(3), {1.1, 1.1, 1.1}, 36},
  };
  const std::vector<unsigned> evaluations = {250, 500, 1000, 2000};
  std::printf("pagmo2 %s, medians of %d seeds\n%-12s %-8s", PAGMO_VERSION,
              absl::GetFlag(FLAGS_seeds), "problem", "");
  for (const unsigned count : evaluations) std::printf(" %7u", count);
  std::printf("\n");
  for (const GridProblem& problem : problems) {
    for (const bool nsga2 : {true, false}) {
      std::vector<std::vector<double>> found(evaluations.size());
      for (int seed = 1; seed <= absl::GetFlag(FLAGS_seeds); ++seed) {
        std::vector<Point> trace =
            Search(problem, space, nsga2, evaluations.back(), seed);
        for (size_t i = evaluations.size(); i-- > 0;) {
          trace.resize(std::min<size_t>(trace.size(), evaluations[i]));
          found[i].push_back(Hypervolume(trace, problem.reference));
        }
      }
      std::printf("%-12s %-8s", problem.name, nsga2 ? "NSGA-II" : "MOEA/D");
      for (std::vector<double>& values : found) {
        std::sort(values.begin(), values.end());
        const size_t count = values.size();
        std::printf(" %7.4f",
                    (values[(count - 1) / 2] + values[count / 2]) / 2);
      }
      std::printf("\n");
    }
  }
  return 0;
}

}  // namespace
}  // namespace hwnas::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Prints the hypervolumes that pagmo2 finds on problems with known "
      "fronts.");
  absl::ParseCommandLine(argc, argv);
  return hwnas::bench::Main();
}
