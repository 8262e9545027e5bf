#include "nas/surrogate/feature_map.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/graph/graph_features.h"
#include "nas/space/space_factory.h"
#include "tests/fakes/toy_space.h"

namespace hwnas {
namespace {

std::vector<Architecture> Samples(const SearchSpace& space, int count) {
  Rng rng(1);
  std::vector<Architecture> samples;
  for (int i = 0; i < count; ++i) samples.push_back(space.Sample(rng));
  return samples;
}

TEST(FeatureMap, ShowsDecisionsAndCounts) {
  const ToySpace space(4, 3);
  const FeatureMap map(&space, {});
  EXPECT_THAT(map.layout().options, testing::ElementsAre(3, 3, 3, 3));
  EXPECT_EQ(map.layout().numeric, 3);  // How often 0, 1 and 2 are taken.
  const SurrogateInputs x =
      map.Compute({Architecture{{0, 1, 2, 2}}, Architecture{{2, 2, 0, 1}}});
  EXPECT_EQ(x.one_hot.row(0).sum(), 4);
  EXPECT_EQ(x.one_hot(0, 0), 1);
  EXPECT_EQ(x.one_hot(0, 3 + 1), 1);
  EXPECT_EQ(x.numeric.row(0), x.numeric.row(1));
}

TEST(FeatureMap, StandardisesOverTheSpace) {
  const auto space = *CreateSpace(Nasbench201Config{});
  const FeatureMap map(space.get(), {});
  const SurrogateInputs x = map.Compute(Samples(*space, 500));
  for (Eigen::Index j = 0; j < x.numeric.cols(); ++j) {
    EXPECT_NEAR(x.numeric.col(j).mean(), 0, 0.3);
    EXPECT_NEAR(x.numeric.col(j).squaredNorm() / 500, 1, 0.5);
  }
}

TEST(FeatureMap, TakesEvidenceOnceAndWithoutWhatIsUnknown) {
  const ToySpace space(4, 3);
  const auto evidence = [](const Architecture& a) {
    double sum = 1;
    for (const int choice : a.choices) sum += choice;
    return std::vector<MetricValue>{
        {{"sum", ""}, sum},
        {{"twice", ""}, 2 * sum},
        {{"unknown", ""}, std::numeric_limits<double>::quiet_NaN()},
        {{"constant", ""}, 3}};
  };
  const FeatureMap map(&space, evidence);
  EXPECT_EQ(map.layout().numeric, 3 + 1);
  EXPECT_TRUE(map.Compute(Samples(space, 50)).numeric.allFinite());
}

TEST(GraphFeatures, TellCellsApartByWhatTheyCompute) {
  const auto space = *CreateSpace(Nasbench201Config{.cells = 1});
  const auto features = [&](absl::string_view cell) {
    return GraphFeatures(*space->Decode(*space->FromText(cell)));
  };
  // A dead convolution does not matter, a live one does.
  const auto skip =
      features("|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|");
  EXPECT_EQ(features("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|"
                     "none~2|"),
            skip);
  const auto conv =
      features("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|");
  EXPECT_NE(conv, skip);
  EXPECT_EQ(conv.size(), skip.size());
  // Two paths in place of one in each of three cells.
  const auto both = features(
      "|skip_connect~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|"
      "none~2|");
  EXPECT_NEAR(both.back() - skip.back(), 3 * std::log(2.0), 1e-12);
}

}  // namespace
}  // namespace hwnas
