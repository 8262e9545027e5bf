#include <limits>
#include <set>

#include "common/limits.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "google/protobuf/stubs/logging.h"
#include "gtest/gtest.h"
#include "proto/convert/convert.h"

namespace hwnas {
namespace {

using ::testing::HasSubstr;

// Every operator once.
ModelGraph EveryOperator() {
  GraphBuilder b;
  int x = b.Input({3, 32, 24});
  x = b.Conv2d(x, {.out_channels = 8,
                   .kernel = 3,
                   .stride = 2,
                   .padding = 1,
                   .groups = 1,
                   .bias = true});
  x = b.BatchNorm(x);
  b.SetScope("acts.");
  const int y = b.Unary(OpKind::kHardSwish, b.Relu(x));
  const int z = b.Unary(OpKind::kSwish, b.Unary(OpKind::kRelu6, x));
  const int sum = b.Add({y, z, b.Zero(x)});
  x = b.Concat({sum, b.MaxPool(x, {.kernel = 3, .stride = 1, .padding = 1})});
  x = b.AvgPool(
      x, {.kernel = 2, .stride = 2, .padding = 0, .count_include_pad = true});
  const int pooled = b.Unary(OpKind::kSigmoid, b.GlobalAvgPool(x));
  const int scale =
      b.Unary(OpKind::kHardSigmoid,
              b.Conv2d(pooled, {.out_channels = 16, .groups = 4}));
  x = b.ChannelShuffle(b.Mul(x, scale), 4);
  x = b.Conv2d(x, {.out_channels = 16, .kernel = 5, .padding = 2, .groups = 16},
               "depthwise");
  x = b.Dropout(b.Flatten(x), 0.2);
  b.Linear(x, 10, /*bias=*/false);
  absl::StatusOr<ModelGraph> graph = std::move(b).Build();
  EXPECT_TRUE(graph.ok()) << graph.status();
  return *graph;
}

TEST(ModelGraphConversion, RoundTripsEveryOperator) {
  const ModelGraph graph = EveryOperator();
  const v1::ModelGraph proto = ToProto(graph);
  // Also through bytes, as on the wire.
  v1::ModelGraph parsed;
  ASSERT_TRUE(parsed.ParseFromString(proto.SerializeAsString()));
  const absl::StatusOr<ModelGraph> back = FromProto(parsed);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, graph);
  std::set<int> operators;
  for (const v1::GraphNode& node : proto.nodes()) operators.insert(node.op());
  EXPECT_EQ(operators.size(), v1::OperatorKind_descriptor()->value_count() - 1)
      << "an operator is missing in this test";
}

TEST(ModelGraphConversion, IgnoresFieldsThatAnOperatorDoesNotUse) {
  v1::ModelGraph proto = ToProto(EveryOperator());
  for (v1::GraphNode& node : *proto.mutable_nodes()) {
    if (node.op() == v1::RELU) {
      node.set_kernel(-5);
      node.set_out_channels(1 << 30);
      node.set_drop_rate(std::numeric_limits<double>::quiet_NaN());
      node.add_input_shape(-1);
    }
  }
  const absl::StatusOr<ModelGraph> graph = FromProto(proto);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(*graph, EveryOperator());
}

TEST(ModelGraphConversion, NamesWhatIsWrong) {
  struct Row {
    const char* name;
    void (*damage)(v1::ModelGraph&);
    const char* message;
  };
  const Row rows[] = {
      {"no node", [](v1::ModelGraph& g) { g.clear_nodes(); }, ""},
      {"unknown operator",
       [](v1::ModelGraph& g) {
         g.mutable_nodes(1)->set_op(static_cast<v1::OperatorKind>(77));
       },
       "nodes[1].op: operator 77 is unknown"},
      {"unset operator",
       [](v1::ModelGraph& g) { g.mutable_nodes(2)->clear_op(); },
       "nodes[2].op: operator 0 is unknown"},
      {"input shape of two",
       [](v1::ModelGraph& g) {
         g.mutable_nodes(0)->mutable_input_shape()->RemoveLast();
       },
       "nodes[0].input_shape: 2 numbers: expected 3"},
      {"negative image",
       [](v1::ModelGraph& g) { g.mutable_nodes(0)->set_input_shape(1, -32); },
       "-32"},
      {"huge image",
       [](v1::ModelGraph& g) {
         for (int i = 0; i < 3; ++i) {
           g.mutable_nodes(0)->set_input_shape(i, INT32_MAX);
         }
       },
       "2147483647"},
      {"forward edge",
       [](v1::ModelGraph& g) { g.mutable_nodes(1)->set_inputs(0, 5); }, "5"},
      {"negative edge",
       [](v1::ModelGraph& g) { g.mutable_nodes(1)->set_inputs(0, -1); }, "-1"},
      {"stride 0", [](v1::ModelGraph& g) { g.mutable_nodes(1)->set_stride(0); },
       "stride 0"},
      {"groups 0", [](v1::ModelGraph& g) { g.mutable_nodes(1)->set_groups(0); },
       "groups 0"},
      {"groups that do not divide",
       [](v1::ModelGraph& g) { g.mutable_nodes(1)->set_groups(5); },
       "groups 5"},
      {"name twice",
       [](v1::ModelGraph& g) {
         g.mutable_nodes(2)->set_name(g.nodes(1).name());
       },
       ""},
      {"long name",
       [](v1::ModelGraph& g) {
         g.mutable_nodes(2)->set_name(std::string(5000, 'n'));
       },
       ""},
      {"dropout of everything",
       [](v1::ModelGraph& g) {
         for (v1::GraphNode& node : *g.mutable_nodes()) node.set_drop_rate(1);
       },
       "drop_rate 1"},
      {"too many nodes",
       [](v1::ModelGraph& g) {
         while (g.nodes_size() <= kMaxGraphNodes) g.add_nodes();
       },
       "20001"},
  };
  for (const Row& row : rows) {
    v1::ModelGraph proto = ToProto(EveryOperator());
    row.damage(proto);
    const absl::Status status = FromProto(proto).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << row.name;
    EXPECT_THAT(std::string(status.message()), HasSubstr(row.message))
        << row.name;
    EXPECT_LT(status.message().size(), 1000) << row.name;
  }
}

// Whatever comes in, a graph that is accepted survives a round trip.
void TakeBytes(const std::string& bytes) {
  v1::ModelGraph proto;
  if (!proto.ParseFromString(bytes)) return;
  const absl::StatusOr<ModelGraph> graph = FromProto(proto);
  if (!graph.ok()) return;
  const absl::StatusOr<ModelGraph> again = FromProto(ToProto(*graph));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, *graph);
}

