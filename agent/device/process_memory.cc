#include "agent/device/process_memory.h"

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace hwnas::agent {
namespace {

// "VmHWM:     1234 kB" of /proc/self/status.
absl::StatusOr<int64_t> StatusBytes(absl::string_view key) {
  HWNAS_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile("/proc/self/status", 1 << 20));
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!absl::ConsumePrefix(&line, key)) continue;
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t:"), absl::SkipEmpty());
    int64_t kilobytes;
    if (!words.empty() && absl::SimpleAtoi(words[0], &kilobytes)) {
      return kilobytes * 1024;
    }
  }
  return absl::UnavailableError(absl::StrCat("/proc/self/status has no ", key));
}

}  // namespace

int ClearRefsDescriptor() {
  static const int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  return fd;
}

absl::StatusOr<int64_t> ResetPeakResidentBytes() {
  malloc_trim(0);
  const int fd = ClearRefsDescriptor();
  if (fd < 0) {
    return absl::UnavailableError(
        "the kernel has no /proc/self/clear_refs, so a peak cannot be reset");
  }
  // 5: reset VmHWM to VmRSS; see proc(5).
  if (write(fd, "5", 1) != 1) {
    return absl::UnavailableError("the kernel refuses to reset VmHWM");
  }
  return StatusBytes("VmHWM");
}

absl::StatusOr<int64_t> PeakResidentBytes() { return StatusBytes("VmHWM"); }

}  // namespace hwnas::agent
