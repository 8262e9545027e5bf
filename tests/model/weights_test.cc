#include "model/weights.h"

#include "gtest/gtest.h"
#include "tests/fakes/reference_executor.h"

namespace hwnas {
namespace {

TEST(RandomWeights, FitTheGraph) {
  const ModelGraph graph = EveryOperatorGraph();
  EXPECT_TRUE(CheckWeights(graph, RandomWeights(graph, 3)).ok());
}

TEST(RandomWeights, DependOnTheSeedAlone) {
  const ModelGraph graph = EveryOperatorGraph();
  EXPECT_EQ(RandomWeights(graph, 1).SerializeAsString(),
            RandomWeights(graph, 1).SerializeAsString());
  EXPECT_NE(RandomWeights(graph, 1).SerializeAsString(),
            RandomWeights(graph, 2).SerializeAsString());
}

}  // namespace
}  // namespace hwnas
