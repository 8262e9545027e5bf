#include "nas/space/declared.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::unique_ptr<DeclaredSpace> MakeSpace(const DeclaredConfig& config) {
  return DeclaredSpace::Create(config).value();
}

std::string MessageOf(const DeclaredConfig& config) {
  const auto space = CreateSpace(config);
  return space.ok() ? "OK" : std::string(space.status().message());
}

std::vector<std::string> NamesOf(const SearchSpace& space) {
  std::vector<std::string> names;
  for (const Decision& decision : space.decisions()) {
    names.push_back(decision.name);
  }
  return names;
}

// Operators of up to three nodes; convolutions also have a kernel.
DeclaredConfig Nodes() {
  return {.choices = {{.name = "nodes", .integers = IntegerRange{1, 3}},
                      {.name = "op{0..0}", .options = {"conv", "pool"}},
                      {.name = "op{1..1}",
                       .options = {"conv", "pool"},
                       .when = {{"nodes", {"2", "3"}}}},
                      {.name = "op{2..2}",
                       .options = {"conv", "pool"},
                       .when = {{"nodes", {"3"}}}},
                      {.name = "kernel{0..2}",
                       .ordered = {"3", "5", "7"},
                       .when = {{"op#", {"conv"}}}}}};
}

TEST(DeclaredSpace, WritesOutBracesAndRanges) {
  const auto space =
      MakeSpace({.choices = {{.name = "e{0..1}", .ordered = {"1", "4", "6"}},
                             {.name = "l", .integers = IntegerRange{2, 9, 3}},
                             {.name = "kind", .options = {"a", "b"}}}});
  EXPECT_THAT(NamesOf(*space), ElementsAre("e0", "e1", "l", "kind"));
  EXPECT_THAT(space->decisions()[2].options, ElementsAre("2", "5", "8"));
  EXPECT_TRUE(space->decisions()[0].ordered);
  EXPECT_TRUE(space->decisions()[2].ordered);
  EXPECT_FALSE(space->decisions()[3].ordered);
  EXPECT_EQ(space->ToText({{1, 2, 0, 1}}), "e0=4 e1=6 l=2 kind=b");
}

TEST(DeclaredSpace, WhatAConditionRulesOutDoesNotMatter) {
  const auto space = MakeSpace(Nodes());
  // One node, pooling: nothing else matters.
  const Architecture a{{0, 1, 0, 1, 2, 1, 0}};
  EXPECT_EQ(space->ToText(a), "nodes=1 op0=pool");
  EXPECT_EQ(space->Canonicalize(a), (Architecture{{0, 1, 0, 0, 0, 0, 0}}));
  // kernel2 depends on op2, which does not matter, although it says conv.
  EXPECT_EQ(space->ToText({{1, 0, 1, 0, 2, 2, 2}}),
            "nodes=2 op0=conv op1=pool kernel0=7");
}

TEST(DeclaredSpace, EnumeratesEachNetworkOnce) {
  const auto space = MakeSpace(Nodes());
  const auto points = space->Enumerate(1e6);
  ASSERT_TRUE(points.has_value());
  // Each node is pooling or one of three convolutions.
  EXPECT_EQ(points->size(), 4u + 16 + 64);
  std::set<std::string> keys;
  for (const Architecture& point : *points) {
    EXPECT_EQ(space->Canonicalize(point), point);
    keys.insert(space->CanonicalKey(point));
  }
  EXPECT_EQ(keys.size(), points->size());
  EXPECT_TRUE(space->Enumerate(84).has_value());
  EXPECT_FALSE(space->Enumerate(83).has_value());
}

TEST(DeclaredSpace, ForbidsCombinationsThatMatter) {
  DeclaredConfig config = Nodes();
  config.forbid = {{{"op0", {"conv"}}, {"kernel0", {"5", "7"}}},
                   {{"op1", {"pool"}}, {"op2", {"pool"}}}};
  const auto space = MakeSpace(config);
  const auto message = [&](const std::string& text) {
    const auto read = space->FromText(text);
    return read.ok() ? "OK" : std::string(read.status().message());
  };
  EXPECT_EQ(message("nodes=1 op0=conv kernel0=3"), "OK");
  EXPECT_EQ(message("nodes=1 op0=conv kernel0=7"),
            "'op0=conv kernel0=7' is forbidden by rule 1");
  EXPECT_EQ(message("nodes=3 op0=pool op1=pool op2=pool"),
            "'op1=pool op2=pool' is forbidden by rule 2");
  // op2 does not matter here.
  EXPECT_TRUE(space->Validate({{1, 1, 1, 1, 0, 0, 0}}).ok());
  EXPECT_EQ(space->Enumerate(1e6)->size(), 2u + 2 * 4 + 2 * (16 - 1));
}

TEST(DeclaredSpace, MutatesWithoutANetworkAsAnySpaceDoes) {
  DeclaredConfig config = Nodes();
  config.forbid = {{{"nodes", {"1"}}, {"op0", {"pool"}}}};
  const auto space = MakeSpace(config);
  Rng points(5), quick(6), plain(6);
  for (int i = 0; i < 500; ++i) {
    const Architecture parent = space->Sample(points);
    EXPECT_EQ(space->MutateOne(parent, quick),
              space->SearchSpace::MutateOne(parent, plain));
  }
  EXPECT_EQ(quick.Next(), plain.Next());
}

