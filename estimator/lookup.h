// Latency of a whole network from a table of its kernels, measured one by one
// on a device class.
//
//   network -> KernelsOf -> sum over kernels, by kind -> fitted weights -> ms
//
// The table is of fused kernels, as in nn-Meter (Zhang et al., MobiSys 2021):
// what a runtime runs as one, a convolution with the batch norm and the
// activation behind it. A kernel measured alone is not what it is within a
// network (layouts change, caches are warm), so each kind of kernel has a
// weight, fitted on some measured networks by ridge regression towards 1; how
// far the sums can be trusted is measured on others. See docs/lookup.md.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "estimator/estimator.h"
#include "nas/graph/model_graph.h"

namespace hwnas {

// What a runtime runs as one.
struct Kernel {
  // All that its latency depends on: "conv3x3 s1 p1 16x32x32 -> 16 relu".
  std::string key;
  // "conv", "conv1x1", "depthwise", "pool", "linear" or "elementwise".
  std::string kind;
  // The kernel alone, from an input to its output.
  ModelGraph graph;
};

// The kernels of a network, equal ones as often as it has them. What costs
// nothing (flatten, dropout, what follows from zeros alone) is not among them.
absl::StatusOr<std::vector<Kernel>> KernelsOf(const ModelGraph& graph);

// A measured latency.
struct LookupEntry {
  double latency_ms = 0;
  std::string kind;                // Of a kernel.
  std::vector<std::string> flags;  // What limits trust in it.
};

// How well the table predicts networks that its weights were not fitted on.
struct LookupTrust {
  int networks = 0;
  double mape_percent = 0;  // Mean absolute percentage error.
  double rmse_ms = 0;
  double spearman = 0;            // Rank correlation.
  double plain_mape_percent = 0;  // Of the plain sums, with no weights.
};

// Value. Thread-compatible.
struct LookupTable {
  // What the latencies are about. Tables of different settings never mix.
  std::string device_class;
  std::string runtime;
  std::string precision;
  int threads = 1;
  int batch = 1;
  // An inference that does nothing: part of every measured latency.
  std::optional<double> overhead_ms;
  std::map<std::string, LookupEntry> kernels;   // By key.
  std::map<std::string, LookupEntry> networks;  // By architecture digest.
  // Of the fit: by kind. Empty before.
  std::map<std::string, double> weights;
  double intercept_ms = 0;
  std::optional<LookupTrust> trust;

  // "device class x86_64, onnxruntime fp32, 1 thread, batch 1".
  std::string Settings() const;
  std::string ToJson() const;
  // INVALID_ARGUMENT names what is wrong with the text.
  static absl::StatusOr<LookupTable> FromJson(absl::string_view json);
};

// The time of a network's kernels by kind, in ms, without the overhead.
// NOT_FOUND names a kernel that the table lacks; FAILED_PRECONDITION without an
// overhead.
absl::StatusOr<std::map<std::string, double>> KernelTimes(
    const LookupTable& table, const ModelGraph& graph);

// A network that was measured as a whole.
struct MeasuredNetwork {
  ModelGraph graph;
  double latency_ms = 0;
};

// Fits the weights on `fit` and measures the trust on `held`.
absl::Status FitLookup(absl::Span<const MeasuredNetwork> fit,
                       absl::Span<const MeasuredNetwork> held,
                       LookupTable* table);

// Predicts latency_ms@device_class; its uncertainty is the root mean square
// error on the held networks. INVALID_ARGUMENT if the table was not fitted.
absl::StatusOr<std::unique_ptr<Estimator>> CreateLookupEstimator(
    LookupTable table);

}  // namespace hwnas
