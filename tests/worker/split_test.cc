#include "worker/train/split.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas::worker {
namespace {

using ::testing::IsEmpty;
using ::testing::Not;

std::vector<int32_t> Labels(int count, int classes) {
  std::vector<int32_t> labels;
  for (int i = 0; i < count; ++i) labels.push_back(i % classes);
  return labels;
}

TEST(SplitTraining, KeepsTrainingAndValidationApartAndLosesNothing) {
  const Split split = SplitTraining(Labels(1000, 10), 0.1, 1);
  std::set<int32_t> all(split.train.begin(), split.train.end());
  all.insert(split.validation.begin(), split.validation.end());
  EXPECT_EQ(split.train.size(), 900u);
  EXPECT_EQ(split.validation.size(), 100u);
  EXPECT_EQ(all.size(), 1000u);
}

TEST(SplitTraining, TakesTheSameShareOfEveryClass) {
  const std::vector<int32_t> labels = Labels(1000, 10);
  const Split split = SplitTraining(labels, 0.2, 0.5);
  std::map<int, int> train, validation;
  for (const int32_t i : split.train) ++train[labels[i]];
  for (const int32_t i : split.validation) ++validation[labels[i]];
  for (int c = 0; c < 10; ++c) {
    EXPECT_EQ(train[c], 40);
    EXPECT_EQ(validation[c], 20);
  }
}

TEST(SplitTraining, KeepsASubsetForASmallerFraction) {
  const std::vector<int32_t> labels = Labels(2000, 7);
  const Split small = SplitTraining(labels, 0.1, 0.2);
  const Split large = SplitTraining(labels, 0.1, 0.6);
  EXPECT_EQ(small.validation, large.validation);
  EXPECT_TRUE(std::includes(large.train.begin(), large.train.end(),
                            small.train.begin(), small.train.end()));
}

TEST(SplitTraining, IsTheSameEveryTime) {
  const std::vector<int32_t> labels = Labels(300, 3);
  EXPECT_EQ(SplitTraining(labels, 0.1, 0.5).train,
            SplitTraining(labels, 0.1, 0.5).train);
}

TEST(SplitTraining, LeavesNeitherPartOfATinySetEmpty) {
  for (int count = 2; count < 6; ++count) {
    for (const double validation : {0.01, 0.5, 0.9}) {
      const Split split = SplitTraining(Labels(count, 2), validation, 0.01);
      EXPECT_THAT(split.train, Not(IsEmpty())) << count << " " << validation;
      EXPECT_THAT(split.validation, Not(IsEmpty()))
          << count << " " << validation;
    }
  }
}

}  // namespace
}  // namespace hwnas::worker
