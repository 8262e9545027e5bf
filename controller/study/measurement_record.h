// Measurements as a controller keeps those of a million trials: numbers, and
// what most measurements of a metric have in common only once.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "hwnas/v1/measurement.pb.h"

namespace hwnas::controller {

// A v1::Measurement in a third of its memory.
struct MeasurementRecord {
  // All but the numbers below; shared.
  std::shared_ptr<const v1::Measurement> about;
  double value = 0;
  int64_t sample_count = 0;
  // NaN: unset.
  double spread = std::numeric_limits<double>::quiet_NaN();
  double ci_low = std::numeric_limits<double>::quiet_NaN();
  double ci_high = std::numeric_limits<double>::quiet_NaN();

  v1::Measurement ToProto() const;
};

// Makes records that share what they can. Not thread-safe; the records may
// outlive it.
class MeasurementRecorder {
 public:
  MeasurementRecord Record(const v1::Measurement& measurement);

 private:
  // Few: a study has some metrics and devices. Beyond kMostShared nothing more
  // is shared.
  static constexpr size_t kMostShared = 256;
  std::vector<std::shared_ptr<const v1::Measurement>> shared_;
};

}  // namespace hwnas::controller
