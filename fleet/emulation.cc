#include "fleet/emulation.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/files.h"

// Our own ELF header, by courtesy of the linker, which gives it this name.
// NOLINTNEXTLINE(bugprone-reserved-identifier)
extern "C" const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

namespace hwnas::fleet {
namespace {

// /proc/self/exe is what an emulator makes us believe; the entry of the thread
// is left to the kernel.
constexpr char kWhatTheKernelRuns[] = "/proc/thread-self/exe";

// The machine of an ELF file; nullopt if it cannot be read.
std::optional<uint16_t> MachineOf(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  // The fields up to e_machine are alike in 32 and 64 bits.
  Elf32_Ehdr header = {};
  constexpr size_t kBytes = offsetof(Elf32_Ehdr, e_version);
  const ssize_t got = read(fd, &header, kBytes);
  close(fd);
  if (got != static_cast<ssize_t>(kBytes) ||
      memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
    return std::nullopt;
  }
  return header.e_machine;
}

std::string LinkTarget(const std::string& path) {
  std::error_code error;
  return std::filesystem::read_symlink(path, error).string();
}

}  // namespace

std::string WhyEmulated(const std::string& root) {
  const std::string base(absl::StripSuffix(root, "/"));
  const auto machine = MachineOf(absl::StrCat(base, kWhatTheKernelRuns));
  if (machine && *machine != __ehdr_start.e_machine) {
    return "an emulator runs this program";
  }
  const auto cpuinfo =
      ReadFile(absl::StrCat(base, "/proc/cpuinfo"), size_t{16} << 20);
  if (!cpuinfo.ok()) return "";
  for (absl::string_view line : absl::StrSplit(*cpuinfo, '\n')) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits(':', 1));
    const absl::string_view key = absl::StripAsciiWhitespace(parts.first);
    const absl::string_view value = absl::StripAsciiWhitespace(parts.second);
    // Arm's code for processors made of software.
    if (key == "CPU implementer" && (value == "0x00" || value == "0x0")) {
      return "the processor is a program by its own account (CPU implementer "
             "0x00)";
    }
    if ((key == "model name" && absl::StartsWith(value, "QEMU TCG")) ||
        (key == "vendor_id" && value == "VirtualApple")) {
      return absl::StrCat("the processor is a program by its own account (",
                          key, " ", value, ")");
    }
  }
  return "";
}

std::vector<std::string> OwnCommand() {
  const std::string self = LinkTarget("/proc/self/exe");
  const std::string kernels = LinkTarget(kWhatTheKernelRuns);
  if (self.empty() || kernels.empty() || self == kernels) {
    // The link is good even if the file has been replaced meanwhile.
    return {"/proc/self/exe"};
  }
  return {kernels, self};
}

}  // namespace hwnas::fleet
