// What the farm remembers of its devices: a pure fold over the farm's journal.
//
//   DeviceEvent -> Apply -> reservations, drains, quarantines, anchors
//
// It holds over restarts of the controller. See docs/device-farm.md.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "hwnas/v1/device.pb.h"
#include "hwnas/v1/journal.pb.h"

namespace hwnas::controller {

// The id of the farm's journal among those of the studies: no study has it.
inline constexpr char kFarmJournal[] = "~farm";

struct DeviceRecord {
  // Anchors and cross-checks that are kept.
  static constexpr size_t kMaxHistory = 32;
  // Good anchors whose median is the device's own latency.
  static constexpr size_t kBaselineAnchors = 3;

  std::optional<v1::Reservation> reservation;
  bool drained = false;
  bool quarantined = false;
  // A good anchor ends the quarantine.
  bool recheck = false;
  std::string reason;  // Of the drain or the quarantine.
  int64_t invalidated_count = 0;
  std::deque<v1::AnchorRecord> anchors;
  std::deque<v1::CrossCheckRecord> cross_checks;
  // The first good anchors since the device was resumed last.
  std::vector<double> baseline_ms;
  absl::Time last_good_anchor = absl::InfinitePast();
  // Anchors since the last good one; those without flags.
  int bad_anchors = 0;
  int clean_bad_anchors = 0;

  // What the anchor's latency is on this device. 0 before the first.
  double BaselineMs() const;
};

// Not thread-safe.
class FarmState {
 public:
  // DATA_LOSS if the event does not fit.
  absl::Status Apply(const v1::JournalEvent& event);

  // Number of events applied.
  int64_t sequence() const { return sequence_; }
  // What is remembered of "devices/{executor_id}"; of a device that nothing is
  // remembered of, an empty record.
  const DeviceRecord& Find(const std::string& device) const;
  const std::map<std::string, DeviceRecord>& devices() const {
    return devices_;
  }

 private:
  int64_t sequence_ = 0;
  std::map<std::string, DeviceRecord> devices_;
};

}  // namespace hwnas::controller
