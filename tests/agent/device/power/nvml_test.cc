#include "agent/device/power/nvml.h"

#include <cstdlib>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_runtime.h"

namespace hwnas::agent {
namespace {

using ::testing::HasSubstr;

class NvmlTest : public ::testing::Test {
 protected:
  ~NvmlTest() override { unsetenv("FAKE_NVML"); }
  absl::StatusOr<std::unique_ptr<PowerSource>> FindWith(const char* fault) {
    setenv("FAKE_NVML", fault, 1);
    return FindNvml(&clock_, HWNAS_FAKE_NVML);
  }
  FakeSteadyClock clock_;
};

TEST_F(NvmlTest, PrefersTheCountersOfAllCards) {
  const auto source = FindWith("");
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->info().includes, "2 graphics cards; not the processor");
  const auto first = (*source)->Read();
  const auto second = (*source)->Read();
  EXPECT_GT(*first->energy_j, 100'000);
  EXPECT_NEAR(*second->energy_j - *first->energy_j, 4, 1e-6);
  EXPECT_FALSE(second->broken);
}

TEST_F(NvmlTest, FallsBackToThePower) {
  const auto source = FindWith("no counter");
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_DOUBLE_EQ(*(*source)->Read()->power_w, 123);
  EXPECT_EQ((*source)->info().averaging, absl::Seconds(1));
}

TEST_F(NvmlTest, NoticesADriverThatBeganAnew) {
  const auto source = FindWith("reset");
  ASSERT_TRUE(source.ok()) << source.status();
  bool broken = false;
  for (int i = 0; i < 4; ++i) broken |= (*source)->Read()->broken;
  EXPECT_TRUE(broken);
}

TEST_F(NvmlTest, FailsClosed) {
  EXPECT_THAT(FindNvml(&clock_, "libno-such-library.so.1").status().message(),
              HasSubstr("libno-such-library.so.1 cannot be loaded"));
  // A library, but not this one.
  EXPECT_THAT(FindNvml(&clock_, "libm.so.6").status().message(),
              HasSubstr("lacks a function"));
  EXPECT_THAT(FindWith("init").status().message(), HasSubstr("error 9"));
  EXPECT_THAT(FindWith("none").status().message(),
              HasSubstr("no graphics card"));
  EXPECT_THAT(FindWith("handle").status().message(),
              HasSubstr("graphics card 1 cannot be used"));
  EXPECT_THAT(FindWith("power").status().message(),
              HasSubstr("tells no power"));
  EXPECT_THAT(FindWith("zero").status().message(), HasSubstr("0 W"));
}

}  // namespace
}  // namespace hwnas::agent
