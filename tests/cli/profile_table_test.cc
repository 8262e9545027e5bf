#include "cli/profile_table.h"

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

Profiled Measured(const std::string& model, const std::string& device_class,
                  double latency_ms) {
  Profiled p{.model = model, .device_class = device_class};
  v1::Measurement& latency = *p.result.add_measurements();
  latency.set_metric("latency_ms");
  latency.set_value(latency_ms);
  latency.set_ci_low(latency_ms - 0.1);
  latency.set_ci_high(latency_ms + 0.1);
  latency.set_device("devices/" + device_class + "-1");
  v1::Measurement& p90 = *p.result.add_measurements();
  p90.set_metric("latency_p90_ms");
  p90.set_value(latency_ms + 1);
  return p;
}

TEST(ComparisonTable, ComparesWithTheFastestOfEachDeviceClass) {
  std::vector<Profiled> profiled = {
      Measured("a.onnx", "pi", 10), Measured("a.onnx", "x86_64", 3),
      Measured("b.onnx", "pi", 25), Measured("b.onnx", "x86_64", 2)};
  for (v1::Measurement& m : *profiled[2].result.mutable_measurements()) {
    m.add_flags("NOISY: load 3");
  }
  const auto rows = ComparisonTable(profiled).ToJson();
  ASSERT_EQ(rows.size(), 4);
  EXPECT_EQ(rows[0]["model"], "a.onnx");
  EXPECT_EQ(rows[0]["latency_ms"], 10);
  EXPECT_EQ(rows[0]["ci_low"], 9.9);
  EXPECT_EQ(rows[0]["latency_p90_ms"], 11);
  EXPECT_EQ(rows[0]["times_fastest"], 1);
  EXPECT_EQ(rows[1]["times_fastest"], 1.5);
  EXPECT_EQ(rows[2]["times_fastest"], 2.5);
  EXPECT_EQ(rows[3]["times_fastest"], 1);
  EXPECT_EQ(rows[2]["device"], "devices/pi-1");
  EXPECT_EQ(rows[2]["remarks"], "NOISY: load 3");
  EXPECT_FALSE(rows[0].contains("energy_mj"));
}

TEST(ComparisonTable, KeepsARowForWhatFailed) {
  Profiled failed{.model = "bad.onnx",
                  .device_class = "pi",
                  .status = absl::InternalError("the model crashed")};
  Profiled with_energy = Measured("a.onnx", "pi", 10);
  v1::Measurement& energy = *with_energy.result.add_measurements();
  energy.set_metric("energy_mj");
  energy.set_value(7);
  const Table table = ComparisonTable({failed, with_energy});
  const auto rows = table.ToJson();
  ASSERT_EQ(rows.size(), 2);
  EXPECT_TRUE(rows[0]["latency_ms"].is_null());
  EXPECT_TRUE(rows[0]["times_fastest"].is_null());
  EXPECT_EQ(rows[0]["remarks"], "the model crashed");
  EXPECT_EQ(rows[1]["energy_mj"], 7);
  EXPECT_THAT(table.ToText(), HasSubstr("energy [mJ]"));
}

TEST(MetricTable, HasARowForEachMetric) {
  const auto rows = MetricTable(Measured("a.onnx", "pi", 10).result).ToJson();
  ASSERT_EQ(rows.size(), 2);
  EXPECT_EQ(rows[0]["metric"], "latency_ms");
  EXPECT_EQ(rows[1]["value"], 11);
}

TEST(ModelFiles, TakesFilesAndFoldersOfThem) {
  const std::filesystem::path root =
      std::filesystem::path(::testing::TempDir()) / "model_files_test";
  std::filesystem::remove_all(root);
  std::filesystem::create_directories(root / "models");
  std::filesystem::create_directories(root / "empty");
  for (const char* name :
       {"models/b.onnx", "models/a.onnx", "models/notes.txt", "c.bin"}) {
    std::ofstream(root / name) << "x";
  }
  const auto files =
      ModelFiles({root / "c.bin", root / "models", root / "models" / "a.onnx"});
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_THAT(*files,
              ElementsAre(EndsWith("/c.bin"), EndsWith("/models/a.onnx"),
                          EndsWith("/models/b.onnx")));
  EXPECT_THAT(std::string(ModelFiles({root / "empty"}).status().message()),
              HasSubstr("no file in this folder ends in .onnx"));
  EXPECT_THAT(std::string(ModelFiles({root / "gone"}).status().message()),
              EndsWith("/gone: no such file or folder"));
}

}  // namespace
}  // namespace hwnas::cli
