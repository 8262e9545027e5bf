// How the farm finds a device whose numbers cannot be trusted: pure rules.
//
// - Anchor: one network, always the same, measured on every device now and
//   then. On a device in order its latency stays what it was.
// - Cross-check: one candidate measured on two devices of a class. The device
//   that differs from all others is the odd one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "controller/farm/farm_state.h"
#include "hwnas/v1/device.pb.h"
#include "hwnas/v1/fleet_service.pb.h"
#include "nas/graph/model_graph.h"

namespace hwnas::controller {

struct DeviceCheckOptions {
  // Between anchors of one device. 0: none are measured, also not after a
  // device came back.
  absl::Duration anchor_interval = absl::ZeroDuration();
  // After bad anchors; doubles up to `anchor_interval`.
  absl::Duration recheck_interval = absl::Minutes(1);
  // An anchor within this share of the device's own latency is good.
  double drift_limit = 0.05;
  // Share of measured candidates that another device of the class measures as
  // well, 0 to 1.
  double cross_check_share = 0;
  // A device that differs from the others of its class by more than this share
  // is odd.
  double cross_check_limit = 0.1;
};

// The anchor: a cell network of 3x3 convolutions, 3 x 32 x 32 in, 10 classes
// out, a few milliseconds on one core of a board. Never changes: the history
// of every device hangs on it.
const ModelGraph& AnchorGraph();

// What a measurement of the anchor says.
v1::AnchorRecord JudgeAnchor(const DeviceRecord& device, double latency_ms,
                             const std::vector<std::string>& flags,
                             absl::Time now, double drift_limit);

// Why the device has drifted, once its bad anchors are proof: two without a
// flag since the last good one. nullopt before.
std::optional<std::string> ReasonToQuarantine(const DeviceRecord& device,
                                              double drift_limit);

// When the next anchor is due after the last one, of a device that has one.
absl::Duration NextAnchorAfter(const DeviceRecord& device,
                               const DeviceCheckOptions& options);

// Of the devices named, the one whose latencies differ by more than `limit`,
// and the same way, from those of every other it was compared with: by the
// median for each of at least two others, in at least three cross-checks.
// nullopt if there is none.
struct OddDevice {
  std::string device;
  std::string reason;
};
std::optional<OddDevice> FindOddDevice(const FarmState& farm,
                                       const std::vector<std::string>& devices,
                                       double limit);

}  // namespace hwnas::controller
