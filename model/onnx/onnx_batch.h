// The number of images in one inference, as an ONNX file says it.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hwnas {

// The file with `batch` in place of a free first dimension of its inputs; with
// 0, 1 is put there. INVALID_ARGUMENT if it is no ONNX file, if a fixed batch
// is another one, or if another dimension of an input is free.
absl::StatusOr<std::string> FixOnnxBatch(absl::string_view onnx, int batch);

}  // namespace hwnas
