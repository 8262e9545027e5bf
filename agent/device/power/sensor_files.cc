#include "agent/device/power/sensor_files.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace hwnas::agent {
namespace {

constexpr size_t kMaxNames = 4096;
constexpr size_t kMaxTextBytes = 256;
constexpr size_t kMaxExcerptBytes = 80;

}  // namespace

std::string BelowRoot(absl::string_view root, absl::string_view path) {
  return absl::StrCat(absl::StripSuffix(root, "/"), path);
}

std::vector<std::string> ListFolder(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(path, error), end;
       !error && it != end && names.size() < kMaxNames; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<std::string> ReadSensorText(const std::string& path) {
  HWNAS_ASSIGN_OR_RETURN(std::string text, ReadFile(path, 4096));
  text.resize(std::min(text.find('\n'), std::min(text.size(), kMaxTextBytes)));
  // Texts of the device tree end with a zero.
  while (!text.empty() && text.back() == '\0') text.pop_back();
  return std::string(absl::StripAsciiWhitespace(text));
}

absl::StatusOr<int64_t> ReadSensorNumber(const std::string& path) {
  HWNAS_ASSIGN_OR_RETURN(const std::string text, ReadSensorText(path));
  int64_t value;
  if (!absl::SimpleAtoi(text, &value)) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, " says \"", Excerpt(text), "\": expected a whole number"));
  }
  return value;
}

std::string Excerpt(absl::string_view text) {
  std::string excerpt(text.substr(0, kMaxExcerptBytes));
  for (char& c : excerpt) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c)) || c == '"') {
      c = '?';
    }
  }
  if (text.size() > kMaxExcerptBytes) excerpt += "...";
  return excerpt;
}

}  // namespace hwnas::agent
