#include "nas/graph/model_graph.h"

#include <limits>

#include "common/limits.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas {
namespace {

using testing::HasSubstr;

ModelGraph SmallGraph() {
  GraphBuilder b;
  int x = b.Input({3, 32, 32});
  x = b.Conv2d(x, {.out_channels = 16, .kernel = 3, .padding = 1});
  x = b.Relu(b.BatchNorm(x));
  const int pooled = b.AvgPool(x, {.kernel = 3, .stride = 1, .padding = 1});
  x = b.Add({x, pooled});
  x = b.Linear(b.Flatten(b.GlobalAvgPool(x)), 10);
  return std::move(b).Build().value();
}

// The graph of one operator after an input of `shape`.
absl::StatusOr<ModelGraph> AfterInput(TensorShape shape, Node node) {
  Node input{.op = OpKind::kInput, .name = "image", .shape = shape};
  if (node.inputs.empty()) node.inputs = {0};
  if (node.name.empty()) node.name = "node";
  return ModelGraph::Create({input, std::move(node)});
}

std::string MessageOf(const absl::StatusOr<ModelGraph>& graph) {
  if (graph.ok()) return "OK";
  EXPECT_EQ(graph.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(graph.status().message());
}

TEST(GraphBuilder, InfersShapes) {
  const ModelGraph graph = SmallGraph();
  EXPECT_EQ(graph.input_shape(), (TensorShape{3, 32, 32}));
  EXPECT_EQ(graph.node(1).shape, (TensorShape{16, 32, 32}));
  EXPECT_EQ(graph.output_shape(), (TensorShape{10, 1, 1}));
}

// floor((side + 2 * padding - kernel) / stride) + 1, worked by hand.
TEST(GraphBuilder, WindowsFollowPyTorchsSizeFormula) {
  struct Case {
    int h, w, kernel, stride, padding, out_h, out_w;
  };
  for (const Case& c : {Case{32, 32, 3, 2, 1, 16, 16},
                        {7, 9, 3, 2, 1, 4, 5},
                        {28, 28, 5, 2, 2, 14, 14},
                        {5, 5, 5, 1, 0, 1, 1},
                        {10, 7, 2, 2, 0, 5, 3},
                        {1, 1, 7, 2, 3, 1, 1}}) {
    const auto graph = AfterInput({1, c.h, c.w}, {.op = OpKind::kConv2d,
                                                  .out_channels = 1,
                                                  .kernel = c.kernel,
                                                  .stride = c.stride,
                                                  .padding = c.padding});
    ASSERT_TRUE(graph.ok()) << graph.status();
    EXPECT_EQ(graph->output_shape(), (TensorShape{1, c.out_h, c.out_w}));
  }
}

TEST(GraphBuilder, NamesNodesByScopeAndOperator) {
  GraphBuilder b;
  int x = b.Input({3, 8, 8});
  b.SetScope("stage1.");
  x = b.Relu(x);
  x = b.Relu(x);
  b.SetScope("");
  b.Linear(b.Flatten(x), 5, /*bias=*/true, "classifier");
  const ModelGraph graph = std::move(b).Build().value();
  std::vector<std::string> names;
  for (const Node& node : graph.nodes()) names.push_back(node.name);
  EXPECT_THAT(names,
              testing::ElementsAre("image", "stage1.relu_0", "stage1.relu_1",
                                   "flatten_0", "classifier"));
}

TEST(GraphBuilder, KeepsTheFirstError) {
  GraphBuilder b;
  int x = b.Input({3, 8, 8});
  x = b.Linear(x, 10, true, "early");
  x = b.Conv2d(x, {.out_channels = -1});
  EXPECT_EQ(b.shape(x), (TensorShape{0, 0, 0}));
  const auto graph = std::move(b).Build();
  EXPECT_THAT(MessageOf(graph), HasSubstr("node 1 (linear 'early')"));
  EXPECT_THAT(MessageOf(graph), HasSubstr("expected a vector"));
}

TEST(GraphBuilder, RefusesAnEmptyGraph) {
  EXPECT_THAT(MessageOf(GraphBuilder().Build()), HasSubstr("empty"));
}

TEST(ModelGraph, CreateAcceptsWhatTheBuilderMade) {
  const ModelGraph graph = SmallGraph();
  const auto again = ModelGraph::Create(graph.nodes());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, graph);
}

TEST(ModelGraph, CreateIgnoresShapesAndUnusedFields) {
  const ModelGraph graph = SmallGraph();
  std::vector<Node> nodes = graph.nodes();
  for (size_t i = 1; i < nodes.size(); ++i) nodes[i].shape = {7, 7, 7};
  nodes[2].kernel = 0;
  nodes[2].groups = 0;
  nodes[2].drop_rate = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(ModelGraph::Create(nodes).value(), graph);
}

TEST(ModelGraph, CreateNamesTheBadNodeAndValue) {
  const Node conv{.op = OpKind::kConv2d, .out_channels = 8, .kernel = 3};
  const TensorShape image{3, 8, 8};
  const auto with = [&](auto set) {
    Node node = conv;
    set(node);
    return MessageOf(AfterInput(image, node));
  };
  EXPECT_EQ(MessageOf(AfterInput(image, conv)), "OK");
  EXPECT_THAT(with([](Node& n) { n.out_channels = 0; }),
              HasSubstr("node 1 (conv2d 'node'): out_channels 0"));
  EXPECT_THAT(with([](Node& n) { n.out_channels = 65537; }),
              HasSubstr("out_channels 65537 is out of range: expected 1 to "
                        "65536"));
  EXPECT_THAT(with([](Node& n) { n.kernel = 0; }), HasSubstr("kernel 0"));
  EXPECT_THAT(with([](Node& n) { n.kernel = 9; }),
              HasSubstr("kernel 9 with padding 0 does not fit"));
  EXPECT_THAT(with([](Node& n) { n.kernel = 1 << 30; }), HasSubstr("kernel"));
  EXPECT_THAT(with([](Node& n) { n.stride = 0; }), HasSubstr("stride 0"));
  EXPECT_THAT(with([](Node& n) { n.padding = -1; }), HasSubstr("padding -1"));
  EXPECT_THAT(with([](Node& n) { n.groups = 0; }), HasSubstr("groups 0"));
  EXPECT_THAT(with([](Node& n) { n.groups = 2; }),
              HasSubstr("groups 2 must divide"));
  EXPECT_THAT(with([](Node& n) { n.inputs = {1}; }),
              HasSubstr("input 1 is not an earlier node"));
  EXPECT_THAT(with([](Node& n) { n.inputs = {-1}; }), HasSubstr("input -1"));
  EXPECT_THAT(with([](Node& n) {
                n.inputs = {0, 0};
              }),
              HasSubstr("number of inputs 2"));
  EXPECT_THAT(with([](Node& n) { n.name = "image"; }), HasSubstr("taken"));
  EXPECT_THAT(with([](Node& n) { n.name = "a/b"; }), HasSubstr("name"));
  EXPECT_THAT(with([](Node& n) { n.name = std::string(129, 'a'); }),
              HasSubstr("name of 129 bytes"));
  EXPECT_THAT(with([](Node& n) { n.op = OpKind::kInput; }),
              HasSubstr("node 0, and no other"));
  EXPECT_THAT(with([](Node& n) { n.op = static_cast<OpKind>(99); }),
              HasSubstr("unknown operator 99"));
  EXPECT_THAT(
      MessageOf(AfterInput(image, {.op = OpKind::kDropout, .drop_rate = 1})),
      HasSubstr("drop_rate 1 is out of range"));
  EXPECT_THAT(
      MessageOf(AfterInput(
          image, {.op = OpKind::kDropout,
                  .drop_rate = std::numeric_limits<double>::quiet_NaN()})),
      HasSubstr("drop_rate nan"));
  EXPECT_THAT(MessageOf(AfterInput(
                  image, {.op = OpKind::kMaxPool, .kernel = 3, .padding = 2})),
              HasSubstr("padding 2 is out of range: expected 0 to 1"));
  EXPECT_THAT(MessageOf(AfterInput({0, 8, 8}, conv)),
              HasSubstr("node 0 (input 'image'): number of channels 0"));
  EXPECT_THAT(MessageOf(AfterInput({3, 1 << 20, 8}, conv)),
              HasSubstr("height 1048576"));
}

TEST(ModelGraph, CreateChecksShapesOfJoins) {
  GraphBuilder b;
  const int x = b.Input({4, 8, 8});
  const int half = b.MaxPool(x, {.kernel = 2, .stride = 2});
  b.Add({x, half});
  EXPECT_THAT(MessageOf(std::move(b).Build()),
              HasSubstr("inputs of {4, 8, 8} and {4, 4, 4}: expected equal"));

  GraphBuilder c;
  const int y = c.Input({4, 8, 8});
  c.Mul(y, c.Conv2d(c.GlobalAvgPool(y), {.out_channels = 3}));
  EXPECT_THAT(MessageOf(std::move(c).Build()), HasSubstr("{3, 1, 1}"));

  GraphBuilder d;
  const int z = d.Input({4, 8, 8});
  d.Mul(z, d.GlobalAvgPool(z));
  d.Concat({z, z, z}, "joined");
  EXPECT_EQ(std::move(d).Build()->output_shape(), (TensorShape{12, 8, 8}));
}

TEST(ModelGraph, CreateBoundsMemory) {
  // Each node is within its own bounds; together they ask for 2^32 parameters.
  EXPECT_THAT(MessageOf(AfterInput({65536, 1, 1}, {.op = OpKind::kConv2d,
                                                   .out_channels = 65536})),
              HasSubstr("4294967296 parameters"));
  EXPECT_THAT(MessageOf(AfterInput({3, 16384, 16384}, {.op = OpKind::kRelu})),
              HasSubstr("number of elements 805306368"));
  std::vector<Node> many{
      {.op = OpKind::kInput, .name = "image", .shape = {1, 1, 1}}};
  for (int i = 0; i < kMaxGraphNodes; ++i) {
    many.push_back({.op = OpKind::kRelu,
                    .inputs = {0},
                    .name = "relu" + std::to_string(i)});
  }
  EXPECT_THAT(MessageOf(ModelGraph::Create(many)), HasSubstr("20001 nodes"));
  many.pop_back();
  EXPECT_TRUE(ModelGraph::Create(many).ok());
}

// Random garbage is answered by a Status, and what is accepted is sane.
TEST(ModelGraph, CreateSurvivesRandomNodes) {
  Rng rng(1);
  const auto number = [&rng]() -> int {
    switch (rng.Below(5)) {
      case 0:
        return static_cast<int>(rng.Next());
      case 1:
        return std::numeric_limits<int>::max();
      case 2:
        return -static_cast<int>(rng.Below(4));
      default:
        return static_cast<int>(rng.Below(9));
    }
  };
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<Node> nodes;
    nodes.push_back(
        {.op = OpKind::kInput, .name = "image", .shape = {4, 9, 9}});
    const int count = 1 + static_cast<int>(rng.Below(4));
    for (int i = 0; i < count; ++i) {
      Node node{.op = static_cast<OpKind>(rng.Below(20)),
                .name = "n" + std::to_string(i)};
      const int inputs = static_cast<int>(rng.Below(3));
      for (int j = 0; j < inputs; ++j) node.inputs.push_back(number() % 4);
      node.out_channels = number();
      node.kernel = number();
      node.stride = number();
      node.padding = number();
      node.groups = number();
      nodes.push_back(node);
    }
    const auto graph = ModelGraph::Create(nodes);
    if (!graph.ok()) continue;
    ++accepted;
    for (const Node& node : graph->nodes()) {
      EXPECT_GE(node.shape.elements(), 1);
      EXPECT_LE(node.shape.elements(), GraphLimits::kMaxValueElements);
    }
    EXPECT_EQ(ModelGraph::Create(graph->nodes()).value(), *graph);
  }
  EXPECT_GT(accepted, 100);
}

TEST(RemoveDeadNodes, KeepsWhatTheOutputNeeds) {
  GraphBuilder b;
  const int x = b.Input({3, 8, 8});
  const int dead = b.Conv2d(x, {.out_channels = 64}, "dead");
  b.Relu(dead);
  const int live = b.Conv2d(x, {.out_channels = 8}, "live");
  b.Add({live, b.Unary(OpKind::kSigmoid, live)}, "sum");
  const ModelGraph graph = RemoveDeadNodes(std::move(b).Build().value());
  ASSERT_EQ(graph.size(), 4);
  EXPECT_EQ(graph.node(1).name, "live");
  EXPECT_EQ(graph.node(3).name, "sum");
  EXPECT_THAT(graph.node(3).inputs, testing::ElementsAre(1, 2));
  EXPECT_EQ(ModelGraph::Create(graph.nodes()).value(), graph);
  EXPECT_EQ(RemoveDeadNodes(graph), graph);
}

}  // namespace
}  // namespace hwnas
