// Counts of whole networks against public tables.

#include <cmath>

#include "estimator/analytic.h"
#include "gtest/gtest.h"
#include "nas/space/space_factory.h"
#include "tests/fakes/benchmark_data.h"

namespace hwnas {
namespace {

TEST(Analytic, EqualsTheFlopsAndParametersOfEveryNasbench201Cell) {
  HWNAS_REQUIRE_DATA(dir);
  const CsvTable table = ReadCsv(dir + "/nasbench201/cells.csv.gz");
  ASSERT_EQ(table.rows.size(), 15625u);
  const auto space = CreateSpace(Nasbench201Config{});
  ASSERT_TRUE(space.ok()) << space.status();
  int different = 0;
  for (const auto& row : table.rows) {
    const auto architecture = (*space)->FromText(row[table.Column("cell")]);
    ASSERT_TRUE(architecture.ok()) << architecture.status();
    // The benchmark counts edges that do nothing.
    const auto graph =
        (*space)->Decode(*architecture, {.keep_dead_nodes = true});
    ASSERT_TRUE(graph.ok()) << graph.status();
    const double flops_m = std::stod(row[table.Column("flops_m")]);
    const double params_m = std::stod(row[table.Column("params_m")]);
    // It also counts the ten additions of the classifier's bias, which are no
    // multiply-accumulates.
    const int64_t flops = MultiplyAccumulates(*graph) + 10;
    different += std::abs(flops / 1e6 - flops_m) > 1e-9;
    different += std::abs(ParameterCount(*graph) / 1e6 - params_m) > 1e-9;
  }
  EXPECT_EQ(different, 0);
}

TEST(Analytic, MatchesTheFlopsOfOnceForAllNetworks) {
  HWNAS_REQUIRE_DATA(dir);
  const CsvTable table = ReadCsv(dir + "/ofa/archs.csv.gz");
  ASSERT_EQ(table.rows.size(), 5000u);
  MobileConfig config;
  config.width_choices = {1.2};
  for (int r = 128; r <= 224; r += 4) config.resolution_choices.push_back(r);
  const auto space = CreateSpace(config);
  ASSERT_TRUE(space.ok()) << space.status();
  double worst = 0;
  for (const auto& row : table.rows) {
    // "r204 w1.2 | k7e6 k5e4 | ..."
    std::string text = "r" + row[table.Column("r")] + " w1.2";
    for (int unit = 0; unit < 5; ++unit) {
      text += " |";
      const int depth =
          std::stoi(row[table.Column("d" + std::to_string(unit))]);
      for (int block = 0; block < depth; ++block) {
        const std::string position = std::to_string(4 * unit + block);
        text += " k" + row[table.Column("ks" + position)] + "e" +
                row[table.Column("e" + position)];
      }
      // Squeeze-excite of MobileNetV3-Large.
      if (unit == 1 || unit == 3 || unit == 4) text += " se";
    }
    const auto architecture = (*space)->FromText(text);
    ASSERT_TRUE(architecture.ok()) << architecture.status();
    const auto graph = (*space)->Decode(*architecture);
    ASSERT_TRUE(graph.ok()) << graph.status();
    const double expected = std::stod(row[table.Column("flops_m")]);
    worst = std::max(
        worst, std::abs(MultiplyAccumulates(*graph) / 1e6 / expected - 1));
  }
  std::printf("largest relative difference to ofa/archs.csv.gz: %.2e\n", worst);
  EXPECT_LT(worst, 1e-6);
}

// The table's own counts, by its tools.
TEST(Analytic, EqualsTheCountsOfNasBenchMacro) {
  HWNAS_REQUIRE_DATA(dir);
  const CsvTable table = ReadCsv(dir + "/nasbench_macro/macro_cifar10.csv.gz");
  ASSERT_EQ(table.rows.size(), 6561u);
  const auto space = CreateSpace(MacroConfig{.preset = "nasbench_macro"});
  ASSERT_TRUE(space.ok()) << space.status();
  double worst_flops = 0, worst_params = 0;
  for (const auto& row : table.rows) {
    Architecture architecture;
    for (int layer = 0; layer < 8; ++layer) {
      architecture.choices.push_back(
          std::stoi(row[table.Column("op" + std::to_string(layer))]));
    }
    const auto graph = (*space)->Decode(architecture);
    ASSERT_TRUE(graph.ok()) << graph.status();
    const double flops_m = std::stod(row[table.Column("flops_m")]);
    const double params_m = std::stod(row[table.Column("params_m")]);
    worst_flops = std::max(
        worst_flops, std::abs(MultiplyAccumulates(*graph) / 1e6 - flops_m));
    worst_params = std::max(worst_params,
                            std::abs(ParameterCount(*graph) / 1e6 - params_m));
  }
  std::printf("largest difference: %.3g flops_m, %.3g params_m\n", worst_flops,
              worst_params);
  EXPECT_LT(worst_flops, 1e-4);
  EXPECT_LT(worst_params, 1e-6);
}

TEST(Analytic, EqualsTheCountsOfTransNasBench101) {
  HWNAS_REQUIRE_DATA(dir);
  const CsvTable table = ReadCsv(dir + "/transnasbench101/macro.csv.gz");
  ASSERT_EQ(table.rows.size(), 3256u);
  const auto space = CreateSpace(MacroConfig{
      .input = {3, 256, 256}, .classes = 75, .preset = "transnasbench101"});
  ASSERT_TRUE(space.ok()) << space.status();
  double worst_flops = 0, worst_params = 0;
  for (const auto& row : table.rows) {
    const auto architecture = (*space)->FromText(row[table.Column("arch")]);
    ASSERT_TRUE(architecture.ok()) << architecture.status();
    const auto graph = (*space)->Decode(*architecture);
    ASSERT_TRUE(graph.ok()) << graph.status();
    const double flops_m = std::stod(row[table.Column("backbone_macs_m")]);
    const double params_m = std::stod(row[table.Column("backbone_params_m")]);
    // The table counts the network without its classifier.
    const int64_t features = graph->node(graph->size() - 2).shape.channels;
    // Relative: the table has nine digits, or four decimals.
    worst_flops =
        std::max(worst_flops,
                 std::abs((MultiplyAccumulates(*graph) - 75 * features) / 1e6 -
                          flops_m) /
                     flops_m);
    worst_params =
        std::max(worst_params,
                 std::abs((ParameterCount(*graph) - 75 * (features + 1)) / 1e6 -
                          params_m));
  }
  std::printf("largest difference: %.3g of flops_m, %.3g params_m\n",
              worst_flops, worst_params);
  EXPECT_LT(worst_flops, 2e-7);
  EXPECT_LT(worst_params, 1e-6);
}

TEST(Analytic, MatchesTheCountsOfFbnetNetworks) {
  HWNAS_REQUIRE_DATA(dir);
  const CsvTable table = ReadCsv(dir + "/fbnet/archs.csv.gz");
  ASSERT_EQ(table.rows.size(), 5000u);
  const auto space =
      CreateSpace(MacroConfig{.classes = 100, .preset = "fbnet"});
  ASSERT_TRUE(space.ok()) << space.status();
  double worst_flops = 0, worst_params = 0;
  for (const auto& row : table.rows) {
    Architecture architecture;
    for (int layer = 0; layer < 22; ++layer) {
      architecture.choices.push_back(
          std::stoi(row[table.Column("op" + std::to_string(layer))]));
    }
    const auto graph = (*space)->Decode(architecture);
    ASSERT_TRUE(graph.ok()) << graph.status();
    const double flops_m = std::stod(row[table.Column("flops_m")]);
    const double params_m = std::stod(row[table.Column("params_m")]);
    worst_flops = std::max(
        worst_flops, std::abs(MultiplyAccumulates(*graph) / 1e6 - flops_m));
    worst_params = std::max(worst_params,
                            std::abs(ParameterCount(*graph) / 1e6 - params_m));
  }
  std::printf("largest difference: %.3g flops_m, %.3g params_m\n", worst_flops,
              worst_params);
  EXPECT_LT(worst_flops, 1e-4);
  EXPECT_LT(worst_params, 1e-6);
}

}  // namespace
}  // namespace hwnas
