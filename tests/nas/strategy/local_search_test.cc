#include "nas/strategy/local_search.h"

#include <set>
#include <vector>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/toy_space.h"
#include "tests/nas/strategy/simulate.h"

namespace hwnas {
namespace {

using ::testing::SizeIs;

// Leading ones, trailing zeros (Laumanns, Thiele and Zitzler, 2004): each point
// of the front, 1..10..0, has another one as neighbour.
Evaluation Lotz(const Architecture& a) {
  const std::vector<int>& x = a.choices;
  const int n = static_cast<int>(x.size());
  int ones = 0;
  while (ones < n && x[ones] == 1) ++ones;
  int zeros = 0;
  while (zeros < n && x[n - 1 - zeros] == 0) ++zeros;
  return {{-static_cast<double>(ones), -static_cast<double>(zeros)}, 0, true};
}

int FrontPointsFound(const Journal& journal, int bits) {
  std::set<std::vector<int>> found;
  for (const Observation& o : journal.observed) {
    const std::vector<double>& f = o.evaluation.objectives;
    if (-f[0] - f[1] == bits) found.insert(o.proposal.architecture.choices);
  }
  return static_cast<int>(found.size());
}

TEST(LocalSearchStrategy, FindsAConnectedFrontWhole) {
  constexpr int kBits = 16;
  const ToySpace space(kBits, 2);
  for (int workers : {1, 8}) {
    auto strategy = MustCreate(LocalSearchConfig{}, &space, ToyProblem(), 1);
    EXPECT_EQ(FrontPointsFound(Simulate(*strategy, Lotz, 1000, workers), kBits),
              kBits + 1);
  }
  auto random = MustCreate(RandomConfig{}, &space, ToyProblem(), 1);
  EXPECT_LE(FrontPointsFound(Simulate(*random, Lotz, 1000), kBits), 3);
}

// Two basins: best at all 0, the wider one around all 4.
double TwoBasins(const Architecture& a) {
  double to_zero = 0;
  double to_four = 0;
  for (int c : a.choices) {
    to_zero += c;
    to_four += 4 - c;
  }
  return std::min(to_zero, to_four + 1);
}

TEST(LocalSearchStrategy, RestartsOnceAllNeighboursOfALocalOptimumAreKnown) {
  const ToySpace space(5, 5);
  auto strategy = MustCreate(LocalSearchConfig{1}, &space, ToyProblem(1), 2);
  const Journal journal = Simulate(
      *strategy,
      [](const Architecture& a) {
        return Evaluation{{TwoBasins(a)}, 0, true};
      },
      400);
  // Everything up to the first restart.
  std::set<std::vector<int>> known;
  const Observation* best = nullptr;
  size_t restarts = 0;
  for (const Observation& o : journal.observed) {
    if (o.proposal.origin == "random") {
      ++restarts;
      if (restarts > 1) continue;
      ASSERT_NE(best, nullptr);
      for (int i = 0; i < 5; ++i) {
        for (int option = 0; option < 5; ++option) {
          std::vector<int> neighbour = best->proposal.architecture.choices;
          neighbour[i] = option;
          EXPECT_TRUE(known.contains(neighbour));
        }
      }
    }
    if (restarts > 0) continue;
    known.insert(o.proposal.architecture.choices);
    if (best == nullptr ||
        o.evaluation.objectives[0] < best->evaluation.objectives[0]) {
      best = &o;
    }
  }
  EXPECT_GT(restarts, 0u);
  // Both basins are found in the end.
  std::set<double> values;
  for (const Observation& o : journal.observed) {
    values.insert(o.evaluation.objectives[0]);
  }
  EXPECT_TRUE(values.contains(0));
}

// Paquete et al.: the archive is done when no neighbour of any member is left.
TEST(LocalSearchStrategy, RestartsAtAParetoLocalOptimumOnly) {
  const ToySpace space(5, 4);
  // Noise has many local optima.
  const auto evaluate = [](const Architecture& a) {
    uint64_t hash = 1;
    for (const int choice : a.choices) hash = Rng(hash, choice).Next();
    Rng rng(hash);
    const double first = rng.Uniform();
    return Evaluation{{first, rng.Uniform()}, 0, true};
  };
  auto strategy = MustCreate(LocalSearchConfig{1}, &space, ToyProblem(), 1);
  const Journal journal = Simulate(*strategy, evaluate, 600);
  std::set<std::vector<int>> known;
  std::vector<const Observation*> since_restart;
  int restarts = 0;
  for (const Observation& o : journal.observed) {
    if (o.proposal.origin == "random") {
      ++restarts;
      for (const Observation* member : since_restart) {
        bool dominated = false;
        for (const Observation* other : since_restart) {
          dominated |= Dominates(other->evaluation.objectives,
                                 member->evaluation.objectives);
        }
        if (dominated) continue;
        for (size_t i = 0; i < 5; ++i) {
          for (int option = 0; option < 4; ++option) {
            std::vector<int> neighbour = member->proposal.architecture.choices;
            neighbour[i] = option;
            EXPECT_TRUE(known.contains(neighbour)) << o.proposal.number;
          }
        }
      }
      since_restart.clear();
    }
    known.insert(o.proposal.architecture.choices);
    since_restart.push_back(&o);
  }
  EXPECT_GT(restarts, 2);
}

TEST(LocalSearchStrategy, ProposesOnlyNeighboursOfWhatNoneDominates) {
  const ToySpace space(8, 6);
  auto strategy = MustCreate(LocalSearchConfig{}, &space, ToyProblem(1), 3);
  const Journal journal = Simulate(
      *strategy,
      [](const Architecture& a) {
        double sum = 0;
        for (int c : a.choices) sum += c;
        return Evaluation{{sum}, 0, true};
      },
      200);
  Observation best = journal.observed[0];
  for (const Observation& o : journal.observed) {
    if (absl::StartsWith(o.proposal.origin, "neighbour of ")) {
      int different = 0;
      for (size_t i = 0; i < 8; ++i) {
        different += o.proposal.architecture.choices[i] !=
                     best.proposal.architecture.choices[i];
      }
      EXPECT_EQ(different, 1) << o.proposal.number;
    }
    // Of equals the first stays.
    if (o.evaluation.objectives[0] < best.evaluation.objectives[0]) best = o;
    if (best.evaluation.objectives[0] == 0) return;
  }
  FAIL() << "the optimum was not found";
}

}  // namespace
}  // namespace hwnas
