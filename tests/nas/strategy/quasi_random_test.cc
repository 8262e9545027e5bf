#include "nas/strategy/quasi_random.h"

#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/strategy/halton.h"
#include "tests/fakes/toy_space.h"
#include "tests/nas/strategy/simulate.h"

namespace hwnas {
namespace {

using ::testing::Each;
using ::testing::SizeIs;

std::vector<Proposal> First(const SearchSpace& space, uint64_t seed,
                            int count) {
  auto strategy = MustCreate(QuasiRandomConfig{}, &space, ToyProblem(), seed);
  SuggestRequest request;
  request.count = count;
  return *strategy->Suggest(request);
}

TEST(ScrambledHalton, HasOnePointInEachIntervalOfItsBase) {
  const int bases[] = {2, 3, 5, 7, 11, 13};
  const ScrambledHalton sequence(6, /*seed=*/4);
  for (int d = 0; d < 6; ++d) {
    for (int power = bases[d]; power < 3000; power *= bases[d]) {
      // Also from a later multiple of the power on.
      for (int start : {0, 3 * power}) {
        std::set<int> cells;
        for (int i = 0; i < power; ++i) {
          const double u = sequence.At(start + i, d);
          EXPECT_GE(u, 0);
          EXPECT_LT(u, 1);
          cells.insert(static_cast<int>(u * power));
        }
        EXPECT_THAT(cells, SizeIs(power)) << "base " << bases[d];
      }
    }
  }
}

TEST(ScrambledHalton, IsUniformInTwoDimensionsWhereTheUnscrambledIsNot) {
  // Bases 31 and 37: the first points of the plain sequence lie on lines.
  const ScrambledHalton sequence(12, /*seed=*/4);
  std::vector<int> counts(16);
  constexpr int kPoints = 320;
  for (int i = 0; i < kPoints; ++i) {
    const int x = static_cast<int>(4 * sequence.At(i, 10));
    const int y = static_cast<int>(4 * sequence.At(i, 11));
    ++counts[4 * x + y];
  }
  EXPECT_THAT(counts,
              Each(::testing::AllOf(::testing::Ge(10), ::testing::Le(30))));
}

TEST(QuasiRandomStrategy, TakesEachOptionEquallyOften) {
  // The third decision has base 5: any 5 successive proposals from a multiple
  // of 5 on take each of its options once.
  const ToySpace space(6, 5);
  const std::vector<Proposal> proposals = First(space, 3, 100);
  ASSERT_THAT(proposals, SizeIs(100));
  for (int block = 0; block < 20; ++block) {
    std::set<int> options;
    for (int i = 0; i < 5; ++i) {
      options.insert(proposals[5 * block + i].architecture.choices[2]);
    }
    EXPECT_THAT(options, SizeIs(5));
  }
  // The others have nearly equal shares, of 20.
  for (size_t decision = 0; decision < 6; ++decision) {
    std::vector<int> counts(5);
    for (const Proposal& p : proposals) {
      ++counts[p.architecture.choices[decision]];
    }
    EXPECT_THAT(counts,
                Each(::testing::AllOf(::testing::Ge(17), ::testing::Le(23))));
  }
}

TEST(QuasiRandomStrategy, CoversPairsOfOptionsMoreEvenlyThanRandomSearch) {
  const ToySpace space(6, 4);
  // Sum over pairs of decisions of the squared excess of each pair of options.
  const auto unevenness = [&](const StrategyConfig& config, uint64_t seed) {
    auto strategy = MustCreate(config, &space, ToyProblem(), seed);
    SuggestRequest request;
    request.count = 128;
    const auto proposals = *strategy->Suggest(request);
    double sum = 0;
    for (int a = 0; a < 6; ++a) {
      for (int b = a + 1; b < 6; ++b) {
        std::vector<int> counts(16);
        for (const Proposal& p : proposals) {
          ++counts[4 * p.architecture.choices[a] + p.architecture.choices[b]];
        }
        for (int count : counts) sum += (count - 8.) * (count - 8.);
      }
    }
    return sum;
  };
  double quasi = 0;
  double random = 0;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    quasi += unevenness(QuasiRandomConfig{}, seed);
    random += unevenness(RandomConfig{}, seed);
  }
  EXPECT_LT(quasi, 0.5 * random);
}

}  // namespace
}  // namespace hwnas
