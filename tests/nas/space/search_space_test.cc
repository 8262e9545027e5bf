// What every search space promises, for several configurations of each.
#include "nas/space/search_space.h"

#include <map>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/space/space_factory.h"
#include "tests/nas/space/graph_fingerprint.h"

namespace hwnas {
namespace {

using testing::HasSubstr;

struct Param {
  std::string name;
  SpaceConfig config;
  bool has_network = true;
  // Mutation begins from another form than the canonical one.
  bool has_other_forms = false;
  // Equal networks may have different digests, with values of their own in
  // tables.
  bool digests_beyond_graphs = false;
};

class SpaceTest : public testing::TestWithParam<Param> {
 protected:
  std::unique_ptr<SearchSpace> space_ = CreateSpace(GetParam().config).value();

  // Not canonical in general.
  Architecture Any(Rng& rng) const {
    Architecture a;
    do {
      a.choices.clear();
      for (const Decision& d : space_->decisions()) {
        a.choices.push_back(static_cast<int>(rng.Below(d.options.size())));
      }
    } while (!space_->Validate(a).ok());
    return a;
  }
};

TEST_P(SpaceTest, ValidatesLengthAndRange) {
  Rng rng(1);
  const Architecture good = space_->Sample(rng);
  EXPECT_TRUE(space_->Validate(good).ok());
  Architecture bad = good;
  bad.choices.push_back(0);
  EXPECT_EQ(space_->Validate(bad).code(), absl::StatusCode::kInvalidArgument);
  bad = good;
  bad.choices[1] = -1;
  EXPECT_THAT(std::string(space_->Validate(bad).message()),
              HasSubstr("choice -1 of decision 1 (" +
                        space_->decisions()[1].name + ") is out of range"));
  bad.choices[1] = 1000;
  EXPECT_FALSE(space_->Validate(bad).ok());
}

TEST_P(SpaceTest, CanonicalFormIsAFixedPointWithTheSameDigest) {
  Rng rng(2);
  for (int i = 0; i < 200; ++i) {
    const Architecture a = Any(rng);
    const Architecture canonical = space_->Canonicalize(a);
    EXPECT_TRUE(space_->Validate(canonical).ok());
    EXPECT_EQ(space_->Canonicalize(canonical), canonical);
    EXPECT_EQ(space_->Digest(canonical), space_->Digest(a));
  }
}

TEST_P(SpaceTest, TextIsReadBack) {
  Rng rng(3);
  for (int i = 0; i < 200; ++i) {
    const Architecture a = space_->Sample(rng);
    EXPECT_EQ(space_->FromText(space_->ToText(a)).value(), a);
    const Architecture b = Any(rng);
    const auto again = space_->FromText(space_->ToText(b));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(space_->Canonicalize(*again), space_->Canonicalize(b));
  }
}

TEST_P(SpaceTest, MutilatedTextIsRefusedOrReadAsItIs) {
  Rng rng(4);
  const std::string good = space_->ToText(space_->Sample(rng));
  for (int i = 0; i < 2000; ++i) {
    std::string text = good;
    const int edits = 1 + static_cast<int>(rng.Below(3));
    for (int e = 0; e < edits && !text.empty(); ++e) {
      const size_t at = rng.Below(text.size());
      switch (rng.Below(3)) {
        case 0:
          text.erase(at, 1);
          break;
        case 1:
          text[at] = static_cast<char>(rng.Below(256));
          break;
        default:
          text.insert(at, 1, text[rng.Below(text.size())]);
      }
    }
    const auto read = space_->FromText(text);
    if (!read.ok()) {
      EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
      continue;
    }
    EXPECT_TRUE(space_->Validate(*read).ok()) << text;
  }
}

TEST_P(SpaceTest, EveryPointDecodesToAGraphThatIsAcceptedFromOutside) {
  Rng rng(5);
  if (!GetParam().has_network) {
    EXPECT_EQ(space_->Decode(Any(rng)).status().code(),
              absl::StatusCode::kFailedPrecondition);
    return;
  }
  for (int i = 0; i < 30; ++i) {
    const Architecture a = Any(rng);
    for (const bool keep : {false, true}) {
      const auto graph = space_->Decode(a, {.keep_dead_nodes = keep});
      ASSERT_TRUE(graph.ok()) << graph.status();
      const auto again = ModelGraph::Create(graph->nodes());
      ASSERT_TRUE(again.ok()) << again.status();
      EXPECT_EQ(*again, *graph);
      if (!keep) {
        EXPECT_EQ(RemoveDeadNodes(*graph), *graph);
      }
    }
  }
}

TEST_P(SpaceTest, MutationGivesAnotherCanonicalNetworkOneChoiceAway) {
  Rng rng(6);
  for (int i = 0; i < 200; ++i) {
    const Architecture parent = space_->Sample(rng);
    const Architecture child = space_->MutateOne(parent, rng);
    EXPECT_TRUE(space_->Validate(child).ok());
    EXPECT_EQ(space_->Canonicalize(child), child);
    EXPECT_NE(space_->Digest(child), space_->Digest(parent));
    if (GetParam().has_other_forms) continue;
    // One changed choice of the parent leads to the child.
    bool found = false;
    for (size_t d = 0; d < parent.choices.size() && !found; ++d) {
      Architecture near = parent;
      const int options =
          static_cast<int>(space_->decisions()[d].options.size());
      for (int option = 0; option < options && !found; ++option) {
        near.choices[d] = option;
        found =
            space_->Validate(near).ok() && space_->Canonicalize(near) == child;
      }
    }
    EXPECT_TRUE(found) << space_->ToText(parent) << " to "
                       << space_->ToText(child);
  }
}

TEST_P(SpaceTest, CrossoverOfEqualParentsIsTheParent) {
  Rng rng(7);
  for (int i = 0; i < 50; ++i) {
    const Architecture a = space_->Sample(rng), b = space_->Sample(rng);
    EXPECT_EQ(space_->Crossover(a, a, rng), a);
    const Architecture child = space_->Crossover(a, b, rng);
    EXPECT_TRUE(space_->Validate(child).ok());
    EXPECT_EQ(space_->Canonicalize(child), child);
  }
}

TEST_P(SpaceTest, EqualSeedsGiveEqualSamples) {
  Rng a(8), b(8);
  for (int i = 0; i < 20; ++i) {
    const Architecture sample = space_->Sample(a);
    EXPECT_EQ(sample, space_->Sample(b));
    EXPECT_EQ(space_->MutateOne(sample, a), space_->MutateOne(sample, b));
  }
}

TEST_P(SpaceTest, SamplingReachesEveryOption) {
  Rng rng(9);
  std::vector<std::set<int>> seen(space_->decisions().size());
  for (int i = 0; i < 3000; ++i) {
    const Architecture a = space_->Sample(rng);
    for (size_t d = 0; d < seen.size(); ++d) seen[d].insert(a.choices[d]);
  }
  for (size_t d = 0; d < seen.size(); ++d) {
    EXPECT_EQ(seen[d].size(), space_->decisions()[d].options.size())
        << space_->decisions()[d].name;
  }
}

// Points one change away from each other are where it would happen.
TEST_P(SpaceTest, NoTwoDigestsForOneGraph) {
  if (!GetParam().has_network || GetParam().digests_beyond_graphs) return;
  Rng rng(10);
  std::map<uint64_t, Architecture> known;
  const auto look_at = [&](const Architecture& a) {
    const uint64_t graph = GraphFingerprint(space_->Decode(a).value());
    const Architecture& first = known.emplace(graph, a).first->second;
    EXPECT_EQ(space_->Digest(first), space_->Digest(a))
        << space_->ToText(a) << " is the network of " << space_->ToText(first);
  };
  for (int i = 0; i < 100 && known.size() < 600 && !HasFailure(); ++i) {
    const Architecture a = i % 2 ? Any(rng) : space_->Sample(rng);
    look_at(a);
    for (size_t d = 0; d < a.choices.size(); ++d) {
      Architecture near = a;
      near.choices[d] =
          static_cast<int>(rng.Below(space_->decisions()[d].options.size()));
      if (space_->Validate(near).ok()) look_at(near);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, SpaceTest,
    testing::Values(
        Param{"Nasbench201", Nasbench201Config{}},
        Param{"Nasbench201OfTables",
              Nasbench201Config{.benchmark_classes = true}, true, false, true},
        Param{"Nasbench201Small",
              Nasbench201Config{.input = {1, 28, 28}, .cells = 1}},
        Param{
            "Nasbench201WithoutPooling",
            Nasbench201Config{.cells = 1,
                              .operations = {"nor_conv_3x3", "none",
                                             "nor_conv_1x1", "skip_connect"}}},
        Param{"NasbenchMacro", MacroConfig{.preset = "nasbench_macro"}},
        Param{"Transnasbench101",
              MacroConfig{.input = {3, 64, 64}, .preset = "transnasbench101"}},
        Param{"Fbnet", MacroConfig{.preset = "fbnet"}},
        Param{"Macro", MacroConfig{.input = {1, 28, 28},
                                   .channel_choices = {8, 16},
                                   .stem_stride = 2,
                                   .operators = {"identity", "conv_k3",
                                                 "mbconv_k5_e3", "basic"},
                                   .depth_choices = {2, 4, 5},
                                   .final_channels = 64}},
        Param{"NasBench101", DagConfig{}, true, true},
        Param{"CompleteGraph",
              DagConfig{.input = {1, 28, 28},
                        .channels = 12,
                        .stacks = 1,
                        .cells = 1,
                        .cell = {.nodes = 9,
                                 .max_edges = 0,
                                 .operations = {"sepconv3x3", "sepconv5x5",
                                                "conv1x1", "avgpool3x3"}}},
              true, true},
        Param{"HierarchicalDag",
              MacroConfig{.kind = "hierarchical",
                          .input = {1, 28, 28},
                          .depth_choices = {2, 3},
                          .cell = DagCellConfig{.nodes = 5}},
              true, true},
        Param{"HierarchicalSmallDag",
              MacroConfig{.kind = "hierarchical",
                          .input = {1, 8, 8},
                          .depth_choices = {1, 2, 3, 4},
                          .max_doublings = 1,
                          .max_halvings = 1,
                          .cell = DagCellConfig{.nodes = 4,
                                                .max_edges = 0,
                                                .operations = {"conv1x1"}}},
              true, true},
        Param{"DeclaredChoices",
              DeclaredConfig{
                  .choices = {{.name = "depth", .integers = IntegerRange{1, 4}},
                              {.name = "op{1..4}",
                               .options = {"conv", "pool", "skip"}},
                              {.name = "kernel{1..4}",
                               .ordered = {"3", "5"},
                               .when = {{"op#", {"conv"}},
                                        {"depth", {"2", "3", "4"}}}}},
                  .forbid = {{{"op1", {"skip"}}, {"op2", {"skip", "pool"}}}}},
              /*has_network=*/false},
        Param{"Hierarchical", MacroConfig{.kind = "hierarchical",
                                          .input = {1, 28, 28},
                                          .channel_choices = {8, 12, 16},
                                          .depth_choices = {2, 3, 4},
                                          .min_halvings = 1,
                                          .cell = Nasbench201CellConfig{}}},
        Param{"HierarchicalChains",
              MacroConfig{.kind = "hierarchical",
                          .input = {1, 8, 8},
                          .depth_choices = {1, 2, 3, 4, 6},
                          .max_doublings = 1,
                          .min_halvings = 1,
                          .max_halvings = 1,
                          .cell = Nasbench201CellConfig{{"none", "skip_connect",
                                                         "nor_conv_3x3"}}}},
        Param{"MobileLarge",
              MobileConfig{.width_choices = {1.0, 1.2},
                           .resolution_choices = {128, 160, 224}}},
        Param{"MobileSmall", MobileConfig{.input = {1, 28, 28},
                                          .classes = 10,
                                          .expansion_choices = {1, 2, 4},
                                          .depth_choices = {1, 2, 3},
                                          .width_choices = {0.5, 1.0},
                                          .search_squeeze_excite = true}},
        Param{"MobileTiny", MobileConfig{.input = {3, 9, 12},
                                         .classes = 2,
                                         .depth_choices = {1, 2},
                                         .first_block = false,
                                         .stages = {{8, 2}}}}),
    [](const auto& info) { return info.param.name; });

// A space of one point has nothing to mutate to.
TEST(SearchSpace, MutationInASpaceOfOnePointGivesThatPoint) {
  const auto space = CreateSpace(MobileConfig{.input = {1, 8, 8},
                                              .classes = 2,
                                              .kernel_choices = {3},
                                              .expansion_choices = {4},
                                              .depth_choices = {1}})
                         .value();
  Rng rng(1);
  const Architecture only = space->Sample(rng);
  EXPECT_TRUE(only.choices.empty());
  EXPECT_EQ(space->MutateOne(only, rng), only);
  EXPECT_EQ(space->Log10Size(), 0);
}

using SearchSpaceDeathTest = testing::Test;
TEST(SearchSpaceDeathTest, InvalidArchitectureIsAProgrammingError) {
  const auto space = CreateSpace(Nasbench201Config{}).value();
  EXPECT_DEATH(space->CanonicalKey({{1, 2, 3}}), "has 3 choices");
}

}  // namespace
}  // namespace hwnas
