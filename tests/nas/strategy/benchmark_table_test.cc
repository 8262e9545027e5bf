// Whole searches on real, measured data: NAS-Bench-201 on a Raspberry Pi 5.
#include <cstdio>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/pareto/pareto.h"
#include "nas/space/space_factory.h"
#include "tests/fakes/benchmark_data.h"
#include "tests/fakes/toy_space.h"
#include "tests/nas/strategy/simulate.h"

namespace hwnas {
namespace {

// Each row of the table is one cell; the choices of the space are its codes.
class Nasbench201Table {
 public:
  explicit Nasbench201Table(const std::string& dir) {
    Nasbench201Config config;
    config.classes = 100;
    config.benchmark_classes = true;
    space_ = *CreateSpace(config);
    const CsvTable cells =
        ReadCsv(absl::StrCat(dir, "/nasbench201/cells.csv.gz"));
    const CsvTable accuracy =
        ReadCsv(absl::StrCat(dir, "/nasbench201/accuracy.csv.gz"));
    const CsvTable latency =
        ReadCsv(absl::StrCat(dir, "/nasbench201/latency_energy_pi5.csv.gz"));
    const int op0 = cells.Column("op0");
    const int accuracy_column = accuracy.Column("cifar100_test_200ep");
    const int latency_column = latency.Column("pi5_litert_cifar100_latency_ms");
    points_.resize(cells.rows.size());
    for (size_t row = 0; row < cells.rows.size(); ++row) {
      Architecture cell;
      for (int edge = 0; edge < 6; ++edge) {
        cell.choices.push_back(
            static_cast<int>(Number(cells.rows[row][op0 + edge])));
      }
      points_[Index(cell)] = {-Number(accuracy.rows[row][accuracy_column]),
                              Number(latency.rows[row][latency_column])};
    }
    for (const Point& point : points_) {
      reference_[1] = std::max(reference_[1], point[1]);
    }
  }

  const SearchSpace& space() const { return *space_; }
  Evaluator evaluator() const {
    return [this](const Architecture& a) {
      return Evaluation{points_[Index(a)], 0, true};
    };
  }

  // Share of the true front's hypervolume that the first `trials` miss.
  double Regret(const Journal& journal, int trials) const {
    std::vector<Point> found;
    for (int i = 0; i < trials; ++i) {
      found.push_back(journal.observed[i].evaluation.objectives);
    }
    return 1 -
           Hypervolume(found, reference_) / Hypervolume(points_, reference_);
  }

 private:
  static size_t Index(const Architecture& cell) {
    size_t index = 0;
    for (int choice : cell.choices) index = index * 5 + choice;
    return index;
  }
  static double Number(const std::string& text) {
    double value = 0;
    EXPECT_TRUE(absl::SimpleAtod(text, &value)) << text;
    return value;
  }

  std::unique_ptr<SearchSpace> space_;
  std::vector<Point> points_ = {};
  Point reference_ = {0, 0};
};

// Mean regret over the seeds after each number of trials.
std::vector<double> MeanRegret(const Nasbench201Table& table,
                               const StrategyConfig& config,
                               const std::vector<int>& trials) {
  constexpr int kSeeds = 5;
  std::vector<double> means(trials.size());
  for (int seed = 1; seed <= kSeeds; ++seed) {
    auto strategy = MustCreate(config, &table.space(), ToyProblem(), seed);
    const Journal journal =
        Simulate(*strategy, table.evaluator(), trials.back(), /*workers=*/4);
    for (size_t i = 0; i < trials.size(); ++i) {
      means[i] += table.Regret(journal, trials[i]) / kSeeds;
    }
  }
  return means;
}

TEST(BenchmarkTable, EvolutionMissesLessOfTheFrontThanRandomSearch) {
  HWNAS_REQUIRE_DATA(dir);
  const Nasbench201Table table(dir);
  const std::vector<int> trials = {24, 50, 100, 200, 500};
  auto regret = [&](const std::string& name, const StrategyConfig& config) {
    const std::vector<double> means = MeanRegret(table, config, trials);
    std::printf("%-18s", name.c_str());
    for (double mean : means) std::printf(" %.4f", mean);
    std::printf("\n");
    return means.back();
  };
  std::printf("regret after       24     50     100    200    500\n");
  const double random = regret("random", RandomConfig{});
  const double ageing = regret("ageing_evolution", AgeingEvolutionConfig{});
  const double nsga2 = regret("nsga2", Nsga2Config{});
  EXPECT_LT(nsga2, 0.5 * random);
  EXPECT_LT(ageing, 0.5 * random);
}

TEST(BenchmarkTable, RandomSearchVisitsEveryClassOfCellsOnce) {
  Nasbench201Config config;
  const std::unique_ptr<SearchSpace> space = *CreateSpace(config);
  auto strategy = MustCreate(RandomConfig{}, space.get(), ToyProblem(), 1);
  const Evaluator evaluate = [](const Architecture&) {
    return Evaluation{{1, 2}, 0, true};
  };
  EXPECT_THAT(Simulate(*strategy, evaluate, 15625, 16).observed,
              ::testing::SizeIs(5044));
}

}  // namespace
}  // namespace hwnas
