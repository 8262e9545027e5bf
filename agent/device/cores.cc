#include "agent/device/cores.h"

#include <sched.h>

#include <algorithm>
#include <memory>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/files.h"

namespace hwnas::agent {
namespace {

// More cores than any machine we know of.
constexpr int kMaxCores = 8192;

struct FreeCpuSet {
  void operator()(cpu_set_t* set) const { CPU_FREE(set); }
};
using CpuSet = std::unique_ptr<cpu_set_t, FreeCpuSet>;
const size_t kSetBytes = CPU_ALLOC_SIZE(kMaxCores);

bool SetAffinity(const std::vector<int>& cores) {
  const CpuSet set(CPU_ALLOC(kMaxCores));
  CPU_ZERO_S(kSetBytes, set.get());
  for (const int core : cores) CPU_SET_S(core, kSetBytes, set.get());
  return sched_setaffinity(0, kSetBytes, set.get()) == 0;
}

std::string ReadTopology(const std::string& root, int core,
                         absl::string_view file) {
  const auto text = ReadFile(
      absl::StrCat(root, "/sys/devices/system/cpu/cpu", core, "/", file), 4096);
  return text.ok() ? std::string(absl::StripAsciiWhitespace(*text)) : "";
}

int64_t ReadNumber(const std::string& root, int core, absl::string_view file) {
  int64_t value;
  return absl::SimpleAtoi(ReadTopology(root, core, file), &value) ? value : 0;
}

}  // namespace

std::vector<int> AllowedCores() {
  const CpuSet set(CPU_ALLOC(kMaxCores));
  CPU_ZERO_S(kSetBytes, set.get());
  std::vector<int> cores;
  if (sched_getaffinity(0, kSetBytes, set.get()) != 0) return cores;
  for (int core = 0; core < kMaxCores; ++core) {
    if (CPU_ISSET_S(core, kSetBytes, set.get())) cores.push_back(core);
  }
  return cores;
}

std::vector<int> ChooseCores(const std::vector<int>& allowed, int count,
                             const std::string& root) {
  if (count <= 0) return {};
  const std::string base(absl::StripSuffix(root, "/"));
  struct Candidate {
    int core;
    bool sibling = false;  // Of a better candidate.
    int64_t capacity;
    int64_t max_khz;
    std::string siblings;
  };
  std::vector<Candidate> candidates;
  for (const int core : allowed) {
    candidates.push_back(
        {.core = core,
         .capacity = ReadNumber(base, core, "cpu_capacity"),
         .max_khz = ReadNumber(base, core, "cpufreq/cpuinfo_max_freq"),
         .siblings =
             ReadTopology(base, core, "topology/thread_siblings_list")});
  }
  const auto better = [](const Candidate& a, const Candidate& b) {
    return std::tuple(a.sibling, -a.capacity, -a.max_khz, -a.core) <
           std::tuple(b.sibling, -b.capacity, -b.max_khz, -b.core);
  };
  std::sort(candidates.begin(), candidates.end(), better);
  std::set<std::string> seen;
  for (Candidate& candidate : candidates) {
    candidate.sibling =
        !candidate.siblings.empty() && !seen.insert(candidate.siblings).second;
  }
  std::sort(candidates.begin(), candidates.end(), better);
  std::vector<int> chosen;
  for (const Candidate& candidate : candidates) {
    if (static_cast<int>(chosen.size()) == count) break;
    chosen.push_back(candidate.core);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

std::vector<int> MeasuringCores(const std::vector<int>& wanted, int threads,
                                const std::string& root) {
  if (!wanted.empty()) return wanted;
  const std::vector<int> allowed = AllowedCores();
  // Free cores beside ours make pinning worth while.
  if (threads >= static_cast<int>(allowed.size())) return {};
  return ChooseCores(allowed, threads, root);
}

std::vector<int> HyperThreads(int core, const std::string& root) {
  std::vector<int> cores;
  const std::string base(absl::StripSuffix(root, "/"));
  const std::string list =
      ReadTopology(base, core, "topology/thread_siblings_list");
  // "0,64" or "0-1".
  for (const absl::string_view range : absl::StrSplit(list, ',')) {
    const std::pair<absl::string_view, absl::string_view> ends =
        absl::StrSplit(range, absl::MaxSplits('-', 1));
    int first;
    int last;
    if (!absl::SimpleAtoi(ends.first, &first)) continue;
    if (!absl::SimpleAtoi(ends.second, &last)) last = first;
    for (int i = first; i <= last && i < kMaxCores; ++i) cores.push_back(i);
  }
  if (cores.empty()) cores.push_back(core);
  return cores;
}

ScopedPinning::ScopedPinning(const std::vector<int>& cores) {
  if (cores.empty()) return;
  before_ = AllowedCores();
  if (!before_.empty() && SetAffinity(cores)) cores_ = cores;
}

ScopedPinning::~ScopedPinning() {
  if (!cores_.empty()) SetAffinity(before_);
}

}  // namespace hwnas::agent
