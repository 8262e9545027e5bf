#include "agent/device/interference.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/files.h"

namespace hwnas::agent {

HostInterference::HostInterference(std::vector<int> cores, std::string root)
    : cores_(std::move(cores)),
      root_(std::string(absl::StripSuffix(root, "/"))) {}

int64_t HostInterference::Preemptions() {
  rusage usage;
  return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
}

InterferenceCounts HostInterference::Read() {
  InterferenceCounts counts = {.preemptions = Preemptions()};
  const auto text = ReadFile(root_ + "/proc/stat", size_t{16} << 20);
  if (!text.ok()) return counts;
  std::vector<std::string> names;
  if (cores_.empty()) names.push_back("cpu");
  for (const int core : cores_) names.push_back(absl::StrCat("cpu", core));
  int64_t ticks = 0;
  bool found = false;
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    // cpuN user nice system idle iowait irq softirq steal ...
    const std::vector<absl::string_view> fields =
        absl::StrSplit(line, ' ', absl::SkipEmpty());
    int64_t steal;
    if (fields.size() < 9 ||
        std::find(names.begin(), names.end(), fields[0]) == names.end() ||
        !absl::SimpleAtoi(fields[8], &steal)) {
      continue;
    }
    ticks += steal;
    found = true;
  }
  const long per_second = sysconf(_SC_CLK_TCK);
  if (found && per_second > 0) {
    counts.steal_seconds =
        static_cast<double>(ticks) / static_cast<double>(per_second);
  }
  return counts;
}

}  // namespace hwnas::agent