TEST(ModelGraphConversion, SurvivesRandomAndDamagedBytes) {
  const google::protobuf::LogSilencer quiet;  // Of invalid UTF-8.
  Rng rng(11);
  const std::string good = ToProto(EveryOperator()).SerializeAsString();
  for (int i = 0; i < 3000; ++i) {
    std::string bytes = good;
    const int damages = 1 + static_cast<int>(rng.Below(4));
    for (int d = 0; d < damages; ++d) {
      bytes[rng.Below(bytes.size())] = static_cast<char>(rng.Below(256));
    }
    if (rng.Below(4) == 0) bytes.resize(rng.Below(bytes.size()));
    TakeBytes(bytes);
    std::string noise(rng.Below(200), '\0');
    for (char& c : noise) c = static_cast<char>(rng.Below(256));
    TakeBytes(noise);
  }
}

// Damage that still parses reaches deeper: one field at a time.
TEST(ModelGraphConversion, SurvivesMutatedFields) {
  Rng rng(12);
  const v1::ModelGraph good = ToProto(EveryOperator());
  const int32_t values[] = {INT32_MIN, -1, 0, 1, 2, 7, 255, 65536, INT32_MAX};
  int accepted = 0;
  for (int i = 0; i < 5000; ++i) {
    v1::ModelGraph proto = good;
    for (int d = 0; d <= i % 3; ++d) {
      v1::GraphNode& node =
          *proto.mutable_nodes(static_cast<int>(rng.Below(good.nodes_size())));
      const int32_t value = values[rng.Below(std::size(values))];
      switch (rng.Below(9)) {
        case 0:
          node.set_op(static_cast<v1::OperatorKind>(rng.Below(22)));
          break;
        case 1:
          node.add_inputs(value);
          break;
        case 2:
          if (node.inputs_size() > 0) node.set_inputs(0, value);
          break;
        case 3:
          node.set_out_channels(value);
          break;
        case 4:
          node.set_kernel(value);
          break;
        case 5:
          node.set_stride(value);
          break;
        case 6:
          node.set_padding(value);
          break;
        case 7:
          node.set_groups(value);
          break;
        case 8:
          proto.mutable_nodes()->SwapElements(
              0, static_cast<int>(rng.Below(good.nodes_size())));
          break;
      }
    }
    accepted += FromProto(proto).ok();
    TakeBytes(proto.SerializeAsString());
  }
  EXPECT_GT(accepted, 0);
  EXPECT_LT(accepted, 5000);
}

}  // namespace
}  // namespace hwnas
