#include "model/onnx/onnx_quantize.h"

#include <onnx/onnx_pb.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/onnx/onnx_batch.h"
#include "model/onnx/onnx_export.h"
#include "model/weights.h"
#include "nas/graph/model_graph.h"

namespace hwnas {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

onnx::ModelProto Parse(const std::string& bytes) {
  onnx::ModelProto model;
  EXPECT_TRUE(model.ParseFromString(bytes));
  return model;
}

// image -> stem (convolution with bias) -> relu -> pool -> mean -> head.
onnx::ModelProto SmallModel() {
  GraphBuilder b;
  const int conv =
      b.Conv2d(b.Input({1, 8, 8}),
               {.out_channels = 4, .kernel = 3, .padding = 1, .bias = true});
  b.Linear(b.GlobalAvgPool(b.MaxPool(b.Relu(conv), {.kernel = 2, .stride = 2})),
           3);
  const ModelGraph graph = *std::move(b).Build();
  return Parse(*ExportOnnx(graph, RandomWeights(graph, 1)));
}

std::map<std::string, ValueRange> SomeRanges(const OnnxQuantizer& quantizer) {
  std::map<std::string, ValueRange> ranges;
  for (const std::string& name : quantizer.observed()) ranges[name] = {-1, 3};
  return ranges;
}

const onnx::NodeProto& NodeThatMakes(const onnx::ModelProto& model,
                                     const std::string& name) {
  for (const auto& node : model.graph().node()) {
    for (const auto& output : node.output()) {
      if (output == name) return node;
    }
  }
  static const onnx::NodeProto none;
  return none;
}

const onnx::TensorProto& Constant(const onnx::ModelProto& model,
                                  const std::string& name) {
  for (const auto& tensor : model.graph().initializer()) {
    if (tensor.name() == name) return tensor;
  }
  static const onnx::TensorProto none;
  return none;
}

template <typename T>
std::vector<T> Values(const onnx::TensorProto& tensor) {
  std::vector<T> values(tensor.raw_data().size() / sizeof(T));
  std::memcpy(values.data(), tensor.raw_data().data(),
              tensor.raw_data().size());
  return values;
}

const onnx::NodeProto& NodeOf(const onnx::ModelProto& model, const char* op) {
  for (const auto& node : model.graph().node()) {
    if (node.op_type() == op) return node;
  }
  static const onnx::NodeProto none;
  return none;
}

int Count(const onnx::ModelProto& model, const std::string& op) {
  int count = 0;
  for (const auto& node : model.graph().node()) count += node.op_type() == op;
  return count;
}

TEST(OnnxQuantizer, PutsIntegersAroundAConvolution) {
  const onnx::ModelProto before = SmallModel();
  const auto quantizer = OnnxQuantizer::Create(before.SerializeAsString());
  ASSERT_TRUE(quantizer.ok()) << quantizer.status();
  const auto bytes = quantizer->Quantize(SomeRanges(*quantizer));
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const onnx::ModelProto model = Parse(*bytes);

  const onnx::NodeProto& conv = NodeOf(model, "Conv");
  ASSERT_EQ(conv.input_size(), 3);
  for (const std::string& input : conv.input()) {
    EXPECT_EQ(NodeThatMakes(model, input).op_type(), "DequantizeLinear");
  }
  const onnx::NodeProto& image =
      NodeThatMakes(model, NodeThatMakes(model, conv.input(0)).input(0));
  EXPECT_EQ(image.op_type(), "QuantizeLinear");
  EXPECT_EQ(image.input(0), "image");
  // Four steps of -1 to 3: zero is a quarter up.
  EXPECT_FLOAT_EQ(Values<float>(Constant(model, image.input(1)))[0],
                  4.0f / 255);
  EXPECT_EQ(Values<uint8_t>(Constant(model, image.input(2)))[0], 64);

  // A scale for each channel, by its largest weight.
  const onnx::NodeProto& weight = NodeThatMakes(model, conv.input(1));
  const onnx::TensorProto& integers = Constant(model, weight.input(0));
  EXPECT_EQ(integers.data_type(), onnx::TensorProto::INT8);
  const std::vector<float> scales =
      Values<float>(Constant(model, weight.input(1)));
  const std::vector<int8_t> steps = Values<int8_t>(integers);
  const std::vector<float> floats =
      Values<float>(Constant(before, NodeOf(before, "Conv").input(1)));
  ASSERT_EQ(scales.size(), 4u);
  ASSERT_EQ(steps.size(), floats.size());
  for (size_t c = 0; c < 4; ++c) {
    int most = 0;
    for (size_t i = 9 * c; i < 9 * (c + 1); ++i) {
      EXPECT_NEAR(steps[i] * scales[c], floats[i], 0.5001 * scales[c]);
      most = std::max(most, std::abs(steps[i]));
    }
    EXPECT_EQ(most, 64);
  }
  // The bias in steps of both.
  const onnx::NodeProto& bias = NodeThatMakes(model, conv.input(2));
  EXPECT_EQ(Constant(model, bias.input(0)).data_type(),
            onnx::TensorProto::INT32);
  EXPECT_FLOAT_EQ(Values<float>(Constant(model, bias.input(1)))[2],
                  scales[2] * (4.0f / 255));

  // The rectifier is part of it: nothing is rounded between.
  const onnx::NodeProto& relu = NodeOf(model, "Relu");
  EXPECT_EQ(NodeThatMakes(model, relu.input(0)).op_type(), "Conv");
  bool rounded = false;
  for (const auto& node : model.graph().node()) {
    rounded = rounded || (node.op_type() == "QuantizeLinear" &&
                          node.input(0) == relu.output(0));
  }
  EXPECT_TRUE(rounded);
  // Pooling passes integers on: of the same scale.
  const onnx::NodeProto& pool = NodeOf(model, "MaxPool");
  const onnx::NodeProto& pooled = NodeThatMakes(model, pool.input(0));
  EXPECT_EQ(pooled.op_type(), "DequantizeLinear");
  EXPECT_EQ(pooled.input_size(), 3);
  // Nobody carries the weights twice.
  for (const auto& tensor : model.graph().initializer()) {
    EXPECT_FALSE(tensor.data_type() == onnx::TensorProto::FLOAT &&
                 tensor.dims_size() > 1)
        << tensor.name();
  }
  EXPECT_EQ(Count(model, "Gemm"), 1);
  EXPECT_LT(bytes->size(), before.ByteSizeLong() + 6000);
}

TEST(OnnxQuantizer, ShowsTheTensorsThatAreToBeObserved) {
  const auto quantizer =
      OnnxQuantizer::Create(SmallModel().SerializeAsString());
  ASSERT_TRUE(quantizer.ok());
  EXPECT_THAT(quantizer->observed(), Contains("image"));
  const onnx::ModelProto model = Parse(*quantizer->observed_model());
  std::vector<std::string> outputs;
  for (const auto& output : model.graph().output()) {
    outputs.push_back(output.name());
  }
  EXPECT_THAT(outputs, Not(Contains("image")));
  EXPECT_EQ(outputs.front(), "logits");
  EXPECT_EQ(outputs.size(), quantizer->observed().size());
}

TEST(OnnxQuantizer, SaysThatThereIsNothingToQuantise) {
  GraphBuilder b;
  b.GlobalAvgPool(b.Relu(b.Input({3, 4, 4})));
  const ModelGraph graph = *std::move(b).Build();
  const auto quantizer =
      OnnxQuantizer::Create(*ExportOnnx(graph, RandomWeights(graph, 1)));
  EXPECT_EQ(quantizer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(quantizer.status().message()),
              HasSubstr("nothing to quantise to int8"));
}

TEST(OnnxQuantizer, GivesOldOperatorSetsOneScaleForAllChannels) {
  onnx::ModelProto model = SmallModel();
  model.mutable_opset_import(0)->set_version(11);
  const auto quantizer = OnnxQuantizer::Create(model.SerializeAsString());
  ASSERT_TRUE(quantizer.ok()) << quantizer.status();
  const onnx::ModelProto int8 =
      Parse(*quantizer->Quantize(SomeRanges(*quantizer)));
  const onnx::NodeProto& weight =
      NodeThatMakes(int8, NodeOf(int8, "Conv").input(1));
  EXPECT_EQ(weight.attribute_size(), 0);
  EXPECT_EQ(Constant(int8, weight.input(1)).dims_size(), 0);
  model.mutable_opset_import(0)->set_version(9);
  EXPECT_THAT(
      std::string(
          OnnxQuantizer::Create(model.SerializeAsString()).status().message()),
      HasSubstr("operator set 9, which cannot be quantised"));
}

TEST(OnnxQuantizer, FitsBiasesThatAreLargeForTheirWeights) {
  onnx::ModelProto model = SmallModel();
  const std::string weight = NodeOf(model, "Conv").input(1);
  for (auto& tensor : *model.mutable_graph()->mutable_initializer()) {
    if (tensor.name() != weight) continue;
    std::vector<float> values = Values<float>(tensor);
    for (float& value : values) value *= 1e-12f;
    tensor.set_raw_data(values.data(), values.size() * sizeof(float));
  }
  const auto quantizer = OnnxQuantizer::Create(model.SerializeAsString());
  const onnx::ModelProto int8 =
      Parse(*quantizer->Quantize(SomeRanges(*quantizer)));
  const onnx::NodeProto& bias =
      NodeThatMakes(int8, NodeOf(int8, "Conv").input(2));
  const std::vector<int32_t> steps =
      Values<int32_t>(Constant(int8, bias.input(0)));
  const std::vector<float> scales =
      Values<float>(Constant(int8, bias.input(1)));
  const std::vector<float> floats =
      Values<float>(Constant(model, NodeOf(model, "Conv").input(2)));
  for (size_t c = 0; c < floats.size(); ++c) {
    EXPECT_NEAR(steps[c] * static_cast<double>(scales[c]), floats[c],
                1e-5 + 1e-5 * std::abs(floats[c]));
  }
}

TEST(OnnxQuantizer, NeedsARangeForEachTensor) {
  const auto quantizer =
      OnnxQuantizer::Create(SmallModel().SerializeAsString());
  auto ranges = SomeRanges(*quantizer);
  ranges["image"].high = std::numeric_limits<float>::infinity();
  EXPECT_THAT(std::string(quantizer->Quantize(ranges).status().message()),
              HasSubstr("tensor \"image\" has no finite range"));
  ranges.erase("image");
  EXPECT_FALSE(quantizer->Quantize(ranges).ok());
}

// Bounded by its size, whatever it says.
TEST(OnnxQuantizer, TakesNoWordOfAHostileFile) {
  EXPECT_FALSE(OnnxQuantizer::Create("not a model").ok());
  EXPECT_FALSE(OnnxQuantizer::Create("").ok());
  const onnx::ModelProto good = SmallModel();
  const std::string bytes = good.SerializeAsString();
  for (size_t i = 0; i < bytes.size(); i += 7) {
    std::string broken = bytes;
    broken[i] = static_cast<char>(broken[i] ^ 0x5a);
    const auto quantizer = OnnxQuantizer::Create(broken);
    if (!quantizer.ok()) continue;
    const auto quantized = quantizer->Quantize(SomeRanges(*quantizer));
    EXPECT_TRUE(!quantized.ok() || !quantized->empty());
  }
  onnx::ModelProto huge = good;
  for (auto& tensor : *huge.mutable_graph()->mutable_initializer()) {
    tensor.clear_dims();
    tensor.add_dims(int64_t{1} << 62);
    tensor.add_dims(int64_t{1} << 62);
    tensor.add_dims(4);
  }
  EXPECT_THAT(
      std::string(
          OnnxQuantizer::Create(huge.SerializeAsString()).status().message()),
      HasSubstr("nothing to quantise"));
}

TEST(OnnxQuantizer, TakesNamesThatNobodyHas) {
  onnx::ModelProto model = SmallModel();
  // Someone has called a tensor so.
  onnx::NodeProto* node = model.mutable_graph()->add_node();
  node->set_op_type("Identity");
  node->add_input("image");
  node->add_output("image/qdq/scale");
  const auto quantizer = OnnxQuantizer::Create(model.SerializeAsString());
  const onnx::ModelProto int8 =
      Parse(*quantizer->Quantize(SomeRanges(*quantizer)));
  EXPECT_EQ(Constant(int8, "image/qdq/scale").name(), "");
  EXPECT_EQ(Constant(int8, "image/qdq_/scale").name(), "image/qdq_/scale");
}

TEST(FixOnnxBatch, PutsTheBatchInPlaceOfAFreeOne) {
  onnx::ModelProto model = SmallModel();
  auto* dim = model.mutable_graph()
                  ->mutable_input(0)
                  ->mutable_type()
                  ->mutable_tensor_type()
                  ->mutable_shape()
                  ->mutable_dim(0);
  EXPECT_EQ(dim->dim_value(), 1);
  std::string bytes = model.SerializeAsString();
  EXPECT_EQ(*FixOnnxBatch(bytes, 0), bytes);
  EXPECT_EQ(*FixOnnxBatch(bytes, 1), bytes);
  EXPECT_THAT(std::string(FixOnnxBatch(bytes, 2).status().message()),
              HasSubstr("has a fixed batch of 1, but a batch of 2"));
  dim->set_dim_param("n");
  bytes = model.SerializeAsString();
  for (const int batch : {0, 3}) {
    const onnx::ModelProto fixed = Parse(*FixOnnxBatch(bytes, batch));
    EXPECT_EQ(
        fixed.graph().input(0).type().tensor_type().shape().dim(0).dim_value(),
        std::max(1, batch));
  }
  model.mutable_graph()
      ->mutable_input(0)
      ->mutable_type()
      ->mutable_tensor_type()
      ->mutable_shape()
      ->mutable_dim(2)
      ->set_dim_param("h");
  EXPECT_THAT(
      std::string(
          FixOnnxBatch(model.SerializeAsString(), 1).status().message()),
      HasSubstr("dimension 2 of input \"image\" is not fixed"));
  EXPECT_FALSE(FixOnnxBatch("nonsense", 1).ok());
}

}  // namespace
}  // namespace hwnas
