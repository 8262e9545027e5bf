// The process that runs one model and nothing else.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/measure/in_process_measurer.h"
#include "agent/runtime/runtime.h"

namespace hwnas::agent {

// An ONNX file made of another one; `batch` takes the place of a free batch, 0
// leaves it. INVALID_ARGUMENT if no machine could do it.
using OnnxTransform = std::function<absl::StatusOr<std::string>(
    absl::string_view onnx, int batch)>;

// What the child can do with models. Null: it cannot.
struct ModelTools {
  GraphExporter export_graph;
  OnnxTransform fix_batch;
  // To int8.
  OnnxTransform quantize;
  // Loads serialised v1.ModelGraphs in place of ONNX files.
  std::function<absl::StatusOr<std::unique_ptr<Runtime>>()> create_libtorch;
};

// The first argument of a program that is to call RunMeasuringChild, and the
// descriptor of its socket.
inline constexpr char kMeasuringChildArgument[] = "--measuring-child";
inline constexpr int kMeasuringChildSocket = 3;

// Reads a ChildTask from the socket, confines this process, measures, and says
// the outcome. Returns the exit code. Call it before a second thread exists.
int RunMeasuringChild(const ModelTools& tools);

}  // namespace hwnas::agent
