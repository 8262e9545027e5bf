#include "agent/runtime/libtorch_runtime.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "agent/graph_exporter.h"
#include "agent/runtime/onnx_runtime.h"
#include "agent/sandbox/measuring_child.h"
#include "agent/sandbox/sandboxed_measurer.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/space/space_factory.h"
#include "proto/convert/convert.h"

namespace hwnas::agent {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::vector<v1::ModelGraph> RandomGraphs() {
  std::vector<v1::ModelGraph> graphs;
  for (const SpaceConfig& config :
       {SpaceConfig(
            Nasbench201Config{.input = {3, 16, 16}, .channels = 8, .cells = 1}),
        SpaceConfig(MobileConfig{.input = {1, 28, 28},
        .classes = 10,
        .width_choices = {0.25, 0.5},
        .search_squeeze_excite = true})}) {
    const auto space = CreateSpace(config);
    for (int i = 0; i < 5; ++i) {
      Rng rng(7, i);
      graphs.push_back(ToProto(*(*space)->Decode((*space)->Sample(rng))));
    }
  }
  return graphs;
}

TEST(LibtorchRuntime, ComputesWhatOnnxRuntimeDoes) {
  const auto libtorch = LibtorchRuntimeFactory()();
  ASSERT_TRUE(libtorch.ok()) << libtorch.status();
  EXPECT_EQ((*libtorch)->name(), "libtorch");
  EXPECT_THAT((*libtorch)->description(), StartsWith("libtorch "));
  const auto onnxruntime = CreateOnnxRuntime();
  ASSERT_TRUE(onnxruntime.ok()) << onnxruntime.status();
  for (const v1::ModelGraph& graph : RandomGraphs()) {
    for (const int batch : {1, 3}) {
      const SessionOptions options = {.batch = batch, .seed = 11};
      const auto session =
          (*libtorch)->Load(graph.SerializeAsString(), options);
      ASSERT_TRUE(session.ok()) << session.status();
      EXPECT_TRUE((*session)->Run().ok());
      const auto got = (*session)->RunForOutputs();
      ASSERT_TRUE(got.ok()) << got.status();
      const auto reference =
          (*onnxruntime)->Load(*ExportForMeasuring(graph, batch), options);
      ASSERT_TRUE(reference.ok()) << reference.status();
      const auto expected = (*reference)->RunForOutputs();
      ASSERT_TRUE(expected.ok()) << expected.status();
      ASSERT_EQ(got->size(), expected->size());
      float scale = 1;
      for (const float value : *expected) {
        scale = std::max(scale, std::abs(value));
      }
      for (size_t i = 0; i < got->size(); ++i) {
        EXPECT_NEAR((*got)[i], (*expected)[i], 1e-4 * scale);
      }
    }
  }
}

TEST(LibtorchRuntime, RefusesWhatIsNoGraph) {
  const auto libtorch = LibtorchRuntimeFactory()();
  ASSERT_TRUE(libtorch.ok()) << libtorch.status();
  EXPECT_EQ((*libtorch)->Load("not a graph", {}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*libtorch)->Load("", {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

// LibTorch, OpenMP and oneDNN need no system call that ONNX Runtime does not.
TEST(LibtorchRuntime, MeasuresInAConfinedProcess) {
  SandboxedMeasurer measurer(SandboxedMeasurerOptions{});
  v1::MeasureTask task;
  task.mutable_measure()->set_runtime("libtorch");
  task.mutable_measure()->mutable_max_time()->set_nanos(300'000'000);
  task.mutable_measure()->mutable_min_time()->set_nanos(10'000'000);
  for (const v1::ModelGraph& graph :
       {RandomGraphs().front(), RandomGraphs().back()}) {
    for (const int threads : {1, 2}) {
      *task.mutable_graph() = graph;
      task.mutable_measure()->set_threads(threads);
      task.mutable_measure()->set_batch(2);
      v1::TaskResult result;
      const absl::Status status = measurer.Measure(task, {}, result);
      ASSERT_TRUE(status.ok()) << status;
      ASSERT_FALSE(result.measurements().empty());
      EXPECT_EQ(result.measurements(0).metric(), "latency_ms");
      EXPECT_GT(result.measurements(0).value(), 0);
      EXPECT_THAT(result.environment().runtime(), StartsWith("libtorch "));
    }
  }
  task.set_onnx("a file");
  v1::TaskResult result;
  const absl::Status status = measurer.Measure(task, {}, result);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("this is an ONNX file: expected the runtime "
                        "onnxruntime"));
}

}  // namespace
}  // namespace hwnas::agent

int main(int argc, char** argv) {
  if (argc > 1 &&
      argv[1] == std::string_view(hwnas::agent::kMeasuringChildArgument)) {
    return hwnas::agent::RunMeasuringChild(
        {.export_graph = hwnas::agent::ExportForMeasuring,
         .create_libtorch = hwnas::agent::LibtorchRuntimeFactory()});
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
