// ONNX files that users send to be profiled.
#include <cstdint>
#include <map>
#include <string>

#include "absl/strings/string_view.h"
#include "model/onnx/onnx_batch.h"
#include "model/onnx/onnx_quantize.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view onnx(reinterpret_cast<const char*>(data), size);
  (void)hwnas::FixOnnxBatch(onnx, 2);
  const auto quantizer = hwnas::OnnxQuantizer::Create(onnx);
  if (!quantizer.ok()) return 0;
  (void)quantizer->observed_model();
  std::map<std::string, hwnas::ValueRange> ranges;
  for (const std::string& name : quantizer->observed()) ranges[name] = {-1, 1};
  (void)quantizer->Quantize(ranges);
  return 0;
}
