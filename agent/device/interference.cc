#include "agent/device/interference.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "agent/device/cores.h"
#include "common/files.h"

namespace hwnas::agent {
namespace {

constexpr size_t kMaxStatBytes = size_t{16} << 20;
constexpr absl::Duration kThrottledInterval = absl::Seconds(1);

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) +
         static_cast<double>(time.tv_usec) / 1e6;
}

double ThreadProcessorSeconds() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) +
         static_cast<double>(time.tv_nsec) / 1e9;
}

bool Contains(const std::vector<int>& cores, int core) {
  return std::find(cores.begin(), cores.end(), core) != cores.end();
}

}  // namespace

// Numbers of a small file that is kept open and read again and again.
class HostInterference::NumberFile {
 public:
  explicit NumberFile(const std::string& path)
      : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~NumberFile() {
    if (fd_ >= 0) close(fd_);
  }
  NumberFile(const NumberFile&) = delete;
  NumberFile& operator=(const NumberFile&) = delete;

  // The number at `field`, from 0.
  std::optional<int64_t> Read(size_t field = 0) const {
    char text[256];
    const ssize_t size = fd_ < 0 ? -1 : pread(fd_, text, sizeof(text), 0);
    if (size <= 0) return std::nullopt;
    const std::vector<absl::string_view> fields =
        absl::StrSplit(absl::string_view(text, size), absl::ByAnyChar(" \n"),
                       absl::SkipEmpty());
    int64_t value;
    if (fields.size() <= field || !absl::SimpleAtoi(fields[field], &value)) {
      return std::nullopt;
    }
    return value;
  }

 private:
  const int fd_;
};

std::vector<CoreTime> ParseCoreTimes(const std::string& proc_stat) {
  std::vector<CoreTime> times;
  const double per_second = static_cast<double>(sysconf(_SC_CLK_TCK));
  for (absl::string_view line : absl::StrSplit(proc_stat, '\n')) {
    // cpuN user nice system idle iowait irq softirq steal ...
    if (!absl::ConsumePrefix(&line, "cpu")) {
      if (!times.empty()) break;
      continue;
    }
    const std::vector<absl::string_view> fields =
        absl::StrSplit(line, ' ', absl::SkipEmpty());
    CoreTime time;
    // A space follows where the line is the sum of all cores.
    if (line.empty() || !absl::ascii_isdigit(line[0]) || fields.size() < 9 ||
        !absl::SimpleAtoi(fields[0], &time.core)) {
      continue;
    }
    int64_t ticks[8];
    bool good = true;
    for (int i = 0; i < 8; ++i) {
      good = good && absl::SimpleAtoi(fields[i + 1], &ticks[i]);
    }
    if (!good) continue;
    time.busy_seconds = static_cast<double>(ticks[0] + ticks[1] + ticks[2] +
                                            ticks[5] + ticks[6]) /
                        per_second;
    time.steal_seconds = static_cast<double>(ticks[7]) / per_second;
    times.push_back(time);
  }
  return times;
}

HostInterference::HostInterference(HostInterferenceOptions options,
                                   SteadyClock* clock)
    : options_(std::move(options)), clock_(clock) {
  const std::string root(absl::StripSuffix(options_.root, "/"));
  schedstat_ =
      std::make_unique<NumberFile>(root + "/proc/thread-self/schedstat");
  const int first = options_.cores.empty() ? 0 : options_.cores.front();
  const std::string folder =
      absl::StrCat(root, "/sys/devices/system/cpu/cpu", first, "/");
  frequency_ =
      std::make_unique<NumberFile>(folder + "cpufreq/scaling_cur_freq");
  for (const char* name : {"core_throttle_count", "package_throttle_count"}) {
    auto file =
        std::make_unique<NumberFile>(folder + "thermal_throttle/" + name);
    if (file->Read()) throttle_counts_.push_back(std::move(file));
  }
  for (const int core : options_.cores) {
    for (const int sibling : HyperThreads(core, root)) {
      if (!Contains(options_.cores, sibling) && !Contains(siblings_, sibling)) {
        siblings_.push_back(sibling);
      }
    }
  }
}

HostInterference::~HostInterference() = default;

ThreadCounts HostInterference::ReadThread() {
  ThreadCounts counts;
  rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) == 0) counts.preemptions = usage.ru_nivcsw;
  if (const auto nanoseconds = schedstat_->Read(1)) {
    counts.waited_seconds = static_cast<double>(*nanoseconds) / 1e9;
  } else if (options_.threads == 1) {
    counts.waited_seconds =
        absl::ToDoubleSeconds(clock_->Now()) - ThreadProcessorSeconds();
  }
  for (const auto& file : throttle_counts_) {
    counts.throttles = counts.throttles.value_or(0) + file->Read().value_or(0);
  }
  if (const auto khz = frequency_->Read(); khz && *khz > 0) {
    counts.frequency_mhz = static_cast<double>(*khz) / 1e3;
  }
  return counts;
}

HostCounts HostInterference::ReadHost() {
  HostCounts counts;
  if (options_.throttled &&
      clock_->Now() >= throttled_asked_ + kThrottledInterval) {
    throttled_asked_ = clock_->Now();
    throttled_ = options_.throttled();
  }
  counts.throttled = throttled_;
  const auto text = ReadFile(
      absl::StrCat(absl::StripSuffix(options_.root, "/"), "/proc/stat"),
      kMaxStatBytes);
  if (!text.ok()) return counts;
  double busy = 0;
  int all = 0;
  int ours = 0;
  for (const CoreTime& time : ParseCoreTimes(*text)) {
    ++all;
    busy += time.busy_seconds;
    if (options_.cores.empty() || Contains(options_.cores, time.core)) {
      ++ours;
      counts.steal_seconds =
          counts.steal_seconds.value_or(0) + time.steal_seconds;
    }
    if (Contains(siblings_, time.core)) {
      ++counts.sibling_cores;
      counts.siblings_seconds =
          counts.siblings_seconds.value_or(0) + time.busy_seconds;
    }
  }
  rusage usage;
  if (all > 0 && getrusage(RUSAGE_SELF, &usage) == 0) {
    counts.others_seconds =
        busy - Seconds(usage.ru_utime) - Seconds(usage.ru_stime);
    counts.other_cores = std::max(1, all - ours);
  }
  return counts;
}

}  // namespace hwnas::agent
