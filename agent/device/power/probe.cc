#include "agent/device/power/probe.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "agent/device/power/hwmon_ina.h"
#include "agent/device/power/jetson.h"
#include "agent/device/power/line_meter.h"
#include "agent/device/power/rapl.h"
#include "agent/device/power/raspberry_pi.h"
#include "agent/device/power/sensor_files.h"
#include "common/status_macros.h"

namespace hwnas::agent {
namespace {

using Found = absl::StatusOr<std::unique_ptr<PowerSource>>;

// A source that cannot be read, or reads nothing at all, is none.
Found Proven(Found found) {
  HWNAS_RETURN_IF_ERROR(found.status());
  HWNAS_ASSIGN_OR_RETURN(const PowerReading reading, (*found)->Read());
  if (reading.power_w &&
      !(*reading.power_w > 0 && *reading.power_w <= kMaxPlausibleWatts)) {
    return absl::UnavailableError(absl::StrCat((*found)->info().name, " tells ",
                                               *reading.power_w,
                                               " W: expected more than 0"));
  }
  return found;
}

Found FindByName(absl::string_view choice, const PowerProbeOptions& options) {
  absl::string_view name = choice;
  if (name == "jetson") return FindJetson(options.root, options.clock);
  if (name == "pmic") {
    return FindRaspberryPiPmic(options.root, options.commands, options.clock);
  }
  if (name == "hwmon") return FindHwmonIna(options.root, "", options.clock);
  if (name == "rapl") return FindRapl(options.root, options.clock);
  if (name == "nvml") return FindNvml(options.clock, options.nvml_library);
  if (absl::ConsumePrefix(&name, "hwmon:")) {
    return FindHwmonIna(options.root, name, options.clock);
  }
  if (absl::ConsumePrefix(&name, "command:") && !name.empty()) {
    return OpenCommandMeter(std::string(name), options.clock);
  }
  if (absl::ConsumePrefix(&name, "serial:") && !name.empty()) {
    return OpenSerialMeter(std::string(name), options.clock);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "power source \"", Excerpt(choice),
      "\" is not known: expected auto, none, jetson, pmic, hwmon[:DEVICE], "
      "rapl, nvml, command:LINE or serial:PORT[@BAUD]"));
}

}  // namespace

PowerSources ProbePowerSources(const PowerProbeOptions& options) {
  PowerSources sources;
  for (const char* name : {"jetson", "pmic", "hwmon", "rapl"}) {
    Found found = Proven(FindByName(name, options));
    if (found.ok()) {
      sources.found.push_back(*std::move(found));
    } else {
      sources.absent.push_back({.name = name, .reason = found.status()});
    }
  }
  return sources;
}

absl::StatusOr<PowerProbe> ChoosePowerSource(absl::string_view choice,
                                             const PowerProbeOptions& options) {
  PowerProbe probe;
  if (choice == "none") {
    probe.why_none = "the agent was told --power=none";
    return probe;
  }
  if (choice != "auto") {
    Found found = Proven(FindByName(choice, options));
    if (!found.ok()) {
      return absl::Status(absl::IsInvalidArgument(found.status())
                              ? absl::StatusCode::kInvalidArgument
                              : absl::StatusCode::kFailedPrecondition,
                          absl::StrCat("--power=", Excerpt(choice), ": ",
                                       found.status().message()));
    }
    probe.source = *std::move(found);
    return probe;
  }
  PowerSources sources = ProbePowerSources(options);
  if (!sources.found.empty()) {
    probe.source = std::move(sources.found.front());
    return probe;
  }
  probe.why_none = absl::StrJoin(
      sources.absent, "; ",
      [](std::string* out, const AbsentPowerSource& absent) {
        absl::StrAppend(out, absent.name, ": ", absent.reason.message());
      });
  return probe;
}

}  // namespace hwnas::agent
