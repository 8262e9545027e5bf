// Spaces that the example studies declare, against public tables.
#include <algorithm>
#include <cmath>

#include "cli/study_file.h"
#include "estimator/analytic.h"
#include "gtest/gtest.h"
#include "nas/space/space_factory.h"
#include "proto/convert/convert.h"
#include "tests/fakes/benchmark_data.h"

namespace hwnas::cli {
namespace {

std::unique_ptr<SearchSpace> SpaceOf(const std::string& example) {
  const LoadedStudy study =
      LoadedStudy::Load(std::string(HWNAS_SOURCE_DIR) + "/examples/" + example);
  EXPECT_TRUE(study.ok()) << study.Render();
  return CreateSpace(FromProto(study.spec().space()).value()).value();
}

TEST(ExampleSpaces, MnasnetHasTheCountsOfAccelNasBench) {
  HWNAS_REQUIRE_DATA(dir);
  const CsvTable table = ReadCsv(dir + "/accel_nasbench/accel_imagenet.csv.gz");
  ASSERT_EQ(table.rows.size(), 5138u);
  const auto space = SpaceOf("mnasnet.yaml");
  double worst_flops = 0, worst_params = 0;
  int compared = 0;
  // Every third will do.
  for (size_t i = 0; i < table.rows.size(); i += 3) {
    const auto& row = table.rows[i];
    Architecture architecture;
    for (const Decision& decision : space->decisions()) {
      const std::string& cell = row[table.Column(decision.name)];
      const auto option =
          std::find(decision.options.begin(), decision.options.end(), cell);
      ASSERT_NE(option, decision.options.end()) << decision.name << cell;
      architecture.choices.push_back(
          static_cast<int>(option - decision.options.begin()));
    }
    const std::string& macs_m = row[table.Column("macs_m")];
    const std::string& params_m = row[table.Column("params_m")];
    if (macs_m.empty() || params_m.empty()) continue;
    const auto graph = space->Decode(architecture);
    ASSERT_TRUE(graph.ok()) << graph.status();
    // The table's tool also counts batch norm, four for each value, and means.
    int64_t counted = MultiplyAccumulates(*graph);
    for (const Node& node : graph->nodes()) {
      if (node.op == OpKind::kBatchNorm) counted += 4 * node.shape.elements();
      if (node.op == OpKind::kGlobalAvgPool) {
        counted +=
            graph->node(node.inputs[0]).shape.elements() + node.shape.channels;
      }
    }
    worst_flops =
        std::max(worst_flops, std::abs(counted / 1e6 / std::stod(macs_m) - 1));
    worst_params = std::max(
        worst_params,
        std::abs(ParameterCount(*graph) / 1e6 / std::stod(params_m) - 1));
    ++compared;
  }
  std::printf(
      "%d networks; largest difference: %.3g of flops, %.3g of params\n",
      compared, worst_flops, worst_params);
  EXPECT_GT(compared, 1500);
  EXPECT_LT(worst_flops, 1e-6);
  EXPECT_LT(worst_params, 1e-6);
}

}  // namespace
}  // namespace hwnas::cli
