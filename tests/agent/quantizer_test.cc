#include "agent/quantizer.h"

#include <onnx/onnx_pb.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "agent/graph_exporter.h"
#include "agent/runtime/onnx_runtime.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/space/space_factory.h"
#include "proto/convert/convert.h"

namespace hwnas::agent {
namespace {

using ::testing::HasSubstr;

class QuantizerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { runtime_ = CreateOnnxRuntime()->release(); }
  static void TearDownTestSuite() { delete runtime_; }

  static std::vector<float> Outputs(const std::string& onnx, uint64_t seed) {
    const auto session = runtime_->Load(onnx, {.seed = seed});
    EXPECT_TRUE(session.ok()) << session.status();
    if (!session.ok()) return {};
    const auto outputs = (*session)->RunForOutputs();
    EXPECT_TRUE(outputs.ok()) << outputs.status();
    return outputs.ok() ? *outputs : std::vector<float>();
  }

  // Power of the outputs over that of their error, on inputs that the ranges do
  // not come from.
  static double SignalToNoiseDb(const std::string& fp32,
                                const std::string& int8) {
    double signal = 0, noise = 0;
    for (uint64_t seed = 100; seed < 104; ++seed) {
      const std::vector<float> expected = Outputs(fp32, seed);
      const std::vector<float> got = Outputs(int8, seed);
      EXPECT_EQ(expected.size(), got.size());
      if (expected.size() != got.size()) return 0;
      for (size_t i = 0; i < got.size(); ++i) {
        signal += expected[i] * expected[i];
        noise += (got[i] - expected[i]) * (got[i] - expected[i]);
      }
    }
    return 10 * std::log10(signal / noise);
  }

  static void CheckSpace(const SpaceConfig& config, int count,
                         double least_db) {
    const auto space = CreateSpace(config);
    ASSERT_TRUE(space.ok()) << space.status();
    for (int i = 0; i < count; ++i) {
      Rng rng(5, i);
      const Architecture architecture = (*space)->Sample(rng);
      const auto graph = (*space)->Decode(architecture);
      ASSERT_TRUE(graph.ok()) << graph.status();
      const auto fp32 = ExportForMeasuring(ToProto(*graph), 1);
      ASSERT_TRUE(fp32.ok()) << fp32.status();
      const auto int8 = QuantizeForMeasuring(*fp32, 1);
      ASSERT_TRUE(int8.ok()) << int8.status();
      const double db = SignalToNoiseDb(*fp32, *int8);
      RecordProperty("db_" + std::to_string(i), std::to_string(db));
      EXPECT_GT(db, least_db) << (*space)->ToText(architecture);
    }
  }

  static Runtime* runtime_;
};
Runtime* QuantizerTest::runtime_ = nullptr;

TEST_F(QuantizerTest, AgreesWithFloatsOnRandomNasbench201Networks) {
  CheckSpace(
      Nasbench201Config{.input = {3, 32, 32}, .channels = 16, .cells = 1}, 8,
      25);
}

// Rounding grows through their many layers: with random weights, quantising
// nothing but the inputs of convolutions leaves 15 dB of some.
TEST_F(QuantizerTest, AgreesWithFloatsOnRandomMobileNetworks) {
  CheckSpace(
      MobileConfig{
          .input = {1, 28, 28}, .classes = 10, .width_choices = {0.25, 0.5}},
      6, 8);
}

TEST_F(QuantizerTest, KeepsAFreeBatch) {
  const auto space = CreateSpace(
      Nasbench201Config{.input = {1, 8, 8}, .channels = 4, .cells = 1});
  Rng rng(1);
  const auto graph = (*space)->Decode((*space)->Sample(rng));
  onnx::ModelProto model;
  ASSERT_TRUE(model.ParseFromString(*ExportForMeasuring(ToProto(*graph), 1)));
  for (auto* value : {model.mutable_graph()->mutable_input(0),
                      model.mutable_graph()->mutable_output(0)}) {
    value->mutable_type()
        ->mutable_tensor_type()
        ->mutable_shape()
        ->mutable_dim(0)
        ->set_dim_param("n");
  }
  const auto int8 = QuantizeForMeasuring(model.SerializeAsString(), 4);
  ASSERT_TRUE(int8.ok()) << int8.status();
  const auto session = runtime_->Load(*int8, {.batch = 4});
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_EQ((*session)->RunForOutputs()->size(), 40u);
}

TEST_F(QuantizerTest, SaysWhyNot) {
  GraphBuilder b;
  b.GlobalAvgPool(b.Relu(b.Input({3, 4, 4})));
  const auto plain = ExportForMeasuring(ToProto(*std::move(b).Build()), 1);
  ASSERT_TRUE(plain.ok()) << plain.status();
  const auto int8 = QuantizeForMeasuring(*plain, 1);
  EXPECT_EQ(int8.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(int8.status().message()),
              HasSubstr("nothing to quantise"));
  EXPECT_FALSE(QuantizeForMeasuring("nonsense", 1).ok());
}

}  // namespace
}  // namespace hwnas::agent
