// Which cores to measure on, and how to stay there.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace hwnas::agent {

// Cores that this process may use, ascending. Empty if the system does not say.
std::vector<int> AllowedCores();

// The best `count` of `allowed` for measuring: fastest first (cpu_capacity,
// else the highest frequency), one of each physical core before its
// hyper-threads, and the last before the first, since the system's own work
// gathers on core 0. Reads /sys below `root`. All of them if there are not
// more; ascending.
std::vector<int> ChooseCores(const std::vector<int>& allowed, int count,
                             const std::string& root = "/");

// Where `threads` threads are to be measured: on `wanted` if there are any,
// else on the best of the allowed cores if there are more than `threads`.
// Empty: on all cores, without pinning.
std::vector<int> MeasuringCores(const std::vector<int>& wanted, int threads,
                                const std::string& root = "/");

// The cores that are hyper-threads of the same physical core as `core`, itself
// among them, ascending. Only itself where /sys below `root` does not tell.
std::vector<int> HyperThreads(int core, const std::string& root = "/");

// Pins the calling thread, and threads it starts meanwhile, until destroyed.
class ScopedPinning {
 public:
  // No cores: does nothing.
  explicit ScopedPinning(const std::vector<int>& cores);
  ~ScopedPinning();
  ScopedPinning(const ScopedPinning&) = delete;
  ScopedPinning& operator=(const ScopedPinning&) = delete;

  // The cores that the thread is pinned to; empty if the system refused.
  const std::vector<int>& cores() const { return cores_; }

 private:
  std::vector<int> before_;
  std::vector<int> cores_;
};

}  // namespace hwnas::agent
