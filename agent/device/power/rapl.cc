#include "agent/device/power/rapl.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "agent/device/power/sensor_files.h"
#include "agent/device/power/wrapping_counter.h"
#include "common/status_macros.h"

namespace hwnas::agent {
namespace {

// More than any one package takes, where its limits are not told; and of the
// told ones, since short peaks exceed them.
constexpr double kMaxZoneWatts = 1000;
constexpr double kLimitFactor = 2;
constexpr int kMaxConstraints = 8;
constexpr absl::Duration kInterval = absl::Milliseconds(50);
constexpr absl::Duration kMinInterval = absl::Milliseconds(2);

struct Zone {
  std::string folder;
  std::string name;  // "package-0", "dram of package-0".
  WrappingCounter counter;
};

class Rapl final : public PowerSource {
 public:
  Rapl(std::vector<Zone> zones, SteadyClock* clock)
      : zones_(std::move(zones)), clock_(clock) {
    info_.name = "rapl";
    std::vector<std::string> names;
    info_.interval = kInterval;
    for (const Zone& zone : zones_) {
      names.push_back(zone.name);
      // A reading that comes somewhat late must not miss a wrap.
      info_.interval = std::min(info_.interval, zone.counter.longest_gap() / 4);
    }
    info_.interval = std::max(info_.interval, kMinInterval);
    info_.includes = absl::StrCat("processor: ", absl::StrJoin(names, ", "));
  }

  const PowerSourceInfo& info() const override { return info_; }

  absl::StatusOr<PowerReading> Read() override {
    const absl::Duration begin = clock_->Now();
    std::vector<int64_t> microjoules;
    for (const Zone& zone : zones_) {
      HWNAS_ASSIGN_OR_RETURN(microjoules.emplace_back(),
                             ReadSensorNumber(zone.folder + "/energy_uj"));
      if (microjoules.back() < 0) {
        return absl::InvalidArgumentError(
            absl::StrCat(zone.folder, "/energy_uj is negative"));
      }
    }
    PowerReading reading;
    reading.time = begin + (clock_->Now() - begin) / 2;
    reading.energy_j = 0;
    for (size_t i = 0; i < zones_.size(); ++i) {
      const WrappingCounter::Total total = zones_[i].counter.Add(
          reading.time, static_cast<double>(microjoules[i]) / 1e6);
      *reading.energy_j += total.energy_j;
      reading.broken |= total.broken;
    }
    return reading;
  }

 private:
  std::vector<Zone> zones_;
  SteadyClock* const clock_;
  PowerSourceInfo info_;
};

double MaxWatts(const std::string& folder) {
  double most = 0;
  for (int i = 0; i < kMaxConstraints; ++i) {
    for (const char* kind : {"_max_power_uw", "_power_limit_uw"}) {
      const auto limit =
          ReadSensorNumber(absl::StrCat(folder, "/constraint_", i, kind));
      if (limit.ok()) most = std::max(most, static_cast<double>(*limit) / 1e6);
    }
  }
  return most > 0 ? std::min(kLimitFactor * most, kMaxZoneWatts)
                  : kMaxZoneWatts;
}

absl::StatusOr<Zone> OpenZone(const std::string& folder, std::string name) {
  const absl::Status readable =
      ReadSensorNumber(folder + "/energy_uj").status();
  if (absl::IsPermissionDenied(readable)) {
    return absl::PermissionDeniedError(absl::StrCat(
        folder,
        "/energy_uj may only be read by root: run the agent as root, "
        "or allow its account to read the file"));
  }
  HWNAS_RETURN_IF_ERROR(readable);
  HWNAS_ASSIGN_OR_RETURN(const int64_t range_uj,
                         ReadSensorNumber(folder + "/max_energy_range_uj"));
  if (range_uj <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder, "/max_energy_range_uj is ", range_uj,
                     ": expected more than 0"));
  }
  return Zone{.folder = folder,
              .name = std::move(name),
              .counter = WrappingCounter(static_cast<double>(range_uj) / 1e6,
                                         MaxWatts(folder))};
}

// Zones of a control type such as "intel-rapl" whose counters do not overlap.
absl::StatusOr<std::vector<Zone>> ZonesOf(const std::string& powercap,
                                          absl::string_view control_type) {
  std::vector<Zone> zones;
  std::string platform;
  const std::vector<std::string> names = ListFolder(powercap);
  const std::string prefix = absl::StrCat(control_type, ":");
  for (const std::string& entry : names) {
    // "intel-rapl:0" is at the top, "intel-rapl:0:1" below it.
    if (!absl::StartsWith(entry, prefix) ||
        absl::StrContains(entry.substr(prefix.size()), ":")) {
      continue;
    }
    const std::string folder = absl::StrCat(powercap, "/", entry);
    HWNAS_ASSIGN_OR_RETURN(const std::string name,
                           ReadSensorText(folder + "/name"));
    if (name == "psys") platform = folder;
    if (!absl::StartsWith(name, "package")) continue;
    HWNAS_ASSIGN_OR_RETURN(Zone zone, OpenZone(folder, name));
    zones.push_back(std::move(zone));
    for (const std::string& child : names) {
      if (!absl::StartsWith(child, entry + ":")) continue;
      const std::string below = absl::StrCat(powercap, "/", child);
      const auto child_name = ReadSensorText(below + "/name");
      if (!child_name.ok() || *child_name != "dram") continue;
      HWNAS_ASSIGN_OR_RETURN(Zone memory,
                             OpenZone(below, absl::StrCat("memory of ", name)));
      zones.push_back(std::move(memory));
    }
  }
  if (zones.empty() && !platform.empty()) {
    HWNAS_ASSIGN_OR_RETURN(Zone zone, OpenZone(platform, "whole platform"));
    zones.push_back(std::move(zone));
  }
  return zones;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PowerSource>> FindRapl(const std::string& root,
                                                      SteadyClock* clock) {
  const std::string powercap = BelowRoot(root, "/sys/class/powercap");
  for (const char* control_type : {"intel-rapl", "intel-rapl-mmio"}) {
    HWNAS_ASSIGN_OR_RETURN(std::vector<Zone> zones,
                           ZonesOf(powercap, control_type));
    if (zones.empty()) continue;
    return std::make_unique<Rapl>(std::move(zones), clock);
  }
  return absl::NotFoundError(
      absl::StrCat(powercap, " has no zone of a processor"));
}

}  // namespace hwnas::agent
