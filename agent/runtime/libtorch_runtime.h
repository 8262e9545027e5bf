// Measures with LibTorch on the CPU, as a PyTorch user would deploy a module:
// evaluation mode, no gradients. It is there only if it was built in
// (HWNAS_AGENT_LIBTORCH); the default agent needs none of it.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "agent/runtime/runtime.h"

namespace hwnas::agent {

using RuntimeFactory =
    std::function<absl::StatusOr<std::unique_ptr<Runtime>>()>;

// Null if it was not built in. The runtime loads serialised v1.ModelGraphs, not
// ONNX files, with the weights that ExportForMeasuring() writes, and is not
// thread-safe: how many threads LibTorch uses is one setting for the process.
RuntimeFactory LibtorchRuntimeFactory();

}  // namespace hwnas::agent
