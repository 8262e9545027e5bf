#include "agent/runtime/onnx_runtime.h"

#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "agent/measure/latency_meter.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas::agent {
namespace {

using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::Pointwise;
using ::testing::StartsWith;

constexpr int kFreeBatch = -1;

void Declare(onnx::ValueInfoProto* value, const std::string& name,
             const std::vector<int>& dims,
             int type = onnx::TensorProto::FLOAT) {
  value->set_name(name);
  auto* tensor = value->mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(type);
  for (const int dim : dims) {
    auto* d = tensor->mutable_shape()->add_dim();
    if (dim == kFreeBatch) {
      d->set_dim_param("n");
    } else {
      d->set_dim_value(dim);
    }
  }
}

// y = relu(x W), with W of {features, features}.
onnx::ModelProto DenseModel(int batch, int features) {
  onnx::ModelProto model;
  model.set_ir_version(7);
  model.add_opset_import()->set_version(13);
  onnx::GraphProto& graph = *model.mutable_graph();
  graph.set_name("dense");
  Declare(graph.add_input(), "x", {batch, features});
  Declare(graph.add_output(), "y", {batch, features});
  onnx::TensorProto& weight = *graph.add_initializer();
  weight.set_name("w");
  weight.set_data_type(onnx::TensorProto::FLOAT);
  weight.add_dims(features);
  weight.add_dims(features);
  for (int i = 0; i < features * features; ++i) {
    weight.add_float_data(0.01f * static_cast<float>(i % 7 - 3));
  }
  onnx::NodeProto& product = *graph.add_node();
  product.set_op_type("MatMul");
  product.add_input("x");
  product.add_input("w");
  product.add_output("p");
  onnx::NodeProto& relu = *graph.add_node();
  relu.set_op_type("Relu");
  relu.add_input("p");
  relu.add_output("y");
  return model;
}

class OnnxRuntimeTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { runtime_ = CreateOnnxRuntime()->release(); }
  static void TearDownTestSuite() { delete runtime_; }
  static absl::Status Load(const onnx::ModelProto& model,
                           const SessionOptions& options = {}) {
    return runtime_->Load(model.SerializeAsString(), options).status();
  }
  static Runtime* runtime_;
};
Runtime* OnnxRuntimeTest::runtime_ = nullptr;

TEST_F(OnnxRuntimeTest, SaysWhatItIs) {
  EXPECT_EQ(runtime_->name(), "onnxruntime");
  EXPECT_THAT(runtime_->description(), StartsWith("onnxruntime 1."));
}

TEST_F(OnnxRuntimeTest, RunsAModel) {
  for (const int threads : {1, 2}) {
    auto session = runtime_->Load(DenseModel(1, 64).SerializeAsString(),
                                  {.threads = threads});
    ASSERT_TRUE(session.ok()) << session.status();
    for (int i = 0; i < 3; ++i) EXPECT_TRUE((*session)->Run().ok());
  }
}

TEST_F(OnnxRuntimeTest, ShowsTheOutputsOfTheSeededInput) {
  constexpr int kFeatures = 8;
  const SessionOptions options = {.seed = 5};
  auto session =
      runtime_->Load(DenseModel(2, kFeatures).SerializeAsString(), options);
  ASSERT_TRUE(session.ok()) << session.status();
  Rng rng(options.seed);
  std::vector<float> expected;
  for (int image = 0; image < 2; ++image) {
    double input[kFeatures];
    for (double& value : input) value = rng.Normal();
    for (int out = 0; out < kFeatures; ++out) {
      double sum = 0;
      for (int in = 0; in < kFeatures; ++in) {
        sum += input[in] * 0.01 * ((in * kFeatures + out) % 7 - 3);
      }
      expected.push_back(static_cast<float>(std::max(sum, 0.0)));
    }
  }
  const auto outputs = (*session)->RunForOutputs();
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT(*outputs, Pointwise(FloatNear(1e-5f), expected));
}

