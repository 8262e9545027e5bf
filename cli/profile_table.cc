#include "cli/profile_table.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace hwnas::cli {
namespace {

const v1::Measurement* Find(const Profiled& profiled, const char* metric) {
  if (!profiled.status.ok()) return nullptr;
  for (const v1::Measurement& m : profiled.result.measurements()) {
    if (m.metric() == metric) return &m;
  }
  return nullptr;
}

Cell ValueOf(const v1::Measurement* measurement) {
  return measurement == nullptr ? Cell() : Cell::Number(measurement->value());
}

std::string Remarks(const Profiled& profiled) {
  if (!profiled.status.ok()) return std::string(profiled.status.message());
  // Metrics that were measured together share their flags.
  std::vector<std::string> remarks;
  for (const v1::Measurement& m : profiled.result.measurements()) {
    for (const std::string& flag : m.flags()) {
      if (std::find(remarks.begin(), remarks.end(), flag) == remarks.end()) {
        remarks.push_back(flag);
      }
    }
  }
  return absl::StrJoin(remarks, "; ");
}

}  // namespace

Table MetricTable(const v1::TaskResult& result) {
  Table table({{"metric", "metric"},
               {"value", "value", true},
               {"unit", "unit"},
               {"ci_low", "95 % from", true},
               {"ci_high", "to", true},
               {"samples", "samples", true},
               {"device", "device"},
               {"flags", "remarks"}});
  for (const v1::Measurement& m : result.measurements()) {
    table.Add({m.metric(), Cell::Number(m.value()), m.unit(),
               m.has_ci_low() ? Cell::Number(m.ci_low()) : Cell(),
               m.has_ci_high() ? Cell::Number(m.ci_high()) : Cell(),
               Cell::Integer(m.sample_count()), m.device(),
               absl::StrJoin(m.flags(), "; ")});
  }
  return table;
}

Table ComparisonTable(const std::vector<Profiled>& profiled) {
  std::map<std::string, double> fastest_ms;
  bool energy = false;
  for (const Profiled& p : profiled) {
    energy = energy || Find(p, "energy_mj") != nullptr;
    const v1::Measurement* latency = Find(p, "latency_ms");
    if (latency == nullptr) continue;
    const auto [it, added] =
        fastest_ms.emplace(p.device_class, latency->value());
    if (!added) it->second = std::min(it->second, latency->value());
  }
  std::vector<Column> columns = {{"model", "model"},
                                 {"device_class", "device class"},
                                 {"latency_ms", "latency [ms]", true},
                                 {"ci_low", "95 % from", true},
                                 {"ci_high", "to", true},
                                 {"times_fastest", "x fastest", true},
                                 {"latency_p90_ms", "p90 [ms]", true},
                                 {"peak_memory_mb", "memory [MB]", true}};
  if (energy) columns.push_back({"energy_mj", "energy [mJ]", true});
  columns.push_back({"device", "device"});
  columns.push_back({"remarks", "remarks"});
  Table table(std::move(columns));
  for (const Profiled& p : profiled) {
    const v1::Measurement* latency = Find(p, "latency_ms");
    const auto end_of_interval = [&](bool low) {
      if (latency == nullptr || !latency->has_ci_low()) return Cell();
      return Cell::Number(low ? latency->ci_low() : latency->ci_high());
    };
    const double fastest =
        latency == nullptr ? 0 : fastest_ms.at(p.device_class);
    std::vector<Cell> cells = {
        p.model,
        p.device_class,
        ValueOf(latency),
        end_of_interval(true),
        end_of_interval(false),
        fastest > 0 ? Cell::Number(latency->value() / fastest, 3) : Cell(),
        ValueOf(Find(p, "latency_p90_ms")),
        ValueOf(Find(p, "peak_memory_mb"))};
    if (energy) cells.push_back(ValueOf(Find(p, "energy_mj")));
    cells.push_back(latency == nullptr ? Cell() : Cell(latency->device()));
    cells.push_back(Remarks(p));
    table.Add(std::move(cells));
  }
  return table;
}

absl::StatusOr<std::vector<std::string>> ModelFiles(
    const std::vector<std::string>& arguments) {
  namespace fs = std::filesystem;
  std::vector<std::string> files;
  std::set<std::string> seen;
  const auto add = [&](const std::string& file) {
    if (seen.insert(file).second) files.push_back(file);
  };
  for (const std::string& argument : arguments) {
    std::error_code error;
    if (!fs::is_directory(argument, error)) {
      if (!fs::exists(argument, error)) {
        return absl::NotFoundError(
            absl::StrCat(argument, ": no such file or folder"));
      }
      add(argument);
      continue;
    }
    std::vector<std::string> inside;
    for (const fs::directory_entry& entry :
         fs::directory_iterator(argument, error)) {
      if (entry.path().extension() == ".onnx") {
        inside.push_back(entry.path().string());
      }
    }
    if (error) {
      return absl::UnknownError(absl::StrCat(argument, ": ", error.message()));
    }
    if (inside.empty()) {
      return absl::NotFoundError(
          absl::StrCat(argument, ": no file in this folder ends in .onnx"));
    }
    std::sort(inside.begin(), inside.end());
    for (const std::string& file : inside) add(file);
  }
  return files;
}

}  // namespace hwnas::cli
