#include "controller/farm/device_checks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/statistics.h"
#include "nas/space/nasbench201.h"
#include "proto/convert/convert.h"

namespace hwnas::controller {
namespace {

// Without a flag: proof of drift.
constexpr int kCleanBadAnchors = 2;
// Bad anchors that are measured again at once.
constexpr int kHastyAnchors = 3;
constexpr size_t kMinCrossChecks = 3;
constexpr size_t kMinOthers = 2;

ModelGraph MakeAnchorGraph() {
  Nasbench201Config config;
  config.cells = 1;
  const auto space = Nasbench201Space::Create(config);
  const auto architecture = (*space)->FromText(
      "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_"
      "conv_3x3~1|nor_conv_3x3~2|");
  return *(*space)->Decode(*architecture);
}

}  // namespace

const ModelGraph& AnchorGraph() {
  static const ModelGraph* const kGraph = new ModelGraph(MakeAnchorGraph());
  return *kGraph;
}

v1::AnchorRecord JudgeAnchor(const DeviceRecord& device, double latency_ms,
                             const std::vector<std::string>& flags,
                             absl::Time now, double drift_limit) {
  v1::AnchorRecord anchor;
  *anchor.mutable_time() = ToProto(now);
  anchor.set_latency_ms(latency_ms);
  anchor.mutable_flags()->Assign(flags.begin(), flags.end());
  const double baseline_ms = device.BaselineMs();
  anchor.set_ratio(baseline_ms > 0 ? latency_ms / baseline_ms : 1);
  // What a device is compared with must itself be beyond doubt.
  anchor.set_good(baseline_ms > 0 ? std::abs(anchor.ratio() - 1) <= drift_limit
                                  : flags.empty());
  return anchor;
}

std::optional<std::string> ReasonToQuarantine(const DeviceRecord& device,
                                              double drift_limit) {
  if (device.baseline_ms.empty() ||
      device.clean_bad_anchors < kCleanBadAnchors) {
    return std::nullopt;
  }
  const v1::AnchorRecord& last = device.anchors.back();
  return absl::StrFormat(
      "the anchor takes %.4g ms instead of %.4g ms (%+.1f %%, allowed are %g "
      "%%)",
      last.latency_ms(), device.BaselineMs(), 100 * (last.ratio() - 1),
      100 * drift_limit);
}

absl::Duration NextAnchorAfter(const DeviceRecord& device,
                               const DeviceCheckOptions& options) {
  if (device.bad_anchors == 0) return options.anchor_interval;
  // A machine with other work may never have an anchor without a flag; what it
  // measures meanwhile is flagged as well.
  const int hasty = device.quarantined ? kCleanBadAnchors : kHastyAnchors;
  if (!device.quarantined && device.bad_anchors < hasty) {
    return absl::ZeroDuration();
  }
  absl::Duration wait = options.recheck_interval;
  for (int i = hasty; i < device.bad_anchors && wait < options.anchor_interval;
       ++i) {
    wait *= 2;
  }
  return std::min(wait, options.anchor_interval);
}

std::optional<OddDevice> FindOddDevice(const FarmState& farm,
                                       const std::vector<std::string>& devices,
                                       double limit) {
  std::optional<OddDevice> odd;
  double worst = std::log1p(limit);
  for (const std::string& name : devices) {
    const DeviceRecord& device = farm.Find(name);
    if (device.quarantined) continue;
    std::map<std::string, std::vector<double>> logs;
    size_t count = 0;
    for (const v1::CrossCheckRecord& check : device.cross_checks) {
      if (farm.Find(check.other_device()).quarantined) continue;
      logs[check.other_device()].push_back(std::log(check.ratio()));
      ++count;
    }
    if (count < kMinCrossChecks || logs.size() < kMinOthers) continue;
    // It differs from each of them, and the same way.
    double least = std::numeric_limits<double>::infinity();
    double most = -least;
    for (const auto& [other, of_other] : logs) {
      const double offset = Median(of_other);
      least = std::min(least, offset);
      most = std::max(most, offset);
    }
    const double offset = least > 0 ? least : most < 0 ? most : 0;
    if (std::abs(offset) <= worst) continue;
    worst = std::abs(offset);
    odd = {name, absl::StrFormat("differs by at least %+.1f %% from each of "
                                 "%d devices of its class in %d cross-checks",
                                 100 * std::expm1(offset), logs.size(), count)};
  }
  return odd;
}

}  // namespace hwnas::controller
