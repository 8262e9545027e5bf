#include "common/statistics.h"

#include "gtest/gtest.h"

namespace hwnas {
namespace {

TEST(Median, OfOddAndEvenCounts) {
  EXPECT_EQ(Median({3}), 3);
  EXPECT_EQ(Median({5, 1, 3}), 3);
  EXPECT_EQ(Median({4, 1, 3, 2}), 2.5);
  EXPECT_EQ(Median({2, 2, 2, 9}), 2);
  EXPECT_EQ(Median({}), 0);
}

}  // namespace
}  // namespace hwnas
