#include "agent/device/device_class.h"

#include <sys/utsname.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/files.h"

namespace hwnas::agent {

std::string DetectDeviceClass(const std::string& root) {
  const auto file = ReadFile(
      absl::StrCat(absl::StripSuffix(root, "/"), "/proc/device-tree/model"),
      4096);
  const std::string model =
      file.ok() ? absl::AsciiStrToLower(*file) : std::string();
  struct Board {
    const char* words;
    const char* device_class;
  };
  // Longer names first.
  static constexpr Board kBoards[] = {
      {"raspberry pi compute module 5", "raspberrypi5"},
      {"raspberry pi compute module 4", "raspberrypi4"},
      {"raspberry pi zero 2", "raspberrypizero2"},
      {"raspberry pi 5", "raspberrypi5"},
      {"raspberry pi 4", "raspberrypi4"},
      {"raspberry pi 3", "raspberrypi3"},
      {"jetson agx orin", "jetson-agx-orin"},
      {"jetson orin nano", "jetson-orin-nano"},
      {"jetson orin nx", "jetson-orin-nx"},
      {"jetson agx xavier", "jetson-agx-xavier"},
      {"jetson xavier nx", "jetson-xavier-nx"},
      {"jetson nano", "jetson-nano"},
  };
  for (const Board& board : kBoards) {
    if (absl::StrContains(model, board.words)) return board.device_class;
  }
  utsname kernel;
  return uname(&kernel) == 0 ? absl::AsciiStrToLower(kernel.machine)
                             : "unknown";
}

bool IsDeviceClass(absl::string_view name) {
  return !name.empty() && name.size() <= 63 &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) ||
                  c == '_' || c == '.' || c == '-';
         });
}

}  // namespace hwnas::agent
