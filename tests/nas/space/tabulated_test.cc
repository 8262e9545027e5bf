#include "nas/space/tabulated.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/space/space_factory.h"
#include "tests/fakes/toy_space.h"

namespace hwnas {
namespace {

using ::testing::HasSubstr;

// 200 of 5^8 points, the last two choices interchangeable.
std::vector<Architecture> Members() {
  const ToySpace space(8, 5, 2);
  Rng rng(3);
  std::vector<Architecture> members;
  for (int i = 0; i < 200; ++i) members.push_back(space.Sample(rng));
  return members;
}

std::unique_ptr<TabulatedSpace> Create(
    const std::vector<Architecture>& members) {
  return *TabulatedSpace::Create(std::make_unique<ToySpace>(8, 5, 2), members);
}

int Distance(const Architecture& a, const Architecture& b) {
  int distance = 0;
  for (size_t i = 0; i < a.choices.size(); ++i) {
    distance += a.choices[i] != b.choices[i];
  }
  return distance;
}

TEST(TabulatedSpace, KeepsToItsMembers) {
  const std::vector<Architecture> members = Members();
  const auto space = Create(members);
  const std::set<Architecture> set(members.begin(), members.end());
  EXPECT_EQ(space->size(), static_cast<int64_t>(set.size()));
  Rng rng(1);
  std::set<Architecture> seen;
  for (int i = 0; i < 5000; ++i) {
    const Architecture a = space->Sample(rng);
    const Architecture b = space->Sample(rng);
    const Architecture mutant = space->MutateOne(a, rng);
    EXPECT_TRUE(set.contains(a));
    EXPECT_TRUE(set.contains(mutant));
    EXPECT_NE(mutant, a);
    EXPECT_TRUE(set.contains(space->Crossover(a, b, rng)));
    seen.insert(a);
  }
  EXPECT_EQ(seen, set);
}

TEST(TabulatedSpace, MutationLandsOnANearMember) {
  const std::vector<Architecture> members = Members();
  const auto space = Create(members);
  Rng rng(2);
  for (int i = 0; i < 200; ++i) {
    const Architecture a = space->Sample(rng);
    int nearest = 100;
    for (const Architecture& other : members) {
      if (other != a) nearest = std::min(nearest, Distance(a, other));
    }
    // At most one step away from a step of the wrapped space, which sorts two.
    EXPECT_LE(Distance(a, space->MutateOne(a, rng)), nearest + 4);
  }
}

TEST(TabulatedSpace, RefusesOthersByName) {
  const auto space = Create(Members());
  const Architecture outside{{0, 0, 0, 0, 0, 0, 0, 0}};
  EXPECT_THAT(std::string(space->Validate(outside).message()),
              HasSubstr("0-0-0-0-0-0-0-0 is not among the"));
  EXPECT_EQ(space->FromText("0-0-0-0-0-0-0-0").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(TabulatedSpace::Create(std::make_unique<ToySpace>(2, 2), {})
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(TabulatedSpace::Create(
                              std::make_unique<ToySpace>(2, 2),
                              {Architecture{{0, 1}}, Architecture{{0, 2}}})
                              .status()
                              .message()),
              HasSubstr("member 1: choice 2 of decision 1"));
}

TEST(TabulatedSpace, CountsEqualNetworksOnce) {
  // The toy's last two choices are interchangeable.
  const auto space = *TabulatedSpace::Create(
      std::make_unique<ToySpace>(3, 3, 2),
      {Architecture{{0, 1, 2}}, Architecture{{0, 2, 1}}});
  EXPECT_EQ(space->size(), 1);
  EXPECT_TRUE(space->Validate({{0, 2, 1}}).ok());
  Rng rng(1);
  EXPECT_EQ(space->MutateOne({{0, 1, 2}}, rng), (Architecture{{0, 1, 2}}));
}

TEST(TabulatedSpace, MembersArePartOfItsKey) {
  std::vector<Architecture> members = Members();
  const std::string key = Create(members)->key();
  std::reverse(members.begin(), members.end());
  EXPECT_EQ(Create(members)->key(), key);
  members.pop_back();
  EXPECT_NE(Create(members)->key(), key);
}

TEST(Enumerate, ListsEveryNetworkOnce) {
  const ToySpace toy(4, 3, 2);
  const auto points = toy.Enumerate(81);
  ASSERT_TRUE(points.has_value());
  EXPECT_EQ(points->size(), 9u * 6u);  // 3 * 3 unordered pairs of 3: 6.
  EXPECT_FALSE(toy.Enumerate(80).has_value());
  EXPECT_EQ((*CreateSpace(Nasbench201Config{}))->Enumerate(20000)->size(),
            5044u);
  EXPECT_EQ(Create(Members())->Enumerate(200)->size(),
            static_cast<size_t>(Create(Members())->size()));
}

}  // namespace
}  // namespace hwnas
