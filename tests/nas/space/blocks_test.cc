#include "nas/space/blocks.h"

#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace hwnas {
namespace {

// The values of make_divisible(v, 8) of the reference implementations.
TEST(RoundChannels, RoundsToEightButNeverTenPercentDown) {
  for (const auto& [given, rounded] :
       std::vector<std::pair<double, int>>{{1, 8},
                                           {8, 8},
                                           {11.9, 16},
                                           {12, 16},
                                           {19.2, 24},
                                           {16, 16},
                                           {20, 24},
                                           {28.8, 32},
                                           {48, 48},
                                           {134.4, 136},
                                           {1152, 1152}}) {
    EXPECT_EQ(RoundChannels(given), rounded) << given;
  }
}

}  // namespace
}  // namespace hwnas
