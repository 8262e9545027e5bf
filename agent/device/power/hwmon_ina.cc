#include "agent/device/power/hwmon_ina.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/device/power/sensor_files.h"
#include "common/status_macros.h"

namespace hwnas::agent {
namespace {

constexpr absl::Duration kInterval = absl::Milliseconds(50);
constexpr absl::string_view kChips[] = {"ina219", "ina220", "ina226",
                                        "ina230", "ina231", "ina260"};

class HwmonIna final : public PowerSource {
 public:
  HwmonIna(std::string file, std::string includes, absl::Duration update,
           SteadyClock* clock)
      : file_(std::move(file)), clock_(clock) {
    info_ = {.name = "hwmon",
             .includes = std::move(includes),
             .interval = std::max(kInterval, update),
             .averaging = update};
  }

  const PowerSourceInfo& info() const override { return info_; }

  absl::StatusOr<PowerReading> Read() override {
    const absl::Duration begin = clock_->Now();
    HWNAS_ASSIGN_OR_RETURN(const int64_t microwatts, ReadSensorNumber(file_));
    return PowerReading{.time = begin + (clock_->Now() - begin) / 2,
                        .power_w = static_cast<double>(microwatts) / 1e6};
  }

 private:
  const std::string file_;
  SteadyClock* const clock_;
  PowerSourceInfo info_;
};

struct Chip {
  std::string folder;  // "hwmon2"
  std::string place;   // "1-0040"; empty if not told.
  std::string name;    // "ina219"
};

}  // namespace

absl::StatusOr<std::unique_ptr<PowerSource>> FindHwmonIna(
    const std::string& root, absl::string_view device, SteadyClock* clock) {
  const std::string hwmon = BelowRoot(root, "/sys/class/hwmon");
  std::vector<Chip> chips;
  for (const std::string& folder : ListFolder(hwmon)) {
    const std::string path = absl::StrCat(hwmon, "/", folder);
    const auto name = ReadSensorText(path + "/name");
    if (!name.ok() || std::find(std::begin(kChips), std::end(kChips), *name) ==
                          std::end(kChips)) {
      continue;
    }
    std::error_code error;
    const std::filesystem::path place =
        std::filesystem::canonical(path + "/device", error);
    chips.push_back({.folder = folder,
                     .place = error ? "" : place.filename().string(),
                     .name = *name});
  }
  if (!device.empty()) {
    std::erase_if(chips, [&](const Chip& chip) {
      return chip.folder != device && chip.place != device;
    });
  }
  if (chips.empty()) {
    return absl::NotFoundError(
        device.empty()
            ? absl::StrCat(hwmon, " has no power monitor (ina219, ina226, ...)")
            : absl::StrCat(hwmon, " has no power monitor \"", Excerpt(device),
                           "\""));
  }
  if (chips.size() > 1) {
    std::vector<std::string> choices;
    for (const Chip& chip : chips) {
      choices.push_back(absl::StrCat(
          "hwmon:", chip.place.empty() ? chip.folder : chip.place));
    }
    return absl::FailedPreconditionError(absl::StrCat(
        "there are ", chips.size(),
        " power monitors, and which one feeds this machine nobody tells: "
        "choose --power=",
        absl::StrJoin(choices, " or ")));
  }
  const Chip& chip = chips.front();
  const std::string path = absl::StrCat(hwmon, "/", chip.folder);
  absl::Duration update = absl::ZeroDuration();
  if (const auto ms = ReadSensorNumber(path + "/update_interval"); ms.ok()) {
    update = absl::Milliseconds(std::clamp<int64_t>(*ms, 0, 10'000));
  }
  auto source = std::make_unique<HwmonIna>(
      path + "/power1_input",
      absl::StrCat("what ", chip.name, " at ",
                   Excerpt(chip.place.empty() ? chip.folder : chip.place),
                   " is wired to"),
      update, clock);
  HWNAS_RETURN_IF_ERROR(source->Read().status());
  return source;
}

}  // namespace hwnas::agent
