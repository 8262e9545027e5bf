// Tells whether something else disturbed the cores while we measured.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "agent/measure/steady_clock.h"

namespace hwnas::agent {

// What concerns this process and its cores. Counters only grow; unset: not
// told.
struct ThreadCounts {
  // Times that the kernel took a core from one of our threads.
  int64_t preemptions = 0;
  // That the measuring thread was ready to run and had no core.
  std::optional<double> waited_seconds;
  // Times that the processor slowed down because it was too hot.
  std::optional<int64_t> throttles;
  // The clock of the measuring core now.
  std::optional<double> frequency_mhz;
};

// What concerns the whole machine, in seconds of one core. The kernel counts
// in ticks of 10 ms.
struct HostCounts {
  // Taken by the hypervisor from the measuring cores.
  std::optional<double> steal_seconds;
  // Used by all other processes, on any core, and the cores they could use
  // without sharing ours.
  std::optional<double> others_seconds;
  int other_cores = 0;
  // Used on hyper-threads of our physical cores, and how many there are.
  std::optional<double> siblings_seconds;
  int sibling_cores = 0;
  // What a Raspberry Pi says of its throttling (ParseThrottled).
  std::optional<uint32_t> throttled;
};

// Where the counts come from. Used by the measuring thread.
class Interference {
 public:
  virtual ~Interference() = default;
  // Cheap (microseconds): asked between blocks.
  virtual ThreadCounts ReadThread() = 0;
  // Dearer: asked about ten times a second.
  virtual HostCounts ReadHost() = 0;
};

struct HostInterferenceOptions {
  // The measuring cores. Empty: all of the machine.
  std::vector<int> cores;
  // Of one inference. With one thread, whatever the clock moves on more than
  // the thread's processor time counts as waiting, should the kernel not tell.
  int threads = 1;
  // Null: not asked. It may be slow, so it is not asked more than once a
  // second.
  std::function<std::optional<uint32_t>()> throttled;
  // Where /proc and /sys are looked for.
  std::string root = "/";
};

// Reads getrusage(RUSAGE_SELF), /proc/thread-self/schedstat, /proc/stat,
// cpufreq and thermal_throttle. Make it in the measuring thread.
class HostInterference final : public Interference {
 public:
  // `clock` must outlive it.
  HostInterference(HostInterferenceOptions options, SteadyClock* clock);
  ~HostInterference() override;
  ThreadCounts ReadThread() override;
  HostCounts ReadHost() override;

 private:
  class NumberFile;

  const HostInterferenceOptions options_;
  SteadyClock* const clock_;
  std::vector<int> siblings_;
  std::unique_ptr<NumberFile> schedstat_;
  std::unique_ptr<NumberFile> frequency_;
  std::vector<std::unique_ptr<NumberFile>> throttle_counts_;
  std::optional<uint32_t> throttled_;
  absl::Duration throttled_asked_ = -absl::InfiniteDuration();
};

// Seconds that each core of `proc_stat` (the text of /proc/stat) has worked
// since the start, by number; time taken by a hypervisor is none.
struct CoreTime {
  int core = 0;
  double busy_seconds = 0;
  double steal_seconds = 0;
};
std::vector<CoreTime> ParseCoreTimes(const std::string& proc_stat);

}  // namespace hwnas::agent
