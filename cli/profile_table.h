// How `hwnas profile` shows what it measured.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/table.h"
#include "hwnas/v1/fleet_service.pb.h"

namespace hwnas::cli {

// One model on a device of one class.
struct Profiled {
  std::string model;  // As people call it: its file's name.
  std::string device_class;
  absl::Status status;    // Why there is no result.
  v1::TaskResult result;  // If `status` is OK; its error is empty.
};

// A row for each metric of one result.
Table MetricTable(const v1::TaskResult& result);

// A row for each model and device class, in the given order: latency with its
// interval, how many times that of the fastest model on that class it is,
// memory, energy if any has it, and remarks: flags, or why there is no result.
Table ComparisonTable(const std::vector<Profiled>& profiled);

// The ONNX files that the arguments name, each once: a file is itself, a folder
// its *.onnx files by name. An error names an argument that is neither, or a
// folder without any.
absl::StatusOr<std::vector<std::string>> ModelFiles(
    const std::vector<std::string>& arguments);

}  // namespace hwnas::cli
