// Measures with ONNX Runtime on the CPU, set up as people deploy it: all graph
// optimisations, sequential execution, the memory arena, spinning workers if
// there is more than one thread.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "agent/runtime/runtime.h"

namespace hwnas::agent {

// FAILED_PRECONDITION if the library is older than the headers we were built
// with.
//
// Turns off what the library would tell its makers. Call it before a second
// thread exists, or a second time.
absl::StatusOr<std::unique_ptr<Runtime>> CreateOnnxRuntime();

}  // namespace hwnas::agent
