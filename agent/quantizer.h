// int8 for measuring: quantised with ranges from random inputs.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hwnas::agent {

// The quantised ONNX file (model/onnx/onnx_quantize.h). The ranges come from
// running the original on seeded random inputs: how fast a network is does not
// depend on them, how accurate it is does. Runs the model, so call it where
// that is allowed. INVALID_ARGUMENT if it cannot be quantised.
absl::StatusOr<std::string> QuantizeForMeasuring(absl::string_view onnx,
                                                 int batch);

}  // namespace hwnas::agent
