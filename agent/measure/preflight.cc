#include "agent/measure/preflight.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "agent/device/interference.h"
#include "agent/device/power/raspberry_pi.h"
#include "common/files.h"
#include "fleet/host_environment.h"

namespace hwnas::agent {
namespace {

constexpr absl::Duration kWindow = absl::Milliseconds(100);
constexpr double kIdleShare = 0.1;
constexpr double kForgivenSeconds = 0.02;

struct Busy {
  double seconds = 0;
  int cores = 0;
};

std::optional<Busy> ReadBusy(const std::string& root) {
  const auto text = ReadFile(
      absl::StrCat(absl::StripSuffix(root, "/"), "/proc/stat"), 16 << 20);
  if (!text.ok()) return std::nullopt;
  Busy busy;
  for (const CoreTime& time : ParseCoreTimes(*text)) {
    busy.seconds += time.busy_seconds;
    ++busy.cores;
  }
  if (busy.cores == 0) return std::nullopt;
  return busy;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> Preflight(
    const PreflightOptions& options, SteadyClock& clock,
    const LatencyHooks& hooks) {
  const fleet::HostEnvironment host(options.root);
  const absl::Duration end = clock.Now() + options.wait;
  for (;;) {
    if (hooks.cancelled()) {
      return absl::CancelledError("cancelled while waiting for the machine");
    }
    const absl::Duration begin = clock.Now();
    const std::optional<Busy> before = ReadBusy(options.root);
    clock.SleepFor(kWindow);
    const std::optional<Busy> after = ReadBusy(options.root);
    const double seconds = absl::ToDoubleSeconds(clock.Now() - begin);
    const v1::Environment now = host.ReadState();

    std::vector<std::string> flags;
    if (before && after) {
      const double used = after->seconds - before->seconds;
      if (used > kIdleShare * after->cores * seconds + kForgivenSeconds) {
        flags.push_back(absl::StrFormat(
            "NOISY: load: %.1f of %d cores were busy just before%s",
            used / seconds, after->cores,
            now.has_load_average()
                ? absl::StrFormat(" (load average %.2f)", now.load_average())
                : ""));
      }
    }
    if (now.has_temperature_c() &&
        now.temperature_c() > options.max_temperature_c) {
      flags.push_back(absl::StrFormat(
          "NOISY: temperature: %.1f C just before, more than %.0f C",
          now.temperature_c(), options.max_temperature_c));
    }
    if (const auto bits =
            options.throttled ? options.throttled() : std::nullopt) {
      const std::string why = ThrottledBetween(*bits, *bits);
      if (!why.empty()) {
        flags.push_back(absl::StrCat("NOISY: throttled just before: ", why));
      }
    }
    if (flags.empty() || clock.Now() >= end) return flags;
    hooks.progress(absl::StrCat(
        "waiting for the machine: ",
        absl::StrJoin(flags, ", ", [](std::string* out, absl::string_view f) {
          absl::ConsumePrefix(&f, "NOISY: ");
          absl::StrAppend(out, f);
        })));
  }
}

}  // namespace hwnas::agent
