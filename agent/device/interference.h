// Tells whether something else used the cores while we measured.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hwnas::agent {

// Counters that only grow.
struct InterferenceCounts {
  // Times that the kernel took the core from this thread.
  int64_t preemptions = 0;
  // Hypervisor's theft of the measuring cores, in seconds. Unset if not told.
  std::optional<double> steal_seconds;
};

// Where the counts come from. Used by the measuring thread.
class Interference {
 public:
  virtual ~Interference() = default;
  // Cheap: asked before and after each block.
  virtual int64_t Preemptions() = 0;
  // Asked before and after a measurement.
  virtual InterferenceCounts Read() = 0;
};

// getrusage(RUSAGE_THREAD) and the steal column of /proc/stat below `root`.
class HostInterference final : public Interference {
 public:
  // `cores`: whose steal counts. Empty: all cores together.
  explicit HostInterference(std::vector<int> cores, std::string root = "/");
  int64_t Preemptions() override;
  InterferenceCounts Read() override;

 private:
  const std::vector<int> cores_;
  const std::string root_;
};

}  // namespace hwnas::agent
