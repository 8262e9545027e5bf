#include "agent/device/power/jetson.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/device/power/sensor_files.h"
#include "common/status_macros.h"

namespace hwnas::agent {
namespace {

// One conversion of all channels with the averaging that the boards set takes
// some tens of milliseconds; reading faster sees the same value again.
constexpr absl::Duration kInterval = absl::Milliseconds(100);
constexpr absl::Duration kAveraging = absl::Milliseconds(100);

struct Rail {
  std::string name;
  // Millivolts and milliamperes; or else microwatts alone.
  std::string volts_file;
  std::string amperes_file;
  std::string power_file;
};

class Jetson final : public PowerSource {
 public:
  Jetson(std::vector<Rail> rails, std::string includes, SteadyClock* clock)
      : rails_(std::move(rails)), clock_(clock) {
    info_ = {.name = "jetson",
             .includes = std::move(includes),
             .interval = kInterval,
             .averaging = kAveraging};
  }

  const PowerSourceInfo& info() const override { return info_; }

  absl::StatusOr<PowerReading> Read() override {
    const absl::Duration begin = clock_->Now();
    double watts = 0;
    for (const Rail& rail : rails_) {
      if (!rail.power_file.empty()) {
        HWNAS_ASSIGN_OR_RETURN(const int64_t microwatts,
                               ReadSensorNumber(rail.power_file));
        watts += static_cast<double>(microwatts) * 1e-6;
        continue;
      }
      HWNAS_ASSIGN_OR_RETURN(const int64_t millivolts,
                             ReadSensorNumber(rail.volts_file));
      HWNAS_ASSIGN_OR_RETURN(const int64_t milliamperes,
                             ReadSensorNumber(rail.amperes_file));
      watts += static_cast<double>(millivolts) *
               static_cast<double>(milliamperes) * 1e-6;
    }
    return PowerReading{.time = begin + (clock_->Now() - begin) / 2,
                        .power_w = watts};
  }

 private:
  const std::vector<Rail> rails_;
  SteadyClock* const clock_;
  PowerSourceInfo info_;
};

// "NC", "NC1" or nothing: the channel is not connected.
bool IsConnected(absl::string_view label) {
  return !label.empty() && !absl::StartsWith(label, "NC") &&
         !absl::StartsWith(label, "sum of");
}

bool IsTotal(const Rail& rail) {
  return rail.name == "VDD_IN" || rail.name == "POM_5V_IN" ||
         rail.name == "VIN";
}

// JetPack 4, and the older "iio_device".
void AddIioRails(const std::string& device, std::vector<Rail>* rails) {
  for (const std::string& entry : ListFolder(device)) {
    if (!absl::StartsWith(entry, "iio:device") && entry != "iio_device") {
      continue;
    }
    const std::string folder = absl::StrCat(device, "/", entry);
    for (int channel = 0; channel < 3; ++channel) {
      const auto name =
          ReadSensorText(absl::StrCat(folder, "/rail_name_", channel));
      if (!name.ok() || !IsConnected(*name)) continue;
      rails->push_back(
          {.name = *name,
           .volts_file = absl::StrCat(folder, "/in_voltage", channel, "_input"),
           .amperes_file =
               absl::StrCat(folder, "/in_current", channel, "_input")});
    }
  }
}

// JetPack 5 and later.
void AddHwmonRails(const std::string& device, std::vector<Rail>* rails) {
  for (const std::string& entry : ListFolder(device + "/hwmon")) {
    const std::string folder = absl::StrCat(device, "/hwmon/", entry);
    // Channel 4, or 7 in older kernels, is a sum of others.
    for (int channel = 1; channel <= 3; ++channel) {
      const auto name =
          ReadSensorText(absl::StrCat(folder, "/in", channel, "_label"));
      if (!name.ok() || !IsConnected(*name)) continue;
      rails->push_back(
          {.name = *name,
           .volts_file = absl::StrCat(folder, "/in", channel, "_input"),
           .amperes_file = absl::StrCat(folder, "/curr", channel, "_input")});
    }
  }
}

void AddInputMonitor(const std::string& device, std::vector<Rail>* rails) {
  for (const std::string& entry : ListFolder(device + "/hwmon")) {
    const std::string file =
        absl::StrCat(device, "/hwmon/", entry, "/power1_input");
    if (ReadSensorNumber(file).ok()) {
      rails->push_back({.name = "VIN", .power_file = file});
    }
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<PowerSource>> FindJetson(const std::string& root,
                                                        SteadyClock* clock) {
  const auto model = ReadSensorText(BelowRoot(root, "/proc/device-tree/model"));
  if (!model.ok() ||
      !absl::StrContains(absl::AsciiStrToLower(*model), "jetson")) {
    return absl::NotFoundError("this is no Jetson board");
  }
  const std::string drivers = BelowRoot(root, "/sys/bus/i2c/drivers");
  std::vector<Rail> rails;
  for (const std::string& device : ListFolder(drivers + "/ina3221x")) {
    AddIioRails(absl::StrCat(drivers, "/ina3221x/", device), &rails);
  }
  for (const std::string& device : ListFolder(drivers + "/ina3221")) {
    AddHwmonRails(absl::StrCat(drivers, "/ina3221/", device), &rails);
  }
  for (const std::string& device : ListFolder(drivers + "/ina238")) {
    AddInputMonitor(absl::StrCat(drivers, "/ina238/", device), &rails);
  }
  if (rails.empty()) {
    return absl::NotFoundError(
        absl::StrCat(drivers, " has no power monitor with a rail in use"));
  }
  const auto total = std::find_if(rails.begin(), rails.end(), IsTotal);
  if (total != rails.end()) {
    return std::make_unique<Jetson>(
        std::vector<Rail>{*total},
        absl::StrCat("module input, rail ", Excerpt(total->name)), clock);
  }
  // Its regulator hangs on the 5 V rail, which is counted already.
  const bool has_5v =
      std::any_of(rails.begin(), rails.end(),
                  [](const Rail& rail) { return rail.name == "VIN_SYS_5V0"; });
  if (has_5v) {
    std::erase_if(
        rails, [](const Rail& rail) { return rail.name == "VDDQ_VDD2_1V8AO"; });
  }
  std::vector<std::string> names;
  for (const Rail& rail : rails) names.push_back(Excerpt(rail.name));
  const std::string includes =
      absl::StrCat("sum of rails ", absl::StrJoin(names, ", "));
  return std::make_unique<Jetson>(std::move(rails), includes, clock);
}

}  // namespace hwnas::agent
