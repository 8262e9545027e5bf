// Models that are made to harm: each costs one attempt, and ends with a reason.
//
//   HWNAS_HOSTILE_MODELS=200 agent_sandbox_test --gtest_filter='Hostile*'
#include <onnx/onnx_pb.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "agent/sandbox/sandboxed_measurer.h"
#include "common/rng.h"
#include "gtest/gtest.h"
#include "proto/convert/convert.h"

namespace hwnas::agent {
namespace {

constexpr int kDefaultModels = 36;
// Of one attempt: at least the time in which a wrong one may load and run.
constexpr absl::Duration kTimeLimit = absl::Milliseconds(1500);
constexpr int64_t kMemoryLimit = int64_t{1} << 30;

void Declare(onnx::ValueInfoProto* value, const std::string& name,
             const std::vector<int64_t>& dims,
             int type = onnx::TensorProto::FLOAT) {
  value->set_name(name);
  auto* tensor = value->mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(type);
  tensor->mutable_shape();  // Known, if there are no dimensions: a scalar.
  for (const int64_t dim : dims) {
    tensor->mutable_shape()->add_dim()->set_dim_value(dim);
  }
}

onnx::NodeProto& AddNode(onnx::GraphProto& graph, const std::string& type,
                         const std::vector<std::string>& inputs,
                         const std::string& output) {
  onnx::NodeProto& node = *graph.add_node();
  node.set_op_type(type);
  for (const std::string& input : inputs) node.add_input(input);
  node.add_output(output);
  return node;
}

onnx::TensorProto& AddTensor(onnx::GraphProto& graph, const std::string& name,
                             const std::vector<int64_t>& dims, int type) {
  onnx::TensorProto& tensor = *graph.add_initializer();
  tensor.set_name(name);
  tensor.set_data_type(type);
  for (const int64_t dim : dims) tensor.add_dims(dim);
  return tensor;
}

// y = relu(x + w) on 8 values: nothing wrong with it.
onnx::ModelProto Harmless() {
  onnx::ModelProto model;
  model.set_ir_version(7);
  model.add_opset_import()->set_version(13);
  onnx::GraphProto& graph = *model.mutable_graph();
  graph.set_name("g");
  Declare(graph.add_input(), "x", {8});
  Declare(graph.add_output(), "y", {8});
  onnx::TensorProto& w = AddTensor(graph, "w", {8}, onnx::TensorProto::FLOAT);
  for (int i = 0; i < 8; ++i) w.add_float_data(static_cast<float>(i));
  AddNode(graph, "Add", {"x", "w"}, "s");
  AddNode(graph, "Relu", {"s"}, "y");
  return model;
}

using Maker = std::string (*)(Rng& rng);

std::string Truncated(Rng& rng) {
  const std::string whole = Harmless().SerializeAsString();
  return whole.substr(0, rng.Below(whole.size()));
}
std::string RandomBytes(Rng& rng) {
  std::string bytes(1 + rng.Below(5000), '\0');
  for (char& byte : bytes) byte = static_cast<char>(rng.Below(256));
  return bytes;
}
std::string FlippedBytes(Rng& rng) {
  std::string bytes = Harmless().SerializeAsString();
  for (uint64_t i = 1 + rng.Below(8); i > 0; --i) {
    bytes[rng.Below(bytes.size())] = static_cast<char>(rng.Below(256));
  }
  return bytes;
}
std::string HugeWeight(Rng& rng) {
  onnx::ModelProto model = Harmless();
  onnx::GraphProto& graph = *model.mutable_graph();
  graph.clear_node();
  std::vector<int64_t> dims;
  for (uint64_t i = 1 + rng.Below(3); i > 0; --i) {
    dims.push_back(int64_t{1} << (20 + rng.Below(43)));
  }
  AddTensor(graph, "huge", dims, onnx::TensorProto::FLOAT);
  AddNode(graph, "ReduceSum", {"huge"}, "sum");
  AddNode(graph, "Add", {"x", "sum"}, "y");
  return model.SerializeAsString();
}
std::string HugeInput(Rng& rng) {
  onnx::ModelProto model = Harmless();
  model.mutable_graph()->clear_input();
  Declare(model.mutable_graph()->add_input(), "x",
          {int64_t{1} << (28 + rng.Below(34)), 8});
  return model.SerializeAsString();
}
std::string NegativeShape(Rng& rng) {
  onnx::ModelProto model = Harmless();
  model.mutable_graph()->clear_input();
  Declare(model.mutable_graph()->add_input(), "x",
          {8, -2 - static_cast<int64_t>(rng.Below(1000))});
  return model.SerializeAsString();
}
// Its weights are small; what it computes is not.
std::string OutOfMemory(Rng& rng) {
  onnx::ModelProto model = Harmless();
  onnx::GraphProto& graph = *model.mutable_graph();
  graph.clear_node();
  onnx::TensorProto& shape =
      AddTensor(graph, "shape", {2}, onnx::TensorProto::INT64);
  shape.add_int64_data(int64_t{1} << (16 + rng.Below(24)));
  shape.add_int64_data(1 << 12);
  AddNode(graph, "ConstantOfShape", {"shape"}, "big");
  AddNode(graph, "ReduceSum", {"big"}, "sum");
  AddNode(graph, "Add", {"x", "sum"}, "y");
  return model.SerializeAsString();
}
std::string EndlessLoop(Rng& rng) {
  onnx::ModelProto model = Harmless();
  onnx::GraphProto& graph = *model.mutable_graph();
  graph.clear_node();
  AddTensor(graph, "trips", {}, onnx::TensorProto::INT64)
      .add_int64_data(std::numeric_limits<int64_t>::max() -
                      static_cast<int64_t>(rng.Below(1000)));
  AddTensor(graph, "go", {}, onnx::TensorProto::BOOL).add_int32_data(1);
  onnx::NodeProto& loop = AddNode(graph, "Loop", {"trips", "go", "x"}, "y");
  onnx::AttributeProto& attribute = *loop.add_attribute();
  attribute.set_name("body");
  attribute.set_type(onnx::AttributeProto::GRAPH);
  onnx::GraphProto& body = *attribute.mutable_g();
  body.set_name("body");
  Declare(body.add_input(), "i", {}, onnx::TensorProto::INT64);
  Declare(body.add_input(), "go_in", {}, onnx::TensorProto::BOOL);
  Declare(body.add_input(), "v", {8});
  Declare(body.add_output(), "go_out", {}, onnx::TensorProto::BOOL);
  Declare(body.add_output(), "v_out", {8});
  AddNode(body, "Identity", {"go_in"}, "go_out");
  AddNode(body, "Sin", {"v"}, "v_out");
  return model.SerializeAsString();
}
std::string UnknownOperator(Rng& rng) {
  onnx::ModelProto model = Harmless();
  onnx::NodeProto& node = *model.mutable_graph()->mutable_node(1);
  node.set_op_type(absl::StrCat("Teleport", rng.Below(1000)));
  if (rng.Below(2) == 0) node.set_domain("com.example.evil");
  return model.SerializeAsString();
}
std::string CycleOrClash(Rng& rng) {
  onnx::ModelProto model = Harmless();
  onnx::GraphProto& graph = *model.mutable_graph();
  if (rng.Below(2) == 0) {
    graph.mutable_node(0)->set_input(1, "y");
  } else {
    AddNode(graph, "Neg", {"x"}, "s");
  }
  return model.SerializeAsString();
}
std::string FileOfTheMachine(Rng& rng) {
  onnx::ModelProto model = Harmless();
  onnx::TensorProto& w = *model.mutable_graph()->mutable_initializer(0);
  w.clear_float_data();
  w.set_data_location(onnx::TensorProto::EXTERNAL);
  const std::vector<std::string> files = {
      "/etc/passwd", "../../../../etc/shadow", "/dev/zero", "/proc/self/mem"};
  onnx::StringStringEntryProto& entry = *w.add_external_data();
  entry.set_key("location");
  entry.set_value(files[rng.Below(files.size())]);
  return model.SerializeAsString();
}
// If within If within If ...
std::string DeeplyNested(Rng& rng) {
  onnx::ModelProto model = Harmless();
  onnx::GraphProto* graph = model.mutable_graph();
  graph->clear_node();
  AddTensor(*graph, "yes", {}, onnx::TensorProto::BOOL).add_int32_data(1);
  const int depth = 5 + static_cast<int>(rng.Below(60));
  for (int i = 0; i < depth; ++i) {
    onnx::NodeProto& node =
        AddNode(*graph, "If", {"yes"}, i == 0 ? "y" : absl::StrCat("v", i));
    for (const char* branch : {"else_branch", "then_branch"}) {
      onnx::AttributeProto& attribute = *node.add_attribute();
      attribute.set_name(branch);
      attribute.set_type(onnx::AttributeProto::GRAPH);
      onnx::GraphProto& inner = *attribute.mutable_g();
      inner.set_name(absl::StrCat(branch, i));
      Declare(inner.add_output(), absl::StrCat("v", i + 1), {8});
      if (branch[0] == 'e' || i + 1 == depth) {
        AddNode(inner, "Neg", {"x"}, absl::StrCat("v", i + 1));
      } else {
        graph = &inner;
      }
    }
  }
  return model.SerializeAsString();
}

// The model, if it can be read at all, with a product beside it: something to
// quantise.
std::string WithProduct(const std::string& bytes) {
  onnx::ModelProto model;
  if (!model.ParseFromString(bytes)) return bytes;
  onnx::GraphProto& graph = *model.mutable_graph();
  Declare(graph.add_input(), "product_x", {1, 8});
  Declare(graph.add_output(), "product_y", {1, 8});
  onnx::TensorProto& w =
      AddTensor(graph, "product_w", {8, 8}, onnx::TensorProto::FLOAT);
  for (int i = 0; i < 64; ++i) w.add_float_data(static_cast<float>(i - 32));
  AddNode(graph, "MatMul", {"product_x", "product_w"}, "product_y");
  return model.SerializeAsString();
}

struct Kind {
  const char* name;
  Maker make;
};
constexpr Kind kKinds[] = {
    {"truncated", Truncated},
    {"random bytes", RandomBytes},
    {"flipped bytes", FlippedBytes},
    {"huge weight", HugeWeight},
    {"huge input", HugeInput},
    {"negative shape", NegativeShape},
    {"out of memory", OutOfMemory},
    {"endless loop", EndlessLoop},
    {"unknown operator", UnknownOperator},
    {"cycle or clash", CycleOrClash},
    {"file of the machine", FileOfTheMachine},
    {"deeply nested", DeeplyNested},
};
// These may happen to be models that work.
bool MayWork(absl::string_view kind) {
  return kind == "flipped bytes" || kind == "deeply nested";
}

class HostileModelsTest : public ::testing::Test {
 protected:
  absl::Status Measure(const std::string& onnx, const char* precision,
                       const LatencyHooks& hooks = {},
                       absl::Duration max_time = absl::Milliseconds(20)) {
    v1::MeasureTask task;
    task.set_onnx(onnx);
    task.mutable_measure()->set_precision(precision);
    task.mutable_measure()->mutable_min_time()->set_nanos(1'000'000);
    *task.mutable_measure()->mutable_max_time() = ToProto(max_time);
    SandboxedMeasurerOptions options;
    options.time_limit = kTimeLimit;
    options.max_memory_bytes = kMemoryLimit;
    result_.Clear();
    return SandboxedMeasurer(options).Measure(task, hooks, result_);
  }
  v1::TaskResult result_;
};

TEST_F(HostileModelsTest, AHarmlessOneIsMeasuredInPasses) {
  LatencyHooks hooks;
  int pauses = 0;
  hooks.pause = [&]() -> absl::StatusOr<bool> { return ++pauses == 1; };
  const std::string harmless = Harmless().SerializeAsString();
  // Long enough for a second pass on a busy machine.
  absl::Status status = Measure(harmless, "fp32", hooks, absl::Seconds(10));
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_GE(pauses, 1);
  EXPECT_EQ(result_.latency_samples().pass_begins_size(), 1);
  hooks.pause = []() -> absl::StatusOr<bool> {
    return absl::CancelledError("cancelled while others were measured");
  };
  status = Measure(harmless, "fp32", hooks, absl::Seconds(1));
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "a process is left";
}

TEST_F(HostileModelsTest, CostOneAttemptEach) {
  int models = kDefaultModels;
  if (const char* text = std::getenv("HWNAS_HOSTILE_MODELS")) {
    ASSERT_TRUE(absl::SimpleAtoi(text, &models)) << text;
  }
  Rng rng(1);
  std::map<std::string, std::map<std::string, int>> outcomes;
  for (int i = 0; i < models; ++i) {
    const Kind& kind = kKinds[i % std::size(kKinds)];
    // Quantising reads more of a file than running it does.
    const bool quantise = i / std::size(kKinds) % 2 == 1;
    const std::string model = kind.make(rng);
    const absl::Status status =
        quantise ? Measure(WithProduct(model), "int8") : Measure(model, "fp32");
    ++outcomes[kind.name][absl::StatusCodeToString(status.code())];
    if (i < 2 * static_cast<int>(std::size(kKinds))) {
      std::cout << kind.name << ": " << status << std::endl;
    }
    if (status.ok()) {
      EXPECT_TRUE(MayWork(kind.name)) << kind.name;
    } else {
      EXPECT_GT(status.message().size(), 20u) << kind.name;
    }
  }
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "a process is left";
  EXPECT_EQ(errno, ECHILD);
  const std::string harmless = Harmless().SerializeAsString();
  absl::Status status = Measure(harmless, "fp32");
  EXPECT_TRUE(status.ok()) << status;
  status = Measure(WithProduct(harmless), "int8");
  EXPECT_TRUE(status.ok()) << status;
  for (const auto& [kind, codes] : outcomes) {
    std::cout << kind << ":";
    for (const auto& [code, count] : codes) {
      std::cout << " " << code << " " << count;
    }
    std::cout << std::endl;
  }
}

}  // namespace
}  // namespace hwnas::agent