TEST(DeclaredSpace, HasNothingToTrainWithoutANetwork) {
  const auto space = MakeSpace(Nodes());
  EXPECT_EQ(space->Decode({{0, 0, 0, 0, 0, 0, 0}}).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(DeclaredSpace, DigestsNameTheDeclaration) {
  std::set<std::string> keys;
  DeclaredConfig config = Nodes();
  keys.insert(MakeSpace(config)->key());
  config.choices[0].integers->to = 4;
  keys.insert(MakeSpace(config)->key());
  config.choices[4].when.clear();
  keys.insert(MakeSpace(config)->key());
  config.forbid = {{{"nodes", {"2"}}}};
  keys.insert(MakeSpace(config)->key());
  std::swap(config.choices[1], config.choices[0]);
  config.choices[1].name = "n";
  config.choices[2].when = config.choices[3].when = {};
  config.forbid.clear();
  keys.insert(MakeSpace(config)->key());
  EXPECT_EQ(keys.size(), 5u);
}

TEST(DeclaredSpace, RefusesOtherText) {
  const auto space = MakeSpace(Nodes());
  const auto message = [&](const std::string& text) {
    const auto read = space->FromText(text);
    return read.ok() ? "OK" : std::string(read.status().message());
  };
  EXPECT_EQ(message("nodes=2 op0=pool op1=pool"), "OK");
  EXPECT_EQ(message(""), "'nodes' is missing: expected one of 1, 2, 3");
  EXPECT_EQ(message("nodes=2 op0=pool"),
            "'op1' is missing: expected one of conv, pool");
  EXPECT_EQ(message("nodes=2 op0=fc op1=pool"),
            "'op0=fc': expected 'op0=' and one of conv, pool");
  EXPECT_EQ(message("nodes=1 op0=pool kernel0=3"),
            "'kernel0=3' does not matter here: expected it left out");
  EXPECT_EQ(message("op0=pool nodes=1"),
            "'nodes=1': expected name=option of a choice, in their order");
  EXPECT_THAT(message(std::string(100000, 'x')), HasSubstr("100000 bytes"));
}

TEST(DeclaredSpace, RefusesDeclarationsThatMeanNothing) {
  const auto choice = [](DeclaredChoice c) {
    return DeclaredConfig{.choices = {std::move(c)}};
  };
  EXPECT_EQ(MessageOf({}), "declared.choices: none: expected at least 1");
  EXPECT_EQ(MessageOf(choice({.name = "K", .options = {"a"}})),
            "declared.choices[0].name: 'K' is malformed: expected 1 to 64 of "
            "[a-z0-9_], beginning with a letter");
  EXPECT_THAT(MessageOf(choice({.name = "k{1..", .options = {"a"}})),
              HasSubstr("declared.choices[0].name: "));
  EXPECT_THAT(MessageOf(choice({.name = "k{0..600}", .options = {"a"}})),
              HasSubstr("declared.choices: too many choices"));
  EXPECT_THAT(MessageOf(choice({.name = "k"})),
              HasSubstr("declared.choices[0]: nothing to choose from"));
  EXPECT_THAT(
      MessageOf(choice({.name = "k", .options = {"a"}, .ordered = {"1"}})),
      HasSubstr("declared.choices[0]: several kinds of options"));
  EXPECT_THAT(MessageOf(choice({.name = "k", .options = {"a", "a"}})),
              HasSubstr("declared.choices[0].options: 'a' is listed twice"));
  EXPECT_THAT(MessageOf(choice({.name = "k", .ordered = {"1", "a b"}})),
              HasSubstr("declared.choices[0].ordered[1]: not a name"));
  EXPECT_THAT(
      MessageOf(choice({.name = "k", .integers = IntegerRange{3, 2}})),
      HasSubstr("declared.choices[0].integers.to: 2 is less than from"));
  EXPECT_THAT(
      MessageOf(choice({.name = "k", .integers = IntegerRange{1, 2, 0}})),
      HasSubstr("declared.choices[0].integers.step: 0 is out of range"));
  EXPECT_THAT(
      MessageOf(choice(
          {.name = "k", .integers = IntegerRange{-2147483648, 2147483647}})),
      HasSubstr("declared.choices[0].integers: too many options"));
  EXPECT_THAT(MessageOf({.choices = {{.name = "a{0..2}", .options = {"x"}},
                                     {.name = "a1", .options = {"x"}}}}),
              HasSubstr("declared.choices[1].name: 'a1' is declared twice"));
  EXPECT_THAT(MessageOf({.choices = {{.name = "a", .options = {"x"}},
                                     {.name = "b",
                                      .options = {"x"},
                                      .when = {{"c", {"x"}}}}}}),
              HasSubstr("declared.choices[1].when[0].choice: 'c' is not "
                        "declared before"));
  EXPECT_THAT(MessageOf({.choices = {{.name = "a", .options = {"x"}},
                                     {.name = "b",
                                      .options = {"x"},
                                      .when = {{"a", {"x", "y"}}}}}}),
              HasSubstr("declared.choices[1].when[0].is[1]: 'y' is no option "
                        "of a: expected some of x"));
  EXPECT_THAT(MessageOf({.choices = {{.name = "a", .options = {"x", "y"}}},
                         .forbid = {{}}}),
              HasSubstr("declared.forbid[0]: no condition"));
  EXPECT_THAT(MessageOf({.choices = {{.name = "a", .options = {"x", "y"}}},
                         .forbid = {{{"a", {"x"}}}, {{"a", {"y"}}}}}),
              HasSubstr("declared.forbid: of 5000 random points 0 are valid"));
}

}  // namespace
}  // namespace hwnas
