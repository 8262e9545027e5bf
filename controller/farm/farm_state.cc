#include "controller/farm/farm_state.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/statistics.h"
#include "proto/convert/convert.h"

namespace hwnas::controller {
namespace {

template <typename Record>
void Keep(const Record& record, std::deque<Record>* history) {
  history->push_back(record);
  if (history->size() > DeviceRecord::kMaxHistory) history->pop_front();
}

void ApplyAnchor(const v1::AnchorRecord& anchor, DeviceRecord* device) {
  Keep(anchor, &device->anchors);
  if (!anchor.good()) {
    ++device->bad_anchors;
    if (anchor.flags().empty()) ++device->clean_bad_anchors;
    return;
  }
  device->bad_anchors = 0;
  device->clean_bad_anchors = 0;
  device->last_good_anchor = FromProto(anchor.time());
  if (device->baseline_ms.size() < DeviceRecord::kBaselineAnchors) {
    device->baseline_ms.push_back(anchor.latency_ms());
  }
  if (device->quarantined && device->recheck) {
    device->quarantined = false;
    device->recheck = false;
    device->reason.clear();
  }
}

}  // namespace

double DeviceRecord::BaselineMs() const { return Median(baseline_ms); }

absl::Status FarmState::Apply(const v1::JournalEvent& event) {
  const v1::DeviceEvent& e = event.device_event();
  if (event.sequence() != sequence_ + 1 || !event.has_device_event() ||
      e.device().empty()) {
    return absl::DataLossError(absl::StrCat(
        "journal of the farm, event ", event.sequence(),
        ": expected an event of a device, number ", sequence_ + 1));
  }
  DeviceRecord& device = devices_[e.device()];
  switch (e.event_case()) {
    case v1::DeviceEvent::kReserved:
      device.reservation = e.reserved();
      break;
    case v1::DeviceEvent::kReservationEnded:
      device.reservation.reset();
      break;
    case v1::DeviceEvent::kDrained:
      device.drained = true;
      device.reason = e.drained().reason();
      break;
    case v1::DeviceEvent::kQuarantined:
      device.quarantined = true;
      device.recheck = e.quarantined().recheck();
      device.reason = e.quarantined().reason();
      device.invalidated_count += e.quarantined().invalidated_count();
      break;
    case v1::DeviceEvent::kResumed:
      // A person says that the device is in order as it is now.
      device.drained = false;
      device.quarantined = false;
      device.recheck = false;
      device.reason.clear();
      device.baseline_ms.clear();
      device.bad_anchors = 0;
      device.clean_bad_anchors = 0;
      device.cross_checks.clear();
      break;
    case v1::DeviceEvent::kAnchor:
      if (!std::isfinite(e.anchor().latency_ms())) {
        return absl::DataLossError("the latency of an anchor is not finite");
      }
      ApplyAnchor(e.anchor(), &device);
      break;
    case v1::DeviceEvent::kCrossCheck:
      Keep(e.cross_check(), &device.cross_checks);
      break;
    case v1::DeviceEvent::EVENT_NOT_SET:
      return absl::DataLossError(
          "an event of a kind that this version does not know");
  }
  sequence_ = event.sequence();
  return absl::OkStatus();
}

const DeviceRecord& FarmState::Find(const std::string& device) const {
  static const DeviceRecord* const kNothing = new DeviceRecord;
  const auto it = devices_.find(device);
  return it == devices_.end() ? *kNothing : it->second;
}

}  // namespace hwnas::controller
