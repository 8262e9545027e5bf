#include "fleet/host_environment.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/files.h"
#include "common/version.h"
#include "fleet/emulation.h"

namespace hwnas::fleet {
namespace {

namespace fs = std::filesystem;

// /proc/cpuinfo of the largest machines has a few MB.
constexpr size_t kMaxBytes = size_t{16} << 20;

// [a-z0-9-], at most `max` of them, without dashes at the ends.
std::string Label(absl::string_view text, size_t max) {
  std::string label;
  for (const char c : text) {
    if (absl::ascii_isalnum(c)) {
      label += absl::ascii_tolower(c);
    } else if (!label.empty() && label.back() != '-') {
      label += '-';
    }
    if (label.size() == max) break;
  }
  while (!label.empty() && label.back() == '-') label.pop_back();
  return label;
}

// "key : value" of the first such line.
std::string Field(absl::string_view text, absl::string_view key) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits(':', 1));
    if (absl::StripAsciiWhitespace(parts.first) == key) {
      return std::string(absl::StripAsciiWhitespace(parts.second));
    }
  }
  return "";
}

std::vector<fs::path> Entries(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    entries.push_back(it->path());
  }
  return entries;
}

}  // namespace

HostEnvironment::HostEnvironment(absl::string_view root)
    : root_(std::string(absl::StripSuffix(root, "/"))) {}

std::string HostEnvironment::ReadText(absl::string_view path) const {
  absl::StatusOr<std::string> text =
      ReadFile(absl::StrCat(root_, path), kMaxBytes);
  if (!text.ok()) return "";
  // Device-tree strings end with NUL.
  const auto is_blank = [](char c) {
    return c == '\0' || absl::ascii_isspace(c);
  };
  while (!text->empty() && is_blank(text->back())) text->pop_back();
  return *std::move(text);
}

std::string HostEnvironment::CpuModel() const {
  const std::string cpuinfo = ReadText("/proc/cpuinfo");
  std::string model = Field(cpuinfo, "model name");
  if (!model.empty()) return model;
  // Arm kernels give the board here, and the core only as numbers.
  model = ReadText("/proc/device-tree/model");
  if (!model.empty()) return model;
  const std::string part = Field(cpuinfo, "CPU part");
  if (part.empty()) return "";
  return absl::StrCat("implementer ", Field(cpuinfo, "CPU implementer"),
                      " part ", part);
}

v1::Environment HostEnvironment::ReadState(int core) const {
  v1::Environment environment;
  const std::string cpufreq =
      absl::StrCat("/sys/devices/system/cpu/cpu", core, "/cpufreq/");
  environment.set_cpu_governor(
      ReadText(absl::StrCat(cpufreq, "scaling_governor")));
  int64_t khz;
  if (absl::SimpleAtoi(ReadText(absl::StrCat(cpufreq, "scaling_cur_freq")),
                       &khz) &&
      khz > 0) {
    environment.set_cpu_frequency_mhz(static_cast<double>(khz) / 1e3);
  }

  const std::vector<std::string> load =
      absl::StrSplit(ReadText("/proc/loadavg"), ' ');
  double one_minute;
  if (absl::SimpleAtod(load[0], &one_minute) && one_minute >= 0) {
    environment.set_load_average(one_minute);
  }

  // Thermal zones and hardware monitors, both in thousandths of a degree.
  std::optional<double> hottest;
  const auto consider = [&](const fs::path& file) {
    absl::StatusOr<std::string> text = ReadFile(file, 4096);
    int64_t thousandths;
    if (!text.ok() || !absl::SimpleAtoi(*text, &thousandths)) return;
    const double celsius = static_cast<double>(thousandths) / 1e3;
    // Sensors that are not there read as absolute zero or far too hot.
    if (celsius <= -60 || celsius >= 200) return;
    hottest = std::max(hottest.value_or(celsius), celsius);
  };
  for (const fs::path& zone :
       Entries(absl::StrCat(root_, "/sys/class/thermal"))) {
    if (absl::StartsWith(zone.filename().string(), "thermal_zone")) {
      consider(zone / "temp");
    }
  }
  for (const fs::path& monitor :
       Entries(absl::StrCat(root_, "/sys/class/hwmon"))) {
    for (const fs::path& file : Entries(monitor)) {
      const std::string name = file.filename();
      if (absl::StartsWith(name, "temp") && absl::EndsWith(name, "_input")) {
        consider(file);
      }
    }
  }
  if (hottest) environment.set_temperature_c(*hottest);
  return environment;
}

v1::Environment HostEnvironment::Read(int core) const {
  v1::Environment environment = ReadState(core);
  char host[256] = "";
  if (gethostname(host, sizeof(host) - 1) == 0) environment.set_host(host);
  environment.set_cpu_model(CpuModel());
  environment.set_emulated(!WhyEmulated(root_).empty());
  environment.set_logical_cores(
      static_cast<int>(std::thread::hardware_concurrency()));
  std::string distribution =
      Field(absl::StrReplaceAll(ReadText("/etc/os-release"), {{"=", ":"}}),
            "PRETTY_NAME");
  distribution.erase(std::remove(distribution.begin(), distribution.end(), '"'),
                     distribution.end());
  utsname kernel;
  if (uname(&kernel) == 0) {
    environment.set_os(
        absl::StrCat(distribution, distribution.empty() ? "" : ", ",
                     kernel.sysname, " ", kernel.release, " ", kernel.machine));
  } else {
    environment.set_os(distribution);
  }
  environment.set_hwnas_version(kVersion);
  return environment;
}

std::string HostEnvironment::HostId() const {
  std::string id = Label(ReadText("/proc/sys/kernel/random/boot_id"), 50);
  if (!id.empty()) return absl::StrCat("boot-", id);
  id = Label(ReadText("/etc/machine-id"), 50);
  if (!id.empty()) return absl::StrCat("machine-", id);
  return absl::StrCat("host-", HostLabel());
}

std::string HostEnvironment::HostLabel() const {
  char host[256] = "";
  if (gethostname(host, sizeof(host) - 1) != 0) return "host";
  const std::string label = Label(host, 40);
  return label.empty() ? "host" : label;
}

bool IsExecutorId(absl::string_view id) {
  return !id.empty() && id.size() <= 63 &&
         std::all_of(id.begin(), id.end(), [](char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-';
         });
}

}  // namespace hwnas::fleet
