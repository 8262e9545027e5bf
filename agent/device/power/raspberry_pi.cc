#include "agent/device/power/raspberry_pi.h"

#include <cmath>
#include <map>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "agent/device/power/sensor_files.h"
#include "common/status_macros.h"

namespace hwnas::agent {
namespace {

// One call takes about 10 ms of another core, so not more often.
constexpr absl::Duration kInterval = absl::Milliseconds(100);
constexpr absl::Duration kTimeout = absl::Seconds(1);
constexpr size_t kMaxRails = 64;
// No board with this chip can take less while it runs.
constexpr double kMinWatts = 0.1;

const std::vector<std::string>& PmicCommand() {
  static const auto* command =
      new std::vector<std::string>{"vcgencmd", "pmic_read_adc"};
  return *command;
}

absl::Status CheckIsRaspberryPi(const std::string& root) {
  const auto model = ReadSensorText(BelowRoot(root, "/proc/device-tree/model"));
  if (!model.ok() || !absl::StrContains(*model, "Raspberry Pi")) {
    return absl::NotFoundError("this is no Raspberry Pi");
  }
  return absl::OkStatus();
}

class RaspberryPiPmic final : public PowerSource {
 public:
  RaspberryPiPmic(CommandRunner* commands, SteadyClock* clock)
      : commands_(commands), clock_(clock) {}

  const PowerSourceInfo& info() const override { return info_; }

  absl::StatusOr<PowerReading> Read() override {
    const absl::Duration begin = clock_->Now();
    HWNAS_ASSIGN_OR_RETURN(const std::string text,
                           commands_->Run(PmicCommand(), kTimeout));
    HWNAS_ASSIGN_OR_RETURN(const double watts, ParsePmicWatts(text));
    return PowerReading{.time = begin + (clock_->Now() - begin) / 2,
                        .power_w = watts};
  }

 private:
  CommandRunner* const commands_;
  SteadyClock* const clock_;
  const PowerSourceInfo info_ = {
      .name = "pmic",
      .includes =
          "rails of the power management chip: processor, memory and "
          "board, without USB devices and the chip's own losses",
      .interval = kInterval};
};

}  // namespace

absl::StatusOr<double> ParsePmicWatts(absl::string_view text) {
  struct Rail {
    std::optional<double> amperes;
    std::optional<double> volts;
  };
  std::map<std::string, Rail> rails;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    const size_t equals = line.rfind('=');
    if (equals == absl::string_view::npos) continue;
    absl::string_view name = line.substr(0, line.find_first_of(" \t="));
    absl::string_view number = line.substr(equals + 1);
    const bool is_current = absl::ConsumeSuffix(&name, "_A");
    if (!is_current && !absl::ConsumeSuffix(&name, "_V")) continue;
    double value;
    if (!absl::ConsumeSuffix(&number, is_current ? "A" : "V") ||
        !absl::SimpleAtod(number, &value) || !std::isfinite(value) ||
        value < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("vcgencmd pmic_read_adc says \"", Excerpt(line),
                       "\": expected for example VDD_CORE_A "
                       "current(7)=0.75012000A"));
    }
    if (rails.size() >= kMaxRails) break;
    Rail& rail = rails[std::string(name)];
    (is_current ? rail.amperes : rail.volts) = value;
  }
  double watts = 0;
  int complete = 0;
  for (const auto& [name, rail] : rails) {
    if (!rail.amperes || !rail.volts) continue;
    ++complete;
    watts += *rail.amperes * *rail.volts;
  }
  if (complete == 0 || !(watts >= kMinWatts) || watts > kMaxPlausibleWatts) {
    return absl::InvalidArgumentError(
        absl::StrCat("vcgencmd pmic_read_adc tells ", watts, " W in ", complete,
                     " rails: expected at least ", kMinWatts, " W"));
  }
  return watts;
}

absl::StatusOr<std::unique_ptr<PowerSource>> FindRaspberryPiPmic(
    const std::string& root, CommandRunner* commands, SteadyClock* clock) {
  HWNAS_RETURN_IF_ERROR(CheckIsRaspberryPi(root));
  auto source = std::make_unique<RaspberryPiPmic>(commands, clock);
  const absl::Status status = source->Read().status();
  if (!status.ok()) {
    return absl::NotFoundError(
        absl::StrCat("no power readings from the board: ", status.message()));
  }
  return source;
}

absl::StatusOr<uint32_t> ParseThrottled(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  absl::string_view digits = text;
  uint32_t bits;
  if (!absl::ConsumePrefix(&digits, "throttled=0x") || digits.size() > 8 ||
      !absl::SimpleHexAtoi(digits, &bits)) {
    return absl::InvalidArgumentError(
        absl::StrCat("vcgencmd get_throttled says \"", Excerpt(text),
                     "\": expected for example throttled=0x50005"));
  }
  return bits;
}

std::string ThrottledBetween(uint32_t before, uint32_t after) {
  static constexpr const char* kNames[] = {"under-voltage", "frequency capped",
                                           "throttled",
                                           "soft temperature limit"};
  std::vector<std::string> names;
  for (int i = 0; i < 4; ++i) {
    const uint32_t now = uint32_t{1} << i;
    const uint32_t ever = now << 16;
    if (((before | after) & now) != 0 || (after & ~before & ever) != 0) {
      names.push_back(kNames[i]);
    }
  }
  return absl::StrJoin(names, ", ");
}

std::unique_ptr<ThrottleSensor> ThrottleSensor::Find(const std::string& root,
                                                     CommandRunner* commands) {
  if (!CheckIsRaspberryPi(root).ok()) return nullptr;
  std::unique_ptr<ThrottleSensor> sensor(new ThrottleSensor(commands));
  if (!sensor->Read()) return nullptr;
  return sensor;
}

std::optional<uint32_t> ThrottleSensor::Read() const {
  const auto text = commands_->Run({"vcgencmd", "get_throttled"}, kTimeout);
  if (!text.ok()) return std::nullopt;
  const auto bits = ParseThrottled(*text);
  if (!bits.ok()) return std::nullopt;
  return *bits;
}

}  // namespace hwnas::agent
