#include "agent/quantizer.h"

#include <map>

#include "agent/runtime/onnx_runtime.h"
#include "common/status_macros.h"
#include "model/onnx/onnx_quantize.h"

namespace hwnas::agent {

absl::StatusOr<std::string> QuantizeForMeasuring(absl::string_view onnx,
                                                 int batch) {
  constexpr int kRounds = 8;
  constexpr uint64_t kSeed = 1;
  HWNAS_ASSIGN_OR_RETURN(const OnnxQuantizer quantizer,
                         OnnxQuantizer::Create(onnx));
  HWNAS_ASSIGN_OR_RETURN(const std::string observed,
                         quantizer.observed_model());
  SessionOptions options;
  options.batch = batch;
  options.seed = kSeed;
  HWNAS_ASSIGN_OR_RETURN(const auto ranges,
                         ObserveOnnxRanges(observed, options, kRounds));
  return quantizer.Quantize(ranges);
}

}  // namespace hwnas::agent
