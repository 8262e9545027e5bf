// Quantises an ONNX file to int8, as one does for deployment.
//
//   HWNAS_ASSIGN_OR_RETURN(auto plan, OnnxQuantizer::Create(onnx));
//   ... run plan.observed_model() on some inputs; note the range of each output
//   HWNAS_ASSIGN_OR_RETURN(auto int8, plan.Quantize(ranges));
//
// Static quantisation in the QDQ form (QuantizeLinear and DequantizeLinear
// around the operators), which runtimes fuse into integer kernels:
// convolutions, Gemm and MatMul with constant weights, and additions,
// multiplications, pooling and concatenation between them. Weights are
// symmetric int8 with a scale for each output channel, activations uint8 with a
// scale and a zero point for each tensor, biases int32 with the product of both
// scales (Jacob et al., arXiv 1712.05877; Nagel et al., arXiv 2106.08295,
// section 2).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hwnas {

// Of all values that a tensor took.
struct ValueRange {
  float low = 0;
  float high = 0;
};

// The file is hostile: it is parsed, and never run, here. Thread-compatible.
class OnnxQuantizer {
 public:
  // INVALID_ARGUMENT if it is no ONNX file, if there is nothing to quantise in
  // it, or if its operator set is older than 10, which knows no QuantizeLinear.
  // Sets older than 13 get one scale for all channels of a weight.
  static absl::StatusOr<OnnxQuantizer> Create(absl::string_view onnx);
  OnnxQuantizer(OnnxQuantizer&&) noexcept;
  OnnxQuantizer& operator=(OnnxQuantizer&&) noexcept;
  ~OnnxQuantizer();

  // Tensors whose ranges are to be known.
  const std::vector<std::string>& observed() const;
  // The model with these tensors as further outputs (those that are inputs stay
  // so).
  absl::StatusOr<std::string> observed_model() const;

  // The quantised file. INVALID_ARGUMENT if a range lacks or is not finite.
  absl::StatusOr<std::string> Quantize(
      const std::map<std::string, ValueRange>& ranges) const;

 private:
  struct Plan;
  explicit OnnxQuantizer(std::unique_ptr<Plan> plan);
  std::unique_ptr<Plan> plan_;
};

}  // namespace hwnas
