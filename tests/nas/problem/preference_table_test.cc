// Searches with a preference on real, measured data: NAS-Bench-201 on a
// Raspberry Pi 5.
#include <algorithm>
#include <cstdio>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "nas/space/space_factory.h"
#include "nas/strategy/strategy.h"
#include "tests/fakes/benchmark_data.h"

namespace hwnas {
namespace {

class PreferenceOnTable : public ::testing::Test {
 protected:
  // Each row of the table is one cell; the choices of the space are its codes.
  void Read(const std::string& dir) {
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
    values_.resize(cells.rows.size());
    for (size_t row = 0; row < cells.rows.size(); ++row) {
      Architecture cell;
      for (int edge = 0; edge < 6; ++edge) {
        cell.choices.push_back(
            static_cast<int>(Number(cells.rows[row][op0 + edge])));
      }
      values_[Index(cell)] = {
          {accuracy_, Number(accuracy.rows[row][accuracy_column])},
          {latency_, Number(latency.rows[row][latency_column])}};
    }
    for (const auto& values : values_) best_ = std::max(best_, Score(values));
  }

  // 65 % in 6 ms is wished for; within 50 % and 12 ms.
  Problem ProblemOf(std::optional<double> focus) const {
    Problem problem;
    problem.objectives = {{accuracy_, true, 50.0}, {latency_, false, 12.0}};
    if (focus) problem.preference = Preference{{-65, 6}, *focus};
    return problem;
  }

  // Of trials 51 to 200 of NSGA-II, the share that is near the best score.
  double ShareNear(std::optional<double> focus, uint64_t seed) const {
    const Problem problem = ProblemOf(focus);
    auto strategy = CreateStrategy(Nsga2Config{}, space_.get(), problem, seed);
    EXPECT_TRUE(strategy.ok()) << strategy.status();
    int near = 0;
    for (int number = 1; number <= 200; ++number) {
      const auto proposals = (*strategy)->Suggest({.next_number = number});
      EXPECT_TRUE(proposals.ok()) << proposals.status();
      const Proposal& proposal = proposals->front();
      const auto& values = values_[Index(proposal.architecture)];
      EXPECT_TRUE((*strategy)
                      ->Observe({{proposal, problem.Evaluate(values).Shown()}})
                      .ok());
      near += number > 50 && Score(values) >= best_ - 0.2;
    }
    return near / 150.0;
  }

 private:
  static size_t Index(const Architecture& cell) {
    size_t index = 0;
    for (int choice : cell.choices) index = index * 5 + choice;
    return index;
  }
  double Score(const std::vector<MetricValue>& values) const {
    return *ProblemOf(0.5).Evaluate(values).score;
  }
  static double Number(const std::string& text) {
    double value = 0;
    EXPECT_TRUE(absl::SimpleAtod(text, &value)) << text;
    return value;
  }

  const MetricKey accuracy_{"accuracy", ""};
  const MetricKey latency_{"latency_ms", "raspberrypi5"};
  std::unique_ptr<SearchSpace> space_;
  std::vector<std::vector<MetricValue>> values_;
  double best_ = -1e9;
};

TEST_F(PreferenceOnTable, MoreTrialsAreNearTheAspiration) {
  HWNAS_REQUIRE_DATA(dir);
  Read(dir);
  const auto mean = [&](std::optional<double> focus) {
    double share = 0;
    for (uint64_t seed = 1; seed <= 3; ++seed) {
      share += ShareNear(focus, seed) / 3;
    }
    std::printf("focus %s: %.3f of the trials are near\n",
                focus ? absl::StrCat(*focus).c_str() : "none", share);
    return share;
  };
  EXPECT_GT(mean(0.5), 1.25 * mean(std::nullopt));
}

}  // namespace
}  // namespace hwnas
