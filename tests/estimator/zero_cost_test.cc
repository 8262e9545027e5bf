#include "estimator/zero_cost.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "estimator/correlation.h"
#include "gtest/gtest.h"
#include "nas/space/space_factory.h"
#include "tests/fakes/benchmark_data.h"

namespace hwnas {
namespace {

double Score(GraphBuilder b) {
  const auto graph = std::move(b).Build();
  EXPECT_TRUE(graph.ok()) << graph.status();
  return graph.ok() ? ExpectedLogSynFlow(*graph) : std::nan("");
}

// Of a weight under He initialisation.
double Magnitude(double fan_in) {
  return std::sqrt(2 / fan_in) * std::sqrt(2 / std::numbers::pi);
}

TEST(ExpectedLogSynFlow, IsTheFormulaForOneLayer) {
  GraphBuilder b;
  b.Linear(b.Input({100, 1, 1}), 10);
  // Each weight takes a one to one output.
  EXPECT_NEAR(Score(std::move(b)), 1000 * Magnitude(100) * std::log(2), 1e-9);
}

TEST(ExpectedLogSynFlow, GoesForthAndBackThroughAChain) {
  GraphBuilder b;
  int x = b.Conv2d(b.Input({3, 8, 8}), {.out_channels = 4, .kernel = 1});
  x = b.Relu(b.BatchNorm(x));
  b.Linear(b.Flatten(b.GlobalAvgPool(x)), 5);
  const double first = Magnitude(3), second = Magnitude(4);
  // The pool leaves each of 64 pixels a 64th of the gradient, and a weight of
  // the convolution is used at all of them.
  EXPECT_NEAR(
      Score(std::move(b)),
      12 * first * std::log1p(5 * second) + 20 * second * std::log1p(3 * first),
      1e-9);
}

TEST(ExpectedLogSynFlow, AddsBranchesAndLeavesOutWhatNothingReaches) {
  GraphBuilder b;
  const int x = b.Input({2, 1, 1});
  const int sum = b.Add({b.Linear(x, 3), b.Linear(x, 3)});
  b.Add({sum, b.Zero(b.Linear(x, 3))});
  EXPECT_NEAR(Score(std::move(b)), 2 * 6 * Magnitude(2) * std::log(2), 1e-9);
}

TEST(ExpectedLogSynFlow, NoDepthOverflows) {
  GraphBuilder b;
  int x = b.Input({256, 8, 8});
  for (int i = 0; i < 400; ++i) {
    x = b.Conv2d(x, {.out_channels = 256, .kernel = 3, .padding = 1});
  }
  const double score = Score(std::move(b));
  EXPECT_TRUE(std::isfinite(score));
  EXPECT_GT(score, 0);
}

// The table's were computed by others, by back-propagation.
TEST(ExpectedLogSynFlow, IsThePublishedScoreOfNasbench201Cells) {
  HWNAS_REQUIRE_DATA(dir);
  const CsvTable cells = ReadCsv(dir + "/nasbench201/cells.csv.gz");
  const CsvTable scores = ReadCsv(dir + "/nasbench201/zerocost.csv.gz");
  ASSERT_EQ(cells.rows.size(), scores.rows.size());
  const auto space = CreateSpace(Nasbench201Config{});
  ASSERT_TRUE(space.ok()) << space.status();
  std::vector<double> ours, published, difference;
  // Every third will do.
  for (size_t i = 0; i < cells.rows.size(); i += 3) {
    const auto cell = (*space)->FromText(cells.rows[i][cells.Column("cell")]);
    ASSERT_TRUE(cell.ok()) << cell.status();
    ours.push_back(ExpectedLogSynFlow(*(*space)->Decode(*cell)));
    published.push_back(
        std::stod(scores.rows[i][scores.Column("logsynflow_cifar10")]));
    difference.push_back(std::abs(ours.back() / published.back() - 1));
  }
  EXPECT_GT(SpearmanCorrelation(ours, published), 0.985);
  std::nth_element(difference.begin(),
                   difference.begin() + difference.size() / 2,
                   difference.end());
  EXPECT_LT(difference[difference.size() / 2], 0.03);
}

}  // namespace
}  // namespace hwnas
