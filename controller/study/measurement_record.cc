#include "controller/study/measurement_record.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace hwnas::controller {
namespace {

bool SameButNumbers(const v1::Measurement& a, const v1::Measurement& b) {
  return a.metric() == b.metric() && a.device_class() == b.device_class() &&
         a.device() == b.device() && a.unit() == b.unit() &&
         a.provenance() == b.provenance() &&
         std::equal(a.flags().begin(), a.flags().end(), b.flags().begin(),
                    b.flags().end());
}

}  // namespace

v1::Measurement MeasurementRecord::ToProto() const {
  v1::Measurement measurement = *about;
  measurement.set_value(value);
  measurement.set_sample_count(sample_count);
  if (!std::isnan(spread)) measurement.set_spread(spread);
  if (!std::isnan(ci_low)) measurement.set_ci_low(ci_low);
  if (!std::isnan(ci_high)) measurement.set_ci_high(ci_high);
  return measurement;
}

MeasurementRecord MeasurementRecorder::Record(
    const v1::Measurement& measurement) {
  MeasurementRecord record;
  record.value = measurement.value();
  record.sample_count = measurement.sample_count();
  if (measurement.has_spread()) record.spread = measurement.spread();
  if (measurement.has_ci_low()) record.ci_low = measurement.ci_low();
  if (measurement.has_ci_high()) record.ci_high = measurement.ci_high();
  for (const auto& about : shared_) {
    if (SameButNumbers(*about, measurement)) {
      record.about = about;
      return record;
    }
  }
  auto about = std::make_shared<v1::Measurement>(measurement);
  about->clear_value();
  about->clear_sample_count();
  about->clear_spread();
  about->clear_ci_low();
  about->clear_ci_high();
  record.about = std::move(about);
  if (shared_.size() < kMostShared) shared_.push_back(record.about);
  return record;
}

}  // namespace hwnas::controller