TEST_F(OnnxRuntimeTest, SetsAFreeBatchAndChecksAFixedOne) {
  const onnx::ModelProto free = DenseModel(kFreeBatch, 8);
  EXPECT_TRUE(Load(free).ok());
  EXPECT_TRUE(Load(free, {.batch = 5}).ok());
  const onnx::ModelProto fixed = DenseModel(2, 8);
  EXPECT_TRUE(Load(fixed).ok());
  EXPECT_TRUE(Load(fixed, {.batch = 2}).ok());
  const absl::Status status = Load(fixed, {.batch = 3});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("fixed batch of 2, but a batch of 3"));
}

TEST_F(OnnxRuntimeTest, ALargerBatchTakesLonger) {
  RealSteadyClock clock;
  const LatencyMeterOptions options = {.min_time = absl::Milliseconds(50),
                                       .max_time = absl::Milliseconds(500)};
  double median_ms[2];
  int i = 0;
  for (const int batch : {1, 1024}) {
    auto session = runtime_->Load(
        DenseModel(kFreeBatch, 256).SerializeAsString(), {.batch = batch});
    ASSERT_TRUE(session.ok()) << session.status();
    const auto report = MeasureLatency(**session, options, clock, nullptr);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_GT(report->median_ms, 0);
    median_ms[i++] = report->median_ms;
  }
  EXPECT_GT(median_ms[1], 2 * median_ms[0]);
}

TEST_F(OnnxRuntimeTest, RefusesWhatIsNotAModel) {
  for (const std::string& bytes :
       {std::string(), std::string("not a model"), std::string(1000, '\xff'),
        DenseModel(1, 8).SerializeAsString().substr(0, 100)}) {
    EXPECT_EQ(runtime_->Load(bytes, {}).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  onnx::ModelProto unknown = DenseModel(1, 8);
  unknown.mutable_graph()->mutable_node(1)->set_op_type("Teleport");
  const absl::Status status = Load(unknown);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("Teleport"));
}

TEST_F(OnnxRuntimeTest, RefusesInputsThatItCannotFill) {
  onnx::ModelProto model = DenseModel(1, 8);
  Declare(model.mutable_graph()->add_input(), "ids", {1},
          onnx::TensorProto::INT64);
  EXPECT_THAT(std::string(Load(model).message()),
              HasSubstr("\"ids\" is not a float32 tensor"));
  model = DenseModel(1, 8);
  model.mutable_graph()
      ->mutable_input(0)
      ->mutable_type()
      ->mutable_tensor_type()
      ->mutable_shape()
      ->mutable_dim(1)
      ->set_dim_param("free");
  EXPECT_THAT(std::string(Load(model).message()),
              HasSubstr("dimension 1 of input \"x\" is not fixed"));
  model = DenseModel(1, 8);
  Declare(model.mutable_graph()->add_input(), "huge", {1 << 20, 1 << 20});
  EXPECT_THAT(std::string(Load(model).message()), HasSubstr("too large"));
}

// A model from the network must not read files of the device.
TEST_F(OnnxRuntimeTest, RefusesModelsThatReferToFiles) {
  for (const char* location : {"/proc/self/environ", "weights.bin",
                               "../../../../../../proc/self/environ"}) {
    onnx::ModelProto model = DenseModel(1, 8);
    onnx::TensorProto& weight = *model.mutable_graph()->mutable_initializer(0);
    weight.clear_float_data();
    weight.set_data_location(onnx::TensorProto::EXTERNAL);
    auto* entry = weight.add_external_data();
    entry->set_key("location");
    entry->set_value(location);
    entry = weight.add_external_data();
    entry->set_key("length");
    entry->set_value("256");
    const absl::Status status = Load(model);
    EXPECT_FALSE(status.ok()) << location;
    EXPECT_NE(status.code(), absl::StatusCode::kResourceExhausted) << status;
  }
}

}  // namespace
}  // namespace hwnas::agent
