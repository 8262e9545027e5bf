// Values that come from outside, checked and bounded before anything is done
// with them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "hwnas/v1/fleet_service.pb.h"
#include "hwnas/v1/trial_service.pb.h"
#include "nas/problem.h"
#include "proto/convert/convert.h"

namespace hwnas::controller {

inline constexpr int kMaxMeasurements = 256;
inline constexpr int kMaxEpochReports = 10000;
inline constexpr int kMaxLatencySamples = 1 << 20;
inline constexpr size_t kMaxErrorBytes = 4096;

using Measurements = google::protobuf::RepeatedPtrField<v1::Measurement>;

// Names, finite values, bounded lists. INVALID_ARGUMENT names the measurement.
absl::Status CheckMeasurements(const Measurements& measurements);

// Everything else in a result that is unbounded on the wire.
absl::Status CheckTaskResult(const v1::TaskResult& result);

// At most `size` bytes, cut between characters of UTF-8.
std::string Truncated(const std::string& text, size_t size);

// The metrics of the problem that a stage must bring.
std::vector<MetricKey> MetricsOf(const StageKey& stage, const Problem& problem);

// Whether an objective or a constraint needs the energy from that stage.
bool AsksForEnergy(const StageKey& stage, const Problem& problem);

// One measurement, rounded for people: "accuracy=88.31".
std::string ValueText(const v1::Measurement& measurement);
// Those of `keys` among the measurements, likewise.
std::string ValuesText(const Measurements& measurements,
                       const std::vector<MetricKey>& keys);

// Those of `wanted` that no measurement gives.
std::vector<std::string> Missing(const std::vector<MetricKey>& wanted,
                                 const Measurements& measurements);

// What became of a report.
v1::ReportStatus ReportStatusOf(const absl::Status& status);

}  // namespace hwnas::controller
