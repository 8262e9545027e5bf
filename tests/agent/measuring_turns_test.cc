#include "agent/measure/measuring_turns.h"

#include <atomic>
#include <map>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace hwnas::agent {
namespace {

bool Never() { return false; }
bool Always() { return true; }

TEST(MeasuringTurns, TheOnlyOneKeepsTheDevice) {
  MeasuringTurns turns(1);
  ASSERT_TRUE(turns.Take(Always).ok());
  EXPECT_FALSE(turns.IsWanted());
  turns.Leave();
  ASSERT_TRUE(turns.Take(Always).ok());
  turns.Leave();
}

TEST(MeasuringTurns, GivesUpWhenCancelledAndLeavesNoTrace) {
  MeasuringTurns turns(1);
  ASSERT_TRUE(turns.Take(Never).ok());
  EXPECT_TRUE(absl::IsCancelled(turns.Take(Always)));
  EXPECT_FALSE(turns.IsWanted());
  turns.Leave();
  ASSERT_TRUE(turns.Take(Never).ok());
  turns.Leave();
}

TEST(MeasuringTurns, OneAtATimeAndEachInTheEnd) {
  constexpr int kTasks = 4;
  constexpr int kPasses = 200;
  MeasuringTurns turns(7);
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::atomic<int> passes{0};
  std::vector<std::thread> threads;
  for (int task = 0; task < kTasks; ++task) {
    threads.emplace_back([&] {
      for (int pass = 0; pass < kPasses; ++pass) {
        ASSERT_TRUE(turns.Take(Never).ok());
        most = std::max<int>(most, ++inside);
        ++passes;
        --inside;
        turns.Leave();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(most, 1);
  EXPECT_EQ(passes, kTasks * kPasses);
  EXPECT_FALSE(turns.IsWanted());
}

// Holds the device until all wait, then lets them go in the order drawn.
std::vector<int> OrderOf(uint64_t seed, int tasks) {
  MeasuringTurns turns(seed);
  EXPECT_TRUE(turns.Take(Never).ok());
  std::vector<int> order;  // Guarded by the turn.
  std::vector<std::thread> threads;
  std::atomic<int> begun{0};
  for (int task = 0; task < tasks; ++task) {
    // One after the other, so that the tickets are in their order.
    const int before = begun;
    threads.emplace_back([&, task] {
      const auto announce = [&, first = true]() mutable {
        if (first) ++begun;
        first = false;
        return false;
      };
      EXPECT_TRUE(turns.Take(announce).ok());
      order.push_back(task);
      turns.Leave();
    });
    while (begun == before) std::this_thread::yield();
  }
  turns.Leave();
  for (std::thread& thread : threads) thread.join();
  return order;
}

TEST(MeasuringTurns, TheOrderIsDrawnAndNotThatOfArrival) {
  std::map<int, int> first;
  int in_order = 0;
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    const std::vector<int> order = OrderOf(seed, 3);
    ASSERT_EQ(order.size(), 3u);
    ++first[order[0]];
    in_order += order == std::vector<int>{0, 1, 2};
    EXPECT_EQ(OrderOf(seed, 3), order);
  }
  EXPECT_EQ(first.size(), 3u);
  EXPECT_LT(in_order, 6);
}

}  // namespace
}  // namespace hwnas::agent
