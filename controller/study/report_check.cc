#include "controller/study/report_check.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "nas/problem/metered.h"

namespace hwnas::controller {
namespace {

constexpr size_t kMaxMetricBytes = 64;
constexpr size_t kMaxTextBytes = 128;
constexpr int kMaxFlags = 16;
constexpr size_t kMaxEnvironmentBytes = 64 << 10;
constexpr int kMaxMissingMetrics = 64;
constexpr size_t kMaxEnergyBytes = 8 << 10;

bool IsMetricName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxMetricBytes &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '_';
         });
}

}  // namespace

absl::Status CheckMeasurements(const Measurements& measurements) {
  if (measurements.size() > kMaxMeasurements) {
    return absl::InvalidArgumentError(
        absl::StrCat("measurements has ", measurements.size(),
                     " entries: expected at most ", kMaxMeasurements));
  }
  for (int i = 0; i < measurements.size(); ++i) {
    const v1::Measurement& m = measurements[i];
    const auto path = [i] { return absl::StrCat("measurements[", i, "]."); };
    if (!IsMetricName(m.metric())) {
      return absl::InvalidArgumentError(
          absl::StrCat(path(), "metric is '", Truncated(m.metric(), 64),
                       "': expected 1 to 64 of [a-z0-9_]"));
    }
    for (const double value :
         {m.value(), m.spread(), m.ci_low(), m.ci_high()}) {
      if (!std::isfinite(value)) {
        return absl::InvalidArgumentError(
            absl::StrCat(path(), "value of ", m.metric(), " is ", value,
                         ": expected finite numbers"));
      }
    }
    if (m.unit().size() > kMaxTextBytes ||
        m.device_class().size() > kMaxTextBytes ||
        m.device().size() > kMaxTextBytes || m.flags_size() > kMaxFlags ||
        std::any_of(m.flags().begin(), m.flags().end(),
                    [](const std::string& flag) {
                      return flag.size() > 2 * kMaxTextBytes;
                    })) {
      return absl::InvalidArgumentError(absl::StrCat(
          path(), "unit, device_class, device or flags is too long"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckTaskResult(const v1::TaskResult& result) {
  HWNAS_RETURN_IF_ERROR(CheckMeasurements(result.measurements()));
  if (result.epochs_size() > kMaxEpochReports) {
    return absl::InvalidArgumentError(
        absl::StrCat("epochs has ", result.epochs_size(),
                     " entries: expected at most ", kMaxEpochReports));
  }
  if (result.latency_samples().block_latency_ms_size() > kMaxLatencySamples) {
    return absl::InvalidArgumentError(
        absl::StrCat("latency_samples has ",
                     result.latency_samples().block_latency_ms_size(),
                     " entries: expected at most ", kMaxLatencySamples));
  }
  if (const auto& samples = result.latency_samples();
      samples.warmup_block_latency_ms_size() > kMaxLatencySamples ||
      samples.pass_begins_size() > kMaxLatencySamples) {
    return absl::InvalidArgumentError(absl::StrCat(
        "latency_samples.warmup_block_latency_ms has ",
        samples.warmup_block_latency_ms_size(), " entries and pass_begins ",
        samples.pass_begins_size(), ": expected at most ", kMaxLatencySamples));
  }
  if (result.environment().ByteSizeLong() > kMaxEnvironmentBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "environment has more than ", kMaxEnvironmentBytes, " bytes"));
  }
  if (result.missing_metrics_size() > kMaxMissingMetrics) {
    return absl::InvalidArgumentError(
        absl::StrCat("missing_metrics has ", result.missing_metrics_size(),
                     " entries: expected at most ", kMaxMissingMetrics));
  }
  if (result.energy().ByteSizeLong() > kMaxEnergyBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("energy has more than ", kMaxEnergyBytes, " bytes"));
  }
  return absl::OkStatus();
}

std::string Truncated(const std::string& text, size_t size) {
  if (text.size() <= size) return text;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) {
    --size;
  }
  return text.substr(0, size);
}

std::vector<MetricKey> MetricsOf(const StageKey& stage,
                                 const Problem& problem) {
  std::vector<MetricKey> keys = problem.Keys();
  const auto of_stage = [&](const MetricKey& key) {
    if (stage.kind == v1::ASK) return true;
    if (stage.kind == v1::REPLAY) {
      return key.device_class == stage.device_class;
    }
    const MetricInfo* info = FindMetric(key.metric);
    if (info == nullptr) return false;
    switch (info->source) {
      case MetricSource::kAnalytic:
        return stage.kind == v1::SCREEN;
      case MetricSource::kMeasured:
        return stage.kind == v1::MEASURE &&
               stage.device_class == key.device_class;
      case MetricSource::kTrained:
        return stage.kind == v1::TRAIN;
      case MetricSource::kExternal:
        return false;
    }
    return false;
  };
  keys.erase(std::remove_if(keys.begin(), keys.end(),
                            [&](const MetricKey& k) { return !of_stage(k); }),
             keys.end());
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

bool AsksForEnergy(const StageKey& stage, const Problem& problem) {
  if (stage.kind != v1::MEASURE) return false;
  const std::vector<MetricKey> keys = MetricsOf(stage, problem);
  return std::any_of(keys.begin(), keys.end(), [](const MetricKey& key) {
    return IsMetered(key.metric);
  });
}

std::string ValueText(const v1::Measurement& measurement) {
  return absl::StrFormat("%s=%.4g", measurement.metric(), measurement.value());
}

std::string ValuesText(const Measurements& measurements,
                       const std::vector<MetricKey>& keys) {
  std::vector<std::string> parts;
  for (const v1::Measurement& m : measurements) {
    if (std::find(keys.begin(), keys.end(),
                  MetricKey{m.metric(), m.device_class()}) != keys.end()) {
      parts.push_back(ValueText(m));
    }
  }
  return absl::StrJoin(parts, " ");
}

std::vector<std::string> Missing(const std::vector<MetricKey>& wanted,
                                 const Measurements& measurements) {
  std::vector<std::string> missing;
  for (const MetricKey& key : wanted) {
    if (std::none_of(measurements.begin(), measurements.end(),
                     [&](const v1::Measurement& m) {
                       return m.metric() == key.metric &&
                              m.device_class() == key.device_class;
                     })) {
      missing.push_back(key.ToString());
    }
  }
  return missing;
}

v1::ReportStatus ReportStatusOf(const absl::Status& status) {
  v1::ReportStatus report;
  report.set_code(static_cast<int>(status.code()));
  report.set_message(std::string(status.message()));
  return report;
}

}  // namespace hwnas::controller
