// Measures with ONNX Runtime on the CPU, set up as people deploy it: all graph
// optimisations, sequential execution, the memory arena, spinning workers if
// there is more than one thread.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/runtime/runtime.h"
#include "model/onnx/onnx_quantize.h"

namespace hwnas::agent {

// FAILED_PRECONDITION if the library is older than the headers we were built
// with.
//
// Turns off what the library would tell its makers. Call it before a second
// thread exists, or a second time.
absl::StatusOr<std::unique_ptr<Runtime>> CreateOnnxRuntime();

// Runs a model on `rounds` seeded random inputs, from options.seed on, and
// tells the ranges of its inputs and of its float32 outputs. As in
// Runtime::Load, the model is hostile. INVALID_ARGUMENT also if a value is not
// finite. Needs a runtime that CreateOnnxRuntime() has made.
absl::StatusOr<std::map<std::string, ValueRange>> ObserveOnnxRanges(
    absl::string_view model, const SessionOptions& options, int rounds);

}  // namespace hwnas::agent
